"""What the ingester writes: each bounce mail whole, once, and what it states about which recipient.

A mail is known by the SHA-256 of its bytes and envelope recipient: the same one again only counts (invariant 2).
Whose mail it answers is found in this order: the signed reverse-path it came to, the queue id of our own Postfix, the
returned Message-ID together with the recipient.
"""

import hashlib
import zlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import Decision, Evidence, Outcome, Road, Trust, Verdict, address_key
from omicard_relay.store.attempts import judgement_columns
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import fold_reports, is_signed
from omicard_relay.store.schema import attempt, bounce_mail, bounce_report, counter, recipient, submission

__all__ = [
    "BounceMail",
    "Owner",
    "add_report",
    "bounce_digest",
    "count",
    "counters",
    "failures_since",
    "find_owner",
    "is_echo",
    "record_mail",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceMail:
    """One mail to the return path with its envelope; `raw` is the whole content."""

    raw: bytes
    size: int
    kind: str
    sender: str
    envelope_recipient: str
    message_id: str | None
    trust: Trust
    trust_reason: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Our recipient of whom a statement speaks, and by what it was found."""

    recipient_id: int
    address: str
    found_by: str


def bounce_digest(raw: bytes, envelope_recipient: str) -> str:
    """The name of a bounce mail: SHA-256 (hex) of its envelope recipient and content."""
    return hashlib.sha256(address_key(envelope_recipient).encode() + b"\n" + raw).hexdigest()


def record_mail(tx: Tx, mail: BounceMail, *, now: datetime) -> tuple[str, bool]:
    """Keep the mail; gives its digest and whether it is new. A known one is only counted."""
    digest = bounce_digest(mail.raw, mail.envelope_recipient)
    seen = tx.execute(
        bounce_mail.update()
        .where(bounce_mail.c.digest == digest)
        .values(times_seen=bounce_mail.c.times_seen + 1, last_seen=now)
    )
    if seen.rowcount:
        return digest, False
    tx.execute(
        bounce_mail.insert().values(
            digest=digest,
            received=now,
            last_seen=now,
            times_seen=1,
            kind=mail.kind,
            size=mail.size,
            sender=mail.sender,
            envelope_recipient=mail.envelope_recipient,
            message_id=mail.message_id,
            trust=mail.trust,
            trust_reason=mail.trust_reason,
            notes="; ".join(mail.notes),
            raw=zlib.compress(mail.raw, 6),
        )
    )
    return digest, True


def find_owner(tx: Tx, evidence: Evidence, envelope_recipient: str) -> Owner | None:
    """Our recipient of whom the evidence speaks, or None."""
    signed = tx.execute(
        sa.select(recipient.c.id, recipient.c.address).where(
            recipient.c.reverse_path == address_key(envelope_recipient), is_signed()
        )
    ).all()
    if len(signed) == 1:
        return Owner(recipient_id=signed[0].id, address=signed[0].address, found_by="reverse-path")
    keys = {address_key(a) for a in (evidence.recipient, evidence.original_recipient) if a}
    if evidence.queue_id:
        row = tx.execute(
            sa.select(recipient.c.id, recipient.c.address).where(
                recipient.c.queue_id == evidence.queue_id, recipient.c.address_key.in_(keys)
            )
        ).first()
        if row is not None:
            return Owner(recipient_id=row.id, address=row.address, found_by="queue-id")
    if evidence.message_id:
        row = tx.execute(
            sa.select(recipient.c.id, recipient.c.address)
            .join(submission)
            .where(submission.c.message_id == evidence.message_id, recipient.c.address_key.in_(keys))
            .order_by(recipient.c.id.desc())
        ).first()
        if row is not None:
            return Owner(recipient_id=row.id, address=row.address, found_by="message-id")
    return None


def is_echo(tx: Tx, evidence: Evidence, owner: Owner | None) -> bool:
    """Whether our own Postfix only repeats in a DSN what its log has told, or is about to tell.

    Where the mail's queue id is not known yet, a report that names one may be such: it does not count until it is.
    """
    if owner is None or not evidence.queue_id:
        return False
    own = tx.execute(sa.select(recipient.c.queue_id).where(recipient.c.id == owner.recipient_id)).scalar()
    return own is None or own == evidence.queue_id


def add_report(
    tx: Tx,
    mail_digest: str,
    number: int,
    evidence: Evidence,
    verdict: Verdict | None,
    decision: Decision | None,
    *,
    owner: Owner | None,
    trust: Trust,
    now: datetime,
    release: int | None = None,
) -> None:
    """Write one statement down and, when it is proven, let its recipient know what came back after delivery."""
    reply = evidence.reply
    address = evidence.recipient or (owner.address if owner else "")
    tx.execute(
        bounce_report.insert().values(
            mail_digest=mail_digest,
            number=number,
            time=evidence.time or now,
            road=evidence.road,
            address=address,
            address_key=address_key(address),
            original_address=evidence.original_recipient,
            recipient_id=owner.recipient_id if owner else None,
            is_echo=False,  # fold_reports decides
            queue_id=evidence.queue_id,
            trust=trust,
            dsn_action=evidence.dsn_action,
            enhanced_status=evidence.status or (reply.enhanced_status if reply else None),
            reply_code=reply.reply_code if reply else None,
            stage=reply.stage if reply else None,
            remote_mta=evidence.remote_mta,
            reply="\n".join(r.text for r in evidence.replies),
            feedback_type=evidence.feedback_type,
            new_address=evidence.new_address,
            **judgement_columns(verdict, decision, release),
        )
    )
    if owner is not None:
        fold_reports(tx, owner.recipient_id)


def count(tx: Tx, name: str, by: int = 1) -> None:
    """Raise a counter."""
    raised = tx.execute(counter.update().where(counter.c.name == name).values(value=counter.c.value + by))
    if not raised.rowcount:
        tx.execute(counter.insert().values(name=name, value=by))


def counters(tx: Tx) -> dict[str, int]:
    """All counters by name."""
    return {row.name: row.value for row in tx.execute(sa.select(counter).order_by(counter.c.name))}


def failures_since(tx: Tx, address: str, bounce_code: int, *, since: datetime) -> int:
    """How often mail to this address failed with this code since then and since its last delivery, on proven evidence.

    Each mail of ours counts once, however many lines or bounce mails tell of it; echoes of our own Postfix do not count
    again. A delivery that came back later was none. Bounce mails count by when they came: their own dates are foreign.
    """
    ours = sa.select(recipient.c.id).where(recipient.c.address_key == address_key(address))
    delivered = ours.where(sa.or_(recipient.c.later_kind.is_(None), recipient.c.later_kind != Road.DSN))
    last = tx.execute(
        sa.select(sa.func.max(attempt.c.time)).where(
            attempt.c.recipient_id.in_(delivered), attempt.c.outcome == Outcome.SENT
        )
    ).scalar()
    start = since if last is None else max(since, last)
    hard = tx.execute(
        sa.select(sa.func.count(sa.distinct(attempt.c.recipient_id))).where(
            attempt.c.recipient_id.in_(ours),
            attempt.c.bounce_code == bounce_code,
            attempt.c.time >= start,
            attempt.c.outcome.in_([Outcome.BOUNCED, Outcome.EXPIRED]),
        )
    ).scalar()
    soft = tx.execute(
        sa.select(sa.func.count(sa.distinct(bounce_report.c.recipient_id)))
        .join(bounce_mail)
        .where(
            bounce_report.c.recipient_id.in_(ours),
            bounce_report.c.bounce_code == bounce_code,
            bounce_report.c.is_echo.is_(False),
            bounce_report.c.trust == Trust.PROVEN,
            bounce_mail.c.received >= start,
        )
    ).scalar()
    return int(hard or 0) + int(soft or 0)
