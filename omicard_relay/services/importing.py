"""Folders of mails -> the ingester: many mails a transaction, resumable, each counted once however often it is read.

A mail that the store has is left as it is. What is remembered of a source is written after its mails are on disk; a kill
between the two costs a second look at a few mails, which are then known by their digest.
The envelope is read from the fields that the delivering server wrote above the mail. Anybody can forge such a field, as
anybody can name any recipient in RCPT: what proves something is the signed token in the address, and only that.
Not here: the folders themselves (services/mailfolders.py, services/imap_fetch.py).
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from omicard_relay.bounce.headers import parse_head
from omicard_relay.mail import MailKind, StoreError, domain_of, printable
from omicard_relay.services.answers import AnswerRule, head_of
from omicard_relay.services.importfaults import Fault, SourceError
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.keyfiles import load_return_path
from omicard_relay.services.mailfolders import FileFolder, FoundMail, Maildir, MailSource, Mbox, Unreadable, unreadable
from omicard_relay.services.rulebook import open_rulebook
from omicard_relay.store import bounces, imports
from omicard_relay.store.engine import Store
from omicard_relay.store.writer import Writer
from omicard_relay.tables.settings import Settings

__all__ = ["FORMATS", "Imported", "Importer", "envelope_of", "open_importer", "sources_at"]

log = logging.getLogger(__name__)

FORMATS = ("maildir", "mbox", "files")
#: Mails that are stored together, and octets of them.
_BATCH, _BATCH_OCTETS = 128, 16 * 1024 * 1024
#: The fields in which servers write the envelope recipient, whatever the order in which they stand.
_RECIPIENT_FIELDS = ("x-original-to", "delivered-to", "envelope-to", "x-envelope-to", "x-delivered-to")
#: An address has 320 octets at most (RFC 5321 §4.5.3.1); a longer value is none.
_ADDRESS_LIMIT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one mail. `kind` is None for one that the store had, and for one that failed: `error` says why."""

    name: str
    recipient: str = ""
    digest: str = ""
    kind: MailKind | None = None
    error: str | None = None


class Importer:
    """Gives the mails of sources to an ingester. `recipient` stands for what the mails say themselves."""

    def __init__(
        self,
        store: Store,
        ingester: Ingester,
        *,
        domain: str,
        recipient: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store, self._ingester, self._clock = store, ingester, clock
        self._domain, self._recipient = domain, recipient

    def run(self, source: MailSource, *, again: bool = False) -> Iterator[Imported]:
        """Import what is new in a source (`again`: all of it), and tell of each mail. Raises RelayError, StoreError too."""
        source.begin(again=again)
        try:
            batch: list[FoundMail] = []
            octets = 0
            for found in source.mails():
                if isinstance(found, Unreadable):
                    yield Imported(name=found.name, error=found.why)
                    continue
                batch.append(found)
                octets += len(found.raw)
                if len(batch) >= _BATCH or octets >= _BATCH_OCTETS:
                    yield from self._take(source, batch)
                    batch, octets = [], 0
            if batch:
                yield from self._take(source, batch)
        finally:
            source.close()

    def _take(self, source: MailSource, batch: list[FoundMail]) -> list[Imported]:
        results, taken = [], []
        for found, done in zip(batch, self._stored(batch), strict=True):
            results.append(done)
            if done.error is None:
                taken.append(found)
        if taken:
            with self._store.write() as tx:
                source.note(tx, taken, now=self._clock())
        return results

    def _stored(self, batch: Sequence[FoundMail]) -> list[Imported]:
        """All of these in the store. Raises StoreError when one of them is not, and then none counts as done."""
        envelopes = [envelope_of(found.raw, self._domain, self._recipient) for found in batch]
        digests = [
            bounces.bounce_digest(found.raw, printable(recipient))
            for found, (_, recipient) in zip(batch, envelopes, strict=True)
        ]
        with self._store.read() as tx:
            known = imports.known_digests(tx, digests)
        begun: list[Future[MailKind] | None] = []
        for found, (sender, recipient), digest in zip(batch, envelopes, digests, strict=True):
            if digest in known:
                begun.append(None)
                continue
            known.add(digest)
            begun.append(self._begin(found, sender, recipient))
        results = []
        for found, (_, recipient), digest, future in zip(batch, envelopes, digests, begun, strict=True):
            kind, error = None, None
            try:
                kind = future.result() if future is not None else None
            except StoreError:
                raise
            except Exception as fault:
                # One mail must not hold up all that come behind it.
                log.exception("event=import-bug mail=%s", printable(found.name))
                error = f"an error of our own: {fault!r}"
            results.append(Imported(name=found.name, recipient=recipient, digest=digest, kind=kind, error=error))
        return results

    def _begin(self, found: FoundMail, sender: str, recipient: str) -> "Future[MailKind]":
        try:
            return self._ingester.begin(found.raw, sender=sender, recipient=recipient, cut=found.cut)
        except Exception as error:
            failed: Future[MailKind] = Future()
            failed.set_exception(error)
            return failed


def open_importer(
    settings: Settings, store: Store, writer: Writer, *, recipient: str | None = None, hand_on: bool = True
) -> Importer:
    """An importer by the settings; `writer` is the caller's to close.

    No bound on unproven mails holds here: who imports knows how many there are. Raises RelayError as `make_ingester`.
    """
    ingester = Ingester(
        store,
        open_rulebook(settings, store),
        load_return_path(settings),
        settings.ingest.size_limit,
        writer=writer,
        answers=AnswerRule(settings.answers) if hand_on else None,
    )
    return Importer(store, ingester, domain=settings.return_path.domain, recipient=recipient)


def envelope_of(raw: bytes, domain: str, given: str | None = None) -> tuple[str, str]:
    """(envelope sender, envelope recipient) as the delivering server wrote them; "" for what it did not.

    Of several recipients the first in the return path's own domain counts, for a server that hands on to a mailbox writes
    that name, too; then the first at all. A bounce is addressed to the reverse-path, so that `To` will do at last.
    """
    head = parse_head(head_of(raw))
    sender = _address(head.get("return-path"))
    if given is not None:
        return sender, given
    names = [_address(head_value) for name in _RECIPIENT_FIELDS for head_value in head.all(name)]
    own = [name for name in (*names, _address(head.get("to"))) if domain and domain_of(name) == domain.lower()]
    return sender, next((name for name in (*own, *names) if name), "")


def sources_at(path: Path, store: Store, limit: int, *, wanted: str | None, recursive: bool) -> list[MailSource]:
    """What is there to import: `wanted` is one of FORMATS, None finds out. Raises SourceError when there is nothing."""
    try:
        path = path.resolve(strict=True)
        if path.is_dir():
            return _in_folder(path, store, limit, wanted, recursive)
        with path.open("rb") as file:
            is_mbox = file.read(5) in (b"From ", b"")
    except OSError as error:
        raise unreadable(path, error) from None
    if wanted == "mbox" or (wanted is None and is_mbox):
        return [Mbox(path, store, limit)]
    if wanted == "maildir":
        raise SourceError(Fault.IS_A_FILE, name=str(path))
    return [FileFolder(path.parent, [path.name], store, limit)]


def _in_folder(path: Path, store: Store, limit: int, wanted: str | None, recursive: bool) -> list[MailSource]:
    if wanted == "mbox":
        raise SourceError(Fault.IS_A_FOLDER, name=str(path))
    maildirs: list[Path] = []
    names: list[str] = []
    for text, folders, files in os.walk(path):
        folder = Path(text)
        is_maildir = wanted != "files" and ("cur" in folders or "new" in folders)
        if is_maildir:
            maildirs.append(folder)
            folders[:] = [name for name in folders if name not in ("cur", "new", "tmp")]
        else:
            # Without being told, only what calls itself a mail: a note beside them is none.
            chosen = (n for n in files if not n.startswith(".") and (wanted == "files" or n.lower().endswith(".eml")))
            names += [str((folder / name).relative_to(path)) for name in chosen]
        if not recursive:
            break
        folders.sort()
    found: list[MailSource] = [Maildir(folder, store, limit) for folder in maildirs]
    if names and wanted != "maildir":
        found.append(FileFolder(path, names, store, limit))
    if not found:
        raise SourceError(Fault.NO_MAILS, name=str(path))
    return found


def _address(value: str) -> str:
    """The address of a field's value: what stands in brackets, else the first word."""
    text = value[:_ADDRESS_LIMIT]
    start = text.find("<")
    end = text.find(">", start)
    if start >= 0 and end > start:
        return text[start + 1 : end].strip()
    words = text.split()
    return words[0] if words and "@" in words[0] else ""
