"""Waking what has rested: bounded processes, one flush for very many, and faults that are counted."""

import asyncio
from pathlib import Path

import pytest

from omicard_relay.services.waking import Waker, Woken


class Queue:
    """A `postqueue` that writes down how it was called; ids that begin with BAD fail, those with HANG never end."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "postqueue"
        self.calls = folder / "calls"
        self.calls.mkdir()
        self.program.write_text(
            "#!/bin/sh\n"
            f'echo "$*" > {self.calls}/$$\n'
            'case "$*" in *BAD*) echo "postqueue: fatal: no\x07 such" >&2; exit 69;; *HANG*) exec sleep 1000;; esac\n'
        )
        self.program.chmod(0o755)

    def told(self) -> list[str]:
        return sorted(path.read_text().strip() for path in self.calls.iterdir())


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


async def test_each_mail_is_woken_by_its_id_once(queue: Queue) -> None:
    waker = Waker(Path("/etc/none"), program=str(queue.program))
    assert await waker.wake(["4XyZ1aaaaz1", "4XyZ2aaaaz1", "4XyZ1aaaaz1"]) == Woken(woken=2)
    assert queue.told() == ["-c /etc/none -i 4XyZ1aaaaz1", "-c /etc/none -i 4XyZ2aaaaz1"]


async def test_nothing_due_starts_nothing(queue: Queue) -> None:
    assert await Waker(program=str(queue.program)).wake([]) == Woken()
    assert queue.told() == []


async def test_very_many_are_woken_by_one_flush(queue: Queue) -> None:
    waker = Waker(program=str(queue.program), most=3)
    assert await waker.wake([f"4XyZ{number}aaaaz1" for number in range(4)]) == Woken(flushed=True)
    assert queue.told() == ["-f"]
    assert await waker.wake([f"4XyZ{number}aaaaz1" for number in range(3)]) == Woken(woken=3)


async def test_what_is_no_queue_id_is_never_an_option(queue: Queue) -> None:
    waker = Waker(program=str(queue.program))
    assert await waker.wake(["-f", "ALL ", "../x", "", "4XyZ1aaaaz1"]) == Woken(woken=1, failed=4)
    assert queue.told() == ["-i 4XyZ1aaaaz1"]
    assert waker.failures == 4


async def test_failures_are_counted_and_never_raised(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    waker = Waker(program=str(queue.program), most=3)
    assert await waker.wake(["BAD11", "GOOD1"]) == Woken(woken=1, failed=1)
    assert "\\x07" in caplog.text
    assert "\x07" not in caplog.text
    assert waker.failures == 1


async def test_a_command_that_hangs_is_killed(queue: Queue) -> None:
    waker = Waker(program=str(queue.program), timeout_seconds=0.2)
    assert await waker.wake(["HANG1", "GOOD1"]) == Woken(woken=1, failed=1)


async def test_no_more_than_so_many_run_at_once(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    waker, running, most = Waker(program=str(queue.program), parallel=3), 0, 0

    async def run(*arguments: str) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return True

    monkeypatch.setattr(waker, "_run", run)
    assert await waker.wake([f"4XyZ{number}aaaaz1" for number in range(20)]) == Woken(woken=20)
    assert most == 3


@pytest.mark.parametrize("program", ["/nowhere/postqueue", __file__], ids=["missing", "not-executable"])
async def test_without_postfix_it_is_told_and_counted(program: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await Waker(program=program).wake(["4XyZ1aaaaz1"]) == Woken(failed=1)
    assert "event=wake-failed" in caplog.text
