"""How far folders of mails were imported: a place in a file or mailbox, and the files of a folder that are done.

A place is moved only when all before it is on disk; what a kill leaves between the two is read again and known by its digest.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import bounce_mail, import_done, import_place

__all__ = ["ImportPlace", "add_done", "find_place", "known_digests", "move_place", "which_done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlace:
    """How far a source was read. `identity` tells it from another one of the same name; `offset` octets, or the last UID."""

    identity: str
    offset: int


def find_place(tx: Tx, source: str) -> ImportPlace | None:
    """How far this source was imported, or None when never."""
    row = tx.execute(sa.select(import_place).where(import_place.c.source == source)).first()
    return None if row is None else ImportPlace(identity=row.identity, offset=row.offset)


def move_place(tx: Tx, source: str, place: ImportPlace, *, now: datetime) -> None:
    """Remember how far it was imported."""
    values = {"identity": place.identity, "offset": place.offset, "moved": now}
    if not tx.execute(import_place.update().where(import_place.c.source == source).values(values)).rowcount:
        tx.execute(import_place.insert().values(source=source, **values))


def which_done(tx: Tx, source: str, names: Collection[str]) -> dict[str, str]:
    """Those of these files that were imported, with their marks; a few hundred names at once."""
    found = tx.execute(
        sa.select(import_done.c.name, import_done.c.mark).where(
            import_done.c.source == source, import_done.c.name.in_(names)
        )
    )
    return {row.name: row.mark for row in found}


def add_done(tx: Tx, source: str, marks: Mapping[str, str]) -> None:
    """These files are imported."""
    if not marks:
        return
    tx.execute(import_done.delete().where(import_done.c.source == source, import_done.c.name.in_(list(marks))))
    tx.execute(import_done.insert(), [{"source": source, "name": name, "mark": mark} for name, mark in marks.items()])


def known_digests(tx: Tx, digests: Iterable[str]) -> set[str]:
    """Which of these mails the store has; a few hundred at once."""
    return set(tx.execute(sa.select(bounce_mail.c.digest).where(bounce_mail.c.digest.in_(list(digests)))).scalars())
