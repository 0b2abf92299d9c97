"""`Store`: one database, opened, checked, and lent out as short transactions.

SQLite runs in WAL mode with full durability; a write takes its lock at BEGIN, so that two writers wait for each other instead
of failing half-way. Every database error leaves here as StoreError, or StoreBusyError where trying again helps.
Not here: what is written (the repositories beside this module) and the making of tables (migrations/).
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from omicard_relay.mail import StoreBusyError, StoreError
from omicard_relay.store.schema import SCHEMA_VERSION, recipient

__all__ = ["Store", "Tx", "database_version", "open_store", "translate"]

#: A transaction that is open: repositories take it, services only hand it on.
Tx = Connection

#: Those whose `ON CONFLICT` the repositories write.
_BACKENDS = ("sqlite", "postgresql")


class Store:
    """An open database. `read()` and `write()` give transactions; `close()` lets the connections go."""

    def __init__(self, engine: Engine, shown: str) -> None:
        self._engine = engine
        self._write_engine = engine.execution_options(omicard_write=True)
        self._shown = shown

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that sees one moment. Raises StoreError."""
        with _translated(self._shown), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that is written whole or not at all. Raises StoreBusyError when the lock is not to be had."""
        with _translated(self._shown), self._write_engine.begin() as connection:
            yield connection

    @contextmanager
    def outside(self) -> Iterator[sqlite3.Connection | None]:
        """SQLite's own connection, for what no transaction can do; None for another database. Raises StoreError."""
        with _translated(self._shown), self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            yield driver if isinstance(driver, sqlite3.Connection) else None

    def close(self) -> None:
        """Let all connections go."""
        self._engine.dispose()

    @property
    def shown(self) -> str:
        """The URL without its password, for messages."""
        return self._shown


def open_store(
    url: str,
    *,
    busy_seconds: int = 10,
    create: bool = True,
    any_version: bool = False,
    hider: Callable[[], object] | None = None,
) -> Store:
    """Open the database of an SQLAlchemy URL, and make its tables when it is new and `create` is set.

    With `any_version` it is given as it is, for `db upgrade`. `hider` is asked for what stands for forgotten addresses
    (store/hidden.py); without it none is found. Raises StoreError when it cannot be opened, is of another
    version, or is missing without `create`; the message says what to do.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StoreError(
            f"`{url}` is no database URL; write one such as sqlite:////var/lib/omicard-relay/relay.db."
        ) from None
    shown = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        _prepare_folder(Path(parsed.database), create)
    if parsed.get_backend_name() not in _BACKENDS:
        raise StoreError(f"{shown}: this kind of database is not known here; known are {' and '.join(_BACKENDS)}.")
    arguments = {"timeout": busy_seconds} if parsed.get_backend_name() == "sqlite" else {}
    try:
        engine = sa.create_engine(parsed, connect_args=arguments)
    except (NoSuchModuleError, ImportError) as error:
        raise StoreError(f"{shown}: there is no driver for this kind of database ({error}).") from None
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine, busy_seconds)
    store = Store(engine.execution_options(omicard_hider=hider), shown)
    try:
        found = database_version(store)
        if found is None and create and not any_version:
            from omicard_relay.store.migrate import upgrade  # late: Alembic is slow to load, and seldom needed

            upgrade(store)
        elif found != SCHEMA_VERSION and not any_version:
            raise StoreError(_version_advice(shown, found))
    except StoreError:
        store.close()
        raise
    return store


def _prepare_folder(path: Path, create: bool) -> None:
    if create:
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{path.parent}: the folder of the database cannot be made ({error.strerror}); "
                "create it for this user, or set `data_dir` or `store.url`."
            ) from None
    elif not os.path.exists(path):  # unlike Path.exists, False where we may not look
        raise StoreError(f"{path}: there is no database; run `omicard-relay db upgrade` to make one, or name another.")


def _tune_sqlite(engine: Engine, busy_seconds: int) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see on_begin
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            names = {row[0] for row in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not names:
                # Only a file that is new takes it: pages that get free can be given back later (store/space.py).
                cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
            # The mode is kept in the file: another program's is not ours to change.
            if not names or {"alembic_version", recipient.name} <= names:
                _to_wal(cursor, time.monotonic() + busy_seconds)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("omicard_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _to_wal(cursor: sqlite3.Cursor, deadline: float) -> None:
    """SQLite does not wait for a lock here: two programs that open one new file at once need their own patience."""
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def database_version(store: Store) -> str | None:
    """The migration that the database is at; None when it is empty. Raises StoreError when it is another program's."""
    with store.read() as tx:
        names = set(sa.inspect(tx).get_table_names())
        version = None
        if "alembic_version" in names:
            version = tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        others = names - {"alembic_version"}
        if (others and version is None) or (version is not None and recipient.name not in names):
            raise StoreError(f"{store.shown}: holds tables that are not ours; name another database, or an empty one.")
        return None if version is None else str(version)


def _version_advice(shown: str, found: str | None) -> str:
    if found is None:
        return f"{shown}: the database is empty; run `omicard-relay db upgrade`."
    if found < SCHEMA_VERSION:
        return (
            f"{shown}: the database is at version {found}, this program needs {SCHEMA_VERSION}; "
            "stop the services, back it up, and run `omicard-relay db upgrade`."
        )
    return f"{shown}: the database is at version {found}, made by a newer program; this one knows {SCHEMA_VERSION}. Update it."


@contextmanager
def _translated(shown: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise translate(error, shown) from error


def translate(error: SQLAlchemyError | sqlite3.Error, shown: str) -> StoreError:
    """The library's error as ours, with what to do."""
    if isinstance(error, SQLAlchemyError) and not isinstance(error, DBAPIError):
        return StoreError(f"{shown}: {error}.")
    # An error while connecting comes from the driver itself.
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    if "deadlock detected" in text:
        return StoreBusyError(f"{shown}: two programs waited for each other ({text}); try again.")
    if "locked" in text or "busy" in text or "lock timeout" in text:
        return StoreBusyError(f"{shown}: the database is locked by another program ({text}); try again.")
    if "disk is full" in text or "No space left" in text:
        return StoreBusyError(f"{shown}: the disk is full; make room.")
    if "readonly" in text or "read-only" in text:
        return StoreError(f"{shown}: the database is read-only for this user; check owner and permissions.")
    if "unable to open" in text:
        return StoreError(f"{shown}: the database cannot be opened; check that its folder exists for this user.")
    if "not a database" in text or "malformed" in text:
        return StoreError(f"{shown}: the file is no database or is damaged; restore a backup.")
    return StoreError(f"{shown}: the database refuses: {text}.")
