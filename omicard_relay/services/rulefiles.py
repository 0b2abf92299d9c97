"""Changes to the site's own rules: prepared and judged under a lock, then written whole or not at all.

`site_lock` keeps two writers apart (also `rules import` and a release that copies the folder); `prepare_add` and
`prepare_remove` say what the change would do; `save` writes the file: a draft beside it, fsync, rename. A kill at any
moment leaves the old file or the new one, and perhaps a draft whose name no reader looks at.
Not here: asking people and telling them (cli/rules_add.py), the text itself (tables/ruletext.py).
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from omicard_relay.classify.check import Flip, check_rules, flips
from omicard_relay.mail import TableError
from omicard_relay.services.judging import prepare
from omicard_relay.tables.findings import Finding
from omicard_relay.tables.layers import LayerKind, PlacedRule, in_force, layers_of
from omicard_relay.tables.lint import Linted, lint
from omicard_relay.tables.policies import Policies, load_policies
from omicard_relay.tables.rules import Rule
from omicard_relay.tables.ruletext import added, replaced, without

__all__ = [
    "OWN_FILE",
    "Change",
    "prepare_add",
    "prepare_remove",
    "read_layers",
    "save",
    "site_lock",
    "site_rules",
    "sync_folder",
    "write_whole",
]

#: Where `rules add` writes, below the site's folder.
OWN_FILE = "rules/own.toml"
_HEAD = "# The site's own rules, written by `omicard-relay rules add` and by hand. docs/rules.md tells how.\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that is not written yet. `text` is the file as it will be; `findings` are faults of the new rule.

    `taken_over` is the rule whose place it takes (add) or that holds again (remove).
    """

    path: Path
    text: str
    before: Policies
    after: Policies
    findings: tuple[Finding, ...] = ()
    flips: tuple[Flip, ...] = ()
    taken_over: PlacedRule | None = None


@contextmanager
def site_lock(folder: Path) -> Iterator[None]:
    """Be the only writer of the site's folder, which is made when it is missing; waits. Raises TableError."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise TableError(
            f"{folder}: cannot be written to ({error.strerror}); the site's own rules go there, see `policies_dir`."
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_layers(folder: Path | None) -> Linted:
    """The layers with the place of each rule. Raises TableError, as `load_policies` does, when some file is bad."""
    if folder is not None and not folder.is_dir():
        folder = None
    linted = lint(layers_of(folder))
    if linted.errors:
        load_policies(folder)
        worst = linted.errors[0]  # a fault that does not stop the start does not exist; should one, it is named
        raise TableError(f"{worst.path}: rule `{worst.rule_id}`: {worst.kind}; run `omicard-relay rules check`.")
    prepare(linted.policies)
    return linted


def site_rules(linted: Linted) -> Mapping[str, PlacedRule]:
    """The site's own rules by id."""
    return in_force(placed for placed in linted.stack if placed.layer.kind is LayerKind.SITE)


def prepare_add(folder: Path, rule: Rule) -> Change:
    """The rule in the site's own file, in the place of the site's rule of that id if there is one. Raises TableError."""
    linted = read_layers(folder)
    old = in_force(linted.stack).get(rule.id)
    own = site_rules(linted).get(rule.id)
    path = own.path if own else folder / OWN_FILE
    text = _read(path)
    before = linted.policies
    rules = dict(before.rules_by_id)
    rules[rule.id] = rule
    after = replace(before, rules=tuple(rules.values()))
    return Change(
        path=path,
        text=replaced(text, rule) if own else added(text or _HEAD, rule),
        before=before,
        after=after,
        findings=tuple(check_rules(after, {rule.id})),
        flips=flips(before, after),
        taken_over=old,
    )


def prepare_remove(folder: Path, rule_id: str) -> Change | None:
    """The site's file without the rule; None when the site has no such rule. Raises TableError."""
    linted = read_layers(folder)
    own = site_rules(linted).get(rule_id)
    if own is None:
        return None
    left = tuple(placed for placed in linted.stack if placed is not own)
    after = replace(linted.policies, rules=tuple(p.rule for p in in_force(left).values()))
    return Change(
        path=own.path,
        text=without(_read(own.path), rule_id),
        before=linted.policies,
        after=after,
        flips=flips(linted.policies, after),
        taken_over=in_force(left).get(rule_id),
    )


def save(change: Change) -> None:
    """Write the change; the caller holds `site_lock` since before it was prepared. Raises TableError."""
    write_whole(change.path, change.text)


def write_whole(path: Path, text: str) -> None:
    """Replace a file, or make it, so that at any moment it is the old one or the new one. Raises TableError."""
    octets = text.encode("utf-8")
    path = path.resolve()  # a link stays a link
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644  # services of other users read it
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(handle, "wb") as file:
                file.write(octets)
                os.fchmod(handle, mode)
                file.flush()
                os.fsync(handle)
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise TableError(f"{path}: cannot be written ({error.strerror}); nothing was changed.") from None


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last through a power failure."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path) -> str:
    """The file with its line breaks as they are; empty when there is none."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{path}: cannot be read: {error}") from None
