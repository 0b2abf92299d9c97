"""The writing thread: what is done is on disk, who fails fails alone, and the thread outlives it all."""

import sqlite3
import threading
from concurrent.futures import wait

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from omicard_relay.mail import StoreBusyError, StoreError
from omicard_relay.store import schema
from omicard_relay.store.writer import Writer
from tests.keeping import a_store, rows


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path, busy_seconds=1) as store:
        yield store


@pytest.fixture
def writer(store):
    writer = Writer(store)
    yield writer
    writer.close()


def put(name: str):
    def job(tx):
        tx.execute(schema.counter.insert().values(name=name, value=1))
        return name

    return job


def fail(tx):
    tx.execute(schema.counter.insert().values(name="never", value=1))
    raise ZeroDivisionError


def names(store):
    return rows(store, schema.counter, "name")


class Held:
    """Holds the thread in a job, so that the next jobs come together in one transaction."""

    def __init__(self, writer):
        self.entered, self.go = threading.Event(), threading.Event()
        self.future = writer.submit(self)
        assert self.entered.wait(10)

    def __call__(self, tx):
        self.entered.set()
        assert self.go.wait(10)


def test_a_result_comes_when_it_is_on_disk(store, writer):
    assert writer.submit(put("a")).result(10) == "a"
    other = sqlite3.connect(store.shown.removeprefix("sqlite:///"))
    assert other.execute("SELECT name FROM counter").fetchall() == [("a",)]
    other.close()


def test_a_job_that_fails_fails_alone(store, writer):
    held = Held(writer)
    futures = [writer.submit(put("a")), writer.submit(fail), writer.submit(put("b")), writer.submit(put("a"))]
    held.go.set()

    assert futures[0].result(10) == "a"
    with pytest.raises(ZeroDivisionError):
        futures[1].result(10)
    assert futures[2].result(10) == "b"
    with pytest.raises(StoreError, match="UNIQUE"):  # ours, not the library's
        futures[3].result(10)
    assert names(store) == ["a", "b"]


def test_many_jobs_share_a_transaction(store, writer, monkeypatch):
    begun = []
    real = type(store).write
    monkeypatch.setattr(type(store), "write", lambda self: begun.append(1) or real(self))
    held = Held(writer)
    futures = [writer.submit(put(f"{n:03}")) for n in range(64)]
    held.go.set()
    wait(futures, 10)
    assert len(begun) == 2
    assert len(names(store)) == 64


def test_a_commit_that_fails_fails_all_of_its_batch(store, writer):
    held = Held(writer)
    futures = [writer.submit(put("a")), writer.submit(put("b"))]
    held.go.set()
    held.future.result(10)
    wait(futures, 10)

    other = sqlite3.connect(store.shown.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    futures = [writer.submit(put("c")), writer.submit(put("d"))]
    for future in futures:
        with pytest.raises(StoreBusyError):
            future.result(10)
    other.execute("ROLLBACK")
    other.close()
    assert writer.submit(put("e")).result(10) == "e"
    assert names(store) == ["a", "b", "e"]


def test_a_lock_that_is_lost_under_a_job_fails_all_of_its_batch(store, writer):
    """Whoever was told that it failed must not find it written after all, and the other way round."""

    def lose(tx):
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    held = Held(writer)
    futures = [writer.submit(put("a")), writer.submit(lose), writer.submit(put("b"))]
    held.go.set()
    for future in futures:
        with pytest.raises(StoreBusyError, match="disk is full"):
            future.result(10)
    assert names(store) == []
    assert writer.submit(put("c")).result(10) == "c"


def test_a_fault_of_our_own_does_not_end_the_thread(store, writer, monkeypatch):
    def broken(self):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "write", broken)
        with pytest.raises(MemoryError):
            writer.submit(put("a")).result(10)
    assert writer.submit(put("b")).result(10) == "b"


def test_a_job_that_nobody_wants_any_more_is_not_run(store, writer):
    held = Held(writer)
    unwanted, wanted = writer.submit(put("a")), writer.submit(put("b"))
    assert unwanted.cancel()
    held.go.set()
    assert wanted.result(10) == "b"
    assert names(store) == ["b"]


def test_a_job_that_is_running_cannot_be_cancelled(store, writer):
    held = Held(writer)
    assert not held.future.cancel()
    held.go.set()
    assert held.future.result(10) is None


def test_too_many_jobs_are_refused_at_once(store):
    writer = Writer(store, capacity=2)
    held = Held(writer)
    waiting = [writer.submit(put("a")), writer.submit(put("b"))]
    with pytest.raises(StoreBusyError, match="behind with writing"):
        writer.submit(put("c")).result(0)
    held.go.set()
    wait(waiting, 10)
    writer.close()
    assert names(store) == ["a", "b"]


def test_a_close_writes_what_waits_and_then_refuses(store):
    writer = Writer(store)
    held = Held(writer)
    futures = [writer.submit(put(name)) for name in "abc"]
    closing = threading.Thread(target=writer.close)
    closing.start()
    held.go.set()
    closing.join(10)
    assert [future.result(0) for future in futures] == ["a", "b", "c"]
    with pytest.raises(StoreError, match="being closed"):
        writer.submit(put("d")).result(0)
    writer.close()  # once more does no harm
    assert names(store) == ["a", "b", "c"]


def test_a_job_sees_what_the_one_before_it_wrote(store, writer):
    held = Held(writer)
    writer.submit(put("a"))
    seen = writer.submit(lambda tx: tx.execute(sa.select(sa.func.count()).select_from(schema.counter)).scalar())
    held.go.set()
    assert seen.result(10) == 1
