"""Tables of the matcher: plain data that can be kept, few sets of rules in memory, and every rule under some literal."""

import msgspec
import pytest

from omicard_relay.classify import index
from omicard_relay.classify.index import MatchTables, build_tables, expressions_of, know_tables, tables_of
from omicard_relay.classify.matcher import Matcher
from omicard_relay.tables import Rule, Strength
from tests.judging import found_by_matcher, judge, matches, policies


def rule(name: str = "r", strength: Strength = Strength.TEXT, **more: object) -> Rule:
    return Rule(id=name, bounce_code=901, strength=strength, examples=("x",), **more)  # type: ignore[arg-type]


SMALL = (
    rule("phrase", phrases=("mailbox full", "over … quota")),
    rule("pattern", pattern="(no|not .{0,9}) space[^ ]{1,4}left", unless="device|root.{0,5}dir|[^a]{1,3}zz"),
    rule("status", Strength.ENHANCED, phrases=("5.2.2",)),
)
TEXTS = (b"the mailbox full", b"over the quota", b"no space--left", b"not much space-left on device", b"5.2.2", b"")


def test_kept_tables_find_what_new_ones_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_known", {})
    before = [found_by_matcher(Matcher(SMALL, [0, 0, 0]), text) for text in TEXTS]
    assert [sorted(found) for found in before] == [[0], [0], [1], [1], [], []]
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(tables_of(SMALL)), type=MatchTables)
    know_tables(SMALL, kept)
    assert tables_of(SMALL) is kept
    after = Matcher(SMALL, [0, 0, 0])
    assert [found_by_matcher(after, text) for text in TEXTS] == before
    assert [after.excepted(1, text) for text in TEXTS] == [False, False, False, True, False, False]


def test_tables_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_known", {})
    assert tables_of(SMALL) is tables_of(tuple(SMALL))


def test_few_sets_of_rules_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[tuple[Rule, ...], MatchTables] = {}
    monkeypatch.setattr(index, "_known", known)
    for number in range(20):
        tables_of((rule(f"r{number}", phrases=("full",)),))
    assert len(known) <= 6
    assert (rule("r19", phrases=("full",)),) in known


def test_no_rules_are_a_set_of_rules_too() -> None:
    assert found_by_matcher(Matcher((), []), b"mailbox full \x01\x02") == {}


def test_words_of_codes_are_not_looked_for_in_the_text() -> None:
    assert build_tables((SMALL[2],)).literals == []


def test_an_expression_without_literals_is_always_asked() -> None:
    tables = build_tables((rule(pattern="[a-z]{3}[0-9]{4}"),))
    assert tables.always == (0,)
    assert set(found_by_matcher(Matcher((rule(pattern="[a-z]{3}[0-9]{4}"),), [0]), b"see abc1234")) == {0}


def test_no_shipped_expression_is_always_asked() -> None:
    tables = tables_of(policies().shipped)
    assert judge() is not None
    assert [tables.expressions[number] for number in tables.always] == []


def test_every_shipped_rule_with_words_stands_under_some_literal() -> None:
    tables = tables_of(policies().shipped)
    reached = {tables.expressions[number][0] for literal in tables.literals for number in literal.atoms}
    reached |= {entry[0] for literal in tables.literals for entry in literal.phrases}
    reached |= {number for literal in tables.literals for *_, indexes in literal.alone for number in indexes}
    wanted = {
        n
        for n, one in enumerate(policies().shipped)
        if one.strength in (Strength.TOKEN, Strength.TEXT) and one.has_words
    }
    assert reached == wanted


def test_a_phrase_with_a_gap_stands_under_its_rarer_part() -> None:
    common = [rule(f"r{number}", phrases=("mail",)) for number in range(9)]
    common = [msgspec.structs.replace(one, examples=("mail mail",)) for one in common]
    rules = (*common, rule("gap", phrases=("mail … xylophone",)))
    tables = build_tables(rules)
    opened = [literal.size for literal in tables.literals if literal.phrases]
    assert opened == [len("xylophone")]


@pytest.mark.parametrize(
    ("words", "text", "stands"),
    [
        ("full", b"it is full.", True),
        ("full", b"fully", False),
        ("user … unknown", b"the user ann is unknown", True),
        ("user … unknown", b"unknown user", False),
        ("[tss04]", b"x[tss04]x", True),
        ("5.1.1", b"5x1x1", False),
    ],
)
def test_a_phrase_as_an_expression(words: str, text: bytes, stands: bool) -> None:
    (expression,) = expressions_of(rule(phrases=(words,)))
    assert matches(expression, text) is stands


def test_expressions_of_a_rule_are_its_pattern_and_its_phrases() -> None:
    assert list(expressions_of(rule(pattern="a.b", phrases=("c",)))) == ["a.b", r"\bc\b"]
