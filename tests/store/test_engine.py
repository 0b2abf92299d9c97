"""Opening a database: made once however many begin at once, checked, and refused with a sentence that helps."""

import os
import re
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from omicard_relay.mail import StoreBusyError, StoreError
from omicard_relay.store import open_store, schema
from omicard_relay.store.engine import database_version
from omicard_relay.store.schema import SCHEMA_VERSION
from tests.keeping import NOW, a_store, environment, needs_open_checkout, rows

INSERT = schema.counter.insert().values(name="n", value=1)


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_a_new_database_gets_its_folder_and_tables(tmp_path):
    store = open_store(url(tmp_path / "a" / "b" / "relay.db"))

    assert database_version(store) == SCHEMA_VERSION
    assert (tmp_path / "a" / "b").stat().st_mode & 0o007 == 0


def test_a_second_opening_finds_what_the_first_wrote(tmp_path):
    with a_store(tmp_path) as store, store.write() as tx:
        tx.execute(INSERT)
    with a_store(tmp_path) as again:
        assert rows(again, schema.counter) == [("n", 1)]


def test_a_failing_write_leaves_nothing(tmp_path):
    with a_store(tmp_path) as store:

        def fails():
            with store.write() as tx:
                tx.execute(INSERT)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fails()
        assert rows(store, schema.counter) == []


def test_writes_are_durable_and_in_wal_mode(tmp_path):
    with a_store(tmp_path) as store, store.write() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_times_come_back_aware_and_in_utc(tmp_path):
    with a_store(tmp_path) as store:
        with store.write() as tx:
            local = NOW.astimezone(timezone(timedelta(hours=8)))
            place = {"path": "/log", "inode": 1, "head_digest": "", "head_length": 0, "offset": 0, "read": local}
            tx.execute(schema.follow_place.insert().values(place))
        (read,) = rows(store, schema.follow_place, "read")
        assert read == NOW
        assert read.utcoffset().total_seconds() == 0


def test_several_processes_make_one_database_together(tmp_path):
    code = "import sys; from omicard_relay.store import open_store; sys.stdin.read(1); open_store(sys.argv[1]).close()"
    path = tmp_path / "deep" / "relay.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, url(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        for _ in range(4)
    ]
    for process in processes:
        process.stdin.write(b"x")
        process.stdin.flush()

    assert [(process.communicate()[1], process.returncode) for process in processes] == [(b"", 0)] * 4
    store = open_store(url(path), create=False)
    assert database_version(store) == SCHEMA_VERSION
    store.close()


def test_two_threads_write_one_after_the_other(tmp_path):
    with a_store(tmp_path) as store:
        with store.write() as tx:
            tx.execute(INSERT)

        def raise_it():
            for _ in range(20):
                with store.write() as tx:
                    value = tx.execute(sa.select(schema.counter.c.value)).scalar_one()
                    tx.execute(schema.counter.update().values(value=value + 1))

        threads = [threading.Thread(target=raise_it) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert rows(store, schema.counter) == [("n", 61)]


def test_a_database_that_another_program_has_locked_is_busy(tmp_path):
    with a_store(tmp_path, busy_seconds=1) as store:
        other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        sentence = r"relay\.db: the database is locked by another program .*try again"
        with pytest.raises(StoreBusyError, match=sentence), store.write() as tx:
            tx.execute(INSERT)
        assert rows(store, schema.counter) == []  # reading goes on
        other.execute("ROLLBACK")
        with store.write() as tx:
            tx.execute(INSERT)
        other.close()


def test_a_lock_at_the_opening_is_waited_for_only_so_long(tmp_path):
    other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreBusyError, match="locked"):
        open_store(url(tmp_path / "relay.db"), busy_seconds=1)
    other.close()


def make(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def older(path: Path) -> None:
    with a_store(path.parent):
        pass
    make(path, "UPDATE alembic_version SET version_num = '0000'")


def newer(path: Path) -> None:
    with a_store(path.parent):
        pass
    make(path, "UPDATE alembic_version SET version_num = '9999'")


BAD = {
    "older": (older, "is at version 0000, this program needs .*back it up, and run `omicard-relay db upgrade`"),
    "newer": (newer, "is at version 9999, made by a newer program.* Update it"),
    "foreign": (lambda path: make(path, "CREATE TABLE users (x)"), "holds tables that are not ours; name another"),
    "foreign with a table of our name": (lambda path: make(path, "CREATE TABLE recipient (x)"), "not ours"),
    "foreign and kept by Alembic, too": (
        lambda path: make(
            path, "CREATE TABLE alembic_version (version_num)", "INSERT INTO alembic_version VALUES ('ab12')"
        ),
        "not ours",
    ),
    "no database": (lambda path: path.write_text("once upon a time " * 99), "is no database or is damaged"),
    "a folder": (lambda path: path.mkdir(), "cannot be opened"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_our_database_is_refused_and_left_alone(tmp_path, case):
    prepare, sentence = BAD[case]
    path = tmp_path / "relay.db"
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError, match=rf"relay\.db: .*{sentence}") as caught:
        open_store(url(path))
    assert not isinstance(caught.value, StoreBusyError)
    if case.startswith(("foreign", "no ")):
        assert path.read_bytes() == before


@pytest.mark.parametrize("case", ["foreign", "foreign with a table of our name", "foreign and kept by Alembic, too"])
def test_an_upgrade_touches_no_foreign_database(tmp_path, case):
    BAD[case][0](tmp_path / "relay.db")
    before = (tmp_path / "relay.db").read_bytes()
    with pytest.raises(StoreError, match="not ours"):
        open_store(url(tmp_path / "relay.db"), any_version=True)
    assert (tmp_path / "relay.db").read_bytes() == before


def test_a_missing_database_is_not_made_where_it_must_exist(tmp_path):
    with pytest.raises(StoreError, match=r"relay\.db: there is no database; run `omicard-relay db upgrade`"):
        open_store(url(tmp_path / "none" / "relay.db"), create=False)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file/sub: the folder .* cannot be made .*set `data_dir` or `store\.url`"):
        open_store(url(tmp_path / "file" / "sub" / "relay.db"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("relay.db", "is no database URL; write one such as sqlite:"),
        ("oracle+nothing://x", "not known here"),
        ("nosuch://x", "not known here"),
        ("postgresql+nothing://x", "no driver"),
    ],
)
def test_a_url_that_names_no_database_is_refused(text, sentence):
    with pytest.raises(StoreError, match=sentence):
        open_store(text)


def test_a_password_is_never_shown(tmp_path):
    with pytest.raises(StoreError) as caught:
        open_store("nosuch://ann:geheim@host/db")
    assert "geheim" not in str(caught.value)


# Root may do everything: it hands the work to a process without rights.
AS_NOBODY = """
import os, sys
from omicard_relay.mail import StoreError
from omicard_relay.store import migrate, open_store, schema
os.chdir("/")
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    store = open_store(sys.argv[1], busy_seconds=1)
    with store.write() as tx:
        tx.execute(schema.counter.insert().values(name="n", value=1))
except StoreError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def open_folder(tmp_path):
    """A folder that everybody may enter (pytest's own are private)."""
    folder = tmp_path
    while folder != folder.parent and folder.stat().st_uid == os.geteuid():
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    return tmp_path


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        pytest.param(lambda f: (f / "relay.db").chmod(0o444), "read-only for this user", id="file"),
        pytest.param(lambda f: (f / "relay.db").chmod(0o000), "cannot be opened", id="unreadable"),
        pytest.param(lambda f: f.chmod(0o000), "cannot be opened|cannot be made", id="forbidden-folder"),
    ],
)
@needs_open_checkout
def test_a_user_without_rights_is_told_so(open_folder, prepare, sentence):
    folder = open_folder / "data"
    with a_store(folder):
        pass
    folder.chmod(0o755)
    prepare(folder)
    try:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, url(folder / "relay.db")],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
    finally:
        folder.chmod(0o755)
    assert done.stderr == ""
    assert done.stdout.startswith("StoreError ")
    assert re.search(sentence, done.stdout), done.stdout
