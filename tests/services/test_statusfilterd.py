"""The status filter at its socket: answers in order, a deadline, and peers that do not keep to the protocol."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import pytest

from omicard_relay.mail import RelayError
from omicard_relay.services import statusfilterd
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.statusfilter import FilterMode, StatusFilter
from omicard_relay.services.statusfilterd import StatusFilterThread, serve_status_filter
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import load_suppress
from omicard_relay.wire.netstring import NetstringReader
from omicard_relay.wire.socketmap import request

TEXT = b"host mx[192.0.2.9] said: 550 too many messages, try later (in reply to RCPT TO command)"
KEY = b"5.0.0 " + TEXT
ANSWER = b"OK 4.7.1 [921] " + TEXT
LOST = b"NOTFOUND "


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return Rulebook.of(load_policies(), load_suppress())


@pytest.fixture
async def served(rulebook: Rulebook) -> AsyncIterator[tuple[StatusFilter, int]]:
    status_filter = StatusFilter(rulebook, mode=FilterMode.ACT)
    status_filter.answer(KEY)
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve_status_filter(status_filter, "127.0.0.1", 0, stop, on_listening=port.set_result))
    yield status_filter, await port
    stop.set()
    await task


async def ask(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    netstrings, values = NetstringReader(100_000), []
    while len(values) < count:
        block = await reader.read(65_536)
        assert block, "the connection was closed"
        values += netstrings.feed(block)
    return values


async def test_look_ups_are_answered_in_their_order(served: tuple[StatusFilter, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served[1])
    for key, answer in ((KEY, ANSWER), (b"2.0.0 250 Ok", LOST), (KEY, ANSWER)):
        writer.write(request(b"statusfilter", key))
        assert await ask(reader, 1) == [answer]
    writer.write(b"".join(request(b"statusfilter", key) for key in (KEY, b"2.0.0 250 Ok", KEY)) * 100)
    assert await ask(reader, 300) == [ANSWER, LOST, ANSWER] * 100
    writer.close()


async def test_another_map_is_told_apart(served: tuple[StatusFilter, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served[1])
    writer.write(request(b"transport", KEY))
    assert (await ask(reader, 1))[0].startswith(b"PERM ")
    writer.close()


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.0\r\n\r\n", b"3:abc,", b"999999:"], ids=["http", "no-key", "too-long"])
async def test_who_does_not_speak_the_protocol_is_let_go_and_others_are_served(
    served: tuple[StatusFilter, int], junk: bytes
) -> None:
    good, writer = await asyncio.open_connection("127.0.0.1", served[1])
    bad, bad_writer = await asyncio.open_connection("127.0.0.1", served[1])
    bad_writer.write(junk)
    with contextlib.suppress(ConnectionResetError):
        assert await bad.read() == b""
    writer.write(request(b"statusfilter", KEY))
    assert await ask(good, 1) == [ANSWER]
    writer.close()
    bad_writer.close()


async def test_who_reads_no_answers_is_let_go(served: tuple[StatusFilter, int]) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served[1], limit=1)

    async def flood() -> None:
        while True:
            writer.write(request(b"statusfilter", KEY) * 2000)
            await writer.drain()

    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await asyncio.wait_for(flood(), 60)
    reader, other = await asyncio.open_connection("127.0.0.1", served[1])
    other.write(request(b"statusfilter", KEY))
    assert await ask(reader, 1) == [ANSWER]
    other.close()


async def test_what_waits_longer_than_the_deadline_is_answered_unjudged(
    served: tuple[StatusFilter, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judging takes 2 ms here: of 200 look-ups at once most would wait longer than 50 ms; no answer comes much later."""
    status_filter, port = served
    status_filter.deadline_seconds = 0.05
    judge = status_filter.answer

    def slow(key: bytes) -> bytes:
        begun = time.monotonic()
        while time.monotonic() - begun < 0.002:
            pass
        return judge(key)

    monkeypatch.setattr(status_filter, "answer", slow)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun = time.monotonic()
    writer.write(request(b"statusfilter", KEY) * 400)
    answers = await ask(reader, 400)
    taken = time.monotonic() - begun
    assert answers[0] == ANSWER
    assert answers[-1] == LOST
    assert status_filter.counts.late == answers.count(LOST) > 200
    assert taken < 0.4, "all of them judged would have taken 0.8 s"
    writer.write(request(b"statusfilter", KEY))
    assert await ask(reader, 1) == [ANSWER]
    writer.close()


async def test_more_than_may_wait_are_answered_at_once(
    served: tuple[StatusFilter, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statusfilterd, "_WAITING", 10)
    reader, writer = await asyncio.open_connection("127.0.0.1", served[1])
    writer.write(request(b"statusfilter", KEY) * 100)
    answers = await ask(reader, 100)
    assert answers.count(LOST) == served[0].counts.late > 0
    assert ANSWER in answers
    writer.close()


async def test_a_port_that_is_taken_is_told(served: tuple[StatusFilter, int]) -> None:
    with pytest.raises(RelayError, match=r"cannot listen there .*`steer\.port`"):
        await serve_status_filter(served[0], "127.0.0.1", served[1], asyncio.Event())


def test_in_a_thread_it_answers_while_the_caller_is_busy(rulebook: Rulebook) -> None:
    thread = StatusFilterThread(StatusFilter(rulebook, mode=FilterMode.ACT), "127.0.0.1", 0)
    port = thread.start()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(request(b"statusfilter", KEY))
        assert client.recv(1000) == b"%d:%s," % (len(ANSWER), ANSWER)
        assert thread.is_alive
        thread.stop()
        assert client.recv(1) == b""
    assert not thread.is_alive
    thread.stop()


def test_a_thread_that_cannot_listen_says_so(rulebook: Rulebook) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        thread = StatusFilterThread(StatusFilter(rulebook, mode=FilterMode.ACT), "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(RelayError, match="cannot listen there"):
            thread.start()
    thread.stop()
