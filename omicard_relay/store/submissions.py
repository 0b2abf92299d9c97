"""What the relay writes: the mail, the intent to hand it over, what Postfix said; and how a crash in between is undone.

The order is the promise (invariant 1). First the intent is written, then Postfix is asked, then its answer is written,
then the client gets its 250. A crash leaves the intent behind: whether Postfix had taken the mail, the log tells
(store/attempts.py moves the recipient on when it shows the queue id). What a client's second try means meanwhile is in
store/priors.py.
"""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import RecipientState, Reply, Submission, Verdict, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import refold
from omicard_relay.store.hidden import spellings
from omicard_relay.store.notices import prove_notices
from omicard_relay.store.schema import (
    attempt,
    bounce_report,
    campaign_claim,
    recipient,
    submission,
)

__all__ = [
    "add_dropped",
    "add_intent",
    "add_submission",
    "adopt",
    "forget_dropped",
    "is_in_campaign",
    "mark_answered",
    "mark_handed_over",
    "mark_in_doubt",
    "mark_not_taken",
    "mark_refused",
]


# The statements of every mail's way, made once: making one costs as much as running it.
_FIRST_OF_CAMPAIGN = sa.select(campaign_claim.c.recipient_id).where(
    campaign_claim.c.campaign == sa.bindparam("campaign"),
    campaign_claim.c.address_key.in_(sa.bindparam("keys", expanding=True)),
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
        sa.exists().where(bounce_report.c.queue_id == sa.bindparam("queue")),
    )
)
_ANSWER = submission.update().where(submission.c.id == sa.bindparam("own")).values(answered=sa.bindparam("now"))


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
        "kind": mail.kind,
        "envid": mail.envid,
        "size": mail.size,
        "first_queue_id": mail.first_queue_id,
    }
    if is_new or not tx.execute(_UPDATE_SUBMISSION, {"own": mail.submission_id, **row}).rowcount:
        tx.execute(_INSERT_SUBMISSION, {"id": mail.submission_id, **row})


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
    first = tx.execute(_FIRST_OF_CAMPAIGN, {"campaign": campaign, "keys": spellings(tx, address_key(address))}).scalar()
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
        prove_notices(tx, queue_id)
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
