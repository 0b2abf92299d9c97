"""A log file, read on and on: rotation by rename, by copy and truncation, and what was rotated away while nobody read.

Gives whole lines and the place after them; storing the place is the follower's, in one transaction with what was read.
A rotated file that gzip has compressed meanwhile (`postfix logrotate` does so after one second) is unpacked into a file
without a name. Where the place is found no more, the rotated files that are there are read from their beginning: what is
read twice changes nothing (store/attempts.py).
Known limits: of the compressions gzip alone is known; a last line without its line feed in a file that was rotated away
is let go.
"""

import glob
import gzip
import hashlib
import logging
import os
import re
import shutil
import stat
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from omicard_relay.mail import one_line
from omicard_relay.store.attempts import Place

__all__ = ["LogReader"]

log = logging.getLogger(__name__)

#: Octets at a file's start that tell it from another one with the same inode.
_HEAD = 256
#: Octets read at once; a line that is longer (Postfix cuts its own far below) is given cut.
_CHUNK = 1 << 18
#: What a rotation hangs on the name: `.1`, `-20261124`, `.20261124-083131`.
_ROTATED = re.compile(r"[.-]\d[\d.:TZ_-]*")
_PACKED = ".gz"


class LogReader:
    """One followed file. `read_lines()` gives lines, `place` the place after them: store it together with them."""

    def __init__(self, path: Path, place: Place | None, *, most: int = 1000) -> None:
        """`most`: lines that are given at once."""
        self._path = path
        self._most = most
        self._file: BinaryIO | None = None
        self._offset = 0
        self._head = b""
        self._at_end = False
        self._complained = False
        if place is not None:
            self._resume(place)

    def read_lines(self) -> list[bytes]:
        """The whole lines that have come since, without their ends; none when nothing has. Follows rotations."""
        self._at_end = False
        if self._file is None and not self._open(self._path, 0):
            return []
        if self._was_truncated():
            self._after_truncation()
        while True:
            lines = self._take()
            if lines:
                return lines
            # The writer may have gone on to a new file between the look above and now: what it wrote before is here.
            following = self._following()
            if following is None:
                return []
            lines = self._take()
            if lines:
                return lines
            if not self._open(following, 0):
                return []
            log.info("event=log-rotated path=%s", self._path)

    @property
    def is_at_end(self) -> bool:
        """Whether all that stood in the log when `read_lines()` began has been given."""
        return self._at_end

    @property
    def place(self) -> Place | None:
        """The place after the lines given last; None before the file exists."""
        if self._file is None:
            return None
        return Place(
            path=str(self._path),
            inode=os.fstat(self._file.fileno()).st_ino,
            head_digest=hashlib.sha256(self._head).hexdigest(),
            head_length=len(self._head),
            offset=self._offset,
        )

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _take(self) -> list[bytes]:
        """The next lines of the open file."""
        assert self._file is not None  # noqa: S101
        data = os.pread(self._file.fileno(), _CHUNK, self._offset)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == _CHUNK:
            end = len(data)
        # Not splitlines(): a lone CR in foreign words must not make a line of its own.
        lines = data[:end].removesuffix(b"\n").split(b"\n") if end else []  # none: a line is still being written
        if len(lines) > self._most:
            lines = lines[: self._most]
            end = sum(len(line) + 1 for line in lines)
        elif len(data) < _CHUNK:
            self._at_end = self._is_current()
        self._offset += end
        if end and len(self._head) < _HEAD:
            self._head = os.pread(self._file.fileno(), min(_HEAD, self._offset), 0)
        return lines

    def _is_current(self) -> bool:
        """Whether the open file is the one that has the log's name."""
        assert self._file is not None  # noqa: S101
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def _open(self, path: Path, offset: int) -> bool:
        try:
            file = self._opened(path)
        except FileNotFoundError:
            return False  # between two rotations, or not written yet
        except OSError as error:
            # A rotation makes the new file first and gives it its owner then: it may become readable.
            if not self._complained:
                log.error("event=log-unreadable path=%s error=%r", one_line(str(path)), str(error))
            self._complained = True
            return False
        self._use(file, offset)
        return True

    def _opened(self, path: Path) -> BinaryIO:
        """A file of the log, unpacked where it must be. Raises OSError."""
        return _unpacked(path) if path != self._path and path.suffix == _PACKED else path.open("rb", buffering=0)

    def _use(self, file: BinaryIO, offset: int) -> None:
        self.close()
        self._file, self._offset, self._head, self._complained = file, offset, b"", False

    def _resume(self, place: Place) -> None:
        """Open the file that the place speaks of: under its name, or where a rotation has put it."""
        # Twice: a file may be exchanged for its compressed form between the look and the opening.
        if any(self._open_same([self._path, *self._siblings()], place) for _ in range(2)):
            return
        if place.offset:
            log.warning(
                "event=log-gone path=%s offset=%d note=the-rest-of-that-file-could-not-be-read",
                self._path,
                place.offset,
            )
        elif place.read is None:
            return
        # What had not changed since all was read is known.
        since = place.read.timestamp() if place.read else 0.0
        for path in self._siblings():
            if path.exists() and path.stat().st_mtime >= since and self._open(path, 0):
                return

    def _open_same(self, paths: list[Path], place: Place) -> bool:
        """Open the one of these files that the place speaks of, at the place."""
        for path in paths:
            try:
                if not self._is_same(path, place):
                    continue
                file = self._opened(path)
            except OSError:
                continue
            if os.fstat(file.fileno()).st_size >= place.offset:
                self._use(file, place.offset)
                self._head = os.pread(file.fileno(), place.head_length, 0)
                return True
            file.close()
        return False

    def _is_same(self, path: Path, place: Place) -> bool:
        """Whether a file begins as the place's file did; its length is not looked at."""
        is_packed = path != self._path and path.suffix == _PACKED
        if not place.head_length:
            # Where nothing was read yet there is no head to compare: only the inode tells.
            return not is_packed and path.stat().st_ino == place.inode
        with gzip.open(path) if is_packed else path.open("rb") as file:
            try:
                head = file.read(place.head_length)
            except (gzip.BadGzipFile, EOFError, zlib.error):
                return False
        return hashlib.sha256(head).hexdigest() == place.head_digest

    def _siblings(self) -> list[Path]:
        """Rotated files such as mail.log.1 or mail.log-20261124.gz, oldest first; while gzip works, the plain one."""
        found: list[tuple[int, int, str, Path]] = []
        for path in self._path.parent.glob(glob.escape(self._path.name) + "?*"):
            tail = path.name.removeprefix(self._path.name).removesuffix(_PACKED)
            if path.suffix == _PACKED and path.with_suffix("").exists():
                continue
            try:
                status = path.stat()
            except OSError:
                continue  # renamed at this moment
            if _ROTATED.fullmatch(tail) and stat.S_ISREG(status.st_mode):
                # Of two that were written in the same tick of the clock, `.2` is older than `.1`.
                number = int(tail[1:]) if tail[1:].isdecimal() and tail.startswith(".") else 0
                found.append((status.st_mtime_ns, -number, tail, path))
        return [path for *_, path in sorted(found)]

    def _was_truncated(self) -> bool:
        assert self._file is not None  # noqa: S101
        if os.fstat(self._file.fileno()).st_size < self._offset:
            return True
        return os.pread(self._file.fileno(), len(self._head), 0) != self._head

    def _after_truncation(self) -> None:
        """Go on in the copy that was made before the file was cut, else at the file's new beginning."""
        log.info("event=log-truncated path=%s", self._path)
        place = self.place
        if place is None or not place.offset or not self._open_same(self._siblings(), place):
            self._offset, self._head = 0, b""

    def _following(self) -> Path | None:
        """The file to go on with when this one is finished; None as long as it is not.

        The writer keeps the old file open for a moment after a rename; only when the new one has something is the old
        one finished. There may have been several rotations while nobody read.
        """
        assert self._file is not None  # noqa: S101
        own = os.fstat(self._file.fileno())
        try:
            current = self._path.stat()
            if os.path.samestat(current, own) or not current.st_size:
                return None
            siblings = [(path, path.stat()) for path in self._siblings()]
        except OSError:
            return None  # in the middle of a rotation: look again
        mine = next((number for number, (_, status) in enumerate(siblings) if os.path.samestat(status, own)), None)
        if mine is not None:
            later = [path for path, _ in siblings[mine + 1 :]]
        else:  # compressed or deleted meanwhile, and only we still have it open; or unpacked by us
            later = [path for path, status in siblings if status.st_mtime_ns > own.st_mtime_ns]
        return later[0] if later else self._path


def _unpacked(path: Path) -> BinaryIO:
    """The content of a gzip file, in a file without a name that has the same time; of a broken one what there is of it.

    Raises OSError, when the disk is full for example.
    """
    try:
        file = cast(BinaryIO, tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
    except FileNotFoundError as error:
        raise OSError(str(error)) from None  # no temporary folder: not to be taken for a log that is not there
    try:
        try:
            with gzip.open(path) as packed:
                shutil.copyfileobj(packed, file, _CHUNK)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            # It must not hold up the files behind it.
            log.error("event=log-broken path=%s error=%r", one_line(str(path)), str(error))
        status = path.stat()
        os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError:
        file.close()
        raise
    return file
