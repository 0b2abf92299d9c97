"""`Verdict` names a cause, `Decision` says what to do about it; the two are never mixed."""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

__all__ = ["Action", "Decision", "RunnerUp", "Verdict"]


class Action(StrEnum):
    """What to do: `return` (final), `retry` (rest, then resend), `alert` (our own machine is short of resources)."""

    RETURN = "return"
    RETRY = "retry"
    ALERT = "alert"


class RunnerUp(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A reading that lost, and the rule that proposed it."""

    bounce_code: int
    rule_id: str
    confidence: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The cause of one refusal: a bounce code from 900 to 939, the rule that named it and the words that decided.

    `confidence` is between 0 and 1. `runners_up` is ordered, best first.
    """

    bounce_code: int
    rule_id: str
    confidence: float
    words: str = ""
    runners_up: tuple[RunnerUp, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be done for one recipient, with the reasons in words, most important first."""

    action: Action
    reasons: tuple[str, ...]
