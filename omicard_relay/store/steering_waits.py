"""Which mails wait under steering's decisions after a restart, whether one is still in the queue, and whether an address
has another mail there.

Not here: what is done with them (services/steer_acting.py).
"""

from collections.abc import Collection, Iterator
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import Outcome, RecipientState
from omicard_relay.store import sightings
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.schema import attempt, queue, recipient, steering_decision
from omicard_relay.store.sightings import Line
from omicard_relay.store.steering import Decided, read_decision

__all__ = ["has_other_mail", "is_gone", "open_decisions", "resting_lines"]

_PAGE = 500
_ENDS = (Outcome.SENT, Outcome.BOUNCED, Outcome.EXPIRED)
_IN_QUEUE = (RecipientState.HANDING_OVER, RecipientState.QUEUED, RecipientState.RESTING)


def open_decisions(store: Store, node: str, since: datetime) -> Iterator[tuple[Line, Decided]]:
    """The decisions that are to be acted on, of failures that nothing came after, of mails that are still in the queue."""
    later = sa.alias(attempt)
    is_passed = sa.exists().where(
        later.c.queue_id == attempt.c.queue_id,
        later.c.address_key == attempt.c.address_key,
        later.c.id > attempt.c.id,
        sa.or_(later.c.is_attempt, later.c.outcome.in_(_ENDS)),
    )
    is_removed = sa.exists().where(queue.c.queue_id == attempt.c.queue_id, queue.c.removed.is_not(None))
    query = (
        sa.select(steering_decision)
        .join(attempt, attempt.c.id == steering_decision.c.attempt_id)
        .where(steering_decision.c.node == node, steering_decision.c.mode == "act", attempt.c.time >= since)
        .where(~is_passed, ~is_removed)
        .order_by(steering_decision.c.attempt_id)
        .limit(_PAGE)
    )
    place = 0
    while True:
        with store.read() as tx:
            rows = tx.execute(query.where(steering_decision.c.attempt_id > place)).all()
            lines = sightings.lines_of(tx, [row.attempt_id for row in rows])
        yield from ((lines[row.attempt_id], read_decision(row)) for row in rows if row.attempt_id in lines)
        if len(rows) < _PAGE:
            return
        place = rows[-1].attempt_id


def resting_lines(store: Store, since: datetime) -> Iterator[Line]:
    """The newest line of each mail that our own entries let rest, where nothing came after it and it is still in the queue."""
    later = sa.alias(attempt)
    is_passed = sa.exists().where(
        later.c.queue_id == attempt.c.queue_id,
        later.c.address_key == attempt.c.address_key,
        later.c.id > attempt.c.id,
    )
    is_removed = sa.exists().where(queue.c.queue_id == attempt.c.queue_id, queue.c.removed.is_not(None))
    query = (
        sa.select(attempt.c.id)
        .where(attempt.c.program.in_(("error", "retry")), attempt.c.outcome == Outcome.DEFERRED)
        .where(attempt.c.time >= since, ~is_passed, ~is_removed)
        .order_by(attempt.c.id)
        .limit(_PAGE)
    )
    place = 0
    while True:
        with store.read() as tx:
            ids = list(tx.execute(query.where(attempt.c.id > place)).scalars())
            lines = sightings.lines_of(tx, ids)
        yield from (line for line in lines.values() if line.is_rest)
        if len(ids) < _PAGE:
            return
        place = ids[-1]


def is_gone(tx: Tx, queue_id: str) -> bool:
    """Whether the log told that Postfix is done with the mail; of one that is deleted by hand it tells in other words."""
    return bool(tx.execute(sa.select(queue.c.removed.is_not(None)).where(queue.c.queue_id == queue_id)).scalar())


def has_other_mail(tx: Tx, address_keys: Collection[str], queue_ids: Collection[str], since: datetime) -> bool:
    """Whether the store knows of a mail for one of the addresses that Postfix has, or may get from the relay in this moment.

    The mails of `queue_ids` are left out.
    """
    ours = sa.exists().where(
        recipient.c.address_key.in_(address_keys),
        recipient.c.state.in_(_IN_QUEUE),
        sa.or_(recipient.c.queue_id.is_(None), recipient.c.queue_id.not_in(queue_ids)),
    )
    end = sa.alias(attempt)
    has_end = sa.exists().where(
        end.c.queue_id == attempt.c.queue_id, end.c.address_key == attempt.c.address_key, end.c.outcome.in_(_ENDS)
    )
    is_removed = sa.exists().where(queue.c.queue_id == attempt.c.queue_id, queue.c.removed.is_not(None))
    others = sa.exists().where(
        attempt.c.address_key.in_(address_keys),
        attempt.c.queue_id.not_in(queue_ids),
        attempt.c.queue_id != "",
        attempt.c.time >= since,
        attempt.c.is_hop.is_(False),
        ~has_end,
        ~is_removed,
    )
    return bool(tx.execute(sa.select(sa.or_(ours, others))).scalar())
