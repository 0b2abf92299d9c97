"""A stored reply gets another verdict: its row takes the new one, `rejudgement` keeps both, its recipient follows.

An expiry took its cause from the last attempt: where that changes, so does the expiry. Lists are not touched: what was
put there had its reason then, and what might be put there now was not proven by a change of rules.
Not here: the judging (services/rejudge.py).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import Verdict
from omicard_relay.store.attempts import last_cause
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import fold_reports, refold
from omicard_relay.store.replies import Judgement, ReplyKind, StoredReply, is_expiry, judgement_of
from omicard_relay.store.schema import attempt, bounce_report, rejudgement

__all__ = ["Reread", "apply_judgements", "rereads"]

_TABLES = {ReplyKind.ATTEMPT: attempt, ReplyKind.BOUNCE_REPORT: bounce_report}
_REFERENCES = {ReplyKind.ATTEMPT: "attempt_id", ReplyKind.BOUNCE_REPORT: "bounce_report_id"}
_NAMES = tuple(field.name for field in fields(Judgement))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """One change of a verdict."""

    time: datetime
    old: Judgement
    new: Judgement


def apply_judgements(
    tx: Tx,
    changes: Iterable[tuple[StoredReply, Judgement]],
    *,
    now: datetime,
    expiry: Callable[[Verdict | None], Verdict],
) -> int:
    """Give these replies their new judgements; gives how many rows changed, expiries among them.

    A row that somebody else has judged meanwhile is left to him. `expiry` names the cause of an expiry by that of the last
    attempt (steering/expiry.py).
    """
    changed = 0
    touched: dict[int, int | None] = {}
    reported: set[int] = set()
    for stored, new in changes:
        if not _change(tx, stored.kind, stored.row_id, stored.judgement, new, now):
            continue
        changed += 1
        if stored.recipient_id is None:
            continue
        if stored.kind is ReplyKind.ATTEMPT:
            touched[stored.recipient_id] = new.release
        else:
            reported.add(stored.recipient_id)
    for recipient_id, release in touched.items():
        changed += _change_expiries(tx, recipient_id, release, now, expiry)
        refold(tx, recipient_id)
    for recipient_id in reported - touched.keys():
        fold_reports(tx, recipient_id)
    return changed


def rereads(tx: Tx, kind: ReplyKind, row_ids: Sequence[int]) -> dict[int, tuple[Reread, ...]]:
    """The changes of these rows' verdicts, oldest first; a row that was never judged again is not in it."""
    reference = rejudgement.c[_REFERENCES[kind]]
    found: dict[int, tuple[Reread, ...]] = {}
    for start in range(0, len(row_ids), 500):  # databases bound the parameters of a statement
        part = row_ids[start : start + 500]
        for row in tx.execute(sa.select(rejudgement).where(reference.in_(part)).order_by(rejudgement.c.id)):
            values = row._mapping
            one = Reread(
                time=row.time,
                old=Judgement(**{name: values[f"old_{name}"] for name in _NAMES}),
                new=Judgement(**{name: values[f"new_{name}"] for name in _NAMES}),
            )
            key = values[_REFERENCES[kind]]
            found[key] = (*found.get(key, ()), one)
    return found


def _change(tx: Tx, kind: ReplyKind, row_id: int, old: Judgement, new: Judgement, now: datetime) -> bool:
    """Whether the row still had the old judgement, and so took the new one."""
    table = _TABLES[kind]
    same = [
        table.c[_column(name)].is_not_distinct_from(getattr(old, name))
        for name in ("release", "bounce_code", "rule_id")
    ]
    values = {_column(name): getattr(new, name) for name in _NAMES}
    if not tx.execute(table.update().where(table.c.id == row_id, *same).values(values)).rowcount:
        return False
    both = {f"{which}_{name}": getattr(one, name) for which, one in (("old", old), ("new", new)) for name in _NAMES}
    tx.execute(rejudgement.insert().values({_REFERENCES[kind]: row_id, "time": now, **both}))
    return True


def _change_expiries(
    tx: Tx, recipient_id: int, release: int | None, now: datetime, expiry: Callable[[Verdict | None], Verdict]
) -> int:
    rows = tx.execute(sa.select(attempt).where(attempt.c.recipient_id == recipient_id, is_expiry())).all()
    if not rows:
        return 0
    verdict = expiry(last_cause(tx, recipient_id))
    changed = 0
    for row in rows:
        old = judgement_of(row)
        new = replace(
            old,
            release=release,
            bounce_code=verdict.bounce_code,
            rule_id=verdict.rule_id,
            confidence=verdict.confidence,
            words=verdict.words,
        )
        if replace(new, release=old.release) != old:
            changed += _change(tx, ReplyKind.ATTEMPT, row.id, old, new, now)
    return changed


def _column(name: str) -> str:
    return "rules_release" if name == "release" else name
