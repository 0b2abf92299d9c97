"""The rules in force, as one value that a service reads once for each batch or mail, and that is exchanged while it runs.

`RuleSet` never changes: judge, actions, suppression and release number belong together. `Rulebook.current` is exchanged by
one assignment, after the new set was loaded and compiled, so that nobody waits and nothing is judged by halves.
`watch_releases` looks for a new number in the store. A store that is down changes nothing, and a set that does not load is
logged and counted while the old one stays in force.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from omicard_relay import __version__
from omicard_relay.bounce import MailReader
from omicard_relay.classify import Judge
from omicard_relay.mail import Decision, Evidence, RelayError, StoreError, TableError, Verdict
from omicard_relay.services.judging import judge_of
from omicard_relay.services.released import copy_here, is_here, shipped_digest, unpacked
from omicard_relay.steering import decide
from omicard_relay.store.bounces import count
from omicard_relay.store.engine import Store
from omicard_relay.store.releases import Release, ReleaseKind, add_release, find_release, newest_number
from omicard_relay.tables.active import active_folder, layer_digest, layer_files
from omicard_relay.tables.policies import Policies, load_policies
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.suppress import SuppressRule, load_suppress

__all__ = [
    "RuleSet",
    "Rulebook",
    "load_release",
    "load_rules",
    "newest_release",
    "note_upgrade",
    "open_noted",
    "open_rulebook",
    "watch_releases",
]

log = logging.getLogger(__name__)

#: Seconds between two looks at the store: one row by its key, cheap enough to do for ever.
_LOOK_SECONDS = 1.0
#: Seconds before a set that did not load is tried again: the cause may have been this machine's (memory, disk).
_AGAIN_SECONDS = 60.0
#: Releases that are tried at a start, from the newest one back.
_FALLBACKS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Everything that one judgement needs. `release` None: none has been published."""

    policies: Policies
    judge: Judge
    reader: MailReader
    suppress: Mapping[int, SuppressRule]
    release: int | None = None
    digest: str = ""

    def judged(self, evidence: Evidence) -> tuple[Verdict | None, Decision | None]:
        """Cause and action; None for what states no failure."""
        verdict = self.judge.judge(evidence)
        return verdict, decide(verdict, reply=evidence.reply, policies=self.policies) if verdict else None


class Rulebook:
    """What is in force; `current` is read once for each batch or mail."""

    def __init__(self, current: RuleSet) -> None:
        self.current = current

    @classmethod
    def of(cls, policies: Policies, suppress: Mapping[int, SuppressRule], *, release: int | None = None) -> "Rulebook":
        """One that holds these tables and is never exchanged."""
        return cls(
            RuleSet(
                policies=policies,
                judge=judge_of(policies),
                reader=MailReader(policies.forms, policies.responders),
                suppress=suppress,
                release=release,
            )
        )


def open_rulebook(settings: Settings, store: Store) -> Rulebook:
    """The rules in force: the store's newest release, brought to this machine; before the first one the site's folder.

    A release that this program cannot load, made by a newer one perhaps, must not stop the line: the newest that loads is
    taken, at last the shipped rules alone, and the error says so. Raises TableError when the site's folder is wrong and
    nothing was ever published, StoreError when the store cannot be asked.
    """
    with store.read() as tx:
        newest = newest_number(tx)
    if newest is not None:
        rules, release = _newest_that_loads(store, newest)
        if release is not None and release.number == newest:
            try:
                copy_here(settings, release)
            except OSError as error:
                log.warning("event=rules-not-copied number=%d error=%r", release.number, str(error))
        return Rulebook(rules)
    folder = active_folder(settings)
    return Rulebook(_load(folder, release=None, digest=layer_digest(layer_files(folder))))


def open_noted(settings: Settings, store: Store) -> Rulebook:
    """The rules in force for a service that starts, an upgrade of the program noted. Raises as `open_rulebook` does."""
    rulebook = open_rulebook(settings, store)
    with store.read() as tx:
        is_newest = newest_number(tx) == rulebook.current.release
    # What does not load is not copied into another release.
    if rulebook.current.release is not None and is_newest and note_upgrade(store):
        rulebook = open_rulebook(settings, store)
    rulebook.current.reader.compile()
    return rulebook


def _newest_that_loads(store: Store, newest: int) -> tuple[RuleSet, Release | None]:
    for number in range(newest, max(0, newest - _FALLBACKS), -1):
        try:
            with store.read() as tx:
                release = find_release(tx, number)
            if release is not None:
                return load_release(release), release
        except TableError as error:
            log.error("event=rules-failed number=%d note=an-older-set-is-in-force error=%r", number, str(error))
    return _load(None, release=None, digest=layer_digest({})), None


def newest_release(store: Store) -> Release | None:
    """The store's newest release; None before the first. Raises StoreError."""
    with store.read() as tx:
        number = newest_number(tx)
        return None if number is None else find_release(tx, number)


def note_upgrade(store: Store) -> bool:
    """Write a release of kind `upgrade` when this program brings other tables than the newest release was written with.

    Before the first release nothing is written. Raises StoreError.
    """
    own = shipped_digest()
    newest = newest_release(store)
    if newest is None or newest.shipped_digest == own:
        return False
    with store.write() as tx:
        if newest_number(tx) != newest.number:
            return True  # another service was quicker
        added = add_release(
            tx,
            after=newest.number,
            created=datetime.now(UTC),
            author="omicard-relay",
            note=f"omicard-relay {__version__}",
            kind=ReleaseKind.UPGRADE,
            digest=newest.digest,
            shipped_digest=own,
            files=newest.files,
        )
    log.info("event=rules-upgraded from=%d to=%d shipped_digest=%s", newest.number, added.number, own[:16])
    return True


async def watch_releases(rulebook: Rulebook, settings: Settings, store: Store, stop: asyncio.Event) -> None:
    """Follow the store's releases until `stop` is set."""
    watch = _Watch(rulebook, settings, store)
    clock = asyncio.get_running_loop().time
    while not stop.is_set():
        await asyncio.to_thread(watch.look, clock())
        try:
            await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
        except TimeoutError:
            continue


class _Watch:
    """What the last looks have found."""

    def __init__(self, rulebook: Rulebook, settings: Settings, store: Store) -> None:
        self._rulebook, self._settings, self._store = rulebook, settings, store
        self._store_fails = False
        self._refused: tuple[int, float] | None = None
        self._not_copied: int | None = None

    def look(self, now: float) -> None:
        """One look at the store, and the exchange when there is something new; `now` in seconds. Never raises."""
        try:
            with self._store.read() as tx:
                number = newest_number(tx)
        except StoreError as error:
            if not self._store_fails:
                log.error("event=rules-store-failed note=the-known-rules-stay error=%r", str(error))
            self._store_fails = True
            return
        self._store_fails = False
        if number is None or self._waits(number, now):
            return
        try:
            if number != self._rulebook.current.release:
                self._exchange(number)
                self._refused = None
            elif number != self._not_copied and not is_here(self._settings, number):
                self._copy(newest_release(self._store))
        except StoreError as error:
            log.error("event=rules-store-failed note=the-known-rules-stay error=%r", str(error))
        except Exception as error:
            self._refused = number, now + _AGAIN_SECONDS
            log.error(
                "event=rules-refused number=%d in_force=%s error=%r",
                number,
                _shown(self._rulebook.current.release),
                str(error),
                exc_info=None if isinstance(error, RelayError) else error,
            )
            self._count_refusal()

    def _waits(self, number: int, now: float) -> bool:
        return self._refused is not None and self._refused[0] == number and now < self._refused[1]

    def _exchange(self, number: int) -> None:
        with self._store.read() as tx:
            release = find_release(tx, number)
        if release is None:
            return
        fresh = load_release(release)
        fresh.reader.compile()  # the first mail by it does not wait
        before = self._rulebook.current.release
        self._rulebook.current = fresh
        log.info("event=rules-switched from=%s to=%d digest=%s", _shown(before), number, release.digest[:16])
        self._copy(release)

    def _copy(self, release: Release | None) -> None:
        """For the commands of this machine; the services judge by what they hold, also where this user may not write."""
        if release is None or release.number != self._rulebook.current.release:
            return
        try:
            copy_here(self._settings, release)
            self._not_copied = None
        except OSError as error:
            self._not_copied = release.number
            log.warning("event=rules-not-copied number=%d error=%r", release.number, str(error))

    def _count_refusal(self) -> None:
        try:
            with self._store.write() as tx:
                count(tx, "rules.refused")
        except StoreError as error:
            log.error("event=rules-store-failed error=%r", str(error))


def load_rules(files: Mapping[str, str], name: str, *, release: int | None = None) -> RuleSet:
    """The shipped tables with these files over them, compiled. Raises TableError, in which `name` is the folder."""
    with unpacked(files, name) as folder:
        return _load(folder, release=release, digest=layer_digest(files))


def load_release(release: Release) -> RuleSet:
    """A release's set, from the store's own copy, so that it needs no place where this user may write. Raises TableError."""
    return load_rules(release.files, f"release {release.number}", release=release.number)


def _load(folder: Path | None, *, release: int | None, digest: str) -> RuleSet:
    policies, suppress = load_policies(folder), load_suppress(folder)
    judge = judge_of(policies)
    judge.judge_text("550 5.1.1 unknown")  # the first judgement compiles
    reader = MailReader(policies.forms, policies.responders)
    return RuleSet(policies=policies, judge=judge, reader=reader, suppress=suppress, release=release, digest=digest)


def _shown(release: int | None) -> str:
    return "none" if release is None else str(release)
