"""What people ask: how it stands in total, and everything about one recipient, queue id or mail.

Counting is by recipient (its fate now), never by log line; so that the figures add up to what was submitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.rejudgements import Reread, rereads
from omicard_relay.store.replies import ReplyKind
from omicard_relay.store.schema import attempt, bounce_mail, bounce_report, queue, recipient, submission
from omicard_relay.store.steering import Decided

__all__ = ["Count", "Event", "Subject", "campaigns", "fates", "find_subjects", "summary", "timeline", "unjoined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One figure: `section` state, dropped, returned, resting, refused or later; `key` the state, step or bounce code."""

    section: str
    key: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One recipient of one mail, with where it stands."""

    recipient_id: int
    address: str
    state: str
    since: datetime
    bounce_code: int | None
    action: str | None
    drop_step: str | None
    detail: str | None
    later_code: int | None
    later_kind: str | None
    queue_id: str | None
    reverse_path: str | None
    attempts: int
    submission_id: str
    received: datetime
    sender: str
    message_id: str | None
    subject: str | None
    campaign: str | None
    client: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a recipient; the fields that do not apply are None.

    The verdict is that of release `rules_release` of the rules; `rereads` tell what it was before, oldest first.
    """

    time: datetime
    what: str
    outcome: str
    number: int | None = None
    bounce_code: int | None = None
    rule_id: str | None = None
    confidence: float | None = None
    words: str | None = None
    action: str | None = None
    reasons: str | None = None
    stage: str | None = None
    host: str | None = None
    reply: str | None = None
    queue_id: str | None = None
    trust: str | None = None
    rules_release: int | None = None
    rereads: tuple[Reread, ...] = ()
    #: When the content of the bounce mail was deleted, by its age or by `db forget`; None: it is kept, or this is no mail.
    content_deleted: datetime | None = None
    #: Steering's decision, and when the attempt was that it is about.
    decided: Decided | None = None
    failed: datetime | None = None
    #: Of a change of a list: which, whose entry, who changed it, where the proof stands. Of a drop `value` is the step.
    list_name: str | None = None
    value: str | None = None
    who: str | None = None
    source: str | None = None


def summary(tx: Tx, *, campaign: str | None = None, since: datetime | None = None) -> list[Count]:
    """All figures of a campaign, or of all mail since a moment."""
    return [
        *_counts(tx, "state", recipient.c.state, None, campaign, since),
        *_counts(tx, "dropped", recipient.c.drop_step, "dropped", campaign, since),
        *_counts(tx, "returned", recipient.c.bounce_code, "returned", campaign, since),
        *_counts(tx, "resting", recipient.c.bounce_code, "resting", campaign, since),
        *_counts(tx, "refused", recipient.c.bounce_code, "refused", campaign, since),
        *_counts(tx, "later", recipient.c.later_code, None, campaign, since),
    ]


def campaigns(tx: Tx) -> list[tuple[str, int]]:
    """The campaigns with their recipients, newest first."""
    rows = tx.execute(
        sa.select(submission.c.campaign, sa.func.count())
        .join(recipient)
        .where(submission.c.campaign.is_not(None))
        .group_by(submission.c.campaign)
        .order_by(sa.func.max(submission.c.received).desc())
    )
    return [(row[0], row[1]) for row in rows]


def fates(tx: Tx, *, campaign: str | None = None, since: datetime | None = None) -> list[Subject]:
    """Every recipient with its fate, oldest first; of a campaign, or of all mail since a moment."""
    query = _subjects().order_by(recipient.c.id)
    if campaign is not None:
        query = query.where(submission.c.campaign == campaign)
    if since is not None:
        query = query.where(submission.c.received >= since)
    return [_subject(row) for row in tx.execute(query)]


def find_subjects(tx: Tx, text: str, *, limit: int = 50) -> list[Subject]:
    """The recipients that an address, a queue id, a Message-ID or a submission id names; newest first."""
    wanted = text.strip()
    message_ids = {wanted, f"<{wanted.strip('<>')}>"}
    told_of = sa.select(queue.c.notice_of).where(
        queue.c.queue_id == wanted
    )  # the queue id of a bounce of our own Postfix
    query = (
        _subjects()
        .where(
            sa.or_(
                recipient.c.address_key == address_key(wanted),
                recipient.c.queue_id == wanted,
                recipient.c.queue_id.in_(told_of),
                recipient.c.submission_id == wanted,
                recipient.c.reverse_path == address_key(wanted),
                submission.c.first_queue_id == wanted,
                submission.c.message_id.in_(message_ids),
            )
        )
        .order_by(recipient.c.id.desc())
        .limit(limit)
    )
    return [_subject(row) for row in tx.execute(query)]


def timeline(tx: Tx, subject: Subject) -> list[Event]:
    """All that happened to one recipient, in order of time."""
    lines = tx.execute(sa.select(attempt).where(attempt.c.recipient_id == subject.recipient_id)).all()
    again = rereads(tx, ReplyKind.ATTEMPT, [row.id for row in lines])
    events = [
        Event(
            time=row.time,
            what="attempt" if row.is_attempt else "rest",
            outcome=row.outcome,
            number=row.number or None,
            bounce_code=row.bounce_code,
            rule_id=row.rule_id,
            confidence=row.confidence,
            words=row.words,
            action=row.action,
            reasons=row.reasons,
            stage=row.stage,
            host=_host(row.relay_host, row.relay_ip, row.relay_port),
            reply=row.reply,
            queue_id=row.queue_id,
            rules_release=row.rules_release,
            rereads=again.get(row.id, ()),
        )
        for row in lines
    ]
    reports = tx.execute(
        sa.select(bounce_report, bounce_mail.c.received, bounce_mail.c.content_deleted)
        .join(bounce_mail)
        .where(bounce_report.c.recipient_id == subject.recipient_id)
    ).all()
    again = rereads(tx, ReplyKind.BOUNCE_REPORT, [row.id for row in reports])
    for row in reports:
        events.append(
            Event(
                time=row.received,
                what="echo" if row.is_echo else "bounce",
                outcome=row.dsn_action or row.feedback_type or row.road,
                bounce_code=row.bounce_code,
                rule_id=row.rule_id,
                confidence=row.confidence,
                words=row.words,
                action=row.action,
                reasons=row.reasons,
                stage=row.stage,
                host=row.remote_mta,
                reply=row.reply,
                trust=row.trust,
                rules_release=row.rules_release,
                rereads=again.get(row.id, ()),
                content_deleted=row.content_deleted,
            )
        )
    return sorted(events, key=lambda event: event.time)


def unjoined(tx: Tx, text: str, *, limit: int = 50) -> list[Mapping[str, object]]:
    """Log lines of an address or a queue id that are of no mail of ours: sent past the relay, or refused by our own Postfix."""
    rows = tx.execute(
        sa.select(attempt)
        .where(
            sa.or_(attempt.c.address_key == address_key(text), attempt.c.queue_id == text.strip()),
            attempt.c.recipient_id.is_(None),
            attempt.c.is_hop.is_(False),
        )
        .order_by(attempt.c.time.desc())
        .limit(limit)
    )
    return [dict(row._mapping) for row in rows]


def _host(name: str | None, ip: str | None, port: int | None) -> str | None:
    """`mx.example[192.0.2.1]:25`, as far as it is known."""
    if name is None:
        return None
    return f"{name}{f'[{ip}]' if ip else ''}{f':{port}' if port else ''}"


def _counts(
    tx: Tx,
    section: str,
    column: sa.ColumnElement[object],
    state: str | None,
    campaign: str | None,
    since: datetime | None,
) -> list[Count]:
    query = sa.select(column, sa.func.count()).join(submission).where(column.is_not(None)).group_by(column)
    if state is not None:
        query = query.where(recipient.c.state == state)
    if campaign is not None:
        query = query.where(submission.c.campaign == campaign)
    if since is not None:
        query = query.where(submission.c.received >= since)
    rows = tx.execute(query.order_by(sa.func.count().desc(), column))
    return [Count(section=section, key=str(row[0]), count=row[1]) for row in rows]


def _subjects() -> sa.Select[tuple[object, ...]]:
    return sa.select(
        recipient,
        submission.c.received,
        submission.c.reverse_path.label("sender"),
        submission.c.message_id,
        submission.c.subject,
        submission.c.campaign,
        submission.c.client_ip,
    ).join(submission)


def _subject(row: sa.Row[tuple[object, ...]]) -> Subject:
    return Subject(
        recipient_id=row.id,
        address=row.address,
        state=row.state,
        since=row.state_since,
        bounce_code=row.bounce_code,
        action=row.action,
        drop_step=row.drop_step,
        detail=row.detail,
        later_code=row.later_code,
        later_kind=row.later_kind,
        queue_id=row.queue_id,
        reverse_path=row.reverse_path,
        attempts=row.attempts,
        submission_id=row.submission_id,
        received=row.received,
        sender=row.sender,
        message_id=row.message_id,
        subject=row.subject,
        campaign=row.campaign,
        client=row.client_ip,
    )
