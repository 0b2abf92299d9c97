"""What stands behind a list entry, and what does not: the line or statement that proved it, and what was only claimed.

An entry's `source` names its proof (`log QUEUE-ID`, `bounce DIGEST`); here that is found again, for customer service years
later. What has been purged or forgotten since is not there any more: then the entry's own reason is all that is left.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import ListEntry, Road, Trust, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.failures import GIVEN_UP
from omicard_relay.store.schema import attempt, bounce_mail, bounce_report, list_change, recipient

__all__ = ["Claim", "Ending", "Proof", "claims_about", "find_ending", "find_proof", "proven_failures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One telling line or statement: when, by which rule it was read, the words that decided, and the whole reply."""

    time: datetime
    source: str
    bounce_code: int | None
    rule_id: str | None
    words: str | None
    reply: str
    feedback_type: str | None = None
    new_address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What bounce mails said of an address without a proof: how often, and when last. Nothing came of it."""

    road: Road
    bounce_code: int | None
    count: int
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Who took an entry off, when and why."""

    change_id: int
    time: datetime
    who: str
    note: str


def find_proof(tx: Tx, entry: ListEntry) -> Proof | None:
    """The line or statement that proved the entry; None where a person made it, or the proof is not kept any more."""
    by, _, name = entry.source.partition(" ")
    if not name or (by == "bounce" and not name.isalnum()):
        return None
    if by == "log":
        query, code = _LINES.where(attempt.c.queue_id == name, attempt.c.outcome.in_(GIVEN_UP)), attempt.c.bounce_code
    elif by == "bounce":
        query = _STATEMENTS.where(bounce_report.c.mail_digest.startswith(name), bounce_report.c.trust == Trust.PROVEN)
        code = bounce_report.c.bounce_code
    else:
        return None
    query = query.where(recipient.c.address_key == entry.value)
    if entry.bounce_code is not None:
        # The same code first: `rules rejudge` may have given it another since.
        query = query.order_by(sa.case((code == entry.bounce_code, 0), else_=1))
    row = tx.execute(query.order_by(sa.desc("time")).limit(1)).first()
    return None if row is None else _proof(row, entry.source)


def proven_failures(tx: Tx, address: str, codes: frozenset[int], *, since: datetime, limit: int = 100) -> list[Proof]:
    """The newest failures of mail to this address with one of these codes since then that are proven, newest first."""
    ours = recipient.c.address_key == address_key(address)
    lines = _LINES.where(ours, attempt.c.bounce_code.in_(codes), attempt.c.outcome.in_(GIVEN_UP))
    statements = _STATEMENTS.where(
        ours,
        bounce_report.c.bounce_code.in_(codes),
        bounce_report.c.trust == Trust.PROVEN,
        bounce_report.c.is_echo.is_(False),
    )
    found = [_proof(row, f"log {row.name}") for row in _newest(tx, lines, attempt.c.time, since, limit)]
    newest = _newest(tx, statements, bounce_mail.c.received, since, limit)
    found += [_proof(row, f"bounce {row.name[:16]}") for row in newest]
    return sorted(found, key=lambda one: one.time, reverse=True)[:limit]


def claims_about(tx: Tx, address: str) -> list[Claim]:
    """What was only claimed of this address, by road and code, newest first."""
    key = address_key(address)
    about = sa.or_(bounce_report.c.address_key == key, recipient.c.address_key == key)
    last = sa.func.max(bounce_mail.c.received).label("last")
    rows = tx.execute(
        sa.select(bounce_report.c.road, bounce_report.c.bounce_code, sa.func.sum(bounce_mail.c.times_seen), last)
        .join(bounce_mail)
        .join(recipient, recipient.c.id == bounce_report.c.recipient_id, isouter=True)
        .where(about, bounce_report.c.trust == Trust.CLAIMED)
        .group_by(bounce_report.c.road, bounce_report.c.bounce_code)
        .order_by(last.desc())
    )
    return [Claim(road=Road(row[0]), bounce_code=row[1], count=int(row[2]), last=row[3]) for row in rows]


def find_ending(tx: Tx, entry_id: int) -> Ending | None:
    """Who took this entry off last; None where nobody did."""
    row = tx.execute(
        sa.select(list_change)
        .where(list_change.c.entry_id == entry_id, list_change.c.what == "remove")
        .order_by(list_change.c.id.desc())
        .limit(1)
    ).first()
    return None if row is None else Ending(change_id=row.id, time=row.time, who=row.who, note=row.note)


_LINES = (
    sa.select(attempt.c.time.label("time"), attempt.c.queue_id.label("name"), attempt.c.bounce_code, attempt.c.rule_id)
    .add_columns(attempt.c.words, attempt.c.reply)
    .join(recipient, recipient.c.id == attempt.c.recipient_id)
)
_STATEMENTS = (
    sa.select(bounce_mail.c.received.label("time"), bounce_report.c.mail_digest.label("name"))
    .add_columns(bounce_report.c.bounce_code, bounce_report.c.rule_id, bounce_report.c.words, bounce_report.c.reply)
    .add_columns(bounce_report.c.feedback_type, bounce_report.c.new_address)
    .join(bounce_mail, bounce_mail.c.digest == bounce_report.c.mail_digest)
    .join(recipient, recipient.c.id == bounce_report.c.recipient_id)
)


def _newest(
    tx: Tx, query: sa.Select[Any], time: sa.ColumnElement[Any], since: datetime, limit: int
) -> list[sa.Row[Any]]:
    return list(tx.execute(query.where(time >= since).order_by(time.desc()).limit(limit)))


def _proof(row: sa.Row[Any], source: str) -> Proof:
    told = row._mapping
    return Proof(
        time=row.time,
        source=source,
        bounce_code=row.bounce_code,
        rule_id=row.rule_id,
        words=row.words,
        reply=row.reply,
        feedback_type=told.get("feedback_type"),
        new_address=told.get("new_address"),
    )
