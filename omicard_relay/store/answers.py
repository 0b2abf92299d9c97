"""Mails of people that wait to be handed on, each by its digest in `bounce_mail`; store/schema.py has the columns.

A waiting mail has `hand_on_after`. Who hands it on takes it first (`take_waiting`): for `lease` nobody else does, and when
its taker dies it waits again. `begin_placing` decides between two who have it all the same: one of them may go on.
Not here: the handing on itself (services/handing_on.py).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from omicard_relay.store.engine import Tx
from omicard_relay.store.mails import unpacked
from omicard_relay.store.schema import bounce_mail, mail_content

__all__ = [
    "WaitingMail",
    "begin_placing",
    "close_mail",
    "count_waiting",
    "never_hand_on",
    "next_due",
    "put_off",
    "take_waiting",
    "wait_to_be_handed_on",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingMail:
    """A mail that was taken to be handed on. `placing`: the draft that only has to be moved, see `begin_placing`."""

    digest: str
    raw: bytes
    received: datetime
    tries: int
    placing: str | None


def wait_to_be_handed_on(tx: Tx, digest: str, *, now: datetime) -> None:
    """Let a mail wait, in the transaction that stores it."""
    tx.execute(bounce_mail.update().where(bounce_mail.c.digest == digest).values(hand_on_after=now))


def never_hand_on(tx: Tx, digest: str, why: str) -> None:
    """Write down why a mail is kept only."""
    tx.execute(bounce_mail.update().where(bounce_mail.c.digest == digest).values(hand_on_after=None, hand_on_note=why))


def take_waiting(tx: Tx, *, now: datetime, lease: timedelta, most: int) -> list[WaitingMail]:
    """The mails that have waited longest, at most so many, for the caller alone until `now + lease`."""
    due = tx.execute(
        sa.select(bounce_mail, mail_content.c.raw)
        .join(mail_content)  # what waits is not deleted by its age
        .where(bounce_mail.c.hand_on_after <= now)
        .order_by(bounce_mail.c.hand_on_after)
        .limit(most)
    ).all()
    return [
        WaitingMail(
            digest=row.digest,
            raw=unpacked(row.raw),
            received=row.received,
            tries=row.hand_on_tries,
            placing=row.hand_on_note if row.handed_on else None,
        )
        for row in due
        if tx.execute(
            bounce_mail.update()
            .where(bounce_mail.c.digest == row.digest, bounce_mail.c.hand_on_after == row.hand_on_after)
            .values(hand_on_after=now + lease)
        ).rowcount
    ]


def begin_placing(tx: Tx, digest: str, draft: str, *, now: datetime) -> bool:
    """Say that this draft is the mail's only copy and will now be moved to its place; False when another one is."""
    won = tx.execute(
        bounce_mail.update()
        .where(
            bounce_mail.c.digest == digest, bounce_mail.c.handed_on.is_(None), bounce_mail.c.hand_on_after.is_not(None)
        )
        .values(handed_on=now, hand_on_note=draft)
    )
    return bool(won.rowcount)


def close_mail(tx: Tx, digest: str, note: str, *, now: datetime) -> None:
    """It is handed on."""
    tx.execute(
        bounce_mail.update()
        .where(bounce_mail.c.digest == digest)
        .values(hand_on_after=None, handed_on=sa.func.coalesce(bounce_mail.c.handed_on, now), hand_on_note=note)
    )


def put_off(tx: Tx, mail: WaitingMail, why: str, *, until: datetime) -> None:
    """It could not be handed on: it waits on. The draft of one that is being placed stays written down."""
    values: dict[str, object] = {"hand_on_after": until, "hand_on_tries": bounce_mail.c.hand_on_tries + 1}
    if mail.placing is None:
        values["hand_on_note"] = why
    tx.execute(bounce_mail.update().where(bounce_mail.c.digest == mail.digest).values(values))


def count_waiting(tx: Tx) -> int:
    """How many mails wait."""
    return tx.execute(sa.select(sa.func.count()).where(bounce_mail.c.hand_on_after.is_not(None))).scalar_one()


def next_due(tx: Tx) -> datetime | None:
    """When the first of the waiting mails may be handed on; None when there is none."""
    return tx.execute(sa.select(sa.func.min(bounce_mail.c.hand_on_after))).scalar()
