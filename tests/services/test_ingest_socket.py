"""The pipe's way to the running ingester: what is whole is answered, what is not leaves nothing, and a socket has one owner."""

import asyncio
import os
import socket
from concurrent.futures import Future

import pytest

from omicard_relay.mail import MailKind, RelayError, StoreError
from omicard_relay.services import ingest_intake, ingest_socket
from omicard_relay.services.ingest import FloodError
from omicard_relay.services.ingest_intake import Intake
from omicard_relay.services.ingest_socket import serve_socket
from omicard_relay.wire.netstring import NetstringReader, encode

pytestmark = pytest.mark.asyncio


class Ingester:
    def __init__(self):
        self.size_limit = 1000
        self.taken, self.error = [], None

    def take(self, raw, *, sender, recipient, cut):
        if self.error:
            raise self.error
        self.taken.append((raw, sender, recipient, cut))
        return MailKind.DSN

    def begin(self, raw, **more):
        future = Future()
        try:
            future.set_result(self.take(raw, **more))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "ingest.sock"


class Service:
    def __init__(self, ingester, path):
        self.stop = asyncio.Event()
        self.path = path
        self.task = asyncio.create_task(serve_socket(Intake(ingester, memory_limit=1), path, self.stop))

    async def up(self):
        while not self.task.done():
            try:
                _, writer = await asyncio.open_unix_connection(str(self.path))
            except OSError:
                await asyncio.sleep(0)
                continue
            writer.close()
            return self
        await self.task
        raise AssertionError("the service ended")

    async def end(self):
        self.stop.set()
        await self.task


@pytest.fixture
def ingester():
    return Ingester()


@pytest.fixture
async def service(ingester, path):
    service = await Service(ingester, path).up()
    yield service
    await service.end()


def mail(*values: bytes) -> bytes:
    return b"".join(map(encode, values))


WHOLE = mail(b"s@x.example", b"b+T@y.example", b"4QAAAAA1", b"the mail")


async def ask(path, *pieces: bytes, eof: bool = False) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    if eof:
        writer.write_eof()
    answers = NetstringReader(10_000).feed(await asyncio.wait_for(reader.read(), 20))
    writer.close()
    assert len(answers) == 1
    return answers[0]


async def test_a_whole_mail_is_taken(service, ingester, path):
    assert await ask(path, WHOLE) == b"OK"
    assert ingester.taken == [(b"the mail", "s@x.example", "b+T@y.example", False)]


async def test_a_mail_may_come_in_any_pieces(service, ingester, path):
    assert await ask(path, *(WHOLE[n : n + 1] for n in range(len(WHOLE)))) == b"OK"
    assert len(ingester.taken) == 1


def pieces(*values: bytes) -> bytes:
    return b"+" + mail(b"s@x.example", b"b+T@y.example", b"4QAAAAA1", *values, b"")


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ((), b""),
        ((b"the mail",), b"the mail"),
        ((b"the ", b"mail"), b"the mail"),
        ((b"x" * 1000,), b"x" * 1000),
    ],
    ids=["nothing", "one", "two", "just fitting"],
)
async def test_a_mail_may_come_in_pieces_of_its_own(service, ingester, path, sent, wanted):
    assert await ask(path, pieces(*sent)) == b"OK"
    assert ingester.taken == [(wanted, "s@x.example", "b+T@y.example", False)]


async def test_pieces_may_come_in_any_pieces(service, ingester, path):
    whole = pieces(b"the ", b"mail")
    assert await ask(path, *(whole[n : n + 1] for n in range(len(whole)))) == b"OK"
    assert [raw for raw, *_ in ingester.taken] == [b"the mail"]


async def test_of_what_is_too_long_the_start_is_kept_and_the_rest_let_go(service, ingester, path):
    assert await ask(path, pieces(b"a" * 600, b"b" * 600, *[b"c" * 500_000] * 4)) == b"OK"
    raw, *_, cut = ingester.taken[0]
    assert (raw, cut) == (b"a" * 600 + b"b" * 400, True)


async def test_pieces_that_do_not_end_leave_nothing(service, ingester, path):
    answer = await ask(path, pieces(b"the mail").removesuffix(b"0:,"), eof=True)
    assert b"went away" in answer
    assert ingester.taken == []


async def test_an_envelope_of_broken_octets_is_taken(service, ingester, path):
    assert await ask(path, mail(b"\xff", b"\xfe", b"", b"x")) == b"OK"


async def test_only_the_owner_and_its_group_may_use_it(service, path):
    assert path.stat().st_mode & 0o777 == 0o660


BAD = {
    "gone half-way": (WHOLE[:-4], True, b"went away"),
    "nothing at all": (b"", True, b"went away"),
    "garbage": (b"GET / HTTP/1.1\r\n\r\n", False, b"no netstring"),
    "too long": (mail(b"", b"", b"") + b"9999999:", False, b"1000 are allowed"),
    "no comma": (b"1:ab", False, b"final comma"),
    "garbage in pieces": (b"+GET / HTTP/1.1\r\n\r\n", False, b"no netstring"),
    "a piece that is too long": (b"+" + mail(b"", b"", b"") + b"9999999:", False, b"1048576 are allowed"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_is_not_whole_is_told_so_and_leaves_nothing(service, ingester, path, case):
    sent, eof, words = BAD[case]
    answer = await ask(path, sent, eof=eof)
    assert answer.startswith(b"not stored")
    assert words in answer
    assert ingester.taken == []
    assert await ask(path, WHOLE) == b"OK"


async def test_a_client_that_says_nothing_is_let_go(service, ingester, path, monkeypatch):
    monkeypatch.setattr(ingest_socket, "_CLIENT_SECONDS", 0.05)
    assert await ask(path, WHOLE[:9]) == b"not stored: TimeoutError"


async def test_a_client_that_does_not_wait_for_its_answer_harms_nobody(service, ingester, path):
    for _ in range(20):
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.write(WHOLE)
        await writer.drain()
        writer.transport.abort()
    assert await ask(path, WHOLE) == b"OK"


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (StoreError("it is gone"), b"not stored: it is gone"),
        (FloodError("too much now"), b"not stored: too much now"),
        (KeyError("x"), b"not stored: an error of our own, see the log"),
    ],
    ids=repr,
)
async def test_what_could_not_be_stored_is_told(service, ingester, path, error, answer):
    ingester.error = error
    assert await ask(path, WHOLE) == answer
    ingester.error = None
    assert await ask(path, WHOLE) == b"OK"


async def test_more_clients_than_are_served_at_once_wait_for_their_turn(service, ingester, path, monkeypatch):
    connections = [await asyncio.open_unix_connection(str(path)) for _ in range(ingest_intake._PLACES)]
    waiting = asyncio.create_task(ask(path, WHOLE))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()
    for _, writer in connections:
        writer.close()
    assert await waiting == b"OK"


async def test_the_socket_goes_with_the_service(ingester, path):
    service = await Service(ingester, path).up()
    await service.end()
    assert not path.exists()


async def test_a_dead_services_socket_is_replaced(ingester, path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    service = await Service(ingester, path).up()
    assert await ask(path, WHOLE) == b"OK"
    await service.end()


async def test_a_living_service_is_left_alone(service, ingester, path):
    with pytest.raises(RelayError, match="another ingester is running there; stop it first"):
        await asyncio.wait_for(serve_socket(Intake(Ingester(), memory_limit=1), path, asyncio.Event()), 20)
    assert await ask(path, WHOLE) == b"OK"
    assert len(ingester.taken) == 1


async def test_a_service_that_is_alive_and_too_busy_to_answer_is_left_alone(ingester, path, monkeypatch):
    monkeypatch.setattr(ingest_socket, "_PROBE_SECONDS", 0.05)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        knocks = []
        for _ in range(3):
            knock = socket.socket(socket.AF_UNIX)
            knock.setblocking(False)
            knock.connect_ex(str(path))
            knocks.append(knock)
        with pytest.raises(RelayError, match="another ingester"):
            await asyncio.wait_for(serve_socket(Intake(ingester, memory_limit=1), path, asyncio.Event()), 20)
        for knock in knocks:
            knock.close()
    assert path.exists()


async def test_what_is_no_socket_is_not_taken_away(ingester, path):
    path.parent.mkdir()
    path.write_text("dear diary")
    with pytest.raises(RelayError, match="is no socket; move it away"):
        await asyncio.wait_for(serve_socket(Intake(ingester, memory_limit=1), path, asyncio.Event()), 20)
    assert path.read_text() == "dear diary"


@pytest.mark.parametrize("kind", ["a file for a folder", "too long"])
async def test_a_socket_that_cannot_be_made_is_told(ingester, tmp_path, kind):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "x.sock" if kind == "a file for a folder" else tmp_path / ("x" * 120)
    with pytest.raises(RelayError, match=r"the socket cannot be made \(.*\); set `ingest\.socket`"):
        await asyncio.wait_for(serve_socket(Intake(ingester, memory_limit=1), path, asyncio.Event()), 20)
    assert os.listdir(tmp_path) == ["file"]
