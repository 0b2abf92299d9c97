"""Why one rule's reading wins over another's: the order of classify/weigh.py, told for two rules.

Used to explain a verdict and to find rules of equal strength that contradict each other.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum

from omicard_relay.classify.weigh import TIERS, tier_of
from omicard_relay.tables.codes import BounceCode
from omicard_relay.tables.rules import Rule

__all__ = ["WinReason", "rank_of", "why_it_wins"]

_PLACE = {name: place for place, name in enumerate(TIERS)}


class WinReason(StrEnum):
    """What decided, in the order in which it is asked."""

    #: A stronger kind of statement: a token before words before codes.
    STRENGTH = "strength"
    #: It names its host.
    HOST = "host"
    #: The other cause yields to this one (codes.toml).
    YIELDS = "yields"
    #: The more specific cause.
    SPECIFIC = "specific"
    #: Nothing but the longer words: the two contradict each other.
    LONGER = "longer"


def rank_of(rule: Rule, bounce_code: int, codes: Mapping[int, BounceCode]) -> tuple[int, int]:
    """How strong the rule is when it proposes this code; smaller is stronger."""
    return _PLACE[tier_of(rule, codes[bounce_code].generality)], 0 if rule.host else 1


def why_it_wins(
    winner: tuple[Rule, int],
    loser: tuple[Rule, int],
    codes: Mapping[int, BounceCode],
    stated: Collection[int] = (),
) -> WinReason:
    """Why the first (rule, code) beats the second. `stated`: all codes that rules of that strength propose."""
    first, second = rank_of(*winner, codes), rank_of(*loser, codes)
    if first != second:
        return WinReason.STRENGTH if first[0] != second[0] else WinReason.HOST
    if {winner[1], *stated}.intersection(codes[loser[1]].yields_to):
        return WinReason.YIELDS
    if codes[winner[1]].generality != codes[loser[1]].generality:
        return WinReason.SPECIFIC
    return WinReason.LONGER
