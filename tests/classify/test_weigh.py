"""Which proposal wins: rank, generality, what yields to what, longer words; and how sure the verdict is."""

from itertools import permutations, product

import pytest

from omicard_relay.classify.weigh import TIERS, Proposal, standing_of, tier_of, winner
from omicard_relay.tables import Rule, Strength
from tests.judging import policies

CODES = policies().codes


def rule(name: str = "r", code: int = 901, strength: Strength = Strength.TEXT, **more: object) -> Rule:
    return Rule(id=name, bounce_code=code, strength=strength, examples=("x",), **more)  # type: ignore[arg-type]


def proposal(one: Rule, size: int = 5, *, start: int = 0, is_own: bool = False) -> Proposal:
    standing = standing_of(one, one.bounce_code, CODES, is_own=is_own)
    return standing.rank, standing.generality, -size, start, one.id, standing, start + size


def won(*proposals: Proposal) -> tuple[str, float]:
    """The rule that wins whatever the order in which the proposals came."""
    results = {winner(sorted(order))[:2] for order in permutations(proposals)}
    assert len(results) == 1
    chosen, confidence = results.pop()
    return chosen[4], confidence


@pytest.mark.parametrize(
    ("strength", "weak", "generality", "tier"),
    [
        (Strength.TOKEN, False, 0, "token"),
        (Strength.TOKEN, True, 4, "token"),
        (Strength.TEXT, False, 0, "text"),
        (Strength.TEXT, False, 1, "general-text"),
        (Strength.TEXT, False, 2, "bare-text"),
        (Strength.TEXT, False, 4, "bare-text"),
        (Strength.TEXT, True, 0, "weak-text"),
        (Strength.ENHANCED, False, 0, "enhanced"),
        (Strength.ENHANCED, False, 1, "bare-enhanced"),
        (Strength.ENHANCED, True, 0, "bare-enhanced"),
        (Strength.REPLY, False, 0, "reply"),
    ],
)
def test_tier(strength: Strength, weak: bool, generality: int, tier: str) -> None:
    assert tier_of(rule(strength=strength, weak=weak), generality) == tier


def test_tiers_are_in_order_of_sureness() -> None:
    assert list(TIERS.values()) == sorted(TIERS.values(), reverse=True)


def test_in_a_tier_own_rules_come_first_and_then_those_that_name_a_host() -> None:
    kinds = [(True, ("x.example",)), (True, ()), (False, ("x.example",)), (False, ())]
    ranks = [standing_of(rule(host=host), 901, CODES, is_own=is_own).rank for is_own, host in kinds]
    assert ranks == sorted(set(ranks))
    assert ranks[-1] < standing_of(rule(weak=True, host=("x.example",)), 901, CODES, is_own=True).rank


def test_no_own_rule_outranks_a_higher_tier() -> None:
    for (first, second), is_own in product(zip(list(Strength), list(Strength)[1:], strict=False), (True, False)):
        stronger = standing_of(rule(strength=first), 901, CODES)
        weaker = standing_of(rule(strength=second, host=("x.example",)), 901, CODES, is_own=is_own)
        assert stronger.rank < weaker.rank


@pytest.mark.parametrize(
    ("one", "is_silent"),
    [
        (rule(code=900), True),
        (rule(code=900, strength=Strength.TOKEN), False),
        (rule(code=901), False),
        (rule(code=907), False),
        (rule(strength=Strength.REPLY), True),
        (rule(strength=Strength.ENHANCED), False),
        (rule(strength=Strength.ENHANCED, weak=True), True),
        (rule(code=907, strength=Strength.ENHANCED), True),
    ],
)
def test_what_states_no_cause_is_silent(one: Rule, is_silent: bool) -> None:
    assert standing_of(one, one.bounce_code, CODES).is_silent is is_silent


def test_stronger_wins_over_longer() -> None:
    token, text = proposal(rule("token", 938, Strength.TOKEN), 2), proposal(rule("text", 901), 90)
    assert won(token, text) == ("token", TIERS["token"])


def test_specific_wins_over_general() -> None:
    assert won(proposal(rule("refused", 907), 90), proposal(rule("full", 901), 2))[0] == "full"


def test_longer_words_win_among_equals_and_leave_doubt() -> None:
    name, confidence = won(proposal(rule("full", 901), 4), proposal(rule("big", 922), 9))
    assert (name, confidence) == ("big", round(TIERS["text"] * 0.7, 3))


def test_what_yields_loses_with_longer_words() -> None:
    assert 901 in CODES[902].yields_to
    assert won(proposal(rule("unknown", 902), 90), proposal(rule("full", 901), 4))[0] == "full"


def test_a_stronger_rule_yields_to_no_weaker_one() -> None:
    unknown, full = rule("unknown", 902, Strength.TOKEN), rule("full", 901)
    assert won(proposal(unknown), proposal(full))[0] == "unknown"


def test_where_all_yield_to_each_other_the_longest_wins() -> None:
    pairs = [(a, b) for a in CODES for b in CODES[a].yields_to if a in CODES[b].yields_to]
    for first, second in pairs:
        if CODES[first].generality == CODES[second].generality:
            assert won(proposal(rule("a", first), 4), proposal(rule("b", second), 9))[0] == "b"


def test_agreeing_tiers_make_surer_and_a_second_rule_of_the_same_tier_does_not() -> None:
    text, same = proposal(rule("text")), proposal(rule("other"), 3)
    code = proposal(rule("code", 901, Strength.ENHANCED))
    alone = won(text)[1]
    assert won(text, same)[1] == alone
    assert won(text, code)[1] == round(alone + (1 - alone) / 2, 3)


def test_ties_are_settled_by_place_and_then_by_id() -> None:
    assert won(proposal(rule("b"), start=3), proposal(rule("a"), start=9))[0] == "b"
    assert won(proposal(rule("b")), proposal(rule("a")))[0] == "a"


def test_runners_up_are_the_best_of_each_other_code() -> None:
    proposals = sorted(
        [
            proposal(rule("full", 901), 20),
            proposal(rule("big", 922), 9),
            proposal(rule("big-too", 922), 3),
            proposal(rule("refused", 907), 30),
            proposal(rule("full-code", 901, Strength.ENHANCED)),
        ]
    )
    chosen, _, others = winner(proposals)
    assert chosen[4] == "full"
    assert [(other.bounce_code, other.rule_id) for other in others] == [(922, "big"), (907, "refused")]


def test_confidence_is_a_share() -> None:
    some = [proposal(rule(f"r{n}", code, strength)) for n, (code, strength) in enumerate(product(CODES, Strength))]
    for one, other in zip(some, some[7:], strict=False):
        assert 0 < winner(sorted([one, other]))[1] <= 1
