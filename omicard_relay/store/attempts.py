"""What the follower writes: log lines with their verdicts, what they tell of queue ids, and how far the log was read.

All of one batch goes into one transaction together with the new place, so that a kill at any point neither loses nor
doubles a line; and each line is known by its digest, so that reading a log again changes nothing (invariant 2).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from omicard_relay.mail import Attempt, Decision, Outcome, RecipientState, Verdict, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import find_doubtful, find_meant, find_recipient, fold, refold, take_over
from omicard_relay.store.notices import prove_notices
from omicard_relay.store.queues import QueueNotes
from omicard_relay.store.schema import attempt, follow_place, recipient

__all__ = [
    "FAILURES",
    "Place",
    "Recorded",
    "Waiting",
    "find_place",
    "judgement_columns",
    "last_cause",
    "move_place",
    "record_active",
    "record_attempt",
    "record_expired",
    "record_queue",
    "waiting_recipients",
]

#: Which outcomes are failures, and so are judged.
FAILURES = (Outcome.DEFERRED, Outcome.BOUNCED, Outcome.EXPIRED, Outcome.REJECTED)


def _insert(new: sqlite.Insert | postgresql.Insert) -> sa.Insert:
    """A line, numbered behind the earlier attempts of its mail and address; nothing where the line is known."""
    earlier = sa.select(sa.func.count()).where(
        attempt.c.queue_id == sa.bindparam("of_queue"),
        attempt.c.address_key == sa.bindparam("of_key"),
        attempt.c.is_attempt,
    )
    is_numbered = sa.bindparam("is_numbered", type_=sa.Boolean)
    number = sa.case((is_numbered, 1 + earlier.scalar_subquery()), else_=0)
    return new.values(number=number).on_conflict_do_nothing(index_elements=[attempt.c.line_digest]).inline()


# Made once, as making a statement costs more than running it; by dialect, since SQL has no common word for the conflict.
_INSERT = {"sqlite": _insert(sqlite.insert(attempt)), "postgresql": _insert(postgresql.insert(attempt))}
#: How many rows an INSERT has made is otherwise only told by SQLite.
_COUNTED = {"preserve_rowcount": True}
_KNOWN = sa.select(attempt.c.recipient_id).where(attempt.c.line_digest == sa.bindparam("digest"))


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

    `address` is our recipient's own, which an alias may have changed in the line. `is_listed`: it is a known bounce, or
    was until that ran out.
    """

    is_new: bool
    recipient_id: int | None = None
    address: str = ""
    is_listed: bool = False


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
    tx: Tx,
    line: Attempt,
    verdict: Verdict | None,
    decision: Decision | None,
    *,
    release: int | None = None,
    is_hop: bool = False,
    notes: QueueNotes | None = None,
) -> Recorded:
    """Write one delivery line, join it to our recipient, and move that on. A line that is known changes nothing.

    `release` is that of the rules by which it was judged, `notes` what the batch has told of queue ids and not written yet.
    """
    key = address_key(line.recipient)
    original_key = address_key(line.original_recipient) if line.original_recipient else key
    owner, is_doubtful = None, False
    if line.queue_id and not is_hop:
        owner = find_recipient(tx, line.queue_id, key, original_key)
        if owner is None and (origin := (notes or QueueNotes(tx)).origin(line.queue_id)) is not None:
            owner, is_doubtful = find_doubtful(tx, origin, key, original_key), True
    owner_id = owner.recipient_id if owner else None
    judgement = judgement_columns(verdict, decision, release)
    if not _add_line(tx, line, judgement, recipient_id=owner_id, is_hop=is_hop):
        return Recorded(is_new=False, recipient_id=tx.execute(_KNOWN, {"digest": line.line_digest}).scalar())
    if owner is None:
        return Recorded(is_new=True)
    if is_doubtful:
        take_over(tx, owner.recipient_id, line.queue_id, time=line.time)
        prove_notices(tx, line.queue_id)
    else:
        fold(tx, owner)
    return Recorded(is_new=True, recipient_id=owner.recipient_id, address=owner.address, is_listed=owner.is_listed)


def record_expired(
    tx: Tx,
    recipient_id: int,
    line: Attempt,
    verdict: Verdict | None,
    decision: Decision | None,
    *,
    release: int | None = None,
) -> Recorded:
    """Postfix gave a mail up: one line for each recipient that still waited (`waiting_recipients`)."""
    judgement = judgement_columns(verdict, decision, release)
    if not _add_line(tx, line, judgement, recipient_id=recipient_id, is_hop=False):
        return Recorded(is_new=False, recipient_id=recipient_id)
    refold(tx, recipient_id)
    return Recorded(is_new=True, recipient_id=recipient_id)


def waiting_recipients(tx: Tx, queue_id: str) -> list[Waiting]:
    """Each recipient that Postfix still tries under this queue id, with the cause of its last real attempt."""
    states = (RecipientState.QUEUED, RecipientState.RESTING)
    rows = tx.execute(
        sa.select(recipient.c.id, recipient.c.address)
        .where(recipient.c.queue_id == queue_id, recipient.c.state.in_(states))
        .order_by(recipient.c.id)
    ).all()
    return [Waiting(recipient_id=row.id, address=row.address, cause=last_cause(tx, row.id)) for row in rows]


def last_cause(tx: Tx, recipient_id: int) -> Verdict | None:
    """The verdict on a recipient's last real attempt; None where there was none."""
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
    notes: QueueNotes | None = None,
) -> None:
    """Note what a line tells of a queue id; without `notes` it is written at once."""
    told = notes or QueueNotes(tx)
    gone = time if removed else None
    told.note(
        queue_id, time=time, message_id=message_id, orig_queue_id=orig_queue_id, notice_of=notice_of, removed=gone
    )
    if notes is None:
        told.flush()


def record_active(
    tx: Tx,
    queue_id: str,
    *,
    time: datetime,
    sender: str,
    nrcpt: int | None = None,
    notes: QueueNotes | None = None,
) -> list[int]:
    """Postfix has queued a mail: recipients whose hand-over was in doubt, or not yet recorded, now have their queue id.

    They are found by their own signed reverse-path, or by our hand-over id that Postfix repeats as `orig_queue_id`; by
    that only when Postfix has all of them (`nrcpt`; None: not told): of a part, each delivery line tells. Gives their ids.
    """
    told = notes or QueueNotes(tx)
    told.note(queue_id, time=time, sender=sender.lower(), active=time)
    if notes is None:
        told.flush()
    meant = find_meant(tx, told.origin(queue_id), sender.lower(), nrcpt)
    for recipient_id in meant:
        take_over(tx, recipient_id, queue_id, time=time)
    if meant:
        prove_notices(tx, queue_id)
    return meant


def _add_line(
    tx: Tx,
    line: Attempt,
    judgement: Mapping[str, object],
    *,
    recipient_id: int | None,
    is_hop: bool,
) -> bool:
    """Whether the line was new, and so was written."""
    key = address_key(line.recipient)
    row = {
        "line_digest": line.line_digest,
        "time": line.time,
        "queue_id": line.queue_id,
        "address": line.recipient,
        "address_key": key,
        "original_key": address_key(line.original_recipient) if line.original_recipient else None,
        "recipient_id": recipient_id,
        "outcome": line.outcome,
        "is_attempt": line.is_attempt,
        "is_hop": is_hop,
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
        "transport": line.transport[:64] or None,
        "machine": line.machine[:255] or None,
        **judgement,
    }
    numbering = {"is_numbered": line.is_attempt, "of_queue": line.queue_id, "of_key": key}
    return bool(tx.execute(_INSERT[tx.dialect.name], {**row, **numbering}, execution_options=_COUNTED).rowcount)


def judgement_columns(verdict: Verdict | None, decision: Decision | None, release: int | None) -> dict[str, object]:
    """Verdict, decision and the rules' release as columns; all empty where nothing was to be judged."""
    return {
        "bounce_code": verdict.bounce_code if verdict else None,
        "rule_id": verdict.rule_id if verdict else None,
        "confidence": verdict.confidence if verdict else None,
        "words": verdict.words if verdict else None,
        "action": decision.action if decision else None,
        "reasons": "; ".join(decision.reasons) if decision else None,
        "rules_release": release if verdict else None,
    }
