"""The service as it runs: it learns, decides and acts by itself, holds on to a store that fails, and stops in good order."""

import asyncio
import time
from datetime import UTC, datetime

import pytest

from omicard_relay.mail import Outcome, StoreError
from omicard_relay.services import steer_service
from omicard_relay.services.exceptions_table import Entry, ExceptionsTable
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.steer_service import names_of, serve_steer
from omicard_relay.store import schema
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import Settings, SteerIpSettings, SteerSettings
from omicard_relay.tables.suppress import load_suppress
from tests.attempting import add_line
from tests.keeping import NOW, a_store, rows

IPS = (SteerIpSettings(name="ip1", address="127.0.2.1"), SteerIpSettings(name="ip2", address="127.0.2.2"))


@pytest.fixture(scope="module")
def rulebook():
    return Rulebook.of(load_policies(), load_suppress())


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path, busy_seconds=1) as store:
        yield store


def settings(folder, mode="act", **more):
    # The port is not used: `unlistened` puts 0 in its place.
    steer = SteerSettings(mode=mode, machine="out", ip=IPS, postfix_dir=str(folder), **more)
    return Settings(data_dir=str(folder), steer=steer)


@pytest.fixture(autouse=True)
def free_port(monkeypatch):
    real = steer_service.StatusFilterThread
    monkeypatch.setattr(steer_service, "StatusFilterThread", lambda one, host, port: real(one, host, 0))


@pytest.fixture
def woken(monkeypatch):
    ids = []

    async def wake(self, queue_ids):
        ids.extend(queue_ids)
        return steer_service_woken(len(queue_ids))

    from omicard_relay.services.waking import Woken

    def steer_service_woken(number):
        return Woken(woken=number)

    monkeypatch.setattr(steer_service.Waker, "wake", wake)
    return ids


def serve(store, how, rulebook, *conditions):
    """Run the service until each condition has come true, one after the other."""

    async def run():
        stop = asyncio.Event()
        service = asyncio.create_task(serve_steer(how, store, rulebook, stop))
        for condition in conditions:
            deadline = time.monotonic() + 20
            while not await asyncio.to_thread(condition):
                assert not service.done(), service.exception()
                assert time.monotonic() < deadline, "waited in vain"
                await asyncio.sleep(0.02)
        stop.set()
        await asyncio.wait_for(service, 20)

    asyncio.run(run())


def seconds_ago(number):
    return datetime.now(UTC).timestamp() - NOW.timestamp() - number


OPEN = []


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """LMDB opens a file once in a process: the tests look into the service's own."""

    class Kept(ExceptionsTable):
        def __init__(self, path, **more):
            super().__init__(path, **more)
            OPEN.append(self)

    OPEN.clear()
    monkeypatch.setattr(steer_service, "ExceptionsTable", Kept)


def value(key):
    entry = OPEN[-1].find(key) if OPEN else None
    return entry.value if entry is not None else ""


def test_a_failure_is_learned_decided_and_rests(store, tmp_path, rulebook, woken):
    def comes():
        add_line(store, at=seconds_ago(1), delay=1)
        return True

    ready = lambda: len(rows(store, schema.steering_snapshot)) == 1  # noqa: E731
    rests = lambda: value("ann@a.example").startswith("retry:4.3.2 [935]")  # noqa: E731
    serve(store, settings(tmp_path), rulebook, ready, comes, rests)
    assert rows(store, schema.steering_decision, "mode") == ["act"]
    assert woken == []
    # The stop wrote the state whole: the next start has nothing to fold.
    assert max(rows(store, schema.steering_snapshot, "number")) == max(rows(store, schema.steering_step, "number"))


def test_what_was_decided_before_a_kill_is_carried_out_by_the_next_start(store, tmp_path, rulebook, woken):
    from omicard_relay.services.steer_fold import Folder
    from omicard_relay.services.steer_setup import setup_of

    how = settings(tmp_path)
    killed = Folder(store, "out", setup_of(how, machine="out", today=NOW.date()), "act", frozenset({"out"}))
    killed.open(datetime.now(UTC), learn_days=30)
    add_line(store, at=seconds_ago(86_000), delay=1)
    killed.advance(datetime.now(UTC))  # decided; its time is long over; nothing was done
    serve(store, how, rulebook, lambda: woken == ["4QAAAAA1"], lambda: value("ann@a.example") == "ip1:")


@pytest.mark.parametrize("mode", ["off", "observe"])
def test_what_acted_before_acts_no_more_in_another_mode(store, tmp_path, rulebook, mode, caplog):
    with ExceptionsTable(tmp_path / "exceptions") as table:
        table.apply([Entry(key="ann@a.example", value="ip1:", expires=time.time() + 1000)])
    with caplog.at_level("INFO"):
        cleared = lambda: "event=steer-table-cleared entries=1" in caplog.text  # noqa: E731
        serve(store, settings(tmp_path, mode=mode), rulebook, cleared)
    with ExceptionsTable(tmp_path / "exceptions") as table:
        assert len(table) == 0


def test_observing_writes_decisions_and_nothing_else(store, tmp_path, rulebook, woken):
    started = lambda: len(rows(store, schema.steering_snapshot)) == 1  # noqa: E731

    def comes():
        add_line(store, at=seconds_ago(80_000), delay=1)
        return True

    decided = lambda: rows(store, schema.steering_decision, "mode") == ["observe"]  # noqa: E731
    serve(store, settings(tmp_path, mode="observe"), rulebook, started, comes, decided)
    assert woken == []
    assert not (tmp_path / "exceptions.lmdb").exists()


def test_a_store_that_fails_is_waited_for(store, tmp_path, rulebook, woken, monkeypatch, caplog):
    real = type(store).write
    state = {"fails": False}

    def write(self):
        if state["fails"]:
            raise StoreError("the database is gone.")
        return real(self)

    monkeypatch.setattr(type(store), "write", write)

    def comes():
        add_line(store, at=seconds_ago(1), delay=1)
        state["fails"] = True
        return True

    def heals():
        state["fails"] = False
        return True

    serve(
        store,
        settings(tmp_path),
        rulebook,
        lambda: len(rows(store, schema.steering_snapshot)) == 1,
        comes,
        lambda: "event=steer-store-failed" in caplog.text,
        heals,
        lambda: len(rows(store, schema.steering_decision)) == 1,
    )


def test_alerts_are_told_and_counted(store, tmp_path, rulebook, woken, caplog):
    for number in range(4):
        add_line(
            store, at=seconds_ago(100 - number), code=931, text="431 4.3.1 no space", queue_id=f"4Q{number}", delay=1
        )
    with caplog.at_level("WARNING"):
        counted = lambda: ("steer.alert.own-resources", 1) in rows(store, schema.counter, "name", "value")  # noqa: E731
        serve(store, settings(tmp_path, mode="observe"), rulebook, counted)
    assert "event=steer-alert key=own-resources about=931" in caplog.text


def test_a_cold_start_says_how_long_it_took(store, tmp_path, rulebook, caplog):
    add_line(store, Outcome.SENT, at=seconds_ago(100), delay=1)
    with caplog.at_level("INFO"):
        serve(store, settings(tmp_path, mode="observe"), rulebook, lambda: "event=steer-ready" in caplog.text)
    assert "how=cold" in caplog.text
    assert "version=1" in caplog.text


def test_the_machine_has_the_names_that_a_log_may_call_it(tmp_path, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "mail7.shop.example")
    assert names_of(Settings(steer=SteerSettings(postfix_dir=str(tmp_path)))) == ("mail7",)
    assert names_of(Settings(steer=SteerSettings(machine="out.a"))) == ("out.a",)
