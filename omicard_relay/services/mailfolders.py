"""Mails out of folders: a maildir, an mbox, or plain files, with what is to be remembered of each once it is stored.

An mbox is read as a stream, from where an earlier run left off; the library's own reader would first look through all of
it (11 s and 46 MB for 200,000 mails). A mail above the size limit is cut. Line ends become LF, as Postfix's pipe gives
them, and an mbox's own fields and quotes are taken off: one mail has one digest, whichever folder it came in.
Not here: IMAP (services/imap_fetch.py). Known limits: a mail program that rewrites an mbox while it is read may spoil a
mail; a body's line `From …` with a time of day behind an empty line begins a mail, as everywhere.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from omicard_relay.services.importfaults import Fault, MailFault, SourceError
from omicard_relay.store import imports
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.imports import ImportPlace

__all__ = ["FileFolder", "FoundMail", "MailSource", "Maildir", "Mbox", "Unreadable", "unreadable"]

#: Octets of an mbox that tell it from another one of the same name.
_HEAD = 256
#: A longer line comes in pieces.
_PIECE = 65_536
#: Files that are asked for in the store at once.
_NAMES = 200
#: Seconds to wait for whoever is writing to an mbox, and between two looks.
_LOCK_SECONDS, _LOOK_SECONDS = 10.0, 0.1
#: Locks that this file system does not have.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)
#: What begins a mail of an mbox: sender and date, in whatever form.
_SEPARATOR = re.compile(rb"From [^\n]{0,500}?\d\d:\d\d")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
#: What programs write into an mbox for themselves (and change: the digest must not), and into the pseudo mail of c-client.
_OWN_FIELDS = re.compile(
    rb"^(?:Status|X-Status|X-Keywords|X-UID|X-IMAPbase|X-IMAP|X-Mozilla-(?:Status2?|Keys)|Content-Length|Lines):"
    rb"[^\n]*\n(?:[ \t][^\n]*\n)*",
    re.MULTILINE | re.IGNORECASE,
)
_PSEUDO = b"\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMail:
    """One mail. `name` is for people; `raw` has LF and at most the limit's octets, more were there when `cut`.

    `file` and `mark`, or `offset`, are what the source remembers.
    """

    name: str
    raw: bytes
    cut: bool = False
    file: str = ""
    mark: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A mail that could not be read, and why."""

    name: str
    why: str


class MailSource(Protocol):
    """Something that holds mails. `key` names it in the store; `total` and `position` are in mails, or octets of an mbox."""

    key: str
    total: int
    position: int

    def begin(self, *, again: bool) -> None:
        """Open it where an earlier run left off, or at its beginning. Raises RelayError when it cannot be read."""

    def mails(self) -> Iterator[FoundMail | Unreadable]:
        """What has not been imported yet."""

    def note(self, tx: Tx, mails: Sequence[FoundMail], *, now: datetime) -> None:
        """Remember that these are stored."""

    def close(self) -> None:
        """Let it go."""


class Mbox:
    """An mbox file: `From ` lines, mboxo or mboxrd quotes."""

    def __init__(self, path: Path, store: Store, limit: int) -> None:
        self.key = str(path)
        self.total = self.position = 0
        self._path, self._store, self._limit = path, store, limit
        self._file: BinaryIO | None = None

    def begin(self, *, again: bool) -> None:
        try:
            self._file = self._path.open("rb")
            self.total = _settled_size(self._file)
        except OSError as error:
            raise unreadable(self._path, error) from None
        with self._store.read() as tx:
            place = imports.find_place(tx, self.key)
        self.position = place.offset if place is not None and not again and self._is_at(place) else 0

    def mails(self) -> Iterator[FoundMail | Unreadable]:
        assert self._file is not None  # noqa: S101 - begin() comes first
        self._file.seek(begin := self.position)
        kept, start, cut = bytearray(), -1, False
        at_start = was_empty = True
        while self.position < self.total:
            line = self._file.readline(min(_PIECE, self.total - self.position))
            if not line:
                break  # somebody has cut it meanwhile
            if at_start and was_empty and line.startswith(b"From ") and _SEPARATOR.match(line):
                if start >= 0:
                    yield from self._mail(start, kept, cut)
                kept, start, cut = bytearray(), self.position, False
            elif start >= 0:
                room = self._limit - len(kept)
                kept += line[:room]
                cut = cut or len(line) > room
            self.position += len(line)
            was_empty = at_start and line in (b"\n", b"\r\n")
            at_start = line.endswith(b"\n")
        if start >= 0:
            yield from self._mail(start, kept, cut)
        elif self.total and not begin:
            yield Unreadable(name=self.key, why=MailFault.NO_MAIL)

    def note(self, tx: Tx, mails: Sequence[FoundMail], *, now: datetime) -> None:
        assert self._file is not None  # noqa: S101
        offset = mails[-1].offset
        head = os.pread(self._file.fileno(), min(_HEAD, offset), 0)
        imports.move_place(tx, self.key, ImportPlace(identity=_identity(head), offset=offset), now=now)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _mail(self, start: int, kept: bytearray, cut: bool) -> Iterator[FoundMail]:
        raw = bytes(kept).replace(b"\r\n", b"\n")
        if raw.endswith(b"\n\n") and not cut:
            raw = raw[:-1]  # the empty line before the next `From ` is the mbox's
        end = raw.find(b"\n\n") + 1 or len(raw)
        if _PSEUDO in raw[:end]:
            return
        raw = _OWN_FIELDS.sub(b"", raw[:end]) + raw[end:]
        if b"\n>" in raw:
            raw = _QUOTED.sub(rb"\1", raw)
        yield FoundMail(name=f"{self.key}@{start}", raw=raw, cut=cut, offset=self.position)

    def _is_at(self, place: ImportPlace) -> bool:
        """Whether this is still the file that the place speaks of, and a mail begins, or would begin, there."""
        assert self._file is not None  # noqa: S101
        handle = self._file.fileno()
        length = int(place.identity.partition(":")[0])
        return (
            self.total >= place.offset
            and _identity(os.pread(handle, length, 0)) == place.identity
            and os.pread(handle, 5, place.offset) in (b"", b"From ")
        )


class _Files:
    """Files of one folder, each a mail; those that the store knows are left out."""

    def __init__(self, folder: Path, store: Store, limit: int) -> None:
        self.key = str(folder)
        self.total = self.position = 0
        self._folder, self._store, self._limit = folder, store, limit
        self._again = False

    def begin(self, *, again: bool) -> None:
        self._again = again
        try:
            self._names = sorted(self._list())
        except OSError as error:
            raise unreadable(self._folder, error) from None
        self.total = len(self._names)

    def mails(self) -> Iterator[FoundMail | Unreadable]:
        for at in range(0, len(self._names), _NAMES):
            names = self._names[at : at + _NAMES]
            with self._store.read() as tx:
                done = imports.which_done(tx, self.key, [name for name, _ in names])
            for name, path in names:
                self.position += 1
                if (found := self._read(name, path, None if self._again else done.get(name))) is not None:
                    yield found

    def note(self, tx: Tx, mails: Sequence[FoundMail], *, now: datetime) -> None:
        imports.add_done(tx, self.key, {mail.file: mail.mark for mail in mails})

    def close(self) -> None:
        """Nothing is held open."""

    def _list(self) -> Iterable[tuple[str, str]]:
        """(name to remember, path below the folder)."""
        raise NotImplementedError

    def _read(self, name: str, path: str, mark: str | None) -> FoundMail | Unreadable | None:
        raise NotImplementedError

    def _octets(self, name: str, path: str, known: str | None, *, may_change: bool) -> FoundMail | Unreadable | None:
        """The file as a mail; None when it is known. Raises FileNotFoundError."""
        shown = str(self._folder / path)
        try:
            # No link is followed, for who may write here may not read all that we may; nor is a named pipe waited for.
            handle = os.open(shown, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
            with open(handle, "rb") as file:
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    return Unreadable(name=shown, why=MailFault.NO_FILE)
                mark = f"{status.st_size}-{status.st_mtime_ns}" if may_change else ""
                if known == mark:
                    return None
                raw = file.read(self._limit + 1)
        except FileNotFoundError:
            raise
        except OSError as error:
            return Unreadable(name=shown, why=error.strerror or str(error))
        cut = len(raw) > self._limit
        raw = raw[: self._limit].replace(b"\r\n", b"\n")
        return FoundMail(name=shown, raw=raw, cut=cut, file=name, mark=mark)


class Maildir(_Files):
    """`new` and `cur` of a maildir. A mail is known by its unique name, whatever its flags and in whichever of the two."""

    def _list(self) -> Iterable[tuple[str, str]]:
        for place in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError), os.scandir(self._folder / place) as entries:
                yield from ((_unique(e.name), f"{place}/{e.name}") for e in entries if not e.name.startswith("."))

    def _read(self, name: str, path: str, mark: str | None) -> FoundMail | Unreadable | None:
        if mark is not None:
            return None
        with contextlib.suppress(FileNotFoundError):
            return self._octets(name, path, None, may_change=False)
        # A mail program renames what is looked at: it is looked for once more.
        for unique, place in self._list():
            if unique == name:
                with contextlib.suppress(FileNotFoundError):
                    return self._octets(name, place, None, may_change=False)
        return None  # deleted meanwhile


class FileFolder(_Files):
    """Plain files; `names` below the folder. A file that has changed since is read again."""

    def __init__(self, folder: Path, names: Sequence[str], store: Store, limit: int) -> None:
        super().__init__(folder, store, limit)
        self._given = names

    def _list(self) -> Iterable[tuple[str, str]]:
        return ((name, name) for name in self._given)

    def _read(self, name: str, path: str, mark: str | None) -> FoundMail | Unreadable | None:
        try:
            return self._octets(name, path, mark, may_change=True)
        except FileNotFoundError as error:
            return Unreadable(name=str(self._folder / path), why=error.strerror or str(error))


def _unique(name: str) -> str:
    """A maildir file's name without its flags."""
    return name.partition(":")[0]


def _identity(head: bytes) -> str:
    return f"{len(head)}:{hashlib.sha256(head).hexdigest()}"


def _settled_size(file: BinaryIO) -> int:
    """The size of an mbox at a moment when nobody appends to it. Raises OSError when somebody never ends."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            break
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                raise OSError(errno.EAGAIN, "another program is writing to it; try again") from None
            time.sleep(_LOOK_SECONDS)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            break
    size = os.fstat(file.fileno()).st_size
    with contextlib.suppress(OSError):
        fcntl.lockf(file, fcntl.LOCK_UN)
    return size


def unreadable(path: Path, error: OSError) -> SourceError:
    """What to say of a path that the system does not give."""
    fault = Fault.NOT_THERE if isinstance(error, FileNotFoundError | NotADirectoryError) else Fault.CLOSED
    return SourceError(fault, name=str(path), why=error.strerror or str(error))
