"""The receivers' books: what every receiver said of every recipient, the truth that the store is compared with.

One `BookEntry` per recipient and transaction, in memory and, where asked, as JSON lines that are flushed one by one, so
that another process can read them while the lab runs. `LaterMail` is the same for mails that a receiver sent later.
A receiver cannot book what it never heard: a dropped or refused connection has no recipient.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from omicard_relay.mail import Stage

__all__ = ["BookEntry", "Books", "LaterMail", "read_books"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookEntry:
    """What one receiver said of one recipient in one transaction.

    `reply` is the text as sent, several lines joined by LF; it is empty when the connection was dropped, by us or by
    the client. `stage` is where the fate was settled. `accepted` is True only after the 250 to the end of data.
    `sha256` (hex) and `size` are of the content as received, dots unstuffed, CRLF kept. `path` is the stored mail.
    """

    receiver: str
    time: datetime
    client: str = ""
    reverse_path: str = ""
    recipient: str = ""
    message_id: str = ""
    stage: Stage
    reply: str
    accepted: bool = False
    sha256: str = ""
    size: int = 0
    path: str = ""
    mail_parameters: str = ""
    rcpt_parameters: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterMail:
    """One mail that a receiver sent to the reverse-path after it had accepted a mail.

    `kind` is that of mail.MailKind (dsn, autoreply, arf), `recipient` the one that had been accepted, `message_id` that
    of the mail which is answered. `reply` is what the reverse-path's own server said, or why it could not be asked.
    """

    receiver: str
    time: datetime
    kind: str
    recipient: str
    reverse_path: str
    message_id: str
    reply: str
    delivered: bool


class Books:
    """All entries in the order they were made; safe to use from any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: a file that takes each BookEntry as a JSON line; the later mails go beside it, `later-` in front."""
        self._changed = threading.Condition()
        self._entries: list[BookEntry] = []
        self._later: list[LaterMail] = []
        self._path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, entry: BookEntry | LaterMail) -> None:
        """Keep one entry, and wake whoever waits."""
        with self._changed:
            if isinstance(entry, BookEntry):
                self._entries.append(entry)
            else:
                self._later.append(entry)
            if self._path is not None:
                later = isinstance(entry, LaterMail)
                target = self._path.with_name(f"later-{self._path.name}") if later else self._path
                with target.open("ab") as file:
                    file.write(msgspec.json.encode(entry) + b"\n")
            self._changed.notify_all()

    def entries(self, *, receiver: str | None = None, recipient: str | None = None) -> list[BookEntry]:
        """The entries, oldest first; of one receiver or one recipient when named."""
        with self._changed:
            return [
                entry
                for entry in self._entries
                if receiver in (None, entry.receiver) and recipient in (None, entry.recipient)
            ]

    def accepted(self) -> list[BookEntry]:
        """The entries of mails that a receiver took."""
        return [entry for entry in self.entries() if entry.accepted]

    def later_mails(self) -> list[LaterMail]:
        """The mails that receivers sent later, oldest first, delivered or not."""
        with self._changed:
            return list(self._later)

    def wait_until(self, condition: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait until the condition holds, asked anew after each entry; False when the time is up."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_seconds)


def read_books(path: Path) -> list[BookEntry]:
    """The entries of a file that `Books` wrote; a last line that is still being written is left out."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=BookEntry) for line in lines]
