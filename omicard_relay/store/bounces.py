"""What the ingester writes: each bounce mail whole, once, and what it states about which recipient.

A mail is known by the SHA-256 of its content and envelope recipient: the same one again only counts (invariant 2). One
that was changed a little is kept again, and makes no second failure (store/failures.py).
Whose mail it answers is found in this order: the signed reverse-path it came to, the queue id of our own Postfix, the
returned Message-ID together with the recipient, or alone where that mail had just one.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from omicard_relay.mail import Decision, Evidence, Trust, Verdict, address_key
from omicard_relay.store.attempts import judgement_columns
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import fold_reports, has_end, is_failure, is_signed, owe_report
from omicard_relay.store.mails import keep_content
from omicard_relay.store.schema import (
    attempt,
    bounce_mail,
    bounce_report,
    counter,
    recipient,
    submission,
    suppression_due,
)

__all__ = [
    "BounceMail",
    "Look",
    "Owner",
    "add_report",
    "bounce_digest",
    "count",
    "count_each",
    "counters",
    "find_owner",
    "find_signed",
    "keep_mail",
    "record_mail",
    "seen_again",
]

# Run for every mail, so they are made once: making a statement costs as much as running it.
_SEEN = (
    bounce_mail.update()
    .where(bounce_mail.c.digest == sa.bindparam("name"))
    .values(times_seen=bounce_mail.c.times_seen + 1, last_seen=sa.bindparam("moment"))
)
_KEEP = bounce_mail.insert()
_REPORT = bounce_report.insert()


def _raise(new: sqlite.Insert | postgresql.Insert) -> sa.Insert:
    return new.on_conflict_do_update(
        index_elements=[counter.c.name], set_={"value": counter.c.value + new.excluded.value}
    )


_RAISE = {"sqlite": _raise(sqlite.insert(counter)), "postgresql": _raise(postgresql.insert(counter))}
_OURS = sa.select(recipient.c.id, recipient.c.address)
_IS_NAMED = recipient.c.address_key.in_([sa.bindparam("key"), sa.bindparam("original_key")])
_OF_QUEUE = _OURS.where(recipient.c.queue_id == sa.bindparam("queue_id"), _IS_NAMED).limit(1)
_OF_MESSAGE_ID = _OURS.join(submission).where(submission.c.message_id == sa.bindparam("message_id")).limit(2)
_NAMED_OF_MESSAGE_ID = (
    _OURS.join(submission)
    .where(submission.c.message_id == sa.bindparam("message_id"), _IS_NAMED)
    .order_by(recipient.c.id.desc())
    .limit(1)
)
#: Statements that are kept of what comes to one signed reverse-path: delays, a failure, automatic answers to one mail.
_ENOUGH = 100
_PROVEN = sa.select(bounce_report.c.id).where(
    bounce_report.c.recipient_id == recipient.c.id, bounce_report.c.trust == Trust.PROVEN
)
_DUE_STATEMENT = sa.exists().where(
    bounce_report.c.recipient_id == recipient.c.id, suppression_due.c.bounce_report_id == bounce_report.c.id
)
_DUE_LINE = sa.exists().where(attempt.c.recipient_id == recipient.c.id, suppression_due.c.attempt_id == attempt.c.id)
# All that is asked of the recipient for every mail to a signed reverse-path, at once.
_OF_PATH = (
    _OURS.add_columns(
        recipient.c.queue_id,
        has_end().label("has_ended"),
        sa.or_(_DUE_STATEMENT, _DUE_LINE).label("owes"),
        _PROVEN.limit(1).offset(_ENOUGH - 1).exists().label("is_told_enough"),
    )
    .where(recipient.c.reverse_path == sa.bindparam("path"), is_signed())
    .limit(2)
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


class Look(StrEnum):
    """When suppress.toml has to look at a statement."""

    #: It is not proven, tells of no failure, or repeats what the log has told.
    NEVER = "never"
    NOW = "now"
    #: The log may tell the same: it waits for what is asked of store/due.py.
    LATER = "later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Our recipient of whom a statement speaks, and by what it was found.

    Told of the owner of a signed reverse-path: its `queue_id`; `has_ended`: the log has told its end; `owes`: something
    proven has still to be looked at (store/due.py); `is_told_enough`: by this path so much was proven that more of it tells
    nothing new, whoever goes on saying it.
    """

    recipient_id: int
    address: str
    found_by: str
    queue_id: str | None = None
    has_ended: bool = False
    owes: bool = False
    is_told_enough: bool = False


def bounce_digest(raw: bytes, envelope_recipient: str) -> str:
    """The name of a bounce mail: SHA-256 (hex) of its envelope recipient and content, however its lines end."""
    return hashlib.sha256(address_key(envelope_recipient).encode() + b"\n" + raw.replace(b"\r\n", b"\n")).hexdigest()


def seen_again(tx: Tx, digest: str, *, now: datetime) -> bool:
    """Whether the mail is kept already; then it is counted."""
    return bool(tx.execute(_SEEN, {"name": digest, "moment": now}).rowcount)


def record_mail(tx: Tx, mail: BounceMail, *, now: datetime) -> tuple[str, bool]:
    """Keep the mail; gives its digest and whether it is new. A known one is only counted."""
    digest = bounce_digest(mail.raw, mail.envelope_recipient)
    if seen_again(tx, digest, now=now):
        return digest, False
    keep_mail(tx, digest, mail, now=now)
    return digest, True


def keep_mail(tx: Tx, digest: str, mail: BounceMail, *, now: datetime) -> None:
    """Keep a mail that is new."""
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


def find_signed(tx: Tx, reverse_path: str) -> Owner | None:
    """Our recipient whose signed reverse-path this is, or None."""
    found = tx.execute(_OF_PATH, {"path": address_key(reverse_path)}).all()
    if len(found) != 1:
        return None
    row = found[0]
    return Owner(
        recipient_id=row.id,
        address=row.address,
        found_by="reverse-path",
        queue_id=row.queue_id,
        has_ended=bool(row.has_ended),
        owes=bool(row.owes),
        is_told_enough=bool(row.is_told_enough),
    )


def find_owner(tx: Tx, evidence: Evidence, signed: Owner | None) -> Owner | None:
    """Our recipient of whom the evidence speaks, or None; `signed` is the one of the reverse-path (`find_signed`)."""
    if signed is not None:
        return signed
    keys = [address_key(a) for a in (evidence.recipient, evidence.original_recipient) if a]
    named = {"key": keys[0], "original_key": keys[-1]} if keys else None
    if evidence.queue_id and named:
        row = tx.execute(_OF_QUEUE, {"queue_id": evidence.queue_id, **named}).first()
        if row is not None:
            return Owner(recipient_id=row.id, address=row.address, found_by="queue-id")
    if evidence.message_id:
        row = tx.execute(_NAMED_OF_MESSAGE_ID, {"message_id": evidence.message_id, **named}).first() if named else None
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
) -> Look:
    """Write one statement down and, when it is proven, let its recipient know what came back after delivery.

    Gives when suppress.toml has to look at it, which is the caller's to do.
    """
    is_proven = owner is not None and trust is Trust.PROVEN
    is_same = owner is not None and evidence.queue_id is not None and evidence.queue_id == owner.queue_id
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
        "is_echo": is_same and is_proven,
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
    if owner is None or not is_proven:
        return Look.NEVER
    code = verdict.bounce_code if verdict else None
    if is_same and owner.has_ended:
        return Look.NEVER
    look = Look.LATER if is_failure(evidence.dsn_action, code) else Look.NEVER
    if look is Look.LATER and _is_foreign(evidence, owner):
        look = Look.NOW
    if look is Look.LATER:
        owe_report(tx, int(key[0]), dsn_action=evidence.dsn_action, bounce_code=code)
    fold_reports(tx, owner.recipient_id)
    return look


def _is_foreign(evidence: Evidence, owner: Owner) -> bool:
    """Whether the statement cannot be an echo; of an owner who was found otherwise than by his path, that is not known."""
    if owner.found_by != "reverse-path":
        return False
    return evidence.queue_id is None or owner.queue_id not in (None, evidence.queue_id)


def count(tx: Tx, name: str, by: int = 1) -> None:
    """Raise a counter."""
    tx.execute(_RAISE[tx.dialect.name], {"name": name, "value": by})


def count_each(tx: Tx, names: Iterable[str]) -> None:
    """Raise several counters by one, a name that stands twice by two."""
    # In order: of two that raise the same ones, none may hold what the other waits for.
    tx.execute(_RAISE[tx.dialect.name], [{"name": name, "value": 1} for name in sorted(names)])


def counters(tx: Tx) -> dict[str, int]:
    """All counters by name."""
    return {row.name: row.value for row in tx.execute(sa.select(counter).order_by(counter.c.name))}
