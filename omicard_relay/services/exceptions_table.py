"""The exceptions table: recipient or domain -> where its mail goes now, in an LMDB file that Postfix reads by itself.

Postfix opens `lmdb:PATH` as `PATH.lmdb` (lmdb_table(5)). When each key runs out stands in the same file, where it does
not look; a batch is one transaction over all of it, so that a kill at any point leaves them in step.
Postfix does not use LMDB's own locks: every transaction holds an fcntl(2) lock on the file from start to end, exclusive to
write, shared to read, and LMDB is opened with `lock=False`.
Not here: what is in the file (services/exceptions_pages.py), what is written (steering/), its form (wire/transports.py).
Known limits: one object for a file and process, for closing any descriptor of the file gives up all its locks.
"""

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import lmdb

from omicard_relay.mail import RelayError
from omicard_relay.services import exceptions_pages as pages
from omicard_relay.services.exceptions_pages import Entry

if TYPE_CHECKING:
    from lmdb import _Database

__all__ = ["Entry", "ExceptionsError", "ExceptionsTable", "key_of", "make_table", "table_file"]

#: Octets of address space at first; doubled when it is full. Postfix follows.
_MAP_SIZE = 1 << 26
#: Seconds to wait for readers: each of them holds the lock for one look-up.
_LOCK_SECONDS = 5.0
_LOCK_PAUSE = 0.001
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_T = TypeVar("_T")


class ExceptionsError(RelayError):
    """The table cannot be opened, locked or written."""


def table_file(path: Path) -> Path:
    """The file of the table that Postfix calls `lmdb:path`."""
    return path.with_name(path.name + ".lmdb")


def make_table(path: Path) -> bool:
    """An empty table where there is none, for the owner of its folder: Postfix defers every mail for a table that is missing.

    Whether it was made. Raises ExceptionsError.
    """
    if table_file(path).exists():
        return False
    if not path.parent.is_dir():
        raise ExceptionsError(
            f"{path.parent}: there is no such folder; make it for the user of the services, for example with "
            f"`install -d -o omicard-relay -g omicard-relay -m 750 {path.parent}`."
        )
    ExceptionsTable(path).close()
    owner = path.parent.stat()
    if os.geteuid() == 0:
        os.chown(table_file(path), owner.st_uid, owner.st_gid)
    return True


def key_of(text: str) -> str:
    """The key as Postfix asks for it: case folded."""
    return text.lower() if text.isascii() else text.casefold()


class ExceptionsTable:
    """One table, open. `path` is without `.lmdb`; the file is made unless `read_only`. Methods raise ExceptionsError.

    Threads may share it; they take turns. `refused` counts what the table could not hold.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.file = table_file(path)
        self.refused = 0
        self._read_only = read_only
        self._turn = threading.Lock()
        self._descriptor = -1
        self._open()

    def __enter__(self) -> "ExceptionsTable":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return self._read(lambda tx, db: pages.size(tx))

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._close()

    def apply(self, put: Iterable[Entry] = (), drop: Iterable[str] = ()) -> int:
        """Write and drop in one transaction; gives the number of keys that were written or dropped.

        A key that is in both is written. A key or value that the table cannot hold is left out and counted in `refused`.
        """
        new: dict[bytes, bytes] = {}
        for entry in put:
            key, value = _octets(key_of(entry.key)), _octets(entry.value)
            # `*` would be the entry of all mail (transport(5)).
            if key != b"*" and _is_fit(key, pages.KEY_LIMIT) and _is_fit(value, pages.VALUE_LIMIT):
                new[key] = pages.stored(value, entry.expires)
            else:
                self.refused += 1
        keys = {_octets(key_of(text)) for text in drop}
        gone = sorted(key for key in keys if key not in new and _is_fit(key, pages.KEY_LIMIT))
        if not new and not gone:
            return 0
        return self._write(lambda tx, db: pages.put(tx, db, new) + pages.drop(tx, db, gone))

    def expire(self, now: float, *, thorough: bool = False) -> int:
        """Drop what has run out, and every key whose expiry nobody knows; gives their number.

        `thorough` finds such a key also where another program has put it in the place of one of ours.
        """
        if not thorough and not self._read(lambda tx, db: pages.is_due(tx, db, now)):
            return 0
        return self._write(lambda tx, db: pages.expire(tx, db, now, thorough=thorough))

    def clear(self) -> int:
        """Drop everything; gives the number of keys."""
        return self._write(pages.clear)

    def find(self, key: str) -> Entry | None:
        """The entry of exactly this recipient or domain; its expiry is 0 where nobody knows it."""
        octets = _octets(key_of(key))
        if not _is_fit(octets, pages.KEY_LIMIT):
            return None
        return self._read(lambda tx, db: pages.entry(tx, octets))

    def entries(self, domain: str = "") -> list[Entry]:
        """All entries, or those of a domain and of the addresses in it, in the order of their keys."""
        whole = _octets(key_of(domain))

        def found(tx: lmdb.Transaction, db: "_Database") -> list[Entry]:
            keys = (key for key in pages.names(tx) if not whole or key == whole or key.endswith(b"@" + whole))
            return [entry for key in keys if (entry := pages.entry(tx, key)) is not None]

        return self._read(found)

    # --- opening and locking ------------------------------------------------------------------------------------------

    def _open(self) -> None:
        # What another has opened would be locked no more when this descriptor is closed: see the known limits.
        flags = os.O_RDONLY if self._read_only else os.O_RDWR | os.O_CREAT
        try:
            self._descriptor = os.open(self.file, flags | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise ExceptionsError(f"{self.file}: cannot be opened ({error.strerror}).") from None
        try:
            found = os.fstat(self._descriptor)
            self._inode = found.st_dev, found.st_ino
            # A new file gets its first pages now, which no reader may see by halves.
            with self._locked(exclusive=not self._read_only):
                self._environment = lmdb.open(
                    str(self.file),
                    subdir=False,
                    lock=False,
                    create=not self._read_only,
                    readonly=self._read_only,
                    max_dbs=1,
                    map_size=max(_MAP_SIZE, 2 * found.st_size),
                )
                self._buckets = self._environment.open_db(pages.NAME, create=not self._read_only)
        except lmdb.Error as error:
            self._close()
            raise ExceptionsError(
                f"{self.file}: is no table of ours ({error}); move it away, and a new one is made."
            ) from None
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._descriptor >= 0:
            if hasattr(self, "_environment"):
                self._environment.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def _renew(self) -> None:
        """Where somebody moved the file away, or put another in its place, go on with what stands there."""
        if self._descriptor < 0:
            raise ExceptionsError(f"{self.file}: is closed.")
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(self.file)
            if (found.st_dev, found.st_ino) == self._inode:
                return
        self._close()
        self._open()

    @contextlib.contextmanager
    def _locked(self, *, exclusive: bool) -> Iterator[None]:
        deadline = time.monotonic() + _LOCK_SECONDS
        how = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
        while True:
            try:
                fcntl.lockf(self._descriptor, how)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > deadline:
                    raise ExceptionsError(
                        f"{self.file}: another program has held its lock for {_LOCK_SECONDS:.0f} s; nothing was changed."
                    ) from None
                time.sleep(_LOCK_PAUSE)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _read(self, work: Callable[[lmdb.Transaction, "_Database"], _T]) -> _T:
        return self._run(work, writing=False)

    def _write(self, work: Callable[[lmdb.Transaction, "_Database"], int]) -> int:
        if self._read_only:
            raise ExceptionsError(f"{self.file}: cannot be written, for it was opened to be read only.")
        return self._run(work, writing=True)

    def _run(self, work: Callable[[lmdb.Transaction, "_Database"], _T], *, writing: bool) -> _T:
        """One transaction under its lock; once more in a larger map where it did not fit, or where another has grown it."""
        with self._turn:
            self._renew()
            with self._locked(exclusive=writing):
                while True:
                    try:
                        with self._environment.begin(write=writing) as tx:
                            return work(tx, self._buckets)
                    except lmdb.MapFullError:
                        self._environment.set_mapsize(2 * int(self._environment.info()["map_size"]))
                    except lmdb.MapResizedError:
                        self._environment.set_mapsize(0)
                    except lmdb.Error as error:
                        raise ExceptionsError(
                            f"{self.file}: cannot be {'written' if writing else 'read'} ({error})."
                        ) from None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _is_fit(octets: bytes, limit: int) -> bool:
    """Not empty, not too long, and without control characters, which would be a line of their own in a log."""
    return 0 < len(octets) <= limit and not _CONTROL.search(octets)
