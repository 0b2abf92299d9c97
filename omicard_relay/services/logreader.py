"""A log file, read on and on: rotation by rename, by truncation, and what was rotated away while nobody read.

Gives whole lines and the place after them; storing the place is the follower's, in one transaction with what was read.
Known limit: a file that was compressed before it was read to its end is named in a warning, not unpacked.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import BinaryIO

from omicard_relay.store.attempts import Place

__all__ = ["LogReader"]

log = logging.getLogger(__name__)

#: Octets at a file's start that tell it from another one with the same inode.
_HEAD = 256
#: Octets read at once; a line that is longer (Postfix cuts its own far below) is given cut.
_CHUNK = 1 << 18
_COMPRESSED = (".gz", ".xz", ".zst", ".bz2")


class LogReader:
    """One followed file. `read_lines()` gives lines, `place` the place after them: store it together with them."""

    def __init__(self, path: Path, place: Place | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._offset = 0
        self._head = b""
        if place is not None:
            self._resume(place)

    def read_lines(self) -> list[bytes]:
        """The whole lines that have come since, without their ends; none when nothing has. Follows rotations."""
        if self._file is None and not self._open(self._path, 0):
            return []
        if self._was_truncated():
            log.info("event=log-truncated path=%s", self._path)
            self._offset, self._head = 0, b""
        lines = self._take()
        if not lines and self._move_on():
            lines = self._take()
        return lines

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
        assert self._file is not None  # noqa: S101
        data = os.pread(self._file.fileno(), _CHUNK, self._offset)
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) < _CHUNK:
                return []  # a line that is still being written
            end = len(data)
        self._offset += end
        if len(self._head) < _HEAD:
            self._head = os.pread(self._file.fileno(), min(_HEAD, self._offset), 0)
        # Not splitlines(): a lone CR in foreign words must not make a line of its own.
        return data[:end].removesuffix(b"\n").split(b"\n")

    def _open(self, path: Path, offset: int) -> bool:
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return False  # between two rotations, or not written yet
        self.close()
        self._file, self._offset, self._head = file, offset, b""
        return True

    def _resume(self, place: Place) -> None:
        """Open the file that the place speaks of: under its name, or where a rotation has put it."""
        for path in [self._path, *self._siblings()]:
            try:
                if self._is_same(path, place) and self._open(path, place.offset):
                    self._head = os.pread(self._file.fileno(), place.head_length, 0) if self._file else b""
                    return
            except OSError:
                continue
        if place.offset:
            log.warning(
                "event=log-gone path=%s offset=%d note=the-rest-of-the-older-log-could-not-be-read",
                self._path,
                place.offset,
            )

    def _is_same(self, path: Path, place: Place) -> bool:
        with path.open("rb") as file:
            head = file.read(place.head_length)
            status = os.fstat(file.fileno())
        if status.st_size < place.offset or hashlib.sha256(head).hexdigest() != place.head_digest:
            return False
        # Where nothing was read yet there is no head to compare: only the inode tells.
        return place.head_length > 0 or status.st_ino == place.inode

    def _siblings(self) -> list[Path]:
        """Rotated files such as mail.log.1 or mail.log-20261124, oldest first."""
        found: list[tuple[float, Path]] = []
        for path in self._path.parent.glob(self._path.name + "?*"):
            try:
                if path.suffix not in _COMPRESSED:
                    found.append((path.stat().st_mtime, path))
            except OSError:
                continue
        return [path for _, path in sorted(found)]

    def _was_truncated(self) -> bool:
        assert self._file is not None  # noqa: S101
        if os.fstat(self._file.fileno()).st_size < self._offset:
            return True
        return os.pread(self._file.fileno(), len(self._head), 0) != self._head

    def _move_on(self) -> bool:
        """Go to the next file when this one was renamed, is read out, and its writer has gone on to the new one.

        The writer keeps the old file open for a moment after the rename; only when the new one has something is the old
        one finished.
        """
        assert self._file is not None  # noqa: S101
        own = os.fstat(self._file.fileno())
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return False
        if current.st_ino == own.st_ino or not current.st_size:
            return False
        log.info("event=log-rotated path=%s", self._path)
        for path in self._siblings():
            status = path.stat()
            if status.st_ino != own.st_ino and status.st_mtime > own.st_mtime and self._open(path, 0):
                return True  # rotated more than once while nobody read
        return self._open(self._path, 0)
