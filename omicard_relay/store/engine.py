"""`Store`: one database, opened, checked, and lent out as short transactions.

SQLite runs in WAL mode with full durability; a write takes its lock at BEGIN, so that two writers wait for each other instead
of failing half-way. Every database error leaves here as StoreError, or StoreBusyError where trying again helps.
Not here: what is written (the repositories beside this module) and the making of tables (migrations/).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from omicard_relay.mail import StoreBusyError, StoreError
from omicard_relay.store.schema import SCHEMA_VERSION

__all__ = ["Store", "Tx", "database_version", "open_store"]

#: A transaction that is open: repositories take it, services only hand it on.
Tx = Connection


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

    def close(self) -> None:
        """Let all connections go."""
        self._engine.dispose()

    @property
    def engine(self) -> Engine:
        """For migrations only."""
        return self._engine


def open_store(url: str, *, busy_seconds: int = 10, create: bool = True, any_version: bool = False) -> Store:
    """Open the database of an SQLAlchemy URL, and make its tables when it is new and `create` is set.

    With `any_version` it is given as it is, for `db upgrade`. Raises StoreError when it cannot be opened, is of another
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
    arguments = {"timeout": busy_seconds} if parsed.get_backend_name() == "sqlite" else {}
    try:
        engine = sa.create_engine(parsed, connect_args=arguments)
    except (NoSuchModuleError, ImportError) as error:
        raise StoreError(f"{shown}: there is no driver for this kind of database ({error}).") from None
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine)
    store = Store(engine, shown)
    found = database_version(store)
    if found is None and create and not any_version:
        from omicard_relay.store.migrate import upgrade  # late: Alembic is slow to load, and seldom needed

        upgrade(store)
    elif found != SCHEMA_VERSION and not any_version:
        store.close()
        raise StoreError(_version_advice(shown, found))
    return store


def _prepare_folder(path: Path, create: bool) -> None:
    if create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{path.parent}: the folder of the database cannot be made ({error.strerror}); "
                "create it for this user, or set `data_dir` or `store.url`."
            ) from None
    elif not path.exists():
        raise StoreError(f"{path}: there is no database; run `omicard-relay db upgrade` to make one, or name another.")


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see on_begin
        cursor = connection.cursor()
        # A read-only file cannot change its journal mode; the first write then says so in its own words.
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("omicard_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def database_version(store: Store) -> str | None:
    """The migration that the database is at; None when it has none of our tables."""
    with store.read() as tx:
        names = sa.inspect(tx).get_table_names()
        if "alembic_version" not in names:
            if "recipient" in names:
                raise StoreError(
                    f"{store._shown}: has tables of this name but no version; it is not ours, name another."
                )
            return None
        return str(tx.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() or "") or None


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
    except (DBAPIError, sqlite3.Error) as error:
        # An error while connecting comes from the driver itself.
        text = str(error.orig if isinstance(error, DBAPIError) else error)
        if "locked" in text or "busy" in text or "lock timeout" in text:
            raise StoreBusyError(f"{shown}: the database is locked by another program ({text}); try again.") from error
        if "readonly" in text or "read-only" in text:
            raise StoreError(
                f"{shown}: the database is read-only for this user; check owner and permissions."
            ) from error
        if "unable to open" in text:
            raise StoreError(
                f"{shown}: the database cannot be opened; check that its folder exists for this user."
            ) from error
        if "not a database" in text or "malformed" in text:
            raise StoreError(f"{shown}: the file is no database or is damaged; restore a backup.") from error
        if "disk is full" in text or "No space left" in text:
            raise StoreBusyError(f"{shown}: the disk is full; make room.") from error
        raise StoreError(f"{shown}: the database refuses: {text}.") from error
    except SQLAlchemyError as error:
        raise StoreError(f"{shown}: {error}.") from error
