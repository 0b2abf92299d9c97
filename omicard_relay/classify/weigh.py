"""Which of several proposed causes wins: strength, then specific over general, then what yields to what.

The order of judgement stands here and nowhere else; file order never counts. The table says: a provider's own token
beats the text, the text beats the enhanced status code, that one beats the reply code; of two causes the more
specific one wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from omicard_relay.mail import RunnerUp
from omicard_relay.tables.codes import BounceCode
from omicard_relay.tables.rules import Rule, Strength

__all__ = ["Proposal", "runners_up", "tier_of", "winner"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One rule's reading: `words` as they stand in the text, `place` where they begin."""

    rule: Rule
    bounce_code: int
    tier: str
    words: str
    place: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller is stronger; a rule that names its host knows more than one that does not."""
        return _RANK[self.tier], 0 if self.rule.host else 1


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


def winner(proposals: list[Proposal], codes: Mapping[int, BounceCode]) -> tuple[Proposal, float]:
    """The proposal that wins, and its confidence. `proposals` must not be empty."""
    best = min(proposal.rank for proposal in proposals)
    peers = [proposal for proposal in proposals if proposal.rank == best]
    stated = {proposal.bounce_code for proposal in peers}
    left = [p for p in peers if not stated.intersection(codes[p.bounce_code].yields_to)] or peers
    chosen = min(left, key=lambda p: (codes[p.bounce_code].generality, -len(p.words), p.place, p.rule.id))
    confidence = TIERS[chosen.tier]
    general = codes[chosen.bounce_code].generality
    if any(p.bounce_code != chosen.bounce_code and codes[p.bounce_code].generality == general for p in left):
        # Two causes of the same strength: the longer words decided, which is hardly better than chance.
        confidence *= 0.7
    if any(p.bounce_code == chosen.bounce_code and p.tier != chosen.tier for p in proposals):
        # Text and code say the same.
        confidence += (1 - confidence) / 2
    return chosen, round(confidence, 3)


def runners_up(proposals: list[Proposal], chosen: Proposal, codes: Mapping[int, BounceCode]) -> tuple[RunnerUp, ...]:
    """The best other reading of each other code, best first."""
    others: dict[int, RunnerUp] = {}
    for proposal in sorted(
        proposals, key=lambda p: (p.rank, codes[p.bounce_code].generality, -len(p.words), p.rule.id)
    ):
        code = proposal.bounce_code
        if code != chosen.bounce_code and code not in others:
            others[code] = RunnerUp(bounce_code=code, rule_id=proposal.rule.id, confidence=TIERS[proposal.tier])
    return tuple(others.values())
