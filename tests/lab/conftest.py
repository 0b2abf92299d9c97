"""Running a module inside the lab's namespace from a test, and a client that speaks SMTP line by line."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.namespace import obstacle
from lab.postfix import installed

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]

_ENTER = """
import sys
from pathlib import Path
from lab.namespace import enter
sys.exit(enter(sys.argv[2:], Path(sys.argv[1])))
"""


def command(folder: Path, *argv: str) -> list[str]:
    """What runs a module of tests/lab/inside/ or of lab/ in the namespace."""
    return [sys.executable, "-c", _ENTER, str(folder), *argv]


@pytest.fixture
def environment() -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": f"{CHECKOUT}:{HERE / 'inside'}"}


@pytest.fixture
def needs_namespace() -> None:
    reason = obstacle()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def in_lab(
    needs_namespace: None, environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a module in the namespace, with Postfix at hand; skipped with a sentence where that is not possible."""
    if not installed():
        pytest.skip("Postfix is not installed: apt-get install postfix.")

    def run(*argv: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(tmp_path, *argv), capture_output=True, text=True, env=environment, timeout=timeout, check=False
        )

    return run


class Client:
    """One SMTP connection; `say` sends a line and returns the whole reply, `send` sends octets and reads nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), 5)).decode().rstrip("\r\n")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def say(self, line: str) -> str:
        self.send(line.encode() + b"\r\n")
        return await self.reply()


@pytest.fixture
async def connect():  # type: ignore[no-untyped-def]
    """`client = await connect(port)`; closed at the end of the test."""
    writers = []

    async def open_one(port: int) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return Client(reader, writer)

    yield open_one
    for writer in writers:
        writer.close()
