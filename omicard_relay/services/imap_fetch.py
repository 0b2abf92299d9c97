"""Mails out of an IMAP mailbox (RFC 3501), by ascending UID, from behind the last one of an earlier run.

`imaps://user@host/FOLDER` speaks TLS from the start; `imap://` asks for STARTTLS, and does without TLS on the loopback only.
Mails are looked at without being marked as read. What was stored may then be marked or moved, and is remembered after
that: a kill between the two leaves nothing behind that would not be looked at again.
The library is IMAPClient, an optional extra. Known limits: passwords only (no OAuth); one connection, no IDLE.
"""

import ipaddress
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from omicard_relay.services.importfaults import Fault, MailFault, SourceError
from omicard_relay.services.mailfolders import FoundMail, Unreadable
from omicard_relay.store import imports
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.imports import ImportPlace

__all__ = ["ImapAddress", "ImapFolder", "parse_imap_url"]

log = logging.getLogger(__name__)

_PORTS = {"imaps": 993, "imap": 143}
#: Seconds of silence after which the server is given up.
_TIMEOUT_SECONDS = 60.0
#: UIDs that are asked for at once: the library takes answers up to 1,000,000 octets.
_WINDOW = 50_000
#: Mails and octets that are fetched at once.
_FETCH, _FETCH_OCTETS = 50, 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ImapAddress:
    """Where a mailbox is: all of its URL but the password, which is never there."""

    scheme: str
    host: str
    port: int
    user: str
    folder: str

    @property
    def shown(self) -> str:
        """The URL."""
        return f"{self.scheme}://{self.user}@{self.host}:{self.port}/{self.folder}"


def parse_imap_url(url: str) -> ImapAddress:
    """The parts of `imaps://user@host[:port]/FOLDER`. Raises SourceError with what is wrong."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        # Perhaps there is a password in it: what stands before the host is not repeated.
        scheme, _, rest = url.partition("://")
        raise SourceError(Fault.NO_URL, name=f"{scheme}://{rest.rpartition('@')[2]}") from None
    if parts.password is not None:
        # A command line is read by everybody on the machine.
        raise SourceError(Fault.URL_TELLS_TOO_MUCH)
    if not parts.hostname or not parts.username:
        raise SourceError(Fault.URL_CUT_SHORT, name=url)
    folder = unquote(parts.path.strip("/")) or "INBOX"
    return ImapAddress(scheme=parts.scheme, host=parts.hostname, port=port, user=unquote(parts.username), folder=folder)


class ImapFolder:
    """One mailbox as a source of mails (services/mailfolders.py `MailSource`); `total` and `position` are UIDs."""

    def __init__(
        self,
        address: ImapAddress,
        store: Store,
        limit: int,
        *,
        password: str,
        since: date | None = None,
        mark_seen: bool = False,
        move_to: str | None = None,
    ) -> None:
        self.key = address.shown
        self.total = self.position = 0
        self._address, self._store, self._limit, self._password = address, store, limit, password
        self._since, self._mark_seen, self._move_to = since, mark_seen, move_to
        self._client: Any = None
        self._identity = ""

    def begin(self, *, again: bool) -> None:
        library = _library()
        with _telling(self._address, library, Fault.NOT_REACHED):
            self._client = _connect(self._address, self._password, library)
        with _telling(self._address, library, Fault.NOT_OPENED):
            found = self._client.select_folder(
                self._address.folder, readonly=not self._mark_seen and self._move_to is None
            )
            if self._move_to is not None and not self._client.folder_exists(self._move_to):
                self._client.create_folder(self._move_to)
            following = found.get(b"UIDNEXT")
            if following is None:  # RFC 3501 §6.3.1 lets a server leave it out
                following = self._client.folder_status(self._address.folder, ["UIDNEXT"])[b"UIDNEXT"]
        self.total = int(following) - 1
        self._identity = f"uidvalidity {found.get(b'UIDVALIDITY', 0)}"
        with self._store.read() as tx:
            place = imports.find_place(tx, self.key)
        # Another UIDVALIDITY: the UIDs mean other mails now (RFC 3501 §2.3.1.1).
        if place is not None and not again and place.identity == self._identity:
            self.position = place.offset

    def mails(self) -> Iterator[FoundMail | Unreadable]:
        while self.position < self.total:
            start, end = self.position + 1, min(self.position + _WINDOW, self.total)
            wanted: list[Any] = ["UID", f"{start}:{end}"]
            if self._since is not None:
                wanted += ["SINCE", self._since]
            uids = sorted(uid for uid in self._ask(self._client.search, wanted) if start <= uid <= end)
            for chunk in self._chunks(uids):
                yield from self._fetch(chunk)
            self.position = end

    def note(self, tx: Tx, mails: Sequence[FoundMail], *, now: datetime) -> None:
        uids = [mail.offset for mail in mails]
        if self._mark_seen:
            self._ask(self._client.add_flags, uids, [b"\\Seen"], silent=True)
        if self._move_to is not None:
            self._ask(self._move, uids)
        imports.move_place(tx, self.key, ImportPlace(identity=self._identity, offset=max(uids)), now=now)

    def close(self) -> None:
        if self._client is not None:
            try:
                self._client.logout()
            except Exception:
                log.debug("event=imap-logout-failed", exc_info=True)

    def _chunks(self, uids: list[int]) -> Iterator[list[int]]:
        """The mails in portions that fit into memory."""
        for at in range(0, len(uids), _FETCH):
            some = uids[at : at + _FETCH]
            sizes = self._ask(self._client.fetch, some, ["RFC822.SIZE"])
            chunk: list[int] = []
            octets = 0
            for uid in some:
                size = min(int(sizes.get(uid, {}).get(b"RFC822.SIZE", 0)), self._limit)
                if chunk and octets + size > _FETCH_OCTETS:
                    yield chunk
                    chunk, octets = [], 0
                chunk.append(uid)
                octets += size
            if chunk:
                yield chunk

    def _fetch(self, uids: list[int]) -> Iterator[FoundMail | Unreadable]:
        answers = self._ask(self._client.fetch, uids, [f"BODY.PEEK[]<0.{self._limit + 1}>"])
        for uid in uids:
            name = f"{self.key};UID={uid}"
            answer = answers.get(uid)
            if answer is None:
                continue  # somebody has deleted it meanwhile
            raw = answer.get(b"BODY[]<0>", answer.get(b"BODY[]"))
            if not isinstance(raw, bytes):
                yield Unreadable(name=name, why=MailFault.NO_CONTENT)
                continue
            cut = len(raw) > self._limit
            yield FoundMail(name=name, raw=raw[: self._limit].replace(b"\r\n", b"\n"), cut=cut, offset=uid)

    def _move(self, uids: list[int]) -> None:
        """RFC 6851, or what it stands for; without UIDPLUS nothing is expunged, for that would take others' mails too."""
        if self._client.has_capability("MOVE"):
            self._client.move(uids, self._move_to)
            return
        self._client.copy(uids, self._move_to)
        self._client.delete_messages(uids, silent=True)
        if self._client.has_capability("UIDPLUS"):
            self._client.uid_expunge(uids)

    def _ask(self, question: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with _telling(self._address, _library(), Fault.BROKEN_OFF):
            return question(*arguments, **options)


def _library() -> ModuleType:
    """IMAPClient. Raises SourceError with what to install."""
    try:
        import imapclient
    except ImportError:
        raise SourceError(Fault.NO_LIBRARY) from None
    module: ModuleType = imapclient
    return module


def _connect(address: ImapAddress, password: str, library: ModuleType) -> Any:
    context = ssl.create_default_context()
    is_tls = address.scheme == "imaps"
    client = library.IMAPClient(
        address.host,
        port=address.port,
        ssl=is_tls,
        ssl_context=context if is_tls else None,
        timeout=_TIMEOUT_SECONDS,
    )
    try:
        if not is_tls and not _is_loopback(address.host):
            if not client.has_capability("STARTTLS"):
                raise SourceError(Fault.NO_TLS, name=address.shown)
            client.starttls(context)
        client.login(address.user, password)
    except BaseException:
        client.shutdown()
        raise
    return client


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _telling(address: ImapAddress, library: ModuleType, fault: Fault) -> Iterator[None]:
    """The library's errors, and the network's, as this fault; a refused password, and a lost connection, as what they are."""
    try:
        yield
    except library.exceptions.LoginError as error:
        raise SourceError(Fault.NOT_LET_IN, name=address.shown, why=str(error)) from None
    except (library.exceptions.IMAPClientError, OSError) as error:
        is_lost = isinstance(error, OSError | library.exceptions.IMAPClientAbortError)
        found = Fault.BROKEN_OFF if is_lost and fault is Fault.NOT_OPENED else fault
        raise SourceError(found, name=address.shown, why=str(error) or type(error).__name__) from None
