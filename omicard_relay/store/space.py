"""SQLite's file: how large it is, how much of it is free, and giving that back; nothing of it for other databases.

What is deleted leaves free pages, which the next rows take; the file grows no more, and does not shrink by itself. A new
database gives pages back in small steps (`auto_vacuum=INCREMENTAL`), one that is older than that after one `rewrite`.
"""

from dataclasses import dataclass

from omicard_relay.store.engine import Store, Tx

__all__ = ["Space", "empty_log", "find_space", "give_back", "overwrite_freed", "rewrite"]

#: Of PRAGMA auto_vacuum.
_INCREMENTAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Octets of the file, and of the free pages in it; `can_give_back`: without writing it anew."""

    octets: int
    free: int
    can_give_back: bool


def find_space(store: Store) -> Space | None:
    """How it stands; None for another database than SQLite."""
    with store.outside() as connection:
        if connection is None:
            return None
        names = ("page_size", "page_count", "freelist_count", "auto_vacuum")
        size, pages, free, mode = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
        return Space(octets=size * pages, free=size * free, can_give_back=mode == _INCREMENTAL)


def give_back(store: Store, octets: int) -> int:
    """Give at most so many free octets back to the file system, as one short write; gives how many it were."""
    with store.outside() as connection:
        if connection is None:
            return 0
        size, before = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_size", "page_count"))
        # It steps page by page as its rows are fetched.
        connection.execute(f"PRAGMA incremental_vacuum({max(1, octets // size)})").fetchall()
        return (before - int(connection.execute("PRAGMA page_count").fetchone()[0])) * size


def rewrite(store: Store) -> None:
    """Write the whole file anew without its free pages; from then on pages can be given back in steps.

    Nobody can write meanwhile, and the disk needs room for the file a second time.
    """
    with store.outside() as connection:
        if connection is not None:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def empty_log(store: Store) -> bool:
    """Let nothing of what was overwritten stay in SQLite's log; False while somebody reads, and so still needs it."""
    with store.outside() as connection:
        return connection is None or connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def overwrite_freed(tx: Tx) -> None:
    """What is deleted on this connection from now on is overwritten in SQLite's file, not only let go."""
    if tx.dialect.name == "sqlite":
        tx.exec_driver_sql("PRAGMA secure_delete=ON")
