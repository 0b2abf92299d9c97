"""Log files, standard input and gzip -> events, as a stream; what cannot be read is said on standard error, the rest goes on.

Stamps without a year are read as of the file's own last change, so that an old log keeps its year; those without an offset in
the machine's own time zone, unless another one is named. On a terminal a bar shows how far a big file is.
Not here: what an event says (wire/), and following a file that grows (services/).
"""

import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import BinaryIO, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from omicard_relay.cli.context import console
from omicard_relay.cli.language import register, say
from omicard_relay.mail import one_line
from omicard_relay.wire import Line, LineSplitter, LogEvent, parse_line

__all__ = ["LogFiles", "named_zone"]

register(
    {
        "log.unreadable": ("cannot read {name}: {why}", "無法讀取 {name}：{why}"),
        "log.bad_gzip": ("the compressed data is broken or ends too early", "壓縮資料損毀或不完整"),
        "log.bad_zone": (
            "there is no time zone {name}; write one such as Asia/Taipei",
            "沒有時區 {name}；請用如 Asia/Taipei",
        ),
    }
)

_CHUNK = 262_144
#: Bytes from which a bar is shown: below, reading is done before a bar helps.
_BIG = 50_000_000
_GZIP = b"\x1f\x8b"


class LogFiles:
    """The events of several files in turn. `lines` counts what was read, `failed` that a file was not read to its end."""

    def __init__(self, names: tuple[str, ...], zone: tzinfo, *, progress: bool) -> None:
        self._names = names
        self._zone = zone
        self._progress = progress and sys.stderr.isatty()
        self.lines = 0
        self.failed = False

    def events(self) -> Iterator[LogEvent]:
        """Every event of every file, in order."""
        for name in self._names:
            try:
                if name == "-":
                    yield from self._stream(sys.stdin.buffer, name)
                else:
                    with open(name, "rb") as file:
                        yield from self._stream(file, name)
            except (OSError, EOFError, zlib.error) as error:
                self.failed = True
                why = getattr(error, "strerror", None) or say("log.bad_gzip")
                message = say("log.unreadable", name=one_line(name), why=why)
                click.echo(say("error", message=message), err=True)

    def _stream(self, raw: BinaryIO, name: str) -> Iterator[LogEvent]:
        size, now = _size_and_time(raw)
        source = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, raw))
        plain: gzip.GzipFile | io.BufferedReader = source
        if source.peek(2)[:2] == _GZIP:
            plain = gzip.GzipFile(fileobj=source)
        splitter = LineSplitter()
        with _bar(name, size if self._progress else 0) as bar:
            while chunk := plain.read1(_CHUNK):
                yield from self._events_of(splitter.feed(chunk), now)
                if bar.tasks:
                    bar.update(bar.tasks[0].id, completed=source.tell())
        rest = splitter.rest()
        if rest:
            yield from self._events_of([rest], now)

    def _events_of(self, lines: list[Line], now: datetime) -> Iterator[LogEvent]:
        for line in lines:
            self.lines += 1
            event = parse_line(line.data, now=now, tz=self._zone, whole=line.is_whole)
            if event is not None:
                yield event


def named_zone(name: str | None) -> tzinfo:
    """The time zone of a name; None: the machine's own, with its clock changes where the machine tells them."""
    if name is not None:
        try:
            return ZoneInfo(name)
        except (OSError, ValueError, ZoneInfoNotFoundError):
            raise click.BadParameter(say("log.bad_zone", name=one_line(name)), param_hint="--tz") from None
    try:
        here = os.environ.get("TZ", "").removeprefix(":")
        if here:
            return ZoneInfo(here)
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        # No zone file: the offset of today is the best that is known.
        return datetime.now().astimezone().tzinfo or UTC


def _size_and_time(raw: BinaryIO) -> tuple[int, datetime]:
    """Bytes of a regular file (0 for anything else), and the moment as of which its stamps are read."""
    now = datetime.now(UTC)
    try:
        status = os.fstat(raw.fileno())
    except (OSError, ValueError):
        return 0, now
    if not stat.S_ISREG(status.st_mode):
        return 0, now
    return status.st_size, min(now, datetime.fromtimestamp(status.st_mtime, UTC))


def _bar(name: str, size: int) -> Progress:
    """A bar on standard error; without a task, so that nothing is shown, when the file is not big."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        console=console(stderr=True),
        transient=True,
    )
    if size >= _BIG:
        bar.add_task(one_line(name, 60), total=size)
    else:
        bar.disable = True
    return bar
