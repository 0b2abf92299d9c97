"""The stored replies that were judged, page by page, as they were when the follower or the ingester judged them.

For diffs and for judging again. A log line is read anew from its words; a statement of a bounce mail comes with that
mail, which the caller reads, and with what its columns say of it, should the mail read otherwise today.
A page is a transaction of its own, so that nobody waits for a reader. Lines of an expiry are left out: their cause is that
of the last attempt (store/rejudgements.py); so are those of forgotten addresses, whose words are gone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from omicard_relay.mail import Evidence, Outcome, Road, Stage, Trust, read_reply
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.hidden import GHOST
from omicard_relay.store.schema import attempt, bounce_mail, bounce_report, mail_content

__all__ = [
    "Judgement",
    "Period",
    "ReplyKind",
    "StoredReply",
    "count_replies",
    "is_expiry",
    "judgement_of",
    "stored_replies",
]

#: Rows read at once: some hundred milliseconds of judging at most. A report comes with its whole mail, which may be large.
PAGE = 500
_REPORTS = 20
#: The bounce code that says that no cause was found.
_UNKNOWN = 900
# `mail.example[private/lmtp]`: as wire/logdelivery.py takes the host of a transport that is no IP address.
_TRANSPORT = re.compile(r"([^\[\]]+)\[[^\[\]]+\]")


class ReplyKind(StrEnum):
    """In which table a reply stands."""

    ATTEMPT = "attempt"
    BOUNCE_REPORT = "bounce_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was found of a reply, and by which release of the rules (None: before the first)."""

    release: int | None
    bounce_code: int | None
    rule_id: str | None
    confidence: float | None
    words: str | None
    action: str | None
    reasons: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReply:
    """One reply with its judgement. `mail` is the bounce mail (zlib) whose statement number `number` this is;
    empty where it was deleted meanwhile.
    """

    kind: ReplyKind
    row_id: int
    recipient_id: int | None
    time: datetime
    evidence: Evidence
    judgement: Judgement
    mail: bytes = b""
    mail_digest: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When a reply came: from `since` on, before `until`; None: without that end."""

    since: datetime | None = None
    until: datetime | None = None


def is_expiry() -> sa.ColumnElement[bool]:
    """Whether a row of `attempt` only says that the time in the queue ran out."""
    return sa.and_(attempt.c.outcome == Outcome.EXPIRED, attempt.c.program == "qmgr", attempt.c.is_attempt.is_(False))


def judgement_of(row: sa.Row[tuple[object, ...]]) -> Judgement:
    """The judgement columns of a row."""
    return Judgement(
        release=row.rules_release,
        bounce_code=row.bounce_code,
        rule_id=row.rule_id,
        confidence=row.confidence,
        words=row.words,
        action=row.action,
        reasons=row.reasons,
    )


def count_replies(tx: Tx, period: Period, *, unclear: float | None = None) -> dict[ReplyKind, int]:
    """How many there are; `unclear` as in `stored_replies`."""
    found = {}
    for kind in ReplyKind:
        query = _query(kind, period, unclear)
        found[kind] = int(tx.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar() or 0)
    return found


def stored_replies(
    store: Store,
    period: Period,
    *,
    kind: ReplyKind,
    newest_first: bool = False,
    limit: int | None = None,
    unclear: float | None = None,
) -> Iterator[list[StoredReply]]:
    """The replies of one table in pages, in the order they were written; those that come meanwhile are left out.

    `unclear`: only those of code 900, and those whose confidence is below it. Raises StoreError.
    """
    key = attempt.c.id if kind is ReplyKind.ATTEMPT else bounce_report.c.id
    with store.read() as tx:
        last = tx.execute(sa.select(sa.func.max(key))).scalar() or 0
    place = last + 1 if newest_first else 0
    left = limit
    page = PAGE if kind is ReplyKind.ATTEMPT else min(PAGE, _REPORTS)
    while left is None or left > 0:
        most = page if left is None else min(page, left)
        query = _query(kind, period, unclear)
        query = query.where(key < place) if newest_first else query.where(key > place, key <= last)
        with store.read() as tx:
            rows = tx.execute(query.order_by(key.desc() if newest_first else key).limit(most)).all()
        if not rows:
            return
        yield [_attempt(row) if kind is ReplyKind.ATTEMPT else _report(row) for row in rows]
        place = rows[-1].id
        left = None if left is None else left - len(rows)


def _query(kind: ReplyKind, period: Period, unclear: float | None) -> sa.Select[tuple[object, ...]]:
    if kind is ReplyKind.ATTEMPT:
        query: sa.Select[tuple[object, ...]] = sa.select(attempt).where(
            attempt.c.bounce_code.is_not(None), sa.not_(is_expiry()), attempt.c.address_key.not_like(f"{GHOST}%")
        )
        came = attempt.c.time
    else:
        query = (
            sa.select(bounce_report, mail_content.c.raw, bounce_mail.c.received)
            .join_from(bounce_report, bounce_mail)
            .join(mail_content, mail_content.c.digest == bounce_mail.c.content_digest, isouter=True)
            .where(bounce_report.c.bounce_code.is_not(None), bounce_report.c.address_key.not_like(f"{GHOST}%"))
        )
        came = bounce_mail.c.received  # a mail's own date is foreign
    if period.since is not None:
        query = query.where(came >= period.since)
    if period.until is not None:
        query = query.where(came < period.until)
    if unclear is not None:
        table = attempt.c if kind is ReplyKind.ATTEMPT else bounce_report.c
        query = query.where(sa.or_(table.bounce_code == _UNKNOWN, table.confidence < unclear))
    return query


def _attempt(row: sa.Row[tuple[object, ...]]) -> StoredReply:
    stage = Stage(row.stage) if row.stage else None
    if row.outcome == Outcome.REJECTED:
        reply = read_reply(row.reply, stage=stage, time=row.time)  # our own Postfix speaks: no host
    else:
        reply = read_reply(row.reply, host=_speaker(row.relay_host, row.relay_ip), time=row.time)
    return StoredReply(
        kind=ReplyKind.ATTEMPT,
        row_id=row.id,
        recipient_id=row.recipient_id,
        time=row.time,
        evidence=Evidence(
            road=Road.LOG,
            recipient=row.address,
            original_recipient=row.original_key or "",
            replies=(reply,),
            queue_id=row.queue_id,
            time=row.time,
            trust=Trust.PROVEN,
        ),
        judgement=judgement_of(row),
    )


def _speaker(host: str | None, ip: str | None) -> str | None:
    """Who spoke, from `relay=`: a name with an address, or the name of a transport's server; `local` and the like spoke not."""
    if host is None or ip is not None:
        return host
    transport = _TRANSPORT.fullmatch(host)
    return transport.group(1) if transport else None


def _report(row: sa.Row[tuple[object, ...]]) -> StoredReply:
    stage = Stage(row.stage) if row.stage else None
    reply = read_reply(row.reply, stage=stage, host=row.remote_mta, time=row.time)
    return StoredReply(
        kind=ReplyKind.BOUNCE_REPORT,
        row_id=row.id,
        recipient_id=row.recipient_id,
        time=row.received,
        evidence=Evidence(
            road=Road(row.road),
            recipient=row.address,
            original_recipient=row.original_address,
            replies=(reply,) if row.reply else (),
            dsn_action=row.dsn_action,
            status=row.enhanced_status,
            remote_mta=row.remote_mta,
            feedback_type=row.feedback_type,
            new_address=row.new_address,
            time=row.time,
            trust=Trust(row.trust),
        ),
        judgement=judgement_of(row),
        mail=row.raw or b"",
        mail_digest=row.mail_digest,
        number=row.number,
    )
