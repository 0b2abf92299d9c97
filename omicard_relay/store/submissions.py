"""What the relay writes: the mail, the intent to hand it over, what Postfix said; and how a crash in between is undone.

The order is the promise (invariant 1). First the intent is written, then Postfix is asked, then its answer is written,
then the client gets its 250. A crash leaves the intent behind: whether Postfix had taken the mail, the log tells
(store/attempts.py moves the recipient on when it shows the queue id); until then, or until the doubt is too old, the
client's second try is told to wait.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from omicard_relay.mail import RecipientState, Reply, Submission, Verdict, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import refold
from omicard_relay.store.schema import attempt, bounce_report, campaign_claim, follow_place, recipient, submission

__all__ = [
    "Prior",
    "PriorState",
    "add_dropped",
    "add_intent",
    "add_submission",
    "adopt",
    "find_priors",
    "forget_dropped",
    "is_in_campaign",
    "mark_answered",
    "mark_handed_over",
    "mark_in_doubt",
    "mark_not_taken",
    "mark_refused",
]

#: How long an unanswered mail is still taken for the client's own earlier try: Postfix gives up after five days.
_RETRY_WINDOW = timedelta(days=7)


#: States in which Postfix certainly has nothing.
_NOT_IN_POSTFIX = (RecipientState.NOT_TAKEN, RecipientState.DROPPED, RecipientState.REFUSED)


# The statements of every mail's way, made once: making one costs as much as running it.
_EARLIER_TRIES = (
    sa.select(recipient.c.id, recipient.c.state, recipient.c.state_since, recipient.c.address_key)
    .add_columns(submission.c.id.label("submission_id"))
    .join(submission)
    .where(
        submission.c.digest == sa.bindparam("digest"),
        submission.c.answered.is_(None),
        submission.c.id != sa.bindparam("own"),
        submission.c.received > sa.bindparam("since"),
    )
    .order_by(recipient.c.id)
)
_FIRST_OF_CAMPAIGN = sa.select(campaign_claim.c.recipient_id).where(
    campaign_claim.c.campaign == sa.bindparam("campaign"), campaign_claim.c.address_key == sa.bindparam("key")
)
_INSERT_SUBMISSION = submission.insert()
_UPDATE_SUBMISSION = submission.update().where(submission.c.id == sa.bindparam("own"))
_INSERT_RECIPIENT = recipient.insert()
_IDS: sa.BindParameter[list[int]] = sa.bindparam("ids", expanding=True)
_HAND_OVER = (
    recipient.update()
    .where(recipient.c.id.in_(_IDS), recipient.c.state == RecipientState.HANDING_OVER)
    .values(state=RecipientState.QUEUED, state_since=sa.bindparam("since"), queue_id=sa.bindparam("queue"))
)
#: Whether the log or a bounce was quicker than the relay's own record.
_IS_TOLD_OF = sa.select(
    sa.or_(
        sa.exists().where(attempt.c.queue_id == sa.bindparam("queue")),
        sa.exists().where(bounce_report.c.recipient_id.in_(_IDS)),
    )
)
_ANSWER = submission.update().where(submission.c.id == sa.bindparam("own")).values(answered=sa.bindparam("now"))


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


def add_submission(tx: Tx, mail: Submission, *, is_new: bool = False) -> None:
    """Write the mail down; a second call for the same id fills in what is known by now (`is_new`: there was none)."""
    row = {
        "digest": mail.digest,
        "received": mail.received,
        "way": mail.way,
        "client_ip": mail.client_ip,
        "client_name": mail.client_name,
        "login": mail.login,
        "reverse_path": mail.reverse_path,
        "message_id": mail.message_id,
        "subject": mail.subject,
        "campaign": mail.campaign,
        "envid": mail.envid,
        "size": mail.size,
        "first_queue_id": mail.first_queue_id,
    }
    if is_new or not tx.execute(_UPDATE_SUBMISSION, {"own": mail.submission_id, **row}).rowcount:
        tx.execute(_INSERT_SUBMISSION, {"id": mail.submission_id, **row})


def find_priors(
    tx: Tx, mail: Submission, *, running: Collection[str], now: datetime, doubt_seconds: int
) -> dict[str, Prior]:
    """What unanswered earlier tries of the same mail (same digest) mean, by address key; no entry: nothing is known.

    `running` are the submissions that this process is handing over at this moment.
    """
    asked = {"digest": mail.digest, "own": mail.submission_id, "since": now - _RETRY_WINDOW}
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
        elif _log_is_silent(tx, row.state_since, now, doubt_seconds):
            state = PriorState.NONE
        else:
            state = PriorState.IN_DOUBT
        # An address may stand twice (a duplicate that was dropped): the row that says most decides.
        weight = _WEIGHT[state] + (row.state != RecipientState.DROPPED)
        if weight > weights.get(row.address_key, -1):
            weights[row.address_key] = weight
            found[row.address_key] = Prior(state=state, recipient_id=row.id)
    return found


def adopt(tx: Tx, mail: Submission, recipient_id: int) -> None:
    """Postfix has this recipient from an earlier try: it belongs to this try from now on, as it stands."""
    before = tx.execute(sa.select(recipient.c.submission_id).where(recipient.c.id == recipient_id)).scalar()
    tx.execute(recipient.update().where(recipient.c.id == recipient_id).values(submission_id=mail.submission_id))
    _forget_when_empty(tx, before, mail)


def forget_dropped(tx: Tx, mail: Submission, recipient_id: int) -> None:
    """This try has written the same drop down again: the row of the earlier one goes."""
    row = tx.execute(
        sa.select(recipient.c.submission_id, recipient.c.state).where(recipient.c.id == recipient_id)
    ).first()
    if row is not None and row.state == RecipientState.DROPPED:
        tx.execute(recipient.delete().where(recipient.c.id == recipient_id))
        _forget_when_empty(tx, row.submission_id, mail)


def is_in_campaign(tx: Tx, campaign: str | None, address: str, *, own_row: int | None) -> bool:
    """Whether another mail of this campaign has this address already."""
    if campaign is None:
        return False
    first = tx.execute(_FIRST_OF_CAMPAIGN, {"campaign": campaign, "key": address_key(address)}).scalar()
    return first is not None and first != own_row


def add_intent(
    tx: Tx,
    mail: Submission,
    address: str,
    *,
    own_row: int | None,
    reverse_path: str,
    hand_over: str,
    relay_run: str,
    now: datetime,
) -> int:
    """Write down that Postfix is about to be asked; gives the recipient's id, and claims the address in its campaign."""
    recipient_id = _put(
        tx,
        mail,
        address,
        own_row,
        state=RecipientState.HANDING_OVER,
        state_since=now,
        reverse_path=reverse_path.lower(),
        hand_over=hand_over,
        relay_run=relay_run,
        drop_step=None,
        bounce_code=None,
        rule_id=None,
        action=None,
        detail=None,
        stage=None,
    )
    if mail.campaign is not None and not is_in_campaign(tx, mail.campaign, address, own_row=None):
        tx.execute(
            campaign_claim.insert().values(
                campaign=mail.campaign, address_key=address_key(address), recipient_id=recipient_id
            )
        )
    return recipient_id


def add_dropped(
    tx: Tx,
    mail: Submission,
    address: str,
    *,
    own_row: int | None,
    step: str,
    reason: str,
    bounce_code: int | None,
    now: datetime,
) -> int:
    """Write down that a recipient was scrubbed, by which step, why and with which code."""
    recipient_id = _put(
        tx,
        mail,
        address,
        own_row,
        state=RecipientState.DROPPED,
        state_since=now,
        drop_step=step,
        bounce_code=bounce_code,
        detail=reason,
    )
    _release(tx, [recipient_id])
    return recipient_id


def mark_handed_over(tx: Tx, recipient_ids: Iterable[int], queue_id: str, *, now: datetime) -> None:
    """Postfix answered 250: it has these recipients under this queue id. What the log told meanwhile is applied."""
    ids = list(recipient_ids)
    tx.execute(_HAND_OVER, {"ids": ids, "since": now, "queue": queue_id})
    if tx.execute(_IS_TOLD_OF, {"ids": ids, "queue": queue_id}).scalar():
        for recipient_id in ids:
            refold(tx, recipient_id)


def mark_not_taken(tx: Tx, recipient_ids: Iterable[int], reply: str, *, now: datetime) -> None:
    """Postfix did not take them for now: the client comes again, and another mail of the campaign may take the place."""
    ids = list(recipient_ids)
    tx.execute(
        recipient.update()
        .where(recipient.c.id.in_(ids), recipient.c.state == RecipientState.HANDING_OVER)
        .values(state=RecipientState.NOT_TAKEN, state_since=now, detail=reply)
    )
    _release(tx, ids)


def mark_in_doubt(tx: Tx, recipient_ids: Iterable[int], *, now: datetime) -> None:
    """Postfix was asked and did not answer: the hand-over stays open, and its time of doubt begins now."""
    tx.execute(
        recipient.update()
        .where(recipient.c.id.in_(list(recipient_ids)), recipient.c.state == RecipientState.HANDING_OVER)
        .values(state_since=now)
    )


def mark_refused(tx: Tx, recipient_ids: Iterable[int], reply: Reply, verdict: Verdict, *, now: datetime) -> None:
    """Postfix itself refused them for good, with this reply."""
    ids = list(recipient_ids)
    tx.execute(
        recipient.update()
        .where(recipient.c.id.in_(ids), recipient.c.state == RecipientState.HANDING_OVER)
        .values(
            state=RecipientState.REFUSED,
            state_since=now,
            detail=reply.text,
            stage=reply.stage,
            bounce_code=verdict.bounce_code,
            rule_id=verdict.rule_id,
        )
    )
    _release(tx, ids)


def mark_answered(tx: Tx, submission_id: str, *, now: datetime) -> None:
    """The client was told 250: from now on the same content is another mail."""
    tx.execute(_ANSWER, {"own": submission_id, "now": now})


def _put(tx: Tx, mail: Submission, address: str, own_row: int | None, **values: object) -> int:
    """Insert the recipient, or move the row of the earlier try over to this submission."""
    values |= {"submission_id": mail.submission_id, "address": address, "address_key": address_key(address)}
    if own_row is None:
        key = tx.execute(_INSERT_RECIPIENT, {"attempts": 0, **values}).inserted_primary_key
        assert key is not None  # noqa: S101  an insert of one row always has one
        return int(key[0])
    before = tx.execute(sa.select(recipient.c.submission_id).where(recipient.c.id == own_row)).scalar()
    tx.execute(recipient.update().where(recipient.c.id == own_row).values(**values))
    _forget_when_empty(tx, before, mail)
    return own_row


def _forget_when_empty(tx: Tx, before: str | None, mail: Submission) -> None:
    """The earlier try goes when the last of its recipients has moved on."""
    if before is None or before == mail.submission_id:
        return
    if not tx.execute(sa.select(sa.func.count()).where(recipient.c.submission_id == before)).scalar():
        tx.execute(submission.delete().where(submission.c.id == before))


def _release(tx: Tx, recipient_ids: list[int]) -> None:
    tx.execute(campaign_claim.delete().where(campaign_claim.c.recipient_id.in_(recipient_ids)))


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
