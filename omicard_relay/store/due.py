"""What suppress.toml has still to look at: failures and deliveries that were proven before all was known about them.

A statement of a bounce mail waits for its mail's queue id, which tells whether our own Postfix only repeats its log; and
where it does, for what that log says. A line of the log that was read before the relay had written its queue id down is
joined by whoever writes that, who has no rules at hand. Each is looked at once: its row goes in the same transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from omicard_relay.mail import Evidence, Outcome, Road, Verdict
from omicard_relay.store.bounces import Owner
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import fold_reports, has_end
from omicard_relay.store.schema import attempt, bounce_mail, bounce_report, follow_place, recipient, suppression_due

__all__ = ["Due", "close_due", "find_due", "look_safely", "told_now"]

#: What neither the log nor the relay has told within a day, it will not tell any more.
_PATIENCE = timedelta(days=1)
#: At most so many in one transaction: a few milliseconds each.
_MOST = 200
#: After a fault of our own: a program that is mended meanwhile does it then.
_AGAIN = timedelta(days=1)


# Asked with every batch of lines and every bounce mail, so they are made once: making a statement costs as much as running it.
_ONE = sa.bindparam("one", type_=sa.Integer)
_IS_WANTED = sa.and_(
    sa.or_(_ONE.is_(None), recipient.c.id == _ONE),
    sa.or_(suppression_due.c.not_before.is_(None), suppression_due.c.not_before <= sa.bindparam("now")),
)
_LINES = (
    sa.select(suppression_due.c.id.label("due_id"), recipient.c.id.label("our_id"), recipient.c.address.label("our"))
    .add_columns(attempt.c.outcome, attempt.c.time, attempt.c.queue_id)
    .add_columns(attempt.c.bounce_code, attempt.c.rule_id, attempt.c.confidence, attempt.c.words)
    .join(attempt, attempt.c.id == suppression_due.c.attempt_id)
    .join(recipient, recipient.c.id == attempt.c.recipient_id)
    .where(_IS_WANTED)
    .order_by(suppression_due.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
# No queue id, a foreign one, an end in the log, a log that was read beyond it, or patience has an end: it need not wait.
_IS_OWN = recipient.c.queue_id == bounce_report.c.queue_id
_READ = sa.select(sa.func.max(follow_place.c.read)).scalar_subquery()
_STATEMENTS = (
    sa.select(suppression_due.c.id.label("due_id"), bounce_report, bounce_mail.c.received)
    .add_columns(recipient.c.id.label("our_id"), recipient.c.address.label("our"))
    .add_columns(sa.and_(_IS_OWN, has_end()).label("is_repeated"))
    .join(bounce_report, bounce_report.c.id == suppression_due.c.bounce_report_id)
    .join(bounce_mail)
    .join(recipient, recipient.c.id == bounce_report.c.recipient_id)
    .where(
        _IS_WANTED,
        sa.or_(
            bounce_report.c.queue_id.is_(None),
            recipient.c.queue_id != bounce_report.c.queue_id,
            sa.and_(_IS_OWN, sa.or_(has_end(), bounce_mail.c.received < _READ)),
            bounce_mail.c.received < sa.bindparam("patience"),
        ),
    )
    .order_by(suppression_due.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One proven statement or line about our recipient, as suppress.toml wants it; `due_id` 0: it never had to wait.

    `outcome` is the line's, None for a statement. `is_echo`: the log has told it already. `happened`: for a statement, when
    it came. `source` says where the proof stands.
    """

    due_id: int
    recipient_id: int
    address: str
    road: Road
    outcome: Outcome | None
    is_echo: bool
    verdict: Verdict | None
    feedback_type: str | None
    new_address: str | None
    happened: datetime
    source: str


def find_due(tx: Tx, *, now: datetime, recipient_id: int | None = None, most: int = _MOST) -> list[Due]:
    """Those of which all is known now, oldest first, at most so many; of one recipient, or of all."""
    named = {"one": recipient_id, "now": now, "most": most}
    lines = tx.execute(_LINES, named)
    statements = tx.execute(_STATEMENTS, {**named, "patience": now - _PATIENCE})
    found = [*map(_line, lines), *map(_statement, statements)]
    return sorted(found, key=lambda one: one.due_id)[:most]


def told_now(mail_digest: str, evidence: Evidence, verdict: Verdict | None, owner: Owner, *, now: datetime) -> Due:
    """A proven statement of a mail that has just come, and need not wait."""
    return Due(
        due_id=0,
        recipient_id=owner.recipient_id,
        address=owner.address,
        road=evidence.road,
        outcome=None,
        is_echo=False,
        verdict=verdict,
        feedback_type=evidence.feedback_type,
        new_address=evidence.new_address,
        happened=now,
        source=_source(mail_digest),
    )


def look_safely(tx: Tx, due: Due, look: Callable[[], None], *, now: datetime) -> Exception | None:
    """Look at it with `look`; a failure of that is given, what it has written is taken back, and it is put aside for a day.

    Raises what has broken the whole transaction: a lock, the disk or the connection.
    """
    try:
        with tx.begin_nested():
            look()
    except (IntegrityError, DataError) as error:
        failure: Exception = error
    except SQLAlchemyError:
        raise
    except Exception as error:  # a fault of ours, which must not hold up what stands behind it
        failure = error
    else:
        return None
    tx.execute(suppression_due.update().where(suppression_due.c.id == due.due_id).values(not_before=now + _AGAIN))
    return failure


def close_due(tx: Tx, due: Due) -> bool:
    """It is being looked at now, and never again; False where another process does that already."""
    if not tx.execute(suppression_due.delete().where(suppression_due.c.id == due.due_id)).rowcount:
        return False
    if due.outcome is None:
        fold_reports(tx, due.recipient_id)
    return True


def _line(row: sa.Row[tuple[object, ...]]) -> Due:
    return Due(
        due_id=row.due_id,
        recipient_id=row.our_id,
        address=row.our,
        road=Road.LOG,
        outcome=Outcome(row.outcome),
        is_echo=False,
        verdict=_verdict(row),
        feedback_type=None,
        new_address=None,
        happened=row.time,
        source=f"log {row.queue_id}",
    )


def _statement(row: sa.Row[tuple[object, ...]]) -> Due:
    return Due(
        due_id=row.due_id,
        recipient_id=row.our_id,
        address=row.our,
        road=Road(row.road),
        outcome=None,
        is_echo=bool(row.is_repeated),
        verdict=_verdict(row),
        feedback_type=row.feedback_type,
        new_address=row.new_address,
        happened=row.received,
        source=_source(row.mail_digest),
    )


def _source(mail_digest: str) -> str:
    return f"bounce {mail_digest[:16]}"


def _verdict(row: sa.Row[tuple[object, ...]]) -> Verdict | None:
    if row.bounce_code is None:
        return None
    return Verdict(
        bounce_code=row.bounce_code, rule_id=row.rule_id or "", confidence=row.confidence or 0.0, words=row.words or ""
    )
