"""Threads: the attempts of one recipient of one mail, one after the other, and the trials that they make.

A thread lives while its mail fails; a delivery ends it. The oldest fall out where there are too many.
Not here: what a trial teaches (cells.py), and what the lane learns from the same attempt (lanes.py).
"""

import msgspec

from omicard_relay.mail import Outcome
from omicard_relay.steering.cells import kind_of, try_class
from omicard_relay.steering.rests import bucket_of
from omicard_relay.steering.values import Seen
from omicard_relay.tables.retry import RetryPolicy, RetryRule

__all__ = ["Thread", "Trial", "is_permanent", "is_returned", "next_thread", "trial_of", "tries_of"]


class Thread(msgspec.Struct, frozen=True, gc=False):
    """A recipient that failed: `run` attempts with this code, the times of the first and the last, `total` in all."""

    code: int
    kind: int
    first: float
    last: float
    run: int
    total: int
    ip: str
    id: int


class Trial(msgspec.Struct, frozen=True, gc=False):
    """A failure and what the next attempt came to."""

    kind: int
    tries: int
    other_ip: bool
    bucket: int
    passed: bool


def is_returned(seen: Seen) -> bool:
    """Whether the verdict on this attempt says return."""
    return seen.action is not None and seen.action.value == "return"


def tries_of(thread: Thread, rule: RetryRule) -> int:
    """The class of the retry that comes next: by all failures before it; by those with this code where the wait is theirs."""
    return try_class((thread.run if rule.counted_from == "first" else thread.total) - 1)


def is_permanent(seen: Seen) -> bool:
    """Whether the failure is a permanent one by its own word: the server's 5xx, or Postfix's where no server spoke."""
    return seen.reply_class == 5 or (seen.reply_class == 0 and seen.outcome is Outcome.BOUNCED)


def next_thread(before: Thread | None, seen: Seen) -> Thread | None:
    """The thread after this attempt; None where it is over."""
    if seen.code is None:
        return None
    if before is not None and before.id >= seen.id:
        return before
    kind = kind_of(seen.code, is_returned(seen), is_permanent(seen))
    if before is None:
        return Thread(seen.code, kind, seen.time, seen.time, 1, 1, seen.ip, seen.id)
    if before.code != seen.code:
        return Thread(seen.code, kind, seen.time, seen.time, 1, before.total + 1, seen.ip, seen.id)
    return Thread(seen.code, kind, before.first, seen.time, before.run + 1, before.total + 1, seen.ip, seen.id)


def trial_of(before: Thread, seen: Seen, policy: RetryPolicy) -> Trial | None:
    """What this attempt says about the rest before it; None where it says nothing (the lane was at fault)."""
    rule = policy.rule(before.code, seen.provider)
    passed = seen.outcome is Outcome.SENT
    if not passed:
        if seen.code is None:
            return None
        if seen.code != before.code:
            if policy.rule(seen.code, seen.provider).scope != "recipient" or rule.scope != "recipient":
                return None
            # Whoever is told of another trouble has passed the greylist; other troubles change their words.
            passed = before.code == GREYLISTED
    rest = seen.time - (before.first if rule.counted_from == "first" else before.last)
    other = bool(before.ip and seen.ip and before.ip != seen.ip)
    return Trial(before.kind, tries_of(before, rule), other, bucket_of(rest), passed)


GREYLISTED = 935
