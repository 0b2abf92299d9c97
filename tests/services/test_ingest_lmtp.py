"""Bounces over LMTP, on a real socket: one answer for each recipient, 451 for whatever goes wrong, and never a final no."""

import asyncio
import socket
import tracemalloc
from concurrent.futures import Future

import pytest

from omicard_relay.mail import MailKind, StoreBusyError, StoreError
from omicard_relay.services import ingest_lmtp
from omicard_relay.services.ingest import FloodError
from omicard_relay.services.ingest_intake import Intake
from omicard_relay.services.ingest_lmtp import serve_lmtp

pytestmark = pytest.mark.asyncio


class Ingester:
    """Notes what it is given; `fails` names recipients whose mail cannot be stored, and how."""

    def __init__(self):
        self.size_limit = 1_000_000
        self.taken, self.fails = [], {}

    def take(self, raw, *, sender, recipient, cut=False):
        if recipient in self.fails:
            raise self.fails[recipient]
        self.taken.append((raw, sender, recipient, cut))
        return MailKind.DSN

    def begin(self, raw, **more):
        future = Future()
        try:
            future.set_result(self.take(raw, **more))
        except Exception as error:
            future.set_exception(error)
        return future


class Client:
    """Speaks line by line."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def reply(self) -> list[str]:
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 20)).decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return lines

    async def ask(self, line: str | bytes) -> str:
        self.writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
        await self.writer.drain()
        return (await self.reply())[-1]

    async def begin(self, *recipients: str, sender: str = "<>") -> None:
        assert (await self.ask("LHLO mail.example")).startswith("250")
        assert (await self.ask(f"MAIL FROM:{sender}")).startswith("250")
        for recipient in recipients:
            assert (await self.ask(f"RCPT TO:<{recipient}>")).startswith("250")

    async def data(self, content: bytes, answers: int) -> list[str]:
        assert (await self.ask("DATA")).startswith("354")
        self.writer.write(content + b".\r\n")
        await self.writer.drain()
        return [(await self.reply())[-1] for _ in range(answers)]


@pytest.fixture
def ingester():
    return Ingester()


@pytest.fixture
async def connect(ingester):
    """Connections to a service on a port that the system chooses."""
    loop = asyncio.get_running_loop()
    made, stop = loop.create_future(), asyncio.Event()
    real = loop.create_server

    async def create_server(*arguments, **more):
        server = await real(*arguments, **more)
        made.set_result(server.sockets[0].getsockname()[1])
        return server

    loop.create_server = create_server
    serving = asyncio.create_task(serve_lmtp(Intake(ingester, memory_limit=1), "127.0.0.1", 0, stop))
    port = await asyncio.wait_for(made, 20)
    writers = []

    async def connect() -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writers.append(writer)
        client = Client(reader, writer)
        assert (await client.reply())[0].startswith("220")
        return client

    yield connect
    for writer in writers:
        writer.close()
    stop.set()
    await serving
    loop.create_server = real


async def test_each_recipient_gets_its_answer(connect, ingester):
    client = await connect()
    await client.begin("a@b.example", "c@b.example", "d@b.example")
    answers = await client.data(b"Subject: x\r\n\r\nwords\r\n", 3)
    assert answers == ["250 2.0.0 kept as dsn"] * 3
    assert [(raw, recipient) for raw, _, recipient, _ in ingester.taken] == [
        (b"Subject: x\r\n\r\nwords\r\n", f"{name}@b.example") for name in "acd"
    ]
    assert (await client.ask("NOOP")).startswith("250")  # nothing is left over
    await client.begin("e@b.example")
    assert await client.data(b"x\r\n", 1) == ["250 2.0.0 kept as dsn"]


@pytest.mark.parametrize(
    "error", [StoreError("gone"), StoreBusyError("locked"), KeyError("a bug"), MemoryError()], ids=repr
)
async def test_what_could_not_be_stored_is_asked_for_again_for_each_by_itself(connect, ingester, error):
    ingester.fails = {"c@b.example": error}
    client = await connect()
    await client.begin("a@b.example", "c@b.example", "d@b.example")
    answers = await client.data(b"x\r\n", 3)
    assert [answer[:3] for answer in answers] == ["250", "451", "250"]
    assert "gone" not in answers[1]


async def test_in_a_flood_a_persons_mail_is_asked_for_again_and_no_error_is_logged(connect, ingester, caplog):
    ingester.fails = {"c@b.example": FloodError("too much")}
    client = await connect()
    await client.begin("a@b.example", "c@b.example", sender="<ann@a.example>")
    answers = await client.data(b"x\r\n", 2)
    assert answers == ["250 2.0.0 kept as dsn", "451 4.7.0 too much unproven mail at the moment, try again"]
    assert "event=ingest-failed" not in caplog.text


async def test_a_store_that_is_gone_gives_451_for_all(connect, ingester):
    ingester.fails = dict.fromkeys(("a@b.example", "c@b.example"), StoreError("gone"))
    client = await connect()
    await client.begin("a@b.example", "c@b.example")
    assert await client.data(b"x\r\n", 2) == ["451 4.3.0 not stored, try again"] * 2


@pytest.mark.parametrize(
    ("line", "sender"),
    [
        ("MAIL FROM:<>", ""),
        ("mail from:<>", ""),
        ("MAIL FROM: <>", ""),
        ("MAIL FROM:<> SIZE=1000 BODY=8BITMIME SMTPUTF8", ""),
        ("MAIL FROM:<> RET=FULL ENVID=abc", ""),
        ("MAIL FROM:<a@b.example> SIZE=9", "a@b.example"),
    ],
)
async def test_a_null_reverse_path_and_any_parameter_are_taken(connect, ingester, line, sender):
    client = await connect()
    await client.ask("LHLO x")
    assert (await client.ask(line)).startswith("250")
    assert (await client.ask("RCPT TO:<b+T@b.example> NOTIFY=NEVER ORCPT=rfc822;b@b.example")).startswith("250")
    await client.data(b"x\r\n", 1)
    assert [(found, recipient) for _, found, recipient, _ in ingester.taken] == [(sender, "b+T@b.example")]


async def test_no_size_is_offered_for_postfix_would_return_what_is_larger(connect):
    client = await connect()
    client.writer.write(b"LHLO x\r\n")
    offers = await client.reply()
    assert not [offer for offer in offers if "SIZE" in offer]
    assert [offer for offer in offers if "SMTPUTF8" in offer]


DOTS = {
    "stuffed": (b"..\r\n...x\r\n", b".\r\n..x\r\n"),
    "a dot inside": (b"a.\r\n", b"a.\r\n"),
    "bare line feeds": (b"a\n.\nb\r\n", b"a\n.\nb\r\n"),
    "a bare carriage return": (b"a\r.\rb\r\n", b"a\r.\rb\r\n"),
    "empty": (b"", b""),
    "8-bit": (b"\xff\x00\xfe\r\n", b"\xff\x00\xfe\r\n"),
}


@pytest.mark.parametrize("case", DOTS)
async def test_the_content_comes_as_it_was_sent(connect, ingester, case):
    sent, wanted = DOTS[case]
    client = await connect()
    await client.begin("a@b.example")
    assert (await client.data(sent, 1))[0].startswith("250")
    assert ingester.taken[0][0] == wanted


@pytest.mark.parametrize("length", [65_530, 65_534, 65_535, 65_536, 65_537, 65_538, 131_071, 131_072, 131_073, 300_000])
@pytest.mark.parametrize("begin", [b"", b".."])
async def test_a_long_line_hides_no_line_end(connect, ingester, length, begin):
    """Read in pieces, whose borders may fall between CR and LF."""
    client = await connect()
    await client.begin("a@b.example")
    line = b"y" * length
    assert (await client.data(begin + line + b"\r\n", 1))[0].startswith("250")
    assert ingester.taken[0][0] == begin[1:] + line + b"\r\n"


async def test_content_that_comes_octet_by_octet(connect, ingester):
    client = await connect()
    client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await client.begin("a@b.example")
    assert (await client.ask("DATA")).startswith("354")
    for octet in b"a\r\n..b\r\n.\r\n":
        client.writer.write(bytes([octet]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.reply())[0].startswith("250")
    assert ingester.taken[0][0] == b"a\r\n.b\r\n"


async def test_of_what_is_too_long_the_start_is_kept_without_a_gap(connect, ingester):
    ingester.size_limit = 100
    client = await connect()
    await client.begin("a@b.example")
    content = b"a" * 60 + b"\r\n" + b"b" * 60 + b"\r\nshort\r\n"
    assert (await client.data(content, 1))[0].startswith("250")
    raw, *_, cut = ingester.taken[0]
    assert raw == content[:100]
    assert cut


async def test_what_just_fits_is_not_cut(connect, ingester):
    ingester.size_limit = 100
    client = await connect()
    await client.begin("a@b.example")
    await client.data(b"a" * 98 + b"\r\n", 1)
    assert ingester.taken[0][3] is False


async def test_a_hundred_megabytes_stay_within_bounds(connect, ingester):
    client = await connect()
    await client.begin("a@b.example")
    assert (await client.ask("DATA")).startswith("354")
    block = (b"0" * 998 + b"\r\n") * 64
    tracemalloc.start()
    for _ in range(100 * 1024 * 1024 // len(block)):
        client.writer.write(block)
        await client.writer.drain()
    client.writer.write(b".\r\n")
    assert (await client.reply())[0].startswith("250")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(ingester.taken[0][0]) == ingester.size_limit
    assert ingester.taken[0][3]
    assert peak < 10 * ingester.size_limit


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("MAIL FROM:<>", "501"),
        ("RCPT TO:<a@b.example>", "501"),
        ("DATA", "503"),
        ("HELO x", "500"),
        ("EHLO x", "500"),
        (b"\xff\xfe", "500"),
        ("MAIL", "501"),
        ("RCPT TO:<>", "501"),
        ("", "500"),
    ],
)
async def test_a_command_out_of_place_is_told_so_and_the_talk_goes_on(connect, ingester, line, reply):
    client = await connect()
    assert (await client.ask(line)).startswith(reply)
    await client.begin("a@b.example")
    assert (await client.data(b"x\r\n", 1))[0].startswith("250")


async def test_an_address_of_any_length_and_any_octets_is_taken(connect, ingester):
    client = await connect()
    await client.begin("a@b.example")
    assert (await client.ask("RCPT TO:<" + "l" * 2000 + "@b.example>")).startswith("250")
    assert (await client.ask(b"RCPT TO:<b+\xff\xfe@b.example>")).startswith("250")
    assert [answer[:3] for answer in await client.data(b"x\r\n", 3)] == ["250"] * 3


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing(connect, ingester):
    client = await connect()
    await client.begin("a@b.example")
    assert (await client.ask("DATA")).startswith("354")
    client.writer.write(b"half a mail\r\n")
    client.writer.close()
    again = await connect()
    await again.begin("b@b.example")
    await again.data(b"x\r\n", 1)
    assert [recipient for _, _, recipient, _ in ingester.taken] == ["b@b.example"]


async def test_a_fault_of_our_own_outside_the_store_is_a_451(connect, ingester, monkeypatch):
    async def breaks(*_):
        raise KeyError("a bug")

    client = await connect()
    await client.begin("a@b.example")
    monkeypatch.setattr(ingest_lmtp._Server, "_receive", breaks)
    assert (await client.ask("DATA")).startswith("354")
    client.writer.write(b"x\r\n.\r\n")
    assert (await client.reply())[0].startswith("451")


async def test_a_taken_port_is_an_error_at_once(ingester):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            await serve_lmtp(Intake(ingester, memory_limit=1), "127.0.0.1", taken.getsockname()[1], asyncio.Event())
