"""What the follower writes: log lines with their verdicts, what they tell of queue ids, and how far the log was read.

All of one batch goes into one transaction together with the new place, so that a kill at any point neither loses nor
doubles a line; and each line is known by its digest, so that reading a log again changes nothing (invariant 2).
"""

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import Attempt, Decision, Outcome, RecipientState, Verdict, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import find_recipients, is_signed, refold
from omicard_relay.store.schema import attempt, follow_place, queue, recipient

__all__ = [
    "FAILURES",
    "Place",
    "Recorded",
    "Waiting",
    "find_place",
    "judgement_columns",
    "move_place",
    "record_active",
    "record_attempt",
    "record_expired",
    "record_queue",
    "waiting_recipients",
]

#: Which outcomes are failures, and so are judged.
FAILURES = (Outcome.DEFERRED, Outcome.BOUNCED, Outcome.EXPIRED, Outcome.REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a log was read: `offset` octets of the file with this inode.

    Its first `head_length` octets have the SHA-256 `head_digest`: an inode that was used again shows by that. All that was
    written before the moment `read` has been read; None where more was waiting, or it never was so.
    """

    path: str
    inode: int
    head_digest: str
    head_length: int
    offset: int
    read: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A recipient that Postfix still tries; `cause` is the verdict on its last real attempt, None without one."""

    recipient_id: int
    address: str
    cause: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What came of a line: `is_new` False when it was known; `recipient_id` None when the mail is not one of ours.

    `address` is our recipient's own, which an alias may have changed in the line.
    """

    is_new: bool
    recipient_id: int | None = None
    address: str = ""


def find_place(tx: Tx, path: str) -> Place | None:
    """How far this log was read, or None when never."""
    row = tx.execute(sa.select(follow_place).where(follow_place.c.path == path)).first()
    if row is None:
        return None
    return Place(
        path=path,
        inode=row.inode,
        head_digest=row.head_digest,
        head_length=row.head_length,
        offset=row.offset,
        read=row.read,
    )


def move_place(tx: Tx, place: Place) -> None:
    """Remember how far the log was read, in the transaction of what was read; a `read` of None leaves the last one.

    By `read` the relay decides that Postfix cannot have a mail of which the log says nothing.
    """
    values: dict[str, object] = {
        "inode": place.inode,
        "head_digest": place.head_digest,
        "head_length": place.head_length,
        "offset": place.offset,
    }
    if place.read is not None:
        values["read"] = place.read
    changed = tx.execute(follow_place.update().where(follow_place.c.path == place.path).values(values))
    if not changed.rowcount:
        tx.execute(follow_place.insert().values(path=place.path, **values))


def record_attempt(
    tx: Tx, line: Attempt, verdict: Verdict | None, decision: Decision | None, *, is_hop: bool = False
) -> Recorded:
    """Write one delivery line, join it to our recipient, and move that on. A line that is known changes nothing."""
    known = tx.execute(sa.select(attempt.c.recipient_id).where(attempt.c.line_digest == line.line_digest)).first()
    if known is not None:
        return Recorded(is_new=False, recipient_id=known.recipient_id)
    owner = None if is_hop or not line.queue_id else _owner(tx, line)
    tx.execute(attempt.insert().values(**_row(tx, line, verdict, decision), recipient_id=owner, is_hop=is_hop))
    if owner is None:
        return Recorded(is_new=True)
    refold(tx, owner)
    address = tx.execute(sa.select(recipient.c.address).where(recipient.c.id == owner)).scalar_one()
    return Recorded(is_new=True, recipient_id=owner, address=address)


def _owner(tx: Tx, line: Attempt) -> int | None:
    """Our recipient under this queue id; or the one that was handed over as this mail and of whom the relay never heard."""
    found = find_recipients(tx, line.queue_id, line.recipient, line.original_recipient)
    if found:
        return found[0]
    origin = tx.execute(sa.select(queue.c.orig_queue_id).where(queue.c.queue_id == line.queue_id)).scalar()
    if origin is None:
        return None
    keys = {address_key(address) for address in (line.recipient, line.original_recipient) if address}
    owner = tx.execute(
        sa.select(recipient.c.id).where(
            recipient.c.hand_over == origin,
            recipient.c.state == RecipientState.HANDING_OVER,
            recipient.c.address_key.in_(keys),
        )
    ).scalar()
    if owner is not None:
        _take_over(tx, owner, line.queue_id, line.time)
    return owner


def _take_over(tx: Tx, recipient_id: int, queue_id: str, time: datetime) -> None:
    tx.execute(
        recipient.update()
        .where(recipient.c.id == recipient_id)
        .values(state=RecipientState.QUEUED, state_since=time, queue_id=queue_id)
    )


def record_expired(
    tx: Tx, recipient_id: int, line: Attempt, verdict: Verdict | None, decision: Decision | None
) -> Recorded:
    """Postfix gave a mail up: one line for each recipient that still waited (`waiting_recipients`)."""
    known = tx.execute(sa.select(attempt.c.id).where(attempt.c.line_digest == line.line_digest)).first()
    if known is not None:
        return Recorded(is_new=False, recipient_id=recipient_id)
    tx.execute(attempt.insert().values(**_row(tx, line, verdict, decision), recipient_id=recipient_id, is_hop=False))
    refold(tx, recipient_id)
    return Recorded(is_new=True, recipient_id=recipient_id)


def waiting_recipients(tx: Tx, queue_id: str) -> list[Waiting]:
    """Each recipient that Postfix still tries under this queue id, with the cause of its last real attempt."""
    states = (RecipientState.QUEUED, RecipientState.RESTING)
    rows = tx.execute(
        sa.select(recipient.c.id, recipient.c.address).where(
            recipient.c.queue_id == queue_id, recipient.c.state.in_(states)
        )
    ).all()
    return [Waiting(recipient_id=row.id, address=row.address, cause=_last_cause(tx, row.id)) for row in rows]


def _last_cause(tx: Tx, recipient_id: int) -> Verdict | None:
    row = tx.execute(
        sa.select(attempt.c.bounce_code, attempt.c.rule_id, attempt.c.confidence, attempt.c.words)
        .where(attempt.c.recipient_id == recipient_id, attempt.c.is_attempt, attempt.c.bounce_code.is_not(None))
        .order_by(attempt.c.time.desc(), attempt.c.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return Verdict(bounce_code=row.bounce_code, rule_id=row.rule_id, confidence=row.confidence, words=row.words or "")


def record_queue(
    tx: Tx,
    queue_id: str,
    *,
    time: datetime,
    message_id: str | None = None,
    orig_queue_id: str | None = None,
    removed: bool = False,
    notice_of: str | None = None,
) -> None:
    """Write what a line tells of a queue id."""
    told = {"message_id": message_id, "orig_queue_id": orig_queue_id, "notice_of": notice_of}
    values: dict[str, object] = {name: value for name, value in told.items() if value is not None}
    if removed:
        values["removed"] = time
    _put_queue(tx, queue_id, time, values)


def record_active(tx: Tx, queue_id: str, *, time: datetime, sender: str, nrcpt: int | None = None) -> list[int]:
    """Postfix has queued a mail: recipients whose hand-over was in doubt, or not yet recorded, now have their queue id.

    They are found by their own signed reverse-path, or by our hand-over id that Postfix repeats as `orig_queue_id`; by
    that only when Postfix has all of them (`nrcpt`; None: not told): of a part, each delivery line tells. Gives their ids.
    """
    _put_queue(tx, queue_id, time, {"sender": sender.lower(), "active": time})
    origin = tx.execute(sa.select(queue.c.orig_queue_id).where(queue.c.queue_id == queue_id)).scalar()
    handed = sa.select(sa.func.count()).where(recipient.c.hand_over == origin)
    is_whole = origin is not None and nrcpt in (None, tx.execute(handed).scalar())
    proofs = [recipient.c.hand_over == origin] if is_whole else []
    if sender:
        # A reverse-path of our own making names one recipient; any other is shared by many mails and proves nothing.
        proofs.append(
            sa.and_(recipient.c.reverse_path == sender.lower(), recipient.c.hand_over.is_not(None), is_signed())
        )
    if not proofs:
        return []
    rows = tx.execute(
        sa.select(recipient.c.id).where(recipient.c.state == RecipientState.HANDING_OVER, sa.or_(*proofs))
    ).all()
    for row in rows:
        _take_over(tx, row.id, queue_id, time)
        refold(tx, row.id)
    return [row.id for row in rows]


def _put_queue(tx: Tx, queue_id: str, time: datetime, values: dict[str, object]) -> None:
    if tx.execute(sa.select(queue.c.queue_id).where(queue.c.queue_id == queue_id)).first() is None:
        tx.execute(queue.insert().values(queue_id=queue_id, seen=time, **values))
    elif values:
        tx.execute(queue.update().where(queue.c.queue_id == queue_id).values(values))


def _row(tx: Tx, line: Attempt, verdict: Verdict | None, decision: Decision | None) -> dict[str, object]:
    number = 0
    if line.is_attempt:
        earlier = sa.select(sa.func.count()).where(
            attempt.c.queue_id == line.queue_id,
            attempt.c.address_key == address_key(line.recipient),
            attempt.c.is_attempt,
        )
        number = 1 + (tx.execute(earlier).scalar() or 0)
    return {
        "line_digest": line.line_digest,
        "time": line.time,
        "queue_id": line.queue_id,
        "address": line.recipient,
        "address_key": address_key(line.recipient),
        "original_key": address_key(line.original_recipient) if line.original_recipient else None,
        "number": number,
        "outcome": line.outcome,
        "is_attempt": line.is_attempt,
        "program": line.program,
        "sender": line.sender,
        "relay_host": line.relay_host,
        "relay_ip": line.relay_ip,
        "relay_port": line.relay_port,
        "delay": line.delay_seconds,
        "delays": json.dumps(line.delays) if line.delays else None,
        "enhanced_status": line.enhanced_status,
        "reply": line.reply.text,
        "reply_code": line.reply.reply_code,
        "stage": line.reply.stage,
        **judgement_columns(verdict, decision),
    }


def judgement_columns(verdict: Verdict | None, decision: Decision | None) -> dict[str, object]:
    """Verdict and decision as columns; all empty where nothing was to be judged."""
    return {
        "bounce_code": verdict.bounce_code if verdict else None,
        "rule_id": verdict.rule_id if verdict else None,
        "confidence": verdict.confidence if verdict else None,
        "words": verdict.words if verdict else None,
        "action": decision.action if decision else None,
        "reasons": "; ".join(decision.reasons) if decision else None,
    }
