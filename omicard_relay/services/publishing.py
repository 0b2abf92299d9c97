"""Releases of the rules as a person makes them: the working folder becomes a release, an old one comes back, or goes there.

What is published is what was checked: the folder's files are read once, under its lock. First the store has the release,
then this machine's disk; the other machines' services bring it by themselves (services/rulebook.py). The working folder
is only ever written by `check_out`, which keeps a copy of what was there.
Not here: asking people (cli/rules_release.py), what a set would change (services/rulediff.py).
"""

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from omicard_relay.classify.examples import ExampleResult, example_results
from omicard_relay.mail import RelayError
from omicard_relay.services.released import copy_here, rules_of, shipped_digest, write_layer
from omicard_relay.services.rulebook import RuleSet, load_rules
from omicard_relay.services.rulefiles import site_lock
from omicard_relay.store.engine import Store
from omicard_relay.store.releases import SHIPPED, Release, ReleaseKind, add_release, find_release, newest_number
from omicard_relay.tables.active import layer_digest, layer_files, site_folder
from omicard_relay.tables.settings import Settings

__all__ = [
    "Change",
    "Draft",
    "Outcome",
    "change_between",
    "check_out",
    "failing_examples",
    "get_release",
    "publish",
    "read_draft",
    "roll_back",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The working folder as it was read once, with the set that it makes with the shipped tables."""

    folder: Path
    files: Mapping[str, str]
    digest: str
    rules: RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it: `is_new` False where the release was in force already; `not_copied`: why this machine lacks it."""

    release: Release
    is_new: bool = True
    not_copied: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """From one release's own files to another's: rule ids, and the other files that differ."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def read_draft(settings: Settings) -> Draft:
    """The working folder; no files where there is no folder. Raises TableError when its tables are wrong."""
    folder = site_folder(settings)
    with site_lock(folder) if folder.is_dir() else contextlib.nullcontext():
        files = layer_files(folder)
    return Draft(
        folder=folder,
        files=files,
        digest=layer_digest(files),
        rules=load_rules(files, str(folder) if files else "shipped"),
    )


def failing_examples(rules: RuleSet, other: RuleSet) -> tuple[list[ExampleResult], int]:
    """The examples, shipped ones too, that this set does not judge as their rule says though the other set did, or has
    none of them; and how many fail in both.
    """
    before = {_named(result) for result in example_results(other.policies, other.judge) if not result.passed}
    failing = [result for result in example_results(rules.policies, rules.judge) if not result.passed]
    new = [result for result in failing if _named(result) not in before]
    return new, len(failing) - len(new)


def publish(
    settings: Settings, store: Store, draft: Draft, *, after: int | None, author: str, note: str, now: datetime
) -> Outcome:
    """Make the draft the next release and put it in force. Raises StoreError, also when `after` is not the newest any more."""
    with store.write() as tx:
        release = add_release(
            tx,
            after=after,
            created=now,
            author=author,
            note=note,
            kind=ReleaseKind.PUBLISH,
            digest=draft.digest,
            shipped_digest=shipped_digest(),
            files=draft.files,
        )
    return _put_in_force(settings, release)


def roll_back(settings: Settings, store: Store, number: int, *, author: str, note: str, now: datetime) -> Outcome:
    """Put a release's files in force again, as a release of its own number; SHIPPED: no files.

    Where they are in force already nothing is added, but this machine's copy is written anew if it needs to be.
    Raises RelayError when there is no such release, TableError when it does not load any more, StoreError.
    """
    target = None if number == SHIPPED else get_release(store, number)
    files: Mapping[str, str] = target.files if target else {}
    load_rules(files, f"release {number}")
    digest = layer_digest(files)
    with store.read() as tx:
        newest = newest_number(tx)
        current = None if newest is None else find_release(tx, newest)
    if current is not None and current.digest == digest:
        return _put_in_force(settings, current, is_new=False)
    with store.write() as tx:
        release = add_release(
            tx,
            after=newest,
            created=now,
            author=author,
            note=note,
            kind=ReleaseKind.ROLLBACK,
            digest=digest,
            shipped_digest=shipped_digest(),
            files=files,
            rollback_of=number,
        )
    return _put_in_force(settings, release)


def check_out(settings: Settings, files: Mapping[str, str], now: datetime) -> Path | None:
    """Put a release's files into the working folder; gives the folder with what was there before, None where nothing was.

    Files that are no tables stay. Raises OSError, TableError.
    """
    folder = site_folder(settings)
    with site_lock(folder):
        before = layer_files(folder)
        backup = None
        if before and before != dict(files):
            backup = settings.data_path("policies-before") / f"{now:%Y%m%dT%H%M%S.%f}"
            backup.mkdir(parents=True)
            write_layer(backup, before)
        plain = dict(files)
        for pack in {name.split("/")[1] for name in (*before, *files) if name.startswith("packs/")}:
            _put_pack(folder, pack, before, plain)
        write_layer(folder, plain)
        for name in before.keys() - files.keys():
            (folder / name).unlink(missing_ok=True)
    return backup


def get_release(store: Store, number: int) -> Release:
    """A release by its number. Raises RelayError when there is none."""
    with store.read() as tx:
        release = find_release(tx, number)
    if release is None:
        raise RelayError(f"There is no release {number}; `omicard-relay rules history` shows those that there are.")
    return release


def change_between(before: Mapping[str, str], after: Mapping[str, str]) -> Change:
    """What the files of one release differ in from another's. Raises TableError when one of them does not load any more."""
    old, new = rules_of(before, "the release before"), rules_of(after, "the release")
    differing = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return Change(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        files=tuple(sorted(name for name in differing if "rules/" not in name)),
    )


def _named(result: ExampleResult) -> tuple[str, bool, str]:
    return result.rule.id, result.is_counter, result.example


def _put_pack(folder: Path, pack: str, before: Mapping[str, str], files: dict[str, str]) -> None:
    """Put an imported pack as `rules import` does (services/rulepacks.py): a link to a folder of its own, exchanged whole.

    Takes its files out of `files`; one that was put there by hand, without a link, is left to the caller.
    """
    link, start = folder / "packs" / pack, f"packs/{pack}/"
    if link.exists() and not link.is_symlink():
        return
    wanted = {name.removeprefix(start): files.pop(name) for name in tuple(files) if name.startswith(start)}
    if wanted == {name.removeprefix(start): text for name, text in before.items() if name.startswith(start)}:
        return
    if not wanted:
        link.unlink()
        return
    target = folder / ".packs" / f"{pack}-release-{secrets.token_hex(8)}"
    fresh = target.with_name(f".link-{secrets.token_hex(8)}")
    target.mkdir(parents=True)
    write_layer(target, wanted)
    link.parent.mkdir(exist_ok=True)
    fresh.symlink_to(Path("..") / ".packs" / target.name)
    fresh.replace(link)


def _put_in_force(settings: Settings, release: Release, *, is_new: bool = True) -> Outcome:
    try:
        copy_here(settings, release)
    except OSError as error:
        return Outcome(release=release, is_new=is_new, not_copied=str(error))
    return Outcome(release=release, is_new=is_new)
