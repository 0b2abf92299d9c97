"""Many mails at once: none waits for ever, large ones wait for each other, and what came together is written together."""

import asyncio
import threading
from concurrent.futures import Future

import pytest

from omicard_relay.mail import MailKind, StoreError
from omicard_relay.services import ingest_intake
from omicard_relay.services.ingest_intake import Intake

pytestmark = pytest.mark.asyncio

LARGE = ingest_intake._SHARE + 1


class Ingester:
    """Answers when it is told to."""

    size_limit = 1_000_000

    def __init__(self):
        self.begun: list[Future] = []
        self.grown = threading.Condition()

    def begin(self, raw, *, sender, recipient, cut=False):
        future = Future()
        future.set_running_or_notify_cancel()
        with self.grown:
            self.begun.append(future)
            self.grown.notify()
        return future

    async def has(self, count):
        def wait():
            with self.grown:
                assert self.grown.wait_for(lambda: len(self.begun) >= count, 20)

        await asyncio.to_thread(wait)


@pytest.fixture
def ingester():
    return Ingester()


@pytest.fixture
def intake(ingester):
    """Room for two large mails."""
    intake = Intake(ingester, memory_limit=2_500_000)
    yield intake
    intake.close()


async def settled():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_answer_waits_for_the_disk(intake, ingester):
    taking = asyncio.create_task(intake.take(b"x", sender="", recipient="a@b.example"))
    await ingester.has(1)
    assert not taking.done()
    ingester.begun[0].set_result(MailKind.ARF)
    assert await taking is MailKind.ARF


async def test_what_the_ingester_raises_is_raised(intake, ingester):
    taking = asyncio.create_task(intake.take(b"x", sender="", recipient="a@b.example"))
    await ingester.has(1)
    ingester.begun[0].set_exception(StoreError("gone"))
    with pytest.raises(StoreError, match="gone"):
        await taking


async def test_more_mails_than_threads_are_under_way_at_once(intake, ingester):
    taking = [asyncio.create_task(intake.take(b"x", sender="", recipient="a@b.example")) for _ in range(50)]
    await ingester.has(50)
    for future in ingester.begun:
        future.set_result(MailKind.DSN)
    assert await asyncio.gather(*taking) == [MailKind.DSN] * 50


async def hold(intake, octets, entered, leave):
    async with intake.place() as place:
        for size in octets:
            await place.grow(size)
        entered.append(octets)
        await leave.wait()


async def test_as_many_large_mails_as_memory_allows_and_small_ones_beside_them(intake):
    entered, leave = [], asyncio.Event()
    tasks = [asyncio.create_task(hold(intake, (10, LARGE, LARGE + 1), entered, leave)) for _ in range(5)]
    await settled()
    assert len(entered) == 2
    tasks.append(asyncio.create_task(hold(intake, (10, 20), entered, leave)))
    await settled()
    assert entered[-1] == (10, 20)
    leave.set()
    await asyncio.gather(*tasks)
    assert len(entered) == 6


async def test_a_mail_that_fails_gives_its_room_back(intake):
    async def fail():
        async with intake.place() as place:
            await place.grow(LARGE)
            raise ConnectionError

    for _ in range(5):
        with pytest.raises(ConnectionError):
            await fail()
    entered, leave = [], asyncio.Event()
    leave.set()
    await hold(intake, (LARGE,), entered, leave)
    assert entered


async def test_one_who_gives_up_waiting_takes_no_room_with_him(intake):
    entered, leave = [], asyncio.Event()
    holding = [asyncio.create_task(hold(intake, (LARGE,), entered, leave)) for _ in range(2)]
    waiting = asyncio.create_task(hold(intake, (LARGE,), entered, leave))
    await settled()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    leave.set()
    await asyncio.gather(*holding)
    await asyncio.gather(*(hold(intake, (LARGE,), entered, leave) for _ in range(2)))
    assert len(entered) == 4


async def test_there_are_only_so_many_places(intake, monkeypatch):
    entered, leave = [], asyncio.Event()
    tasks = [asyncio.create_task(hold(intake, (1,), entered, leave)) for _ in range(ingest_intake._PLACES + 3)]
    await settled()
    assert len(entered) == ingest_intake._PLACES
    leave.set()
    await asyncio.gather(*tasks)


async def test_a_limit_below_one_mail_still_lets_one_large_mail_in(ingester):
    intake = Intake(ingester, memory_limit=1)
    entered, leave = [], asyncio.Event()
    leave.set()
    await hold(intake, (LARGE,), entered, leave)
    assert entered
    intake.close()
