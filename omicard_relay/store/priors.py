"""A client's second try: has Postfix the mail from the first one, has it not, or does nobody know yet?

The client comes again after a 4xx, a lost connection or a crash of ours, with the very same mail (same digest). What the
first try left behind in the store decides; where that is only an intent, the log does (store/attempts.py): until it has
told, or was read well past the moment and is silent, the client is told to wait.
Not here: writing the tries down (store/submissions.py).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from omicard_relay.mail import RecipientState, Submission
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import follow_place, queue, recipient, submission

__all__ = ["RETRY_WINDOW", "Prior", "PriorState", "find_priors"]

#: How long an unanswered mail is still taken for the client's own earlier try: Postfix gives up after five days.
RETRY_WINDOW = timedelta(days=7)
#: States in which Postfix certainly has nothing.
_NOT_IN_POSTFIX = (RecipientState.NOT_TAKEN, RecipientState.DROPPED, RecipientState.REFUSED)

_EARLIER_TRIES = (
    sa.select(recipient.c.id, recipient.c.state, recipient.c.state_since, recipient.c.address_key)
    .add_columns(recipient.c.hand_over, submission.c.id.label("submission_id"))
    .join(submission)
    .where(
        submission.c.digest == sa.bindparam("digest"),
        submission.c.answered.is_(None),
        submission.c.id != sa.bindparam("own"),
        submission.c.received > sa.bindparam("since"),
    )
    .order_by(recipient.c.id)
)
_STILL_QUEUED = sa.select(queue.c.queue_id).where(
    queue.c.orig_queue_id == sa.bindparam("origin"), queue.c.active.is_not(None), queue.c.removed.is_(None)
)


class PriorState(StrEnum):
    """What an earlier try of the very same mail means for this one."""

    NONE = "none"
    #: Postfix has it already: answer 250, hand nothing over.
    TAKEN = "taken"
    #: A crash, or a try that is still running: nobody knows yet; answer 451.
    IN_DOUBT = "in-doubt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The earlier try; `recipient_id` is the row that this try takes over (None: a new one)."""

    state: PriorState
    recipient_id: int | None = None


#: What decides where an address stands twice in the same mail; a row that was not dropped counts one more.
_WEIGHT = {PriorState.NONE: 0, PriorState.IN_DOUBT: 2, PriorState.TAKEN: 4}


def find_priors(
    tx: Tx, mail: Submission, *, running: Collection[str], now: datetime, doubt_seconds: int
) -> dict[str, Prior]:
    """What unanswered earlier tries of the same mail (same digest) mean, by address key; no entry: nothing is known.

    `running` are the submissions that this process is handing over at this moment.
    """
    asked = {"digest": mail.digest, "own": mail.submission_id, "since": now - RETRY_WINDOW}
    rows = tx.execute(_EARLIER_TRIES, asked).all()
    found: dict[str, Prior] = {}
    weights: dict[str, int] = {}
    for row in rows:
        if row.submission_id in running:
            state = PriorState.IN_DOUBT
        elif row.state in _NOT_IN_POSTFIX:
            state = PriorState.NONE
        elif row.state != RecipientState.HANDING_OVER:
            state = PriorState.TAKEN
        elif _log_is_silent(tx, row.state_since, now, doubt_seconds) and not _is_in_queue(tx, row.hand_over):
            state = PriorState.NONE
        else:
            state = PriorState.IN_DOUBT
        # An address may stand twice (a duplicate that was dropped): the row that says most decides.
        weight = _WEIGHT[state] + (row.state != RecipientState.DROPPED)
        if weight > weights.get(row.address_key, -1):
            weights[row.address_key] = weight
            found[row.address_key] = Prior(state=state, recipient_id=row.id)
    return found


def _log_is_silent(tx: Tx, since: datetime, now: datetime, doubt_seconds: int) -> bool:
    """Whether the doubt is old enough, and the log was read well past it, so that Postfix cannot have the mail.

    Where no log is followed at all, five times the wait must do: losing a mail is worse than sending it twice.
    """
    age = (now - since).total_seconds()
    if age < doubt_seconds:
        return False
    last_read = tx.execute(sa.select(sa.func.max(follow_place.c.read))).scalar()
    if last_read is not None and last_read > since + timedelta(seconds=doubt_seconds):
        return True
    return age > 5 * doubt_seconds


def _is_in_queue(tx: Tx, hand_over: str) -> bool:
    """Whether the log shows a mail of this hand-over that Postfix still has: it may be that recipient's, too.

    Once Postfix has removed it, a recipient that no line has named was refused when it was handed over.
    """
    return tx.execute(_STILL_QUEUED, {"origin": hand_over}).first() is not None
