"""Bounce mails a second into the running ingest service, by each way in, against bare fsync'ed files and smtp-sink, in one run.

    .venv/bin/python benchmarks/ingest.py [--mails N] [--connections N] [--starts N] [--rounds N]

Every mail is a report of its own to a signed reverse-path of a recipient that the store knows: it is parsed, judged and
written whole, and its recipient is told. The peers do less: `maildir` writes each mail durably (write, fsync, rename, fsync
of the folder) with as many threads, `smtp-sink -L` (Postfix's, where it is installed) takes it over LMTP and lets it go.
`pipe` starts the real wrapper and client, as pipe(8) does, a process for each mail.
Load and service share the machine's cores, as Postfix and the service do.
"""

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from omicard_relay.mail import Submission, Way
from omicard_relay.services.keyfiles import load_return_path
from omicard_relay.store import open_store, submissions
from omicard_relay.store.engine import Store
from omicard_relay.tables.settings import Settings, load_settings
from omicard_relay.tables.toml import shipped
from omicard_relay.wire.netstring import encode

_CLIENT = Path(__file__).resolve().parent.parent / "omicard_relay" / "cli" / "pipe_client.py"
_REPORT = """\
From: Mail Delivery System <MAILER-DAEMON@mx.there.test>
To: {path}
Subject: Undelivered Mail Returned to Sender
Message-ID: <{name}@mx.there.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I could not bring your mail to its reader.
<{address}>: host mx.there.test[192.0.2.9] said: 550 5.1.1 no such user here (in reply to RCPT TO command)

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.there.test

Final-Recipient: rfc822; {address}
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.there.test
Diagnostic-Code: smtp; 550 5.1.1 no such user here

--b
Content-Type: text/rfc822-headers

From: News <news@shop.test>
To: {address}
Subject: Spring
X-Filling: {filling}

--b--
"""

Mail = tuple[str, bytes]


def main() -> None:
    """Print mails a second, the best of the rounds, each line beside the Maildir of the same run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mails", type=int, default=1500)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--starts", type=int, default=500, help="mails through the pipe, a process each")
    parser.add_argument("--at-once", type=int, default=5, help="processes of the pipe, as in master.cf")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = _free_port()
        config = folder / "relay.toml"
        config.write_text(f'data_dir = "data"\n[ingest]\nport = {port}\n[return_path]\ndomain = "bounces.test"\n')
        settings = load_settings(config)
        store = open_store(settings.store_url)
        with _service(config, port) as service:
            for turn in range(given.rounds):

                def mails(way: str, count: int, turn: int = turn) -> list[Mail]:
                    return _mails(store, settings, f"{way}-{turn}", count)

                def timed(way: str, count: int, run: Callable[[list[Mail]], None]) -> None:
                    todo = mails(way, count)
                    begin = time.perf_counter()
                    run(todo)
                    best[way] = max(best.get(way, 0.0), count / (time.perf_counter() - begin))

                timed("maildir", given.mails, lambda todo: _maildir(folder / "maildir", todo, given.connections))
                with _smtp_sink(folder) as sink:
                    if sink:
                        timed("smtp-sink -L", given.mails, lambda todo: _lmtp(sink, todo, given.connections))
                timed("lmtp", given.mails, lambda todo: _lmtp(port, todo, given.connections))
                timed("socket", given.mails, lambda todo: _socket(settings, todo, given.connections))
                before = _cpu(service)
                timed("pipe", given.starts, lambda todo: _pipe(_light(settings), todo, given.at_once))
                spent = _cpu(service) - before
                timed("pipe, full program", 40, lambda todo: _pipe(_full(config), todo, given.at_once))
        with store.read() as tx:
            from omicard_relay.store.bounces import counters

            counted = counters(tx)
        store.close()
    print(
        f"{given.mails} mails, {given.connections} connections, {given.at_once} processes, best of {given.rounds} rounds"
    )
    for way, rate in best.items():
        print(f"{way:20} {rate:8,.0f} mails/s   {rate / best['maildir']:6.2f} of maildir")
    print(f"service's processor time for a mail of the pipe: {spent / given.starts * 1000:.1f} ms; stored: {counted}")


def _mails(store: Store, settings: Settings, name: str, count: int) -> list[Mail]:
    """So many reports, each to the signed reverse-path of a recipient that is in the store."""
    signer, now = load_return_path(settings), datetime.now(UTC)
    assert signer is not None
    made: list[Mail] = []
    mail = Submission(
        submission_id=name,
        digest=name,
        received=now,
        way=Way.DIRECT,
        reverse_path="news@shop.test",
        campaign=None,
        message_id=f"<{name}@shop.test>",
        subject=None,
    )
    with store.write() as tx:
        submissions.add_submission(tx, mail)
        for number in range(count):
            address = f"r{number}.{name.replace(', ', '')}@a.test".replace(" ", "")
            path = signer.make(address, day=int(now.timestamp()) // 86_400, nonce=os.urandom(5))
            submissions.add_intent(
                tx,
                mail,
                address,
                own_row=None,
                reverse_path=path,
                hand_over=f"{name}{number}",
                relay_run="run",
                now=now,
            )
            text = _REPORT.format(
                path=path, address=address, name=f"{name}.{number}".replace(" ", ""), filling="x" * 900
            )
            made.append((path, text.replace("\n", "\r\n").encode()))
    return made


@contextmanager
def _service(config: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "omicard_relay", "--config", str(config), "serve", "ingest"],
            stdout=output,
            stderr=output,
        )
    try:
        _until_open(port, lambda: process.poll() is None, log)
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def _smtp_sink(folder: Path) -> Iterator[int | None]:
    program = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        yield None
        return
    port = _free_port()
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, *as_user, "-L", f"127.0.0.1:{port}", "200"], cwd="/")
    try:
        _until_open(port, lambda: process.poll() is None, folder)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _until_open(port: int, alive: Callable[[], bool], what: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and alive():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{what}: did not start")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _maildir(folder: Path, todo: list[Mail], threads: int) -> None:
    for name in ("tmp", "new"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    new = os.open(folder / "new", os.O_RDONLY)

    def write(numbered: tuple[int, Mail]) -> None:
        name = f"{time.time_ns()}.{numbered[0]}"
        with (folder / "tmp" / name).open("wb") as file:
            file.write(numbered[1][1])
            file.flush()
            os.fsync(file.fileno())
        os.rename(folder / "tmp" / name, folder / "new" / name)
        os.fsync(new)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, enumerate(todo)))
    os.close(new)


def _lmtp(port: int, todo: list[Mail], connections: int) -> None:
    waiting = iter(todo)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await _reply(reader, b"220")
        writer.write(b"LHLO bench.test\r\n")
        await _reply(reader, b"250")
        for path, raw in waiting:
            # As lmtp(8) does: no pipelining is offered.
            for line in (b"MAIL FROM:<>", b"RCPT TO:<%s>" % path.encode()):
                writer.write(line + b"\r\n")
                await _reply(reader, b"250")
            writer.write(b"DATA\r\n")
            await _reply(reader, b"354")
            writer.write(raw + b".\r\n")
            await _reply(reader, b"250")
        writer.close()

    _together(one, connections)


async def _reply(reader: asyncio.StreamReader, wanted: bytes) -> None:
    while True:
        line = await reader.readline()
        if not line.startswith(wanted):
            raise SystemExit(f"the server said {line!r}")
        if line[3:4] != b"-":
            return


def _socket(settings: Settings, todo: list[Mail], connections: int) -> None:
    waiting, path = iter(todo), settings.data_path(settings.ingest.socket)

    async def one() -> None:
        for recipient, raw in waiting:
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"+" + b"".join(map(encode, (b"", recipient.encode(), b"Q", raw, b""))))
            answer = await reader.read()
            if answer != b"2:OK,":
                raise SystemExit(f"the service said {answer!r}")
            writer.close()

    _together(one, connections)


def _together(one: Callable[[], Awaitable[None]], count: int) -> None:
    async def run() -> None:
        await asyncio.gather(*(one() for _ in range(count)))

    uvloop.run(run())


def _light(settings: Settings) -> Callable[[str], list[str]]:
    wrapper = str(shipped("postfix", "bounce-pipe", "omicard-bounce"))
    path = str(settings.data_path(settings.ingest.socket))
    start = [wrapper, "--light", sys.executable, "-I", "-S", str(_CLIENT), path, "--sender="]
    return lambda recipient: [*start, f"--recipient={recipient}", "--queue-id=Q", "--", "/bin/false"]


def _full(config: Path) -> Callable[[str], list[str]]:
    wrapper = str(shipped("postfix", "bounce-pipe", "omicard-bounce"))
    start = [wrapper, sys.executable, "-m", "omicard_relay", "--config", str(config), "bounce", "ingest", "--sender="]
    return lambda recipient: [*start, f"--recipient={recipient}", "--queue-id=Q"]


def _pipe(command: Callable[[str], list[str]], todo: list[Mail], at_once: int) -> None:
    def one(mail: Mail) -> None:
        subprocess.run(command(mail[0]), input=mail[1], check=True)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, todo))


if __name__ == "__main__":
    main()
