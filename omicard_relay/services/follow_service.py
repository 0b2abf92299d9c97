"""The follow service: one loop for each log, for files and for standard input, over one follower.

Known limit: standard input has no place; lines that were read from a pipe and not stored when the process is killed are
gone. A file that journald or rsyslog writes has none of that.
"""

import asyncio
import logging
import os
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from omicard_relay.mail import RelayError, StoreError, one_line
from omicard_relay.services.follow import Follower
from omicard_relay.services.logreader import LogReader
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store import attempts
from omicard_relay.store.attempts import Place
from omicard_relay.store.engine import Store
from omicard_relay.tables.settings import Settings
from omicard_relay.wire.lines import LineSplitter

__all__ = ["serve_follow"]

log = logging.getLogger(__name__)

#: Seconds between two looks at an idle log: far below a person's patience, cheap enough to do for ever.
_LOOK_SECONDS = 0.2
#: Seconds after which a place is written again although nothing came: the relay reads from it that the log is being watched.
_TOUCH_SECONDS = 5.0
#: Seconds before a store that failed is tried again; doubles up to the second figure.
_AGAIN_SECONDS = (0.5, 15.0)
#: Octets of standard input that are read at once, and chunks that wait to be stored: what is behind waits in the pipe.
_CHUNK, _CHUNKS = 1 << 18, 4
#: `-` in `follow.files`.
_INPUT = "-"


async def serve_follow(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    """Follow the configured logs until `stop` is set; `-` is standard input, and ends with it.

    Raises RelayError when a log is there and cannot be read.
    """
    follower = Follower(settings, store, rulebook)
    files = [Path(name) for name in settings.follow.files if name != _INPUT]
    for path in files:
        _check(path)
    log.info("event=follow-start files=%s", one_line(",".join(settings.follow.files)))
    async with asyncio.TaskGroup() as tasks:
        for path in files:
            tasks.create_task(_follow_file(follower, store, path, settings.follow.batch_size, stop))
        if _INPUT in settings.follow.files:
            tasks.create_task(_follow_input(follower, settings.follow.batch_size, stop))


def _check(path: Path) -> None:
    """Refuse a log that this user may not read; one that is not there yet is waited for."""
    if not path.exists():
        log.warning("event=log-missing path=%s note=waiting-for-it", one_line(str(path)))
    elif not path.is_file() or not os.access(path, os.R_OK):
        raise RelayError(
            f"{path}: is no file that this user can read; let the user join the group of the log (often `adm`), "
            "or name another in `follow.files`."
        )


async def _follow_file(follower: Follower, store: Store, path: Path, most: int, stop: asyncio.Event) -> None:
    place = await _find_place(store, path, stop)
    reader = LogReader(path, place, most=most)
    clock = asyncio.get_running_loop().time
    touched = clock()
    while not stop.is_set():
        before = datetime.now(UTC)
        lines = await asyncio.to_thread(reader.read_lines)
        place = reader.place
        if place is not None and reader.is_at_end:
            place = replace(place, read=before)
        if lines or (place is not None and clock() - touched >= _TOUCH_SECONDS):
            await _take_surely(follower, lines, place, stop)
            touched = clock()
        if not lines:
            await _rest(stop, _LOOK_SECONDS)
    reader.close()


async def _follow_input(follower: Follower, most: int, stop: asyncio.Event) -> None:
    """Standard input, for journald; it has no place, but each line is known by its digest."""
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(_CHUNKS)
    loop = asyncio.get_running_loop()
    # A thread of its own, which nobody waits for: a read of standard input can't be called off, and must not hold up the end.
    threading.Thread(target=_read_input, args=(loop, chunks, room), name="follow-input", daemon=True).start()
    splitter = LineSplitter()
    ending = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            coming = asyncio.create_task(chunks.get())
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                return
            chunk = coming.result()
            # A line that was cut, or whose end never came, is no line of a mail log.
            lines = [line.data for line in splitter.feed(chunk) if line.is_whole]
            for start in range(0, len(lines), most):
                await _take_surely(follower, lines[start : start + most], None, stop)
            room.release()
            if not chunk:
                log.info("event=input-ended")
                return
    finally:
        ending.cancel()


def _read_input(loop: asyncio.AbstractEventLoop, chunks: "asyncio.Queue[bytes]", room: threading.Semaphore) -> None:
    """Chunks of standard input into the queue, an empty one at its end."""
    chunk = b"."
    while chunk:
        room.acquire()
        try:
            chunk = os.read(0, _CHUNK)
        except OSError as error:
            log.error("event=input-failed error=%r", str(error))
            chunk = b""
        try:
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)
        except RuntimeError:
            return  # the loop has ended


async def _take_surely(follower: Follower, lines: list[bytes], place: Place | None, stop: asyncio.Event) -> None:
    """Store a batch, however long the store takes to come back; only a stop gives up, and then nothing has moved."""
    again, most = _AGAIN_SECONDS
    take = follower.take
    while True:
        try:
            await asyncio.to_thread(take, lines, place, now=datetime.now(UTC))
            return
        except StoreError as error:
            log.error("event=follow-store-failed lines=%d again_seconds=%.1f error=%r", len(lines), again, str(error))
        except Exception:
            if take == follower.take_singly:
                raise
            log.exception("event=follow-bug lines=%d note=each-line-by-itself-now", len(lines))
            take = follower.take_singly
            continue
        if stop.is_set():
            return
        await _rest(stop, again)
        again = min(again * 2, most)


async def _find_place(store: Store, path: Path, stop: asyncio.Event) -> Place | None:
    again, most = _AGAIN_SECONDS
    while True:
        try:
            return await asyncio.to_thread(_read_place, store, path)
        except StoreError as error:
            log.error("event=follow-store-failed again_seconds=%.1f error=%r", again, str(error))
        if stop.is_set():
            return None
        await _rest(stop, again)
        again = min(again * 2, most)


def _read_place(store: Store, path: Path) -> Place | None:
    with store.read() as tx:
        return attempts.find_place(tx, str(path))


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
