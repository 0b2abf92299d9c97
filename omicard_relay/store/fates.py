"""Where a recipient stands is a fold over its log lines: whoever comes second, the relay's record or the log, applies it.

Used by store/submissions.py (a queue id becomes known) and store/attempts.py (a line becomes known); both end in the
same state, in whatever order they come and however often.
"""

import sqlalchemy as sa

from omicard_relay.mail import Outcome, RecipientState, Road, Trust, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import attempt, bounce_report, recipient, submission

__all__ = ["find_recipients", "fold_reports", "is_signed", "refold"]

_STATES = {
    Outcome.SENT: RecipientState.DELIVERED,
    Outcome.DEFERRED: RecipientState.RESTING,
    Outcome.BOUNCED: RecipientState.RETURNED,
    Outcome.EXPIRED: RecipientState.RETURNED,
}


def find_recipients(tx: Tx, queue_id: str, *addresses: str) -> list[int]:
    """The recipients that Postfix has under a queue id, by any of these spellings of the address."""
    keys = {address_key(address) for address in addresses if address}
    rows = tx.execute(
        sa.select(recipient.c.id).where(recipient.c.queue_id == queue_id, recipient.c.address_key.in_(keys))
    )
    return [row.id for row in rows]


def is_signed() -> sa.ColumnElement[bool]:
    """Whether a recipient's reverse-path is one of our own making, which names it alone: it differs from its submission's."""
    own = sa.select(sa.func.lower(submission.c.reverse_path)).where(submission.c.id == recipient.c.submission_id)
    return recipient.c.reverse_path != own.scalar_subquery()


def refold(tx: Tx, recipient_id: int) -> None:
    """Join this recipient's log lines to it, and set its state by the last of them."""
    fold_reports(tx, recipient_id)
    row = tx.execute(
        sa.select(recipient.c.queue_id, recipient.c.address_key, recipient.c.state).where(
            recipient.c.id == recipient_id
        )
    ).one()
    tx.execute(
        attempt.update()
        .where(
            attempt.c.queue_id == row.queue_id,
            sa.or_(attempt.c.address_key == row.address_key, attempt.c.original_key == row.address_key),
            attempt.c.recipient_id.is_(None),
            attempt.c.is_hop.is_(False),
        )
        .values(recipient_id=recipient_id)
    )
    lines = tx.execute(
        sa.select(attempt).where(attempt.c.recipient_id == recipient_id).order_by(attempt.c.time, attempt.c.id)
    ).all()
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
    tx.execute(
        recipient.update()
        .where(recipient.c.id == recipient_id)
        .values(
            state=_STATES[last.outcome],
            state_since=last.time,
            delivered=last.time if last.outcome == Outcome.SENT else None,
            bounce_code=cause.bounce_code,
            rule_id=cause.rule_id,
            action=last.action if last.outcome == Outcome.EXPIRED else cause.action,
            detail=cause.reply,
            stage=cause.stage,
            attempts=sum(1 for line in lines if line.is_attempt),
        )
    )


def fold_reports(tx: Tx, recipient_id: int) -> None:
    """Set what came back after delivery, by this recipient's proven bounce reports.

    A DSN of our own Postfix only repeats what its log tells (an echo): it is known by the mail's queue id. Where that is
    not known yet, a report that names a queue id waits; whoever makes the queue id known comes by here.
    """
    rows = tx.execute(
        sa.select(bounce_report).where(bounce_report.c.recipient_id == recipient_id).order_by(bounce_report.c.id)
    ).all()
    if not rows:
        return
    own = tx.execute(sa.select(recipient.c.queue_id).where(recipient.c.id == recipient_id)).scalar()
    later_code, later_kind = None, None
    for row in rows:
        is_echo = row.queue_id is not None and row.queue_id == own
        if is_echo != row.is_echo:
            tx.execute(bounce_report.update().where(bounce_report.c.id == row.id).values(is_echo=is_echo))
        undecided = row.queue_id is not None and own is None
        if is_echo or undecided or row.bounce_code is None or row.trust != Trust.PROVEN:
            continue
        if row.road == Road.DSN and row.dsn_action == "delayed":
            continue  # a remote "still trying" is no fate
        if row.road == Road.AUTOREPLY and later_kind not in (None, Road.AUTOREPLY):
            continue  # who answers by machine has the mail: that never hides a failure that was told before
        later_code, later_kind = row.bounce_code, row.road
    tx.execute(
        recipient.update().where(recipient.c.id == recipient_id).values(later_code=later_code, later_kind=later_kind)
    )
