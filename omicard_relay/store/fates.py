"""Where a recipient stands is a fold over its log lines: whoever comes second, the relay's record or the log, applies it.

Used by store/submissions.py (a queue id becomes known) and store/attempts.py (a line becomes known); both end in the
same state, in whatever order they come and however often.
"""

import sqlalchemy as sa

from omicard_relay.mail import Outcome, RecipientState, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import attempt, recipient

__all__ = ["find_recipients", "refold"]

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


def refold(tx: Tx, recipient_id: int) -> None:
    """Join this recipient's log lines to it, and set its state by the last of them."""
    row = tx.execute(
        sa.select(recipient.c.queue_id, recipient.c.address_key, recipient.c.state).where(
            recipient.c.id == recipient_id
        )
    ).one()
    tx.execute(
        attempt.update()
        .where(
            attempt.c.queue_id == row.queue_id,
            attempt.c.address_key == row.address_key,
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
    causes = [line for line in telling if line.is_attempt and line.bounce_code is not None] or [last]
    cause = causes[-1] if last.outcome == Outcome.DEFERRED and not last.is_attempt else last
    tx.execute(
        recipient.update()
        .where(recipient.c.id == recipient_id)
        .values(
            state=_STATES[last.outcome],
            state_since=last.time,
            delivered=last.time if last.outcome == Outcome.SENT else None,
            bounce_code=cause.bounce_code,
            rule_id=cause.rule_id,
            action=cause.action,
            detail=cause.reply,
            stage=cause.stage,
            attempts=sum(1 for line in lines if line.is_attempt),
        )
    )
