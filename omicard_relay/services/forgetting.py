"""`db forget`: one address through the whole store, and where it stands in files that only a person can decide about.

First everything is looked through, without a lock; then it is changed in short transactions, the lists first, so that at no
moment somebody who wants no mail is not known as that. A run that was stopped is taken up by the next one.
Not here: what is erased and what stays (store/forget.py). Known limits: what comes in while it runs is new data, and stays.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from omicard_relay.mail import StoreError
from omicard_relay.services.forgetkey import ForgetKey
from omicard_relay.store import forget, mails
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.hidden import Hider
from omicard_relay.store.mentions import Mention, find_rows, mask_row
from omicard_relay.store.releases import find_release, newest_number
from omicard_relay.store.space import empty_log, overwrite_freed
from omicard_relay.tables.settings import Settings

__all__ = ["Forgotten", "files_that_name", "forget_address"]

#: Rows that only mention the address, or mails, that are changed in one transaction.
_BATCH = 50
#: Octets of a file that are read: a mail that was handed on may have as many as `ingest.size_limit`.
_FILE_LIMIT = 64 << 20


@dataclass(slots=True, kw_only=True)
class Forgotten:
    """What was found, and when it was not a dry run, erased. `changed` counts rows by table; `contents` mails whose content
    went, `waited` those of them that waited to be handed on; `releases` of the rules name the address, and still do."""

    known: forget.Known
    changed: dict[str, int] = field(default_factory=dict)
    contents: int = 0
    waited: int = 0
    releases: tuple[int, ...] = ()
    #: When it was forgotten before; None: never.
    before: datetime | None = None
    #: The digest that stands for it in the lists; empty while there is no key.
    hidden: str = ""
    #: Whether SQLite's log still holds old pages, because somebody reads.
    log_is_full: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether the store knows nothing of the address."""
        return self.known.is_nothing and not self.changed and not self.contents


def forget_address(
    store: Store,
    key_file: ForgetKey,
    address: str,
    *,
    who: str,
    clock: Callable[[], datetime],
    dry_run: bool,
    on_progress: Callable[[str, int], None] = lambda what, count: None,
    new_key: bool = False,
) -> Forgotten:
    """Forget it. Raises StoreError, also where the key is lost that others were forgotten by (`new_key`: nonetheless), and
    where mail to the address is being handed over at this moment."""
    mention = Mention(address)
    hider = key_file()
    with store.read() as tx:
        known = _known(tx, mention, clock())
        before = _forgotten_before(tx, hider, mention) if hider else None
        others = forget.keys_used(tx)
        releases = tuple(_naming_releases(tx, mention))
    done = Forgotten(known=known, before=before, releases=releases, hidden=hider.hide(address) if hider else "")
    rows = list(_mentions(store, mention, on_progress))
    digests = list(_naming_mails(store, mention, on_progress))
    if dry_run or (known.is_nothing and not rows and not digests):
        done.changed, done.contents = _counted(known, rows), len(digests)
        return done
    if known.waiting:
        raise StoreError(
            f"{known.waiting} mails to this address are being handed over, or their client may still bring them again; "
            "without the address they would be sent twice. Nothing was changed; run it again later, in seven days at last."
        )
    if not new_key and others and (hider is None or hider.key_id not in others):
        raise StoreError(
            f"{key_file.path}: the key by which addresses were forgotten before is missing or another one; bring it back from "
            "a backup. With --new-key a new one is made, and those who were forgotten before are never found again."
        )
    hider = key_file.made()
    done.hidden = hider.hide(address)
    _erase(store, hider, mention, rows, digests, done, who=who, clock=clock)
    return done


def files_that_name(settings: Settings, address: str) -> list[Path]:
    """Mails that were handed on to the Maildir, and rule files of the site and of releases, that name the address."""
    mention, found = Mention(address), []
    folders = [Path(settings.policies_dir) if settings.policies_dir else settings.data_path("policies")]
    folders.append(settings.data_path("released"))
    if settings.answers.mailbox:
        folders.append(settings.data_path(settings.answers.mailbox))
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            try:
                with path.open("rb") as file:
                    if mention.is_in(file.read(_FILE_LIMIT)):
                        found.append(path)
            except OSError:
                continue  # a folder, or gone or closed to us meanwhile
    return found


def _erase(
    store: Store,
    hider: Hider,
    mention: Mention,
    rows: list[tuple[Any, tuple[Any, ...]]],
    digests: list[str],
    done: Forgotten,
    *,
    who: str,
    clock: Callable[[], datetime],
) -> None:
    def lists(tx: Tx) -> tuple[int, int]:
        """Each spelling by its own digest: whoever asks for one asks by that."""
        numbers = [forget.add_forgetting(tx, hider, key, who=who, now=clock()) for key in mention.keys]
        return numbers[0], sum(forget.forget_lists(tx, hider, key) for key in mention.keys)

    number, entries = _step(store, lists)
    _add(done, {"list_entry": entries})
    for key in mention.keys:
        while found := _step(store, partial(forget.forget_evidence, hider=hider, key=key, now=clock())):
            _add(done, found)
    ghost = hider.ghost(mention.keys[0])
    for start in range(0, len(digests), _BATCH):
        names = digests[start : start + _BATCH]
        contents, waited = _step(store, partial(forget.erase_contents, mail_digests=names, now=clock()))
        _add(done, {"mail_content": contents, "waited": waited})
    for start in range(0, len(rows), _BATCH):
        part = partial(_mask, rows=rows[start : start + _BATCH], mention=mention, ghost=ghost)
        for name in _step(store, part):
            _add(done, {name: 1})
    changed = sum(done.changed.values())
    _step(store, lambda tx: forget.note_amounts(tx, number, changed=changed, contents=done.contents))
    done.log_is_full = not empty_log(store)


def _known(tx: Tx, mention: Mention, now: datetime) -> forget.Known:
    """What is known of it under all its spellings."""
    found = [forget.find_known(tx, key, now=now) for key in mention.keys]
    names = [one.name for one in fields(forget.Known)]
    return forget.Known(**{name: sum(getattr(one, name) for one in found) for name in names})


def _forgotten_before(tx: Tx, hider: Hider, mention: Mention) -> datetime | None:
    times = [forget.find_forgetting(tx, hider.hide(key)) for key in mention.keys]
    return max((time for time in times if time is not None), default=None)


def _mask(tx: Tx, *, rows: list[tuple[Any, tuple[Any, ...]]], mention: Mention, ghost: str) -> list[str]:
    """Another name in these rows; gives the tables of those that were changed."""
    return [table.name for table, key in rows if mask_row(tx, table, key, mention, ghost)]


def _step(store: Store, job: Callable[[Tx], Any]) -> Any:
    """One transaction, after which the services have the store for as long as it took."""
    start = time.monotonic()
    with store.write() as tx:
        overwrite_freed(tx)
        result = job(tx)
    time.sleep(time.monotonic() - start)
    return result


def _add(done: Forgotten, found: dict[str, int]) -> None:
    done.contents += found.pop("mail_content", 0)
    done.waited += found.pop("waited", 0)
    for name, count in found.items():
        if count:
            done.changed[name] = done.changed.get(name, 0) + count


def _mentions(
    store: Store, mention: Mention, on_progress: Callable[[str, int], None]
) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    found = 0
    for table, keys in find_rows(store, mention):
        found += len(keys)
        on_progress(table.name, found)
        for key in keys:
            yield table, key


def _naming_mails(store: Store, mention: Mention, on_progress: Callable[[str, int], None]) -> Iterator[str]:
    """The digests of the bounce mails whose content names the address."""
    looked_at = 0
    for page in mails.all_contents(store):
        for digests, raw in page:
            if mention.is_in(raw):
                yield from digests
        looked_at += len(page)
        on_progress("mail_content", looked_at)


def _naming_releases(tx: Tx, mention: Mention) -> Iterator[int]:
    for number in range(1, (newest_number(tx) or 0) + 1):
        release = find_release(tx, number)
        if release is not None and any(mention.is_in(text.encode()) for text in release.files.values()):
            yield number


def _counted(known: forget.Known, rows: list[tuple[Any, tuple[Any, ...]]]) -> dict[str, int]:
    """What a run would change: rows about the address, and those that only mention it, which are more than the former."""
    own = {
        "recipient": known.recipients,
        "attempt": known.attempts,
        "bounce_report": known.reports,
        "list_entry": known.entries,
    }
    named: dict[str, int] = {}
    for table, _ in rows:
        named[table.name] = named.get(table.name, 0) + 1
    return {name: count for name in {**own, **named} if (count := max(own.get(name, 0), named.get(name, 0)))}
