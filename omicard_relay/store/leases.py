"""Work that one process at a time does, for all machines of a store: taken for a while, kept on, given back.

A holder that dies is waited for until his time is over; one that lost it to another finds that out when he keeps it on.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa

from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import housekeeping

__all__ = ["finish", "holder_of", "keep_on", "last_done", "take"]


def take(
    tx: Tx, name: str, holder: str, *, now: datetime, lease: timedelta, not_done_since: datetime | None = None
) -> bool:
    """Take the work until `now + lease`; False while another one has it, or where it was done since that moment."""
    if tx.execute(sa.select(housekeeping.c.name).where(housekeeping.c.name == name)).first() is None:
        tx.execute(housekeeping.insert().values(name=name))
    free = sa.or_(housekeeping.c.until.is_(None), housekeeping.c.until <= now)
    wanted = housekeeping.update().where(housekeeping.c.name == name, free)
    if not_done_since is not None:
        wanted = wanted.where(sa.or_(housekeeping.c.done.is_(None), housekeeping.c.done <= not_done_since))
    return bool(tx.execute(wanted.values(holder=holder, until=now + lease)).rowcount)


def keep_on(tx: Tx, name: str, holder: str, *, now: datetime, lease: timedelta) -> bool:
    """Have it for longer; False where it is another's now."""
    mine = housekeeping.update().where(housekeeping.c.name == name, housekeeping.c.holder == holder)
    return bool(tx.execute(mine.values(until=now + lease)).rowcount)


def finish(tx: Tx, name: str, holder: str, *, done: datetime | None) -> None:
    """Give it back; `done` None: it was not finished."""
    values: dict[str, object] = {"holder": None, "until": None}
    if done is not None:
        values["done"] = done
    tx.execute(housekeeping.update().where(housekeeping.c.name == name, housekeeping.c.holder == holder).values(values))


def holder_of(tx: Tx, name: str) -> str | None:
    """Who has it."""
    holder: str | None = tx.execute(sa.select(housekeeping.c.holder).where(housekeeping.c.name == name)).scalar()
    return holder


def last_done(tx: Tx, name: str) -> datetime | None:
    """When it was done last."""
    done: datetime | None = tx.execute(sa.select(housekeeping.c.done).where(housekeeping.c.name == name)).scalar()
    return done
