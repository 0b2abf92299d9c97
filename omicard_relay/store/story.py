"""The story of one recipient in one order of time: scrub decision, attempts, verdicts, steering's decisions, changes of
lists.

Attempts and bounce mails are those of reports.py; here comes what others did about them. A change of a list belongs
to the story when the entry is of the address, or of its domain.
"""

import sqlalchemy as sa

from omicard_relay.mail import address_key, domain_of
from omicard_relay.store.decisions import decisions_for
from omicard_relay.store.engine import Tx
from omicard_relay.store.hidden import spellings
from omicard_relay.store.reports import Event, Subject, timeline
from omicard_relay.store.schema import attempt, list_change, list_entry

__all__ = ["list_events", "past_decisions", "story"]


def story(tx: Tx, subject: Subject) -> list[Event]:
    """All that happened to one recipient and was done about it, oldest first."""
    events = [_scrubbed(subject), *timeline(tx, subject), *_decided(tx, attempt.c.recipient_id == subject.recipient_id)]
    events += list_events(tx, subject.address)
    # What was seen first stands first where the second is the same: the failure before the decision about it.
    return sorted(events, key=lambda event: event.time)


def past_decisions(tx: Tx, attempt_ids: list[int]) -> list[Event]:
    """The decisions about attempts of mail that did not come through the relay."""
    return _decided(tx, attempt.c.id.in_(attempt_ids)) if attempt_ids else []


def list_events(tx: Tx, address: str) -> list[Event]:
    """Who changed which list entry of an address, or of its domain, and why."""
    key = address_key(address)
    values = spellings(tx, key)
    if domain := domain_of(key):
        values.append(f"@{domain}")
    rows = tx.execute(
        sa.select(list_change, list_entry.c.list_name, list_entry.c.value, list_entry.c.scope, list_entry.c.reason)
        .add_columns(list_entry.c.source)
        .join(list_entry, list_entry.c.id == list_change.c.entry_id)
        .where(list_entry.c.value.in_(values))
        .order_by(list_change.c.id)
    )
    return [
        Event(
            time=row.time,
            what="list",
            outcome=row.what,
            list_name=row.list_name,
            value=row.value,
            who=row.who,
            reasons=row.note or row.reason,
            source=row.source,
        )
        for row in rows
    ]


def _scrubbed(subject: Subject) -> Event:
    """What the steps before sending decided; who was not dropped has passed all of them."""
    if subject.drop_step:
        return Event(
            time=subject.received, what="scrub", outcome="dropped", value=subject.drop_step, reasons=subject.detail
        )
    return Event(time=subject.received, what="scrub", outcome="kept")


def _decided(tx: Tx, condition: sa.ColumnElement[bool]) -> list[Event]:
    lines = tx.execute(sa.select(attempt.c.id, attempt.c.time, attempt.c.bounce_code).where(condition)).all()
    decided = decisions_for(tx, [line.id for line in lines])
    return [
        Event(
            time=decided[line.id].time,
            what="decision",
            outcome=decided[line.id].mode,
            action=decided[line.id].plan.action,
            bounce_code=line.bounce_code,
            decided=decided[line.id],
            failed=line.time,
        )
        for line in lines
        if line.id in decided
    ]
