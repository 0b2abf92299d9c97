"""A relay on a free port, with a real SQLite store behind it and a next hop that does what the test says."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import rsa

from omicard_relay.classify import Judge
from omicard_relay.mail import ListEntry
from omicard_relay.services.relay import Relay
from omicard_relay.signing import DkimKey, DkimSigner, ReturnPathKeys, ReturnPathSigner
from omicard_relay.store import schema
from omicard_relay.store.engine import Store, open_store
from omicard_relay.store.lists import add_entry
from omicard_relay.store.writer import Writer
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import RelaySettings, Settings

OFFERS = ("PIPELINING", "SIZE 99999999", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
XFORWARD = "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT"


@dataclass
class Got:
    """One mail that the next hop took, or was given, and the commands before it that were accepted."""

    commands: list[str]
    content: bytes = b""

    @property
    def reverse_path(self) -> str:
        return self._path("MAIL FROM:")[0]

    @property
    def forward_paths(self) -> list[str]:
        return self._path("RCPT TO:")

    def _path(self, verb: str) -> list[str]:
        return [line[len(verb) :].split(">")[0].lstrip("<") for line in self.commands if line.startswith(verb)]

    @property
    def body(self) -> bytes:
        """Without our trace line."""
        return re.sub(rb"\AReceived: [^\r]*\r\n(?:[ \t][^\r]*\r\n)*", b"", self.content)


@dataclass
class Hop:
    """A next hop. `answers` maps a beginning of a command (or `.`) to replies, used one by one, the last one for ever.

    A reply `DROP` closes the connection instead, `STALL` never answers.
    """

    offers: tuple[str, ...] = (*OFFERS, XFORWARD)
    answers: dict[str, list[str]] = field(default_factory=dict)
    mails: list[Got] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    server: asyncio.Server | None = None
    commands: list[str] = field(default_factory=list)
    on_mail: Callable[[Got], Awaitable[None]] | None = None

    async def start(self, port: int = 0) -> int:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=2**20)
        return int(self.server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.close()
        await asyncio.sleep(0)

    def hang_up(self, last_word: bytes = b"") -> None:
        """Close every connection, as Postfix does with idle ones."""
        for writer in self.writers:
            writer.write(last_word)
            writer.close()
        self.writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self.writers.append(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            self.open_connections -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._say(writer, self._answer("connect", "220 hop ESMTP")):
            return
        got = Got([])
        while True:
            line = (await reader.readuntil(b"\r\n")).decode("utf-8", "surrogateescape")[:-2]
            self.commands.append(line)
            default = "250 2.0.0 Ok"
            if line.startswith("EHLO"):
                words = ("hop", *self.offers)
                default = "\r\n".join([*(f"250-{word}" for word in words[:-1]), f"250 {words[-1]}"])
            elif line == "DATA":
                default = "354 go"
            elif line == "QUIT":
                await self._say(writer, "221 2.0.0 Bye")
                return
            answer = self._answer(line, default)
            if answer[:1] in "23":
                got.commands.append(line)
            if not await self._say(writer, answer):
                return
            if line == "DATA" and answer.startswith("354"):
                content = await self._content(reader)
                got.content = content
                number = len(self.mails) + 1
                nobody = "554 5.5.1 Error: no valid recipients"
                answer = self._answer(".", f"250 2.0.0 Ok: queued as Q{number:04}" if got.forward_paths else nobody)
                if answer.startswith("250"):
                    self.mails.append(got)
                if self.on_mail is not None:
                    await self.on_mail(got)
                got = Got([])
                if not await self._say(writer, answer):
                    return

    async def _content(self, reader: asyncio.StreamReader) -> bytes:
        lines = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def _answer(self, line: str, default: str) -> str:
        for start, replies in self.answers.items():
            if line.startswith(start):
                return replies.pop(0) if len(replies) > 1 else replies[0]
        return default

    async def _say(self, writer: asyncio.StreamWriter, answer: str) -> bool:
        if answer == "STALL":
            await asyncio.Event().wait()
        if answer.startswith("DROP"):
            return False
        writer.write(answer.encode() + b"\r\n")
        await writer.drain()
        return True


class Client:
    """Speaks octets with the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Client":
        client = cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))
        client.greeting = await client.reply()
        return client

    greeting: str = ""

    async def reply(self) -> str:
        """One reply, its lines joined by newlines; "" when the connection is closed."""
        lines = []
        while True:
            try:
                line = (await self.reader.readuntil(b"\r\n"))[:-2].decode("ascii")
            except (asyncio.IncompleteReadError, ConnectionError):
                return "\n".join(lines)
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    async def say(self, line: str | bytes) -> str:
        self.send(line)
        return await self.reply()

    def send(self, line: str | bytes) -> None:
        octets = line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line
        self.writer.write(octets + b"\r\n")

    async def hello(self) -> "Client":
        assert (await self.say("EHLO client.test")).startswith("250")
        return self

    async def begin(self, sender: str = "<news@shop.test>", *recipients: str, options: str = "") -> list[str]:
        """MAIL and RCPTs; gives the RCPTs' replies."""
        reply = await self.say(f"MAIL FROM:{sender}{options}")
        assert reply.startswith("250"), reply
        return [await self.say(f"RCPT TO:{one}") for one in recipients or ("<ann@a.test>",)]

    async def data(self, content: bytes) -> str:
        reply = await self.say("DATA")
        if not reply.startswith("354"):
            return reply
        stuffed = re.sub(rb"(?m)^\.", b"..", content)
        return await self.say(stuffed + b".")

    async def mail(
        self, content: bytes = b"Subject: hi\r\n\r\nhello\r\n", *recipients: str, sender: str = "<news@shop.test>"
    ) -> str:
        await self.begin(sender, *recipients)
        return await self.data(content)

    def close(self) -> None:
        self.writer.close()


class World:
    """Relay, store and next hop of one test."""

    def __init__(self, folder: Path, judge: Judge) -> None:
        self.judge = judge
        self.hop = Hop()
        self.store: Store = open_store(f"sqlite:///{folder / 'relay.db'}", busy_seconds=1)
        self.writer = Writer(self.store)
        self.clients: list[Client] = []
        self.relays: list[Relay] = []

    async def start(
        self,
        *,
        dkim: DkimSigner | None = None,
        return_path: ReturnPathSigner | None = None,
        judge: Judge | None = None,
        settings: Settings | None = None,
        next_port: int | None = None,
        **relay: object,
    ) -> Relay:
        if next_port is None:
            next_port = self.hop.server.sockets[0].getsockname()[1] if self.hop.server else await self.hop.start()
        values: dict[str, object] = {
            "hostname": "relay.test",
            "port": 0,
            "next_port": next_port,
            "pool_wait_seconds": 1,
            "add_missing_headers": False,  # most tests compare octets
        }
        settings = msgspec.structs.replace(settings or Settings(), relay=RelaySettings(**{**values, **relay}))
        one = Relay(
            settings,
            self.store,
            self.writer,
            dkim=dkim or DkimSigner(),
            return_path=return_path,
            judge=lambda: judge or self.judge,
        )
        await one.start()
        self.relays.append(one)
        return one

    async def client(self, relay: Relay | None = None, *, hello: bool = True) -> Client:
        client = await Client.connect((relay or self.relays[-1]).port)
        self.clients.append(client)
        return await client.hello() if hello else client

    def rows(self) -> list[sa.Row[tuple[object, ...]]]:
        """The recipients, oldest first, with `answered` and `campaign` of their submissions."""
        with self.store.read() as tx:
            return list(
                tx.execute(
                    sa.select(schema.recipient, schema.submission.c.answered, schema.submission.c.campaign)
                    .join(schema.submission)
                    .order_by(schema.recipient.c.id)
                )
            )

    def submissions(self) -> list[sa.Row[tuple[object, ...]]]:
        with self.store.read() as tx:
            return list(tx.execute(sa.select(schema.submission).order_by(schema.submission.c.id)))

    def states(self) -> dict[str, str]:
        return {str(row.address): str(row.state) for row in self.rows()}

    def add(self, entry: ListEntry) -> None:
        with self.store.write() as tx:
            add_entry(tx, entry)

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait for a condition of the outside world."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  the outside world sets no events
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        for client in self.clients:
            client.close()
        for relay in self.relays:
            await relay.stop(0.2)
        await self.hop.stop()
        self.writer.close()
        self.store.close()


@pytest.fixture(scope="session")
def dkim() -> DkimSigner:
    """Signs for shop.test, RSA."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return DkimSigner(keys=(DkimKey(domain="shop.test", selector="s1", private_key=key),))


@pytest.fixture(scope="session")
def shipped_judge() -> Judge:
    """By the tables that ship; compiled once."""
    return Judge(load_policies())


@pytest.fixture
def return_path() -> ReturnPathSigner:
    return ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.test")


@pytest.fixture
def make_world(tmp_path: Path, shipped_judge: Judge) -> Callable[[], World]:
    """For tests that run a loop of their own."""
    return lambda: World(tmp_path, shipped_judge)


@pytest.fixture
async def world(tmp_path: Path, shipped_judge: Judge) -> AsyncIterator[World]:
    one = World(tmp_path, shipped_judge)
    yield one
    await one.close()
