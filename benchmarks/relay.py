"""Mails a second through the relay into a next server that only accepts, against direct submission to it, in one run.

    .venv/bin/python benchmarks/relay.py [--mails N] [--connections N] [--octets N] [--rounds N]

Next server, relay and load each have a process of their own; with two cores they take from each other, as in production.
`cpu` is the relay's processor time for 1,000 mails. The last lines compare our client with aiosmtplib on one connection, one
mail after the other, as both would be used in a pool.
"""

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import aiosmtplib
import uvloop
from cryptography.hazmat.primitives.asymmetric import rsa

from omicard_relay.classify import Judge
from omicard_relay.services.relay import Relay
from omicard_relay.services.relay.next_hop import Transaction, connect
from omicard_relay.services.relay.parameters import MailCommand, RcptCommand
from omicard_relay.signing import DkimKey, DkimSigner, ReturnPathKeys, ReturnPathSigner
from omicard_relay.store.engine import open_store
from omicard_relay.store.writer import Writer
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import RelaySettings, Settings

_OFFERS = (
    b"250-next\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT\r\n"
)


class Sink(asyncio.Protocol):
    """Takes every mail, as fast as octets can be looked through."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport, self._buffer, self._in_data, self._count = cast(asyncio.Transport, transport), b"", False, 0
        self._transport.write(b"220 next\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            if self._in_data:
                end = self._buffer.find(b"\r\n.\r\n")
                if end < 0:
                    return
                self._buffer, self._in_data = self._buffer[end + 5 :], False
                self._count += 1
                self._transport.write(b"250 2.0.0 Ok: queued as B%d\r\n" % self._count)
                continue
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                return
            self._buffer = rest
            if line == b"DATA":
                self._in_data, self._buffer = True, b"\r\n" + rest
                self._transport.write(b"354 go\r\n")
            else:
                self._transport.write(_OFFERS if line.startswith(b"EHLO") else b"250 2.0.0 Ok\r\n")


def run_sink(pipe: Connection) -> None:
    """The next server's process."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)

    uvloop.run(main())


def run_relay(pipe: Connection, next_port: int, folder: str, dkim: bool, signed: bool) -> None:
    """The relay's process; sends its port, then on each request its processor time so far."""

    async def main() -> None:
        store = open_store(f"sqlite:///{folder}/{dkim}{signed}.db")
        writer = Writer(store)
        settings = Settings(relay=RelaySettings(port=0, next_port=next_port, hostname="relay.test"))
        key = DkimKey(domain="shop.test", selector="s", private_key=rsa.generate_private_key(65537, 2048))
        keys = ReturnPathKeys(secrets={"a": b"0123456789abcdef"})
        judge = Judge(load_policies())
        relay = Relay(
            settings,
            store,
            writer,
            dkim=DkimSigner(keys=(key,) if dkim else ()),
            return_path=ReturnPathSigner(keys=keys, domain="bounces.test") if signed else None,
            judge=lambda: judge,
        )
        await relay.start()
        pipe.send(relay.port)
        while await asyncio.to_thread(pipe.recv):
            times = os.times()
            pipe.send(times.user + times.system)
        await relay.stop()
        writer.close()

    uvloop.run(main())


def content(octets: int, number: int) -> bytes:
    """One mail of about so many octets."""
    head = b"From: News <news@shop.test>\r\nTo: x@a.test\r\nSubject: hi\r\nMessage-ID: <%d.%d@shop.test>\r\n\r\n"
    return head % (time.time_ns(), number) + (
        b"The quick brown fox jumps over the lazy dog, and so on for a line.\r\n" * (octets // 68)
    )


async def load(port: int, mails: int, connections: int, octets: int) -> float:
    """Seconds for so many mails over so many connections."""
    todo = iter(range(mails))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _until(reader, b"220")
        writer.write(b"EHLO load.test\r\n")
        await _until(reader, b"250 ")
        for number in todo:
            writer.write(b"MAIL FROM:<news@shop.test>\r\nRCPT TO:<r%d@a.test>\r\nDATA\r\n" % number)
            await _until(reader, b"354")
            writer.write(content(octets, number) + b".\r\n")
            await _until(reader, b"250 2.0.0 Ok:")
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    return time.perf_counter() - begin


async def _until(reader: asyncio.StreamReader, start: bytes) -> None:
    while not (line := await reader.readline()).startswith(start):
        if not line or line[:1] in b"45":
            raise SystemExit(f"the server said {line!r}")


async def our_client(port: int, mails: int, octets: int) -> float:
    """Seconds for so many mails with our own client."""
    connection = await connect("127.0.0.1", port, "bench.test", 5)
    begin = time.perf_counter()
    for number in range(mails):
        transaction = Transaction(
            mail=MailCommand(reverse_path="news@shop.test"),
            recipients=(RcptCommand(forward_path="x@a.test"),),
            content=(content(octets, number),),
            xforward={"IDENT": b"abc"},
        )
        (fate,) = await connection.deliver(transaction, 60)
        assert fate.queue_id
    seconds = time.perf_counter() - begin
    connection.close()
    return seconds


async def other_client(port: int, mails: int, octets: int) -> float:
    """The same with aiosmtplib, XFORWARD as a command of its own."""
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, local_hostname="bench.test", start_tls=False)
    await client.connect()
    begin = time.perf_counter()
    for number in range(mails):
        await client.execute_command(b"XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]")
        await client.execute_command(b"XFORWARD PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE] IDENT=abc SOURCE=[UNAVAILABLE]")
        await client.sendmail("news@shop.test", ["x@a.test"], content(octets, number))
    seconds = time.perf_counter() - begin
    client.close()
    return seconds


def main() -> None:
    """Print mails a second, the best of the rounds, each line beside direct submission."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--octets", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    best: dict[str, float] = {}
    cpu: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        sink_pipe, there = context.Pipe()
        sink = context.Process(target=run_sink, args=(there,))
        sink.start()
        sink_port = sink_pipe.recv()
        relays = {}
        for name, dkim, signed in (
            ("relay", False, False),
            ("relay, DKIM", True, False),
            ("relay, DKIM, return path", True, True),
        ):
            pipe, there = context.Pipe()
            process = context.Process(target=run_relay, args=(there, sink_port, str(Path(folder)), dkim, signed))
            process.start()
            relays[name] = (pipe, process, pipe.recv())
        for _ in range(given.rounds):
            best["direct"] = _best(
                best.get("direct"), lambda: load(sink_port, given.mails, given.connections, given.octets)
            )
            for name, (pipe, _, port) in relays.items():
                pipe.send(True)
                before = pipe.recv()
                best[name] = _best(
                    best.get(name), lambda port=port: load(port, given.mails, given.connections, given.octets)
                )
                pipe.send(True)
                cpu[name] = min(cpu.get(name, 1e9), pipe.recv() - before)
            for name, client in (("client: ours", our_client), ("client: aiosmtplib", other_client)):
                best[name] = _best(best.get(name), lambda client=client: client(sink_port, given.mails, given.octets))
        for pipe, process, _ in relays.values():
            pipe.send(False)
            process.join()
        sink_pipe.send(False)
        sink.join()
    print(
        f"{given.mails} mails of {given.octets:,} octets, {given.connections} connections, best of {given.rounds} rounds"
    )
    for name, seconds in best.items():
        spent = f"   cpu {cpu[name] / given.mails * 1000:5.2f} s / 1,000 mails" if name in cpu else ""
        print(f"{name:26} {given.mails / seconds:8,.0f} mails/s   {best['direct'] / seconds:5.2f} of direct{spent}")


def _best(known: float | None, run: Callable[[], Awaitable[float]]) -> float:
    async def once() -> float:
        return await run()

    seconds = uvloop.run(once())
    return seconds if known is None else min(known, seconds)


if __name__ == "__main__":
    main()
