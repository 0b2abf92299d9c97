"""The status filter: look-ups a second on one core, and how long they take at 1,000 a second.

    .venv/bin/python benchmarks/statusfilter.py [--seconds S] [--connections N] [--rate N] [--beside COMMAND]

The filter is a process of its own, as in production, acting by the shipped rules. Postfix's clients are played: each connection
asks one look-up at a time. Three mixes: `log` is what a sending Postfix asks (nine successes to one failure), `failures` only
failures whose addresses, ids and hosts change each time, `new` failures whose words nobody has seen before, so that each
is judged anew. Then the `log` mix at a fixed rate, with the time of each answer. `--beside` starts a command, such as
`benchmarks/relay.py`, that runs meanwhile.
Load and filter share the machine's cores: a look-up costs the client about as much as the filter, so that the filter's own
CPU time is given, too: look-ups for each second of it are what one core of its own would answer.
"""

import argparse
import asyncio
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from omicard_relay.wire.socketmap import request

_FAILURES = (
    "5.1.1 host mx{h}.there.test[192.0.2.{m}] said: 550 5.1.1 <u{k}@there.test>: Recipient address rejected: User unknown in "
    "virtual mailbox table (in reply to RCPT TO command)",
    "4.7.28 host mx{h}.there.test[192.0.2.{m}] said: 421-4.7.28 We have seen an unusual rate of mail from your IP address. 421 "
    "4.7.28 Mail sent from it has been limited for now. id{k}abcdef{m} (in reply to end of DATA command)",
    "4.4.1 connect to mx{h}.other.test[192.0.2.{m}]:25: Connection refused",
    "4.7.1 host mx{h}.there.test[192.0.2.{m}] said: 451 4.7.1 Greylisting in action, please come back in {m} seconds (in reply "
    "to RCPT TO command)",
    "5.0.0 host mx{h}.there.test[192.0.2.{m}] said: 550 too many messages from you, try later (session {k}) (in reply to MAIL "
    "FROM command)",
)
_SERVER = """
import asyncio, sys, uvloop
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.statusfilter import FilterMode, StatusFilter
from omicard_relay.services.statusfilterd import serve_status_filter
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.suppress import load_suppress
filter = StatusFilter(Rulebook.of(load_policies(), load_suppress()), mode=FilterMode.ACT)
uvloop.run(serve_status_filter(filter, "127.0.0.1", 0, asyncio.Event(), on_listening=lambda port: print(port, flush=True)))
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--beside", default="")
    options = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    beside = (
        subprocess.Popen(shlex.split(options.beside), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if options.beside
        else None
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        for mix in ("log", "failures", "new"):
            before = _cpu(server.pid)
            count, taken = uvloop.run(_flood(port, mix, options.connections, options.seconds))
            cpu = _cpu(server.pid) - before
            print(
                f"{mix:9} {count / taken:9,.0f} look-ups/s shared, {count / cpu:9,.0f} for each second of the filter's CPU"
            )
        times = sorted(uvloop.run(_paced(port, options.connections, options.rate, options.seconds)))
        picked = {
            name: times[int(len(times) * share)] * 1000
            for name, share in (("median", 0.5), ("p99", 0.99), ("p999", 0.999))
        }
        shown = ", ".join(f"{name} {value:.2f} ms" for name, value in picked.items())
        print(f"at {len(times) / options.seconds:,.0f}/s: {shown}, slowest {times[-1] * 1000:.2f} ms")
        print(f"memory of the filter: {_memory(server.pid):.0f} MB")
    finally:
        server.kill()
        server.wait()
        if beside is not None:
            beside.terminate()
            beside.wait()


def _keys(mix: str, seed: int) -> Iterator[bytes]:
    """Look-ups for ever, made beforehand so that making them costs nothing meanwhile."""
    chance = random.Random(seed)  # noqa: S311
    made = []
    for number in range(4_000 if mix == "new" else 1_000):
        if mix == "log" and number % 10:
            made.append(f"2.0.0 250 2.0.0 Ok: queued as {chance.getrandbits(40):X}")
            continue
        text = chance.choice(_FAILURES).format(h=number % 9, m=chance.randrange(1, 250), k=chance.getrandbits(30))
        if mix == "new":
            word = "".join(chance.choice("bcdfgklmnprst") + chance.choice("aeiou") for _ in range(5))
            text = text.replace(" (in reply", f" {word} (in reply").replace("Connection", f"{word} Connection")
        made.append(text)
    octets = [request(b"statusfilter", text.encode()) for text in made]
    while True:
        yield from octets


class _Client(asyncio.Protocol):
    """One look-up at a time, as smtp(8) does; the answer's own text is not read, its end is."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[None] | None = None
        self.transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if data.endswith(b",") and self.answered is not None and not self.answered.done():
            self.answered.set_result(None)

    async def ask(self, octets: bytes) -> None:
        assert self.transport is not None
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(octets)
        await self.answered


async def _clients(port: int, count: int) -> list[_Client]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(count)]


async def _flood(port: int, mix: str, connections: int, seconds: float) -> tuple[int, float]:
    clients = await _clients(port, connections)
    begun = time.perf_counter()
    end, counts = begun + seconds, [0] * connections

    async def one(number: int, client: _Client) -> None:
        for octets in _keys(mix, number):
            await client.ask(octets)
            counts[number] += 1
            if time.perf_counter() > end:
                return

    await asyncio.gather(*(one(number, client) for number, client in enumerate(clients)))
    return sum(counts), time.perf_counter() - begun


async def _paced(port: int, connections: int, rate: int, seconds: float) -> list[float]:
    """Each connection asks at its own moments, evenly; gives the time of each answer, in seconds."""
    clients = await _clients(port, connections)
    times: list[float] = []
    start = time.perf_counter() + 0.1
    pause = connections / rate

    async def one(number: int, client: _Client) -> None:
        keys = _keys("log", number)
        for turn in range(int(seconds / pause)):
            due = start + number / rate + turn * pause
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked = time.perf_counter()
            await client.ask(next(keys))
            times.append(time.perf_counter() - asked)

    await asyncio.gather(*(one(number, client) for number, client in enumerate(clients)))
    return times


def _cpu(pid: int) -> float:
    """Seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    """MB of a process that are in memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
