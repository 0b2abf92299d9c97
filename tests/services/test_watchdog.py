"""What systemd hears from a service that turns its loop."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from omicard_relay.services.watchdog import tell_watchdog


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        yield systemd


async def words(systemd: socket.socket, count: int) -> list[bytes]:
    loop = asyncio.get_running_loop()
    return [await loop.sock_recv(systemd, 100) for _ in range(count)]


async def test_ready_then_alive_then_stopping(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    stop = asyncio.Event()
    task = asyncio.create_task(tell_watchdog(stop))
    assert await words(heard, 4) == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    stop.set()
    await task
    rest = [b""]
    while rest[-1] != b"STOPPING=1":
        rest += await words(heard, 1)


async def test_what_is_not_well_is_silent(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000")
    stop, asked = asyncio.Event(), 0

    def is_well() -> bool:
        nonlocal asked
        asked += 1
        if asked == 5:
            stop.set()
        return False

    await tell_watchdog(stop, is_well=is_well)
    assert await words(heard, 2) == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize(("name", "value"), [("WATCHDOG_PID", "1"), ("WATCHDOG_USEC", "soon"), ("WATCHDOG_USEC", "0")])
async def test_who_is_not_asked_tells_only_that_it_is_there(
    heard: socket.socket, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv(name, value)
    stop = asyncio.Event()
    task = asyncio.create_task(tell_watchdog(stop))
    assert await words(heard, 1) == [b"READY=1"]
    stop.set()
    await task
    assert await words(heard, 1) == [b"STOPPING=1"]


async def test_without_systemd_or_with_one_that_is_gone_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = asyncio.Event()
    stop.set()
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    await tell_watchdog(stop)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    await tell_watchdog(stop)
    monkeypatch.setenv("NOTIFY_SOCKET", "@omicard-relay-nobody")
    await tell_watchdog(stop)
