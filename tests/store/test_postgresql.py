"""PostgreSQL, for what SQLite's one writer hides: two who decide about one address, or take one row, at the same moment.

A server of this test's own, in a folder of its own, on a socket there. Skipped where there is no server or no driver.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from omicard_relay.mail import Attempt, Outcome, Reply, StoreBusyError, Verdict
from omicard_relay.services.suppression import consider, settle
from omicard_relay.store import attempts, lists, open_store, schema
from omicard_relay.store.due import find_due
from omicard_relay.tables.suppress import SuppressRule
from tests.keeping import NOW, hand_over, queued, rows, submit, wait_for

psycopg = pytest.importorskip("psycopg", reason="no driver for PostgreSQL (psycopg)")

ANN, BOB = "ann@a.example", "bob@a.example"
MINUTE = timedelta(minutes=1)
VERDICT = Verdict(bounce_code=902, rule_id="r", confidence=1.0)
#: No user may run a server as root; this one owns nothing.
NOBODY = "nobody" if os.geteuid() == 0 else None


def _bin() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return places[-1] if places and (places[-1] / "postgres").exists() else None


@pytest.fixture(scope="module")
def server():
    """How to connect to it, as a template of a URL."""
    programs = _bin()
    if programs is None:
        pytest.skip("no PostgreSQL server on this machine")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    data = folder / "data"
    data.mkdir(mode=0o700)
    for path in (folder, data) if NOBODY else ():
        shutil.chown(path, NOBODY)
    how = {"user": NOBODY, "cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}}
    make = [programs / "initdb", "-D", data, "-U", "relay", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(make, check=True, capture_output=True, **how)
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    process = subprocess.Popen([programs / "postgres", "-D", data, *options], stderr=subprocess.DEVNULL, **how)
    try:
        wait_for(lambda: _answers(folder))
        yield folder
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def _answers(folder):
    try:
        psycopg.connect(host=str(folder), user="relay", dbname="postgres").close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def store(server, request):
    name = f"t{abs(hash(request.node.name))}"
    with psycopg.connect(host=str(server), user="relay", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    store = open_store(f"postgresql+psycopg://relay@/{name}?host={server}")
    yield store
    store.close()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def line(name, address=ANN, at=NOW):
    return Attempt(
        time=at,
        queue_id=name,
        recipient=address,
        outcome=Outcome.BOUNCED,
        enhanced_status="5.1.1",
        reply=Reply(text="550 no", innermost="550 no"),
        line_digest=name + address,
    )


def rules(after):
    return {902: SuppressRule(code=902, after=after, days=14, for_days=90, source="x")}


def waits_or_is_done(store, future):
    """Whether somebody waits for a lock by now; or nobody had to."""
    with store.read() as tx:
        waiting = tx.execute(sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one()
    return waiting or future.done()


def test_the_tables_are_those_of_the_schema(store):
    with store.read() as tx:
        assert {*schema.metadata.tables, "alembic_version"} == set(sa.inspect(tx).get_table_names())


def test_a_line_that_is_read_again_is_known(store):
    queued(store, ANN, queue_id="4Q1")
    with store.write() as tx:
        assert attempts.record_attempt(tx, line("4Q1"), VERDICT, None).is_new
        assert not attempts.record_attempt(tx, line("4Q1"), VERDICT, None).is_new


def test_two_failures_that_are_stored_at_the_same_moment_count_together(store, pool):
    ids = [queued(store, ANN, name=name, queue_id=name)[0] for name in ("4Q1", "4Q2")]
    is_stored, may_look = threading.Event(), threading.Event()

    def look(tx, number):
        name, at = f"4Q{number}", NOW + number * MINUTE
        return consider(
            tx, ANN, VERDICT, rules(2), source=f"log {name}", happened=at, now=at, recipient_id=ids[number - 1]
        )

    def second():
        with store.write() as tx:
            attempts.record_attempt(tx, line("4Q2", at=NOW + 2 * MINUTE), VERDICT, None)
            is_stored.set()
            may_look.wait(30)
            return look(tx, 2)

    with store.write() as tx:
        attempts.record_attempt(tx, line("4Q1", at=NOW + MINUTE), VERDICT, None)
        found = pool.submit(second)
        assert is_stored.wait(30)
        assert look(tx, 1) is None
        may_look.set()
        wait_for(lambda: waits_or_is_done(store, found))
    assert found.result(30) is not None
    assert rows(store, schema.list_entry, "value") == [ANN]


def test_two_who_find_one_row_that_is_due_look_at_it_once(store, pool):
    """A delivery has lifted the entry by the time the second one comes to look: it must not make it again."""
    ids = submit(store, ANN)
    with store.write() as tx:
        attempts.record_attempt(tx, line("4Q1"), VERDICT, None)
    hand_over(store, ids, "4Q1")
    has_found, may_go_on = threading.Event(), threading.Event()

    def second():
        with store.write() as tx:
            assert len(find_due(tx, now=NOW)) == 1
            has_found.set()
            may_go_on.wait(30)
            settle(tx, rules(1), now=NOW)

    with store.write() as tx:
        found = pool.submit(second)
        assert has_found.wait(30)
        assert settle(tx, rules(1), now=NOW) == 1
        (entry,) = lists.entries(tx, None, now=NOW)
        lists.remove_entry(tx, entry.entry_id, who=lists.BY_POLICY, now=NOW)
        may_go_on.set()
        wait_for(lambda: waits_or_is_done(store, found))
    found.result(30)
    assert rows(store, schema.list_change, "what") == ["add", "remove"]
    assert rows(store, schema.suppression_due) == []


def test_two_who_wait_for_each_other_are_told_to_try_again(store, pool):
    holds = threading.Event()

    def other():
        with store.write() as tx:
            lists.hold_address(tx, BOB)
            holds.set()
            lists.hold_address(tx, ANN)

    def first():
        with store.write() as tx:
            lists.hold_address(tx, ANN)
            found.append(pool.submit(other))
            assert holds.wait(30)
            lists.hold_address(tx, BOB)

    found, errors = [], []
    for job in (first, lambda: found[0].result(30)):
        try:
            job()
        except StoreBusyError as error:
            errors.append(str(error))
    assert ["waited for each other" in error for error in errors] == [True]
