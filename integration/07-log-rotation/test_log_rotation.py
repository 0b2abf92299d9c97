"""The log is rotated in each usual way, under a running follower and under one that is stopped: no line is lost or doubled."""

import contextlib
import gzip
import os
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from lab.campaign import Campaign
from lab.line import Line
from lab.submit import Told, submit
from lab.waiting import assert_settles, wait_until
from omicard_relay.store import schema
from omicard_relay.wire.logevents import Delivery, Rejected
from omicard_relay.wire.loglines import parse_line

_Rotation = Callable[[Line], None]


def _by_postfix(line: Line) -> None:
    """Rename, SIGHUP, one second, then the default compressor: gzip."""
    _postfix(line, "logrotate")


def _by_rename(line: Line) -> None:
    line.postfix.log.rename(_first_place(line))
    line.postfix.reload()


def _by_copy(line: Line) -> None:
    """What logrotate(8) calls copytruncate."""
    log = line.postfix.log
    with _halted_postlogd():
        shutil.copy2(log, _first_place(line))
        os.truncate(log, 0)


_ROTATIONS: tuple[_Rotation, ...] = (_by_postfix, _by_rename, _by_copy)
#: Recipients between two rotations.
_PORTION = 35


def test_each_line_is_stored_once_however_the_log_is_rotated(
    make_line: Callable[..., Line], small_campaign: Callable[..., Campaign]
) -> None:
    campaign = small_campaign(4)
    line = make_line()
    line.fill_lists(campaign)
    client = _Client(campaign, line)
    for rotate in _ROTATIONS:
        client.submit_more()
        rotate(line)
    for rotate in _ROTATIONS:
        line.kill_service("follow")
        unread = len(_stored(line))
        client.submit_more()
        rotate(line)
        line.start_service("follow")
        wait_until(lambda unread=unread: len(_stored(line)) > unread, "the follower goes on")  # type: ignore[misc]
    client.submit_all()
    assert_settles(line, campaign)
    _check_lines(line)


class _Client:
    """Submits the campaign in portions, so that each rotation comes in the middle of it."""

    def __init__(self, campaign: Campaign, line: Line) -> None:
        self._told, self._allowed = 0, threading.Semaphore(0)
        how = line.submission(connections=4)
        self._thread = threading.Thread(target=submit, args=(campaign, how), kwargs={"on_told": self._one})
        self._thread.start()

    def _one(self, _: Told) -> None:
        self._told += 1
        self._allowed.acquire()

    def submit_more(self) -> None:
        """The next portion, to its end."""
        wanted = self._told + _PORTION
        self._allowed.release(_PORTION)
        wait_until(lambda: self._told >= wanted, f"{wanted} recipients are submitted")

    def submit_all(self) -> None:
        """The rest."""
        self._allowed.release(10_000)
        self._thread.join(60)
        assert not self._thread.is_alive(), "the client did not come to its end"


def _postfix(line: Line, command: str) -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    words = ["postfix", "-c", str(line.postfix.config), command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr


def _first_place(line: Line) -> Path:
    """`maillog.1`, made free: what stood there is `maillog.2` now, and so on, as logrotate(8) does it."""
    log = line.postfix.log
    taken = 1
    while log.with_name(f"maillog.{taken}").exists():
        taken += 1
    for number in range(taken, 1, -1):
        log.with_name(f"maillog.{number - 1}").rename(log.with_name(f"maillog.{number}"))
    return log.with_name("maillog.1")


@contextlib.contextmanager
def _halted_postlogd() -> Iterator[None]:
    """postlogd(8) writes nothing meanwhile; what the others say waits in its socket."""
    found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if path.read_text() == "postlogd\n"]
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)


def _check_lines(line: Line) -> None:
    """Every delivery line of all the files is in the store once, and nothing else is."""
    files = sorted(line.postfix.log.parent.glob("maillog*"))
    assert len(files) == 1 + 2 * len(_ROTATIONS), files
    compressed = [path for path in files if path.suffix == ".gz"]
    assert len(compressed) == 2, files
    written: Counter[str] = Counter()
    for path in files:
        found = _digests(gzip.decompress(path.read_bytes()) if path in compressed else path.read_bytes())
        assert found, f"{path.name} has no delivery line: its rotation proves nothing"
        written.update(found)
    assert max(written.values()) == 1
    wait_until(lambda: len(_stored(line)) >= len(written), "all lines are in the store")
    stored = _stored(line)
    assert len(stored) == len(set(stored))
    assert set(stored) == set(written)


def _digests(text: bytes) -> list[str]:
    events = [parse_line(line, now=datetime.now(UTC), tz=UTC) for line in text.splitlines()]
    return [event.attempt.line_digest for event in events if isinstance(event, Delivery | Rejected)]


def _stored(line: Line) -> list[str]:
    store = line.store()
    try:
        with store.read() as tx:
            return list(tx.execute(sa.select(schema.attempt.c.line_digest)).scalars())
    finally:
        store.close()
