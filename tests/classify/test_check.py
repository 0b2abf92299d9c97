"""What the judge makes of a set of rules: each fault is found, and a sound set has none."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify import Judge
from omicard_relay.classify.check import check_rules, flips
from omicard_relay.classify.compare import WinReason, why_it_wins
from omicard_relay.classify.examples import ExampleResult, example_results
from omicard_relay.mail import Stage
from omicard_relay.tables import Policies, Rule, Strength, load_policies
from omicard_relay.tables.codes import read_codes
from omicard_relay.tables.findings import Finding, FindingKind, Level
from tests.ruling import ROOT

CODES = read_codes(ROOT / "policies" / "codes.toml")


def rule(rule_id: str, code: int, phrase: str = "", example: str = "", **keys: Any) -> Rule:
    return Rule(
        id=rule_id,
        bounce_code=code,
        strength=keys.pop("strength", Strength.TEXT),
        phrases=keys.pop("phrases", (phrase,) if phrase else ()),
        examples=keys.pop("examples", (example or f"550 {phrase}",)),
        source="made up",
        **keys,
    )


FULL = rule("full", 901, "mailbox is full")
UNKNOWN = rule("unknown", 902, "no such user")


def policies(*rules: Rule) -> Policies:
    return Policies(codes=CODES, rules=rules)


def found(*rules: Rule) -> list[Finding]:
    """Without the codes for which so few rules have nothing."""
    return [one for one in check_rules(policies(*rules)) if one.kind is not FindingKind.CODE_WITHOUT_RULE]


def kinds(*rules: Rule) -> list[tuple[str, str]]:
    return [(one.rule_id, str(one.kind)) for one in found(*rules)]


def test_a_sound_set_has_no_finding() -> None:
    assert kinds(FULL, UNKNOWN) == []


def test_an_example_of_another_code_names_both_rules() -> None:
    bad = rule("bad", 904, "letters from you", "550 letters from you: no such user")
    strong = msgspec.structs.replace(UNKNOWN, strength=Strength.TOKEN)
    (one,) = found(strong, bad)
    assert (one.rule_id, one.kind, one.level) == ("bad", FindingKind.EXAMPLE_FAILS, Level.ERROR)
    assert one.fields == {
        "example": "550 letters from you: no such user",
        "expected": "904",
        "got": "902",
        "by": "unknown",
        "words": "no such user",
    }


def test_an_example_that_no_rule_reads_is_found() -> None:
    (one,) = found(rule("bad", 904, "letters", "550 packets"))
    assert (one.kind, one.fields["got"], one.fields["by"]) == (FindingKind.EXAMPLE_FAILS, "900", "no-cause")


def test_a_counter_example_that_hits_is_found() -> None:
    assert kinds(rule("bad", 904, "letters", not_examples=("550 no more letters",))) == [("bad", "not-example-hits")]


def test_two_rules_of_one_strength_with_different_codes_are_a_conflict() -> None:
    one = rule("one", 904, "too many letters", "550 too many letters, poor names")
    (finding,) = found(one, rule("two", 933, "poor names"))
    assert (finding.rule_id, finding.kind) == ("one", FindingKind.CONFLICT)
    assert finding.fields["by"] == "one"
    assert finding.fields["other"] == "two"
    assert finding.fields["other_code"] == "933"


@pytest.mark.parametrize(
    "other",
    [
        rule("two", 933, "poor names", strength=Strength.TOKEN, examples=("550 poor names",)),
        rule("two", 907, "poor names"),
        rule("two", 904, "poor names"),
        rule("two", 933, "poor names", unless="letters"),
    ],
    ids=["stronger", "more general", "same code", "excepted"],
)
def test_no_conflict_where_something_decides(other: Rule) -> None:
    one = rule("one", other.bounce_code if other.strength is Strength.TOKEN else 904, "too many letters")
    both = msgspec.structs.replace(one, examples=("550 too many letters, poor names",))
    assert ("one", "conflict") not in kinds(both, other)


def test_a_code_that_yields_is_no_conflict() -> None:
    assert 912 in CODES[901].yields_to
    one = rule("closed", 912, "account closed", "550 mailbox is full, account closed")
    assert kinds(FULL, one) == []


def test_a_rule_whose_examples_others_decide_is_shadowed() -> None:
    hidden = rule("hidden", 901, "brimming", "552 brimming: mailbox is full")
    strong = msgspec.structs.replace(FULL, strength=Strength.TOKEN)
    (one,) = found(strong, hidden)
    assert (one.rule_id, one.kind, one.level, one.fields["by"]) == ("hidden", "shadowed", Level.WARNING, "full")


def test_the_same_phrase_with_two_codes_is_an_error_once() -> None:
    other = rule("other", 904, "mailbox is full", "550 mailbox is full", unless="x")
    assert ("full", "same-phrase") in kinds(FULL, other)
    assert ("other", "same-phrase") not in kinds(FULL, other)


@pytest.mark.parametrize("keys", [{"stage": (Stage.DATA,)}, {"host": ("example.com",)}, {"reply_class": 4}])
def test_the_same_phrase_under_other_conditions_is_none(keys: Mapping[str, Any]) -> None:
    other = rule("other", 904, "mailbox is full", "450 mailbox is full", **keys)
    assert not [one for one in kinds(FULL, other) if one[1] in ("same-phrase", "dead-phrase")]


def test_a_phrase_that_a_stronger_rule_has_is_dead() -> None:
    other = rule("other", 907, phrases=("mailbox is full", "go away"), examples=("550 go away",))
    (one,) = found(FULL, other)
    assert (one.rule_id, one.kind, one.fields["other"], one.fields["phrase"]) == (
        "other",
        FindingKind.DEAD_PHRASE,
        "full",
        "mailbox is full",
    )


def test_the_same_status_in_two_spellings_is_the_same_phrase() -> None:
    one = rule("one", 901, phrases=("x.2.2",), strength=Strength.ENHANCED, examples=("552 5.2.2 a",))
    two = rule("two", 904, phrases=("4.2.2",), strength=Strength.ENHANCED, examples=("452 4.2.2 a",))
    assert ("one", "same-phrase") in kinds(one, two)


@pytest.mark.parametrize(
    ("phrase", "wanted"),
    [
        ("信箱已滿，請稍後", "信箱已滿,請稍後"),
        ("mailbox  is full", "mailbox is full"),
        ("ann@example.com is full", "a@b is full"),
    ],
)
def test_a_phrase_in_a_form_in_which_no_text_is_read_is_told_with_the_right_one(phrase: str, wanted: str) -> None:
    one = next(one for one in found(rule("one", 901, phrase)) if one.kind is FindingKind.UNREACHABLE_PHRASE)
    assert one.fields["wanted"] == wanted
    assert kinds(rule("one", 901, wanted)) == []


def test_a_rule_inside_whose_phrases_a_stronger_one_stands_never_decides() -> None:
    strong = msgspec.structs.replace(FULL, strength=Strength.TOKEN)
    weaker = rule("weaker", 904, "your mailbox is full of letters", "550 x")
    assert ("weaker", "never-decides") in kinds(strong, weaker)
    longer_word = rule("longer", 904, "mailbox is fuller", "550 mailbox is fuller")
    assert kinds(strong, longer_word) == []


def test_a_rule_that_says_the_same_with_more_words_adds_nothing() -> None:
    (one,) = found(FULL, rule("more", 901, "ann's mailbox is full"))
    assert (one.rule_id, one.kind, one.fields["by"]) == ("more", FindingKind.REDUNDANT, "full")


@pytest.mark.parametrize(
    "keys",
    [{"action": "retry"}, {"strength": Strength.TOKEN}, {"host": ("example.com",)}, {"pattern": "brimming"}],
    ids=["other action", "stronger", "names its host", "reads more"],
)
def test_a_rule_that_says_more_is_not_redundant(keys: dict[str, Any]) -> None:
    more = msgspec.convert({**msgspec.to_builtins(rule("more", 901, "ann's mailbox is full")), **keys}, Rule)
    assert kinds(FULL, more) == []


def test_codes_without_a_rule_are_named() -> None:
    missing = {one.fields["code"] for one in check_rules(policies(FULL, UNKNOWN)) if one.kind == "code-without-rule"}
    assert missing == {str(number) for number in range(900, 940)} - {"901", "902"}
    assert not [one for one in check_rules(policies(FULL), {"full"}) if one.kind == "code-without-rule"]


def test_only_named_rules_are_told_of() -> None:
    bad, worse = rule("bad", 904, "letters", "550 x"), rule("worse", 904, "packets", "550 x")
    assert {one.rule_id for one in check_rules(policies(bad, worse), {"worse"})} == {"worse"}


# --- what a change does to others -------------------------------------------------------------------------------------


def test_a_new_rule_that_takes_an_example_is_a_flip() -> None:
    new = rule("new", 938, "no such user", strength=Strength.TOKEN)
    (flip,) = flips(policies(FULL, UNKNOWN), policies(FULL, UNKNOWN, new))
    assert flip.breaks
    assert flip.before.rule.id == "unknown"
    assert flip.before.verdict is not None
    assert flip.after.verdict is not None
    assert (flip.before.verdict.bounce_code, flip.after.verdict.bounce_code) == (902, 938)


def test_a_counter_example_whose_code_changes_is_a_flip_that_breaks_nothing() -> None:
    one = msgspec.structs.replace(FULL, not_examples=("550 poor names",))
    (flip,) = flips(policies(one), policies(one, rule("names", 933, "poor names")))
    assert not flip.breaks


def test_another_action_with_the_same_code_is_a_flip() -> None:
    new = msgspec.convert({**msgspec.to_builtins(rule("new", 902, "no such user here")), "action": "retry"}, Rule)
    example = msgspec.structs.replace(UNKNOWN, examples=("550 no such user here",))
    assert len(flips(policies(example), policies(example, new))) == 1


def test_a_rule_that_takes_over_without_another_outcome_is_none() -> None:
    example = msgspec.structs.replace(UNKNOWN, examples=("550 no such user here",))
    assert flips(policies(example), policies(example, rule("new", 902, "no such user here"))) == ()


def test_rules_that_changed_themselves_are_not_compared() -> None:
    changed = msgspec.structs.replace(UNKNOWN, bounce_code=904)
    assert flips(policies(UNKNOWN), policies(changed)) == ()


WORDS = ["moon", "star", "no such user", "mailbox is full", "account closed"]


@st.composite
def small_rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    """Up to four rules over a handful of words, with examples of two of them."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=2, unique=True))
        example = f"{draw(st.sampled_from(['450', '550 5.1.1', '552']))} {' '.join(draw(st.permutations(WORDS))[:2])}"
        code = draw(st.sampled_from([900, 901, 902, 907, 912, 938]))
        strength = draw(st.sampled_from([Strength.TOKEN, Strength.TEXT]))
        made.append(rule(f"r{number}", code, phrases=tuple(words), examples=(example,), strength=strength))
    return tuple(made)


@given(small_rules(), small_rules(), small_rules())
@settings(max_examples=60, deadline=None)
def test_flips_are_those_that_judging_everything_twice_would_find(
    kept: tuple[Rule, ...], old: tuple[Rule, ...], new: tuple[Rule, ...]
) -> None:
    same = [msgspec.structs.replace(one, id=f"kept-{one.id}") for one in kept]
    before, after = policies(*same, *old), policies(*new, *same)
    ids = {one.id for one in after.rules if before.rules_by_id.get(one.id) == one}
    told = {(flip.before.rule.id, flip.before.example) for flip in flips(before, after)}
    firsts, seconds = (
        {result.rule.id: result for result in example_results(one, Judge(one), ids)} for one in (before, after)
    )

    def code(result: ExampleResult) -> int | None:
        return result.verdict.bounce_code if result.verdict else None

    wanted = {(name, firsts[name].example) for name in ids if code(firsts[name]) != code(seconds[name])}
    assert told == wanted


# --- why one wins -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("winner", "loser", "reason"),
    [
        (rule("a", 904, "x y", strength=Strength.TOKEN), FULL, WinReason.STRENGTH),
        (rule("a", 904, "x y", host=("example.com",)), FULL, WinReason.HOST),
        (rule("a", 912, "x y"), FULL, WinReason.YIELDS),
        (rule("a", 904, "x y"), UNKNOWN, WinReason.LONGER),
        (rule("a", 904, "x y"), rule("b", 907, "z z"), WinReason.STRENGTH),
    ],
    ids=lambda value: value if isinstance(value, str) else value.id,
)
def test_the_reason_is_the_first_that_decides(winner: Rule, loser: Rule, reason: WinReason) -> None:
    pair = (winner, winner.bounce_code), (loser, loser.bounce_code)
    assert why_it_wins(*pair, CODES) is reason


def test_the_shipped_set_can_be_checked() -> None:
    """It must run; whether each rule is good is the test of the rules (tests/classify/test_rules_by_example.py)."""
    shipped = load_policies()
    seen = list(check_rules(shipped))
    assert all(one.rule_id in shipped.rules_by_id or one.kind == "code-without-rule" for one in seen)
