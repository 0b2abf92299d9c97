"""What steering is given beside attempts: the policy of each step, and counts that another site has learned."""

import zlib
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import steering_counts, steering_policy

__all__ = ["Imported", "add_counts", "add_policy", "counts_after", "find_policy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Counts of another site."""

    id: int
    content: bytes


def add_policy(tx: Tx, digest: str, content: bytes, *, now: datetime) -> None:
    """Keep by what is decided; one that is there stays."""
    known = sa.select(steering_policy.c.digest).where(steering_policy.c.digest == digest)
    if tx.execute(known).first() is None:
        tx.execute(steering_policy.insert().values(digest=digest, created=now, content=zlib.compress(content)))


def find_policy(tx: Tx, digest: str) -> bytes | None:
    """The content under a digest."""
    found = tx.execute(sa.select(steering_policy.c.content).where(steering_policy.c.digest == digest)).scalar()
    return None if found is None else zlib.decompress(found)


def add_counts(tx: Tx, digest: str, content: bytes, *, who: str, now: datetime) -> bool:
    """Keep counts of another site for all nodes; False where the very same were imported before."""
    if tx.execute(sa.select(steering_counts.c.id).where(steering_counts.c.digest == digest)).first() is not None:
        return False
    tx.execute(steering_counts.insert().values(digest=digest, time=now, who=who, content=zlib.compress(content)))
    return True


def counts_after(tx: Tx, number: int) -> list[Imported]:
    """What was imported behind this one."""
    rows = tx.execute(
        sa.select(steering_counts.c.id, steering_counts.c.content)
        .where(steering_counts.c.id > number)
        .order_by(steering_counts.c.id)
    )
    return [Imported(id=row.id, content=zlib.decompress(row.content)) for row in rows]
