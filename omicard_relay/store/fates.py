"""Whose log line it is, and where that recipient stands: a fold over its lines, so that their order does not matter.

Whoever comes second, the relay's record or the log, applies it. Used by store/submissions.py (a queue id becomes known) and
store/attempts.py (a line becomes known); both end in the same state, in whatever order they come and however often.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import ListName, Outcome, RecipientState, Road, Trust
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import attempt, bounce_report, list_entry, recipient, submission, suppression_due

__all__ = [
    "Target",
    "find_doubtful",
    "find_meant",
    "find_recipient",
    "fold",
    "fold_reports",
    "has_end",
    "is_failure",
    "is_signed",
    "owe_report",
    "refold",
    "take_over",
]

_STATES = {
    Outcome.SENT: RecipientState.DELIVERED,
    Outcome.DEFERRED: RecipientState.RESTING,
    Outcome.BOUNCED: RecipientState.RETURNED,
    Outcome.EXPIRED: RecipientState.RETURNED,
}


def is_signed() -> sa.ColumnElement[bool]:
    """Whether a recipient's reverse-path is one of our own making, which names it alone: it differs from its submission's."""
    own = sa.select(sa.func.lower(submission.c.reverse_path)).where(submission.c.id == recipient.c.submission_id)
    return recipient.c.reverse_path != own.scalar_subquery()


#: Lines that end a recipient's way, and what a report says where nothing failed (RFC 3464 §2.3.3).
_ENDS = (Outcome.SENT, Outcome.BOUNCED, Outcome.EXPIRED)
_NO_FAILURE = frozenset({"delivered", "relayed", "expanded", "delayed"})


def has_end() -> sa.ColumnElement[bool]:
    """Whether the log has told the end of a recipient."""
    return sa.exists().where(attempt.c.recipient_id == recipient.c.id, attempt.c.outcome.in_(_ENDS))


# The statements of every line's way, made once: making one costs more than running it.
_TARGET = (
    sa.select(recipient.c.id, recipient.c.address, recipient.c.address_key, recipient.c.queue_id)
    .add_columns(sa.exists().where(bounce_report.c.recipient_id == recipient.c.id).label("is_reported"))
    .add_columns(
        sa.exists()
        .where(list_entry.c.value == recipient.c.address_key, list_entry.c.list_name == ListName.KNOWN_BOUNCE)
        .where(list_entry.c.removed.is_(None))
        .label("is_listed")
    )
)
_IS_NAMED = recipient.c.address_key.in_([sa.bindparam("key"), sa.bindparam("original_key")])
_IS_HANDED = recipient.c.hand_over == sa.bindparam("origin")
_IS_IN_DOUBT = recipient.c.state == RecipientState.HANDING_OVER
_BY_ID = _TARGET.where(recipient.c.id == sa.bindparam("own"))
_BY_QUEUE = _TARGET.where(recipient.c.queue_id == sa.bindparam("queue"), _IS_NAMED).order_by(recipient.c.id).limit(1)
_DOUBTFUL = _TARGET.where(_IS_HANDED, _IS_IN_DOUBT, _IS_NAMED).order_by(recipient.c.id).limit(1)
_HANDED = recipient.alias("handed")
_COUNT = sa.select(sa.func.count()).where(_HANDED.c.hand_over == sa.bindparam("origin")).scalar_subquery()
#: Whether Postfix has all recipients of the hand-over; so it is taken for where `nrcpt` is not told.
_IS_WHOLE = sa.func.coalesce(sa.bindparam("nrcpt", type_=sa.Integer), _COUNT) == _COUNT
# A reverse-path of our own making names one recipient; any other is shared by many mails and proves nothing.
_IS_SENDER = sa.and_(
    recipient.c.reverse_path == sa.bindparam("sender"), recipient.c.hand_over.is_not(None), is_signed()
)
_MEANT = (
    sa.select(recipient.c.id)
    .where(_IS_IN_DOUBT, sa.or_(sa.and_(_IS_HANDED, _IS_WHOLE), _IS_SENDER))
    .order_by(recipient.c.id)
)
_TAKE_OVER = (
    recipient.update()
    .where(recipient.c.id == sa.bindparam("own"))
    .values(state=RecipientState.QUEUED, state_since=sa.bindparam("since"), queue_id=sa.bindparam("queue"))
)
#: Lines of a recipient that nobody has joined to it yet.
_UNJOINED = sa.and_(
    attempt.c.recipient_id.is_(None),
    attempt.c.queue_id == sa.bindparam("queue"),
    sa.or_(attempt.c.address_key == sa.bindparam("key"), attempt.c.original_key == sa.bindparam("key")),
    attempt.c.is_hop.is_(False),
)
_LINES = (
    sa.select(
        attempt.c.id, attempt.c.recipient_id, attempt.c.time, attempt.c.outcome, attempt.c.is_attempt, attempt.c.reply
    )
    .add_columns(attempt.c.stage, attempt.c.bounce_code, attempt.c.rule_id, attempt.c.action)
    .where(sa.or_(attempt.c.recipient_id == sa.bindparam("own"), _UNJOINED))
    .order_by(attempt.c.time, attempt.c.id)
)
_JOIN = attempt.update().where(_UNJOINED).values(recipient_id=sa.bindparam("own"))
_UPDATE = recipient.update().where(recipient.c.id == sa.bindparam("own"))
_REPORTS = (
    sa.select(bounce_report.c.id, bounce_report.c.queue_id, bounce_report.c.road, bounce_report.c.is_echo)
    .add_columns(bounce_report.c.dsn_action, bounce_report.c.bounce_code)
    .add_columns(sa.exists().where(suppression_due.c.bounce_report_id == bounce_report.c.id).label("is_due"))
    .add_columns(recipient.c.queue_id.label("own"), has_end().label("has_ended"))
    .add_columns(recipient.c.later_code, recipient.c.later_kind)
    .join(recipient, recipient.c.id == bounce_report.c.recipient_id)
    .where(bounce_report.c.recipient_id == sa.bindparam("own"), bounce_report.c.trust == Trust.PROVEN)
    .order_by(bounce_report.c.id)
)
_ECHO = bounce_report.update().where(bounce_report.c.id == sa.bindparam("report"))
_OWE = suppression_due.insert()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A recipient of ours, as far as lines are joined by it.

    `is_reported`: a bounce mail spoke of it. `is_listed`: the address is, or was until it ran out, a known bounce.
    """

    recipient_id: int
    address: str
    address_key: str
    queue_id: str | None
    is_reported: bool
    is_listed: bool = False


def find_recipient(tx: Tx, queue_id: str, key: str, original_key: str) -> Target | None:
    """The recipient that Postfix has under a queue id, by either of these address keys; the first, where there are two."""
    row = tx.execute(_BY_QUEUE, {"queue": queue_id, "key": key, "original_key": original_key}).first()
    return None if row is None else _target(row)


def find_doubtful(tx: Tx, origin: str, key: str, original_key: str) -> Target | None:
    """The same for one whose hand-over `origin` is still in doubt."""
    row = tx.execute(_DOUBTFUL, {"origin": origin, "key": key, "original_key": original_key}).first()
    return None if row is None else _target(row)


def find_meant(tx: Tx, origin: str | None, sender: str, nrcpt: int | None) -> list[int]:
    """Who is in doubt and meant by a mail that Postfix has queued: the whole hand-over `origin`, or whose signed reverse-path
    is `sender` (lower case). A hand-over is whole when `nrcpt` is its number of recipients; None: take it for whole.
    """
    return list(tx.execute(_MEANT, {"origin": origin, "sender": sender or None, "nrcpt": nrcpt}).scalars())


def _target(row: sa.Row[Any]) -> Target:
    return Target(
        recipient_id=row.id,
        address=row.address,
        address_key=row.address_key,
        queue_id=row.queue_id,
        is_reported=bool(row.is_reported),
        is_listed=bool(row.is_listed),
    )


def take_over(tx: Tx, recipient_id: int, queue_id: str, *, time: datetime) -> None:
    """The log has told the queue id of a recipient in doubt, and perhaps more before that."""
    tx.execute(_TAKE_OVER, {"own": recipient_id, "since": time, "queue": queue_id})
    refold(tx, recipient_id)


def refold(tx: Tx, recipient_id: int) -> None:
    """Join this recipient's log lines to it, and set its state by the last of them."""
    fold(tx, _target(tx.execute(_BY_ID, {"own": recipient_id}).one()))


def fold(tx: Tx, who: Target) -> None:
    """The same for a recipient that was just read in this transaction."""
    _fold_lines(tx, who)
    if who.is_reported:
        fold_reports(tx, who.recipient_id)


def _fold_lines(tx: Tx, who: Target) -> None:
    named = {"own": who.recipient_id, "queue": who.queue_id, "key": who.address_key}
    lines = tx.execute(_LINES, named).all()
    late = [line for line in lines if line.recipient_id is None]
    if late:
        tx.execute(_JOIN, named)
        # Nobody has looked at them by suppress.toml: whose lines they are was not known.
        ends = [line.id for line in late if line.outcome in _ENDS and (line.outcome != Outcome.SENT or who.is_listed)]
        if ends:
            tx.execute(_OWE, [{"attempt_id": end} for end in ends])
    telling = [line for line in lines if line.outcome in _STATES]
    if not telling:
        return
    # A delivery or a return is final; a deferral that is read late (an older log) changes nothing any more.
    final = [line for line in telling if line.outcome != Outcome.DEFERRED]
    last = final[-1] if final else telling[-1]
    # "delivery temporarily suspended" and a rest repeat an earlier failure: the cause is that of the last real attempt.
    # An expiry that took its cause from there shows that server's words, too.
    causes = [line for line in telling if line.is_attempt and line.bounce_code is not None] or [last]
    repeats = last.outcome == Outcome.DEFERRED or (
        last.outcome == Outcome.EXPIRED and causes[-1].bounce_code == last.bounce_code
    )
    cause = causes[-1] if repeats and not last.is_attempt else last
    fate = {
        "state": _STATES[last.outcome],
        "state_since": last.time,
        "delivered": last.time if last.outcome == Outcome.SENT else None,
        "bounce_code": cause.bounce_code,
        "rule_id": cause.rule_id,
        "action": last.action if last.outcome == Outcome.EXPIRED else cause.action,
        "detail": cause.reply,
        "stage": cause.stage,
        "attempts": sum(1 for line in lines if line.is_attempt),
    }
    tx.execute(_UPDATE, {"own": who.recipient_id, **fate})


def fold_reports(tx: Tx, recipient_id: int) -> None:
    """Set what came back after delivery, by this recipient's proven bounce reports.

    A DSN of our own Postfix repeats what its log tells, or is about to tell (an echo): it is known by the mail's queue id.
    Where that is not known yet, a report that names a queue id waits; whoever makes the queue id known comes by here. Only
    where the log has been read beyond it and tells no end (store/due.py), the DSN itself is the proof.
    """
    rows = tx.execute(_REPORTS, {"own": recipient_id}).all()
    if not rows:
        return
    later_code, later_kind = None, None
    for row in rows:
        is_looked_at = is_failure(row.dsn_action, row.bounce_code) and not row.is_due
        is_echo = row.queue_id is not None and row.queue_id == row.own and (bool(row.has_ended) or not is_looked_at)
        if is_echo != row.is_echo:
            tx.execute(_ECHO, {"report": row.id, "is_echo": is_echo})
        undecided = row.queue_id is not None and row.own is None and not is_looked_at
        if is_echo or undecided or row.bounce_code is None:
            continue
        if row.road == Road.DSN and row.dsn_action == "delayed":
            continue  # a remote "still trying" is no fate
        if row.road == Road.AUTOREPLY and later_kind not in (None, Road.AUTOREPLY):
            continue  # who answers by machine has the mail: that never hides a failure that was told before
        later_code, later_kind = row.bounce_code, row.road
    if (later_code, later_kind) != (rows[0].later_code, rows[0].later_kind):
        tx.execute(_UPDATE, {"own": recipient_id, "later_code": later_code, "later_kind": later_kind})


def owe_report(tx: Tx, report_id: int, *, dsn_action: str | None, bounce_code: int | None) -> None:
    """A statement is proven: where it tells of a failure, suppress.toml has to look at it (store/due.py)."""
    if is_failure(dsn_action, bounce_code):
        tx.execute(_OWE, {"bounce_report_id": report_id})


def is_failure(dsn_action: str | None, bounce_code: int | None) -> bool:
    """Whether a statement tells of a failure, or of a complaint."""
    return bounce_code is not None and (dsn_action or "").lower() not in _NO_FAILURE
