"""What the ingester writes: each bounce mail whole, once, and what it states about which recipient.

A mail is known by the SHA-256 of its content and envelope recipient: the same one again only counts (invariant 2). One
that was changed a little is kept again, and makes no second failure (store/failures.py).
Whose mail it answers is found in this order: the signed reverse-path it came to, the queue id of our own Postfix, the
returned Message-ID together with the recipient, or alone where that mail had just one.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import Decision, Evidence, Trust, Verdict, address_key
from omicard_relay.store.attempts import judgement_columns
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import fold_reports, is_signed, owe_report
from omicard_relay.store.mails import keep_content
from omicard_relay.store.schema import bounce_mail, bounce_report, counter, recipient, submission

__all__ = [
    "BounceMail",
    "Owner",
    "add_report",
    "bounce_digest",
    "count",
    "counters",
    "find_owner",
    "is_told_enough",
    "record_mail",
]

# Run for every mail, so they are made once: making a statement costs as much as running it.
_SEEN = (
    bounce_mail.update()
    .where(bounce_mail.c.digest == sa.bindparam("name"))
    .values(times_seen=bounce_mail.c.times_seen + 1, last_seen=sa.bindparam("moment"))
)
_KEEP = bounce_mail.insert()
_REPORT = bounce_report.insert()
_RAISE = (
    counter.update()
    .where(counter.c.name == sa.bindparam("which"))
    .values(value=counter.c.value + sa.bindparam("by", type_=sa.Integer))
)
_OF_MESSAGE_ID = (
    sa.select(recipient.c.id, recipient.c.address)
    .join(submission)
    .where(submission.c.message_id == sa.bindparam("message_id"))
    .limit(2)
)
_OF_PATH = sa.select(recipient.c.id, recipient.c.address).where(
    recipient.c.reverse_path == sa.bindparam("path"), is_signed()
)

#: Statements that are kept of what comes to one signed reverse-path: delays, a failure, automatic answers to one mail.
_ENOUGH = 100
_TOLD_BY = sa.select(sa.func.count()).select_from(
    sa.select(bounce_report.c.id)
    .join(recipient)
    .where(recipient.c.reverse_path == sa.bindparam("path"), is_signed(), bounce_report.c.trust == Trust.PROVEN)
    .limit(_ENOUGH)
    .subquery()
)


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
    #: Under which our own Postfix made it, as its topmost trace line says; None: another host made it.
    own_queue_id: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Our recipient of whom a statement speaks, and by what it was found."""

    recipient_id: int
    address: str
    found_by: str


def bounce_digest(raw: bytes, envelope_recipient: str) -> str:
    """The name of a bounce mail: SHA-256 (hex) of its envelope recipient and content, however its lines end."""
    return hashlib.sha256(address_key(envelope_recipient).encode() + b"\n" + raw.replace(b"\r\n", b"\n")).hexdigest()


def is_told_enough(tx: Tx, reverse_path: str) -> bool:
    """Whether so much was said by this signed reverse-path that more of it tells nothing new, whoever goes on saying it."""
    told = tx.execute(_TOLD_BY, {"path": address_key(reverse_path)}).scalar()
    return int(told or 0) >= _ENOUGH


def record_mail(tx: Tx, mail: BounceMail, *, now: datetime, only_known: bool = False) -> tuple[str, bool]:
    """Keep the mail; gives its digest and whether it is new. A known one is only counted; `only_known`: no other is kept."""
    digest = bounce_digest(mail.raw, mail.envelope_recipient)
    if tx.execute(_SEEN, {"name": digest, "moment": now}).rowcount or only_known:
        return digest, False
    row = {
        "digest": digest,
        "received": now,
        "last_seen": now,
        "times_seen": 1,
        "kind": mail.kind,
        "size": mail.size,
        "sender": mail.sender,
        "envelope_recipient": mail.envelope_recipient,
        "message_id": mail.message_id,
        "own_queue_id": mail.own_queue_id,
        "trust": mail.trust,
        "trust_reason": mail.trust_reason,
        "notes": "; ".join(mail.notes),
        "content_digest": keep_content(tx, mail.raw),
    }
    tx.execute(_KEEP, row)
    return digest, True


def find_owner(tx: Tx, evidence: Evidence, envelope_recipient: str) -> Owner | None:
    """Our recipient of whom the evidence speaks, or None."""
    signed = tx.execute(_OF_PATH, {"path": address_key(envelope_recipient)}).all()
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
        # A mailbox that is not ours answers a mail that had one recipient: his mail goes on to there.
        only = tx.execute(_OF_MESSAGE_ID, {"message_id": evidence.message_id}).all()
        if len(only) == 1:
            return Owner(recipient_id=only[0].id, address=only[0].address, found_by="message-id")
    return None


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
    """Write one statement down and, when it is proven, let its recipient know what came back after delivery.

    What suppress.toml makes of a proven one is asked for afterwards (store/due.py).
    """
    reply = evidence.reply
    address = evidence.recipient or (owner.address if owner else "")
    row = {
        "mail_digest": mail_digest,
        "number": number,
        "time": evidence.time or now,
        "road": evidence.road,
        "address": address,
        "address_key": address_key(address),
        "original_address": evidence.original_recipient,
        "recipient_id": owner.recipient_id if owner else None,
        "is_echo": False,  # fold_reports decides
        "queue_id": evidence.queue_id,
        "trust": trust,
        "dsn_action": evidence.dsn_action,
        "enhanced_status": evidence.status or (reply.enhanced_status if reply else None),
        "reply_code": reply.reply_code if reply else None,
        "stage": reply.stage if reply else None,
        "remote_mta": evidence.remote_mta,
        "reply": "\n".join(r.text for r in evidence.replies),
        "feedback_type": evidence.feedback_type,
        "new_address": evidence.new_address,
        **judgement_columns(verdict, decision, release),
    }
    key = tx.execute(_REPORT, row).inserted_primary_key
    assert key is not None  # noqa: S101  an insert of one row always has one
    if owner is not None and trust is Trust.PROVEN:
        code = verdict.bounce_code if verdict else None
        owe_report(tx, int(key[0]), dsn_action=evidence.dsn_action, bounce_code=code)
        fold_reports(tx, owner.recipient_id)


def count(tx: Tx, name: str, by: int = 1) -> None:
    """Raise a counter."""
    if not tx.execute(_RAISE, {"which": name, "by": by}).rowcount:
        tx.execute(counter.insert().values(name=name, value=by))


def counters(tx: Tx) -> dict[str, int]:
    """All counters by name."""
    return {row.name: row.value for row in tx.execute(sa.select(counter).order_by(counter.c.name))}
