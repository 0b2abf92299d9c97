"""The stored replies judged again by the rules in force: rows take the new verdict, and both are kept.

Run it again after it was stopped, or as often as you like: what agrees is not written. Each transaction is short, and the
store is left alone as long as one took, so that a follower is not held up. Lists never change by this.
Known limits: a reply whose mail states no failure today keeps its verdict; so does a refusal that the relay itself heard
from Postfix (`recipient` alone has it).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from omicard_relay.mail import Decision, StoreError, Verdict
from omicard_relay.services.rulebook import RuleSet
from omicard_relay.services.rulediff import EvidenceReader, Reading, Shift
from omicard_relay.steering import expiry_verdict
from omicard_relay.store.engine import Store
from omicard_relay.store.rejudgements import apply_judgements
from omicard_relay.store.releases import newest_number
from omicard_relay.store.replies import Judgement, Period, ReplyKind, StoredReply, stored_replies

__all__ = ["Rejudged", "rejudge"]

#: Rows that are changed in one transaction: some ten milliseconds of a lock that a follower may wait for.
_BATCH = 50


@dataclass(slots=True, kw_only=True)
class Rejudged:
    """`read` replies, `changed` rows (with expiries that follow); `counts` by shift, of code, rule or action alone."""

    read: int = 0
    changed: int = 0
    counts: dict[Shift, int] = field(default_factory=dict)


def rejudge(
    store: Store,
    rules: RuleSet,
    *,
    period: Period,
    dry_run: bool,
    clock: Callable[[], datetime],
    on_progress: Callable[[int], None] = lambda count: None,
) -> Rejudged:
    """Judge all replies of a period again. Raises StoreError, also when another release comes into force meanwhile."""
    reader, done = EvidenceReader(rules.reader), Rejudged()
    for kind in ReplyKind:
        waiting: list[tuple[StoredReply, Judgement]] = []
        for page in stored_replies(store, period, kind=kind):
            for stored in page:
                new = _judgement(*rules.judged(reader.read(stored)), rules.release)
                done.read += 1
                if new is None or _same(new, stored.judgement):
                    continue
                _count(done, stored.judgement, new)
                waiting.append((stored, new))
                if len(waiting) >= _BATCH:
                    _write(store, rules, waiting, done, dry_run, clock)
            _write(store, rules, waiting, done, dry_run, clock)
            on_progress(len(page))
    return done


def _write(
    store: Store,
    rules: RuleSet,
    waiting: list[tuple[StoredReply, Judgement]],
    done: Rejudged,
    dry_run: bool,
    clock: Callable[[], datetime],
) -> None:
    """Write what waits, and empty it."""
    if not waiting:
        return
    if dry_run:
        done.changed += len(waiting)
    else:
        start = time.monotonic()
        with store.write() as tx:
            if newest_number(tx) != rules.release:
                raise StoreError(
                    "Another release of the rules came into force meanwhile; what was judged so far is kept. "
                    "Run `omicard-relay rules rejudge` again."
                )
            done.changed += apply_judgements(tx, waiting, now=clock(), expiry=expiry_verdict)
        time.sleep(time.monotonic() - start)
    waiting.clear()


def _judgement(verdict: Verdict | None, decision: Decision | None, release: int | None) -> Judgement | None:
    if verdict is None:
        return None
    return Judgement(
        release=release,
        bounce_code=verdict.bounce_code,
        rule_id=verdict.rule_id,
        confidence=verdict.confidence,
        words=verdict.words,
        action=decision.action if decision else None,
        reasons="; ".join(decision.reasons) if decision else None,
    )


def _same(new: Judgement, old: Judgement) -> bool:
    """Whether nothing changed but perhaps the wording of the reasons."""
    names = ("bounce_code", "rule_id", "confidence", "words", "action")
    return all(getattr(new, name) == getattr(old, name) for name in names)


def _count(done: Rejudged, old: Judgement, new: Judgement) -> None:
    shift = Shift(before=_reading(old), after=_reading(new))
    if shift.before != shift.after:
        done.counts[shift] = done.counts.get(shift, 0) + 1


def _reading(one: Judgement) -> Reading:
    return Reading(bounce_code=one.bounce_code, rule_id=one.rule_id, action=one.action)
