"""Which of several proposed causes wins: strength, then specific over general, then what yields to what.

The order of judgement stands here and nowhere else; file order never counts. The table says: a provider's own token
beats the text, the text beats the enhanced status code, that one beats the reply code; of two causes the more
specific one wins.
"""

from collections.abc import Mapping
from typing import NamedTuple

from omicard_relay.mail import RunnerUp
from omicard_relay.tables.codes import BounceCode
from omicard_relay.tables.rules import Rule, Strength

__all__ = ["TIERS", "Proposal", "Standing", "standing_of", "tier_of", "winner"]

#: Tiers, best first; how sure a proposal of that tier is when nothing speaks against it. 907, 928 and 900 are hardly
#: causes: they stand below an enhanced status code that names one; 913 and 915 say what happened and stand above it.
TIERS = {
    "token": 0.95,
    "text": 0.9,
    "general-text": 0.75,
    "enhanced": 0.7,
    "bare-text": 0.6,
    "weak-text": 0.55,
    "bare-enhanced": 0.4,
    "reply": 0.35,
}
_RANK = {name: rank for rank, name in enumerate(TIERS)}
#: Ranks in one tier.
_STEP = 4
_SURENESS = tuple(TIERS.values())
_UNKNOWN = 900


class Standing(NamedTuple):
    """What a rule proposes before any text is read, and how strongly.

    `rank`: smaller is stronger; in a tier the site's own rules come first, for they were written against the shipped ones,
    and a rule that names its host knows more than one that does not. `is_silent`: it states no
    cause, so that the next text outwards may: 900, or a code that servers use for anything. `yields_to` are the codes that
    win over its own; `runner_up` is what is told of it when it loses.
    """

    rank: int
    generality: int
    rule_id: str
    bounce_code: int
    is_silent: bool
    yields_to: frozenset[int]
    runner_up: RunnerUp


#: One rule's reading of one text; the order of the parts is the order of judgement: rank, generality, minus the octets of
#: its words (longer words say more), where they begin, the rule's id, its standing, where they end.
#: A plain tuple: several are made for each text, and most are only compared.
Proposal = tuple[int, int, int, int, str, Standing, int]


def tier_of(rule: Rule, generality: int) -> str:
    """The tier of a rule that proposes a code of this generality."""
    if rule.strength is Strength.TOKEN:
        return "token"
    if rule.strength is Strength.REPLY:
        return "reply"
    if rule.strength is Strength.ENHANCED:
        return "bare-enhanced" if rule.weak or generality else "enhanced"
    if rule.weak:
        return "weak-text"
    return ("text", "general-text", "bare-text", "bare-text", "bare-text")[generality]


def standing_of(rule: Rule, bounce_code: int, codes: Mapping[int, BounceCode], *, is_own: bool = False) -> Standing:
    """The standing of a rule when it proposes this code; `is_own`: of the site's layers, not shipped."""
    generality = codes[bounce_code].generality
    if bounce_code == _UNKNOWN or rule.strength is Strength.REPLY:
        is_silent = rule.strength is not Strength.TOKEN
    else:
        is_silent = rule.strength is Strength.ENHANCED and (rule.weak or generality > 0)
    tier = tier_of(rule, generality)
    return Standing(
        rank=_STEP * _RANK[tier] + (0 if is_own else 2) + (0 if rule.host else 1),
        generality=generality,
        rule_id=rule.id,
        bounce_code=bounce_code,
        is_silent=is_silent,
        yields_to=frozenset(codes[bounce_code].yields_to),
        runner_up=RunnerUp(bounce_code=bounce_code, rule_id=rule.id, confidence=TIERS[tier]),
    )


def winner(proposals: list[Proposal]) -> tuple[Proposal, float, tuple[RunnerUp, ...]]:
    """The proposal that wins, its confidence, and the best other reading of each other code, best first.

    `proposals` must be sorted, and not empty.
    """
    chosen = proposals[0]
    rank = chosen[0]
    if len(proposals) == 1:
        return chosen, _SURENESS[rank // _STEP], ()
    # By code, the best proposal of each; those of the winner's rank first.
    best: dict[int, Proposal] = {}
    for proposal in proposals:
        best.setdefault(proposal[5].bounce_code, proposal)
    if len(best) == 1:
        code, confidence = chosen[5].bounce_code, _SURENESS[rank // _STEP]
    else:
        peers = [proposal for proposal in best.values() if proposal[0] == rank]
        if len(peers) > 1:
            stated = {proposal[5].bounce_code for proposal in peers}
            peers = [proposal for proposal in peers if stated.isdisjoint(proposal[5].yields_to)] or peers
            chosen = peers[0]
        code, confidence = chosen[5].bounce_code, _SURENESS[rank // _STEP]
        if len(peers) > 1 and peers[1][1] == chosen[1]:
            # Two causes of the same strength: the longer words decided, which is hardly better than chance.
            confidence *= 0.7
    for proposal in proposals:
        if proposal[5].bounce_code == code and proposal[0] // _STEP != rank // _STEP:
            # Text and code say the same.
            confidence += (1 - confidence) / 2
            break
    others = tuple([proposal[5].runner_up for other, proposal in best.items() if other != code])
    return chosen, round(confidence, 3), others
