"""Snippets into a Postfix configuration and out again: plan, apply, check with `postfix check`, put back when it fails.

Not here: which changes (services/attachplan.py), the tools (services/postconf.py), record and backups
(services/attachrecord.py), the `check` command (services/attachcheck.py).
Known limits: between the change and `postfix reload`, a new Postfix process may read the new main.cf while master(8) still has
the old services; such a mail is deferred, not lost.
"""

import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from omicard_relay.services.attachplan import plan_install, plan_removal
from omicard_relay.services.attachrecord import (
    Change,
    Origin,
    Record,
    Target,
    drop_record,
    file_digests,
    make_backup,
    our_folder,
    put_file,
    read_record,
    restore_backup,
    restore_configuration,
    write_record,
)
from omicard_relay.services.exceptions_table import make_table
from omicard_relay.services.postconf import Postconf, PostfixError
from omicard_relay.tables.snippets import Deployment, Snippet, SnippetFile, required_snippets

__all__ = ["Applied", "install", "remove"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was done, or would be: the changes, what was left because it is not ours any more, where the backup lies, and
    what `postfix check` says that it did not say before."""

    changes: tuple[Change, ...]
    left: tuple[Change, ...] = ()
    backup: str = ""
    warnings: tuple[str, ...] = ()


def install(
    postconf: Postconf,
    snippets: Sequence[Snippet],
    deployment: Deployment,
    *,
    now: datetime,
    replace_foreign: bool,
    dry_run: bool,
) -> Applied:
    """Bring the snippets in; a second run changes nothing. Raises PostfixError, and then everything stands as before."""
    record = read_record(postconf.folder)
    for snippet in snippets:
        for other in snippet.excludes:
            if other in record.snippets:
                raise PostfixError(
                    f"`{other}` is installed and does the same as `{snippet.name}`; first run "
                    f"`omicard-relay postfix remove --with {other}`."
                )
    _check_user(postconf, snippets, deployment)
    _check_tables(postconf, snippets)
    planned, outdated = plan_install(postconf, snippets, record, replace_foreign=replace_foreign)
    undone, left = plan_removal(postconf, outdated)
    changes = [*planned, *undone]
    if dry_run or not changes:
        return Applied(changes=tuple(changes), left=tuple(left))
    names = {snippet.name for snippet in snippets}
    kept = [change for change in record.changes if change not in outdated]
    ours = {(change.target, change.name): change for change in (*kept, *planned)}
    new = replace(
        record,
        user=deployment.user if "bounce-pipe" in names else record.user,
        snippets=tuple(dict.fromkeys((*record.snippets, *(snippet.name for snippet in snippets)))),
        changes=tuple(ours.values()),
    )
    files = {file.name: file for snippet in snippets for file in snippet.files}
    _check_root(postconf)
    for snippet in snippets:
        if snippet.our_table:
            make_table(Path(snippet.our_table))
    backup, warnings = _apply(postconf, record, new, changes, files, now)
    return Applied(changes=tuple(changes), left=tuple(left), backup=backup, warnings=warnings)


def remove(postconf: Postconf, names: Sequence[str], *, now: datetime, dry_run: bool) -> Applied:
    """Take the named snippets out (none named: all). Raises PostfixError, and then everything stands as before."""
    record = read_record(postconf.folder)
    gone = set(names or record.snippets)
    for name in record.snippets:
        for needed in required_snippets(name):
            if name not in gone and needed in gone:
                raise PostfixError(f"`{name}` is installed and needs `{needed}`; remove both, or `{name}` first.")
    old = [change for change in record.changes if change.snippet in gone]
    changes, left = plan_removal(postconf, old)
    if dry_run or not gone & set(record.snippets):
        return Applied(changes=tuple(changes), left=tuple(left))
    new = replace(
        record,
        snippets=tuple(name for name in record.snippets if name not in gone),
        changes=tuple(change for change in record.changes if change.snippet not in gone),
    )
    backup, warnings = _apply(postconf, record, new, changes, {}, now)
    return Applied(changes=tuple(changes), left=tuple(left), backup=backup, warnings=warnings)


def _check_user(postconf: Postconf, snippets: Sequence[Snippet], deployment: Deployment) -> None:
    """pipe(8) ends at start, and every bounce waits, when its user or that one's group is missing, root or Postfix's own."""
    if not any(snippet.name == "bounce-pipe" for snippet in snippets):
        return
    try:
        account = pwd.getpwnam(deployment.user)
    except KeyError:
        raise PostfixError(
            f"There is no user `{deployment.user}` for the pipe; make it with `useradd --system --home-dir "
            f"/var/lib/omicard-relay --shell /usr/sbin/nologin {deployment.user}`, or name another one with --user."
        ) from None
    owner, group = postconf.effective("mail_owner"), postconf.effective("setgid_group")
    taken = [entry for entry in pwd.getpwall() if entry.pw_uid == 0 or entry.pw_name == owner]
    groups = [entry.pw_gid for entry in taken] + [entry.gr_gid for entry in grp.getgrall() if entry.gr_name == group]
    if account.pw_uid in [entry.pw_uid for entry in taken] or account.pw_gid in groups:
        raise PostfixError(
            f"Postfix runs no pipe as `{deployment.user}`: this user, or its group, is root's or Postfix's own; name "
            "an ordinary user with --user."
        )


def _check_tables(postconf: Postconf, snippets: Sequence[Snippet]) -> None:
    """A table of a type that Postfix lacks would defer every mail; one without a next hop would go around a relayhost."""
    if any(snippet.our_table for snippet in snippets) and (relayhost := postconf.effective("relayhost")):
        raise PostfixError(
            f"This Postfix sends everything to `relayhost = {relayhost[:100]}`, so nothing is to be steered here; install "
            "steering on the machine that speaks with the receivers."
        )
    if any(snippet.our_table for snippet in snippets) and "lmdb" not in postconf.table_types():
        raise PostfixError(
            "This Postfix cannot read LMDB tables (`postconf -m` does not list lmdb); install them, on Debian and Ubuntu "
            "with `apt install postfix-lmdb`, on Fedora with `dnf install postfix-lmdb`."
        )


def _check_root(postconf: Postconf) -> None:
    if os.geteuid() != 0 or not os.access(postconf.folder / "main.cf", os.W_OK):
        raise PostfixError(
            f"{postconf.folder}: permission denied; Postfix's configuration is changed and checked as root."
        )


def _apply(
    postconf: Postconf,
    old: Record,
    new: Record,
    changes: Sequence[Change],
    files: dict[str, SnippetFile],
    now: datetime,
) -> tuple[str, tuple[str, ...]]:
    """Do it: (the backup's folder, new words of `postfix check`). On any failure everything is put back."""
    folder = postconf.folder
    _check_root(postconf)
    for name in ("main.cf", "master.cf"):
        if (folder / name).is_symlink():
            raise PostfixError(
                f"{folder / name}: is a symbolic link, which postconf would turn into a file of its own; paste what "
                "`omicard-relay postfix show` prints into the file that it leads to."
            )
    content, said_before = postconf.verify()
    if not content:
        raise PostfixError(
            f"`postfix check` refuses {folder} as it stands, so nothing was changed: {'; '.join(said_before)[:500]}"
        )
    found = _digests(postconf)
    origin = old.origin if old.origin is not None and old.origin.digests == found else None
    try:
        backup = make_backup(folder, now)
    except OSError as error:
        raise PostfixError(f"{folder}: no backup could be made ({error.strerror}), so nothing was changed.") from None
    try:
        write_record(folder, _in_between(old, new))
        if not new.snippets and origin is not None and (our_folder(folder) / origin.backup).is_dir():
            # Nobody but us was here: comments and line breaks come back too.
            restore_configuration(folder, our_folder(folder) / origin.backup)
            changes = [change for change in changes if change.target is Target.FILE]
        _carry_out(postconf, changes, files)
        content, said = postconf.verify()
        if not content:
            raise PostfixError(f"`postfix check` refuses the change, so it was put back: {'; '.join(said)[:500]}")
        if new.snippets:
            first = backup.name if not old.snippets else origin.backup if origin is not None else ""
            write_record(
                folder, replace(new, origin=Origin(backup=first, digests=_digests(postconf)) if first else None)
            )
        else:
            drop_record(folder)
    except BaseException as error:
        _put_back(folder, backup)
        if isinstance(error, OSError):
            raise PostfixError(f"{error.filename}: {error.strerror}; everything was put back.") from None
        raise
    return str(backup), tuple(line for line in said if line not in said_before)


def _in_between(old: Record, new: Record) -> Record:
    """What `remove` needs after a kill in the middle, when some of both may stand there."""
    changes = {(change.target, change.name): change for change in (*old.changes, *new.changes)}
    return replace(
        new,
        snippets=tuple(dict.fromkeys((*old.snippets, *new.snippets))),
        changes=tuple(changes.values()),
        origin=None,
    )


def _put_back(folder: Path, backup: Path) -> None:
    try:
        restore_backup(folder, backup)
    except OSError as error:
        raise PostfixError(
            f"{folder}: the change failed, and so did putting everything back ({error.strerror}); copy main.cf and "
            f"master.cf back from {backup}."
        ) from None


def _carry_out(postconf: Postconf, changes: Sequence[Change], files: dict[str, SnippetFile]) -> None:
    """In an order in which nothing names what is not there yet, or not there any more."""
    ours = our_folder(postconf.folder)
    for change in changes:
        if change.target is Target.FILE and change.after is not None:
            put_file(ours / change.name, files[change.name].text, executable=files[change.name].executable)
    by_target = {
        target: {change.name: change.after for change in changes if change.target is target}
        for target in (Target.MAIN, Target.MASTER)
    }
    main, services = by_target[Target.MAIN], by_target[Target.MASTER]
    postconf.set_services({name: value for name, value in services.items() if value is not None})
    postconf.set_main({name: value for name, value in main.items() if value is not None})
    postconf.drop_main(name for name, value in main.items() if value is None)
    postconf.drop_services(name for name, value in services.items() if value is None)
    for change in changes:
        if change.target is Target.FILE and change.after is None:
            (ours / change.name).unlink(missing_ok=True)


def _digests(postconf: Postconf) -> dict[str, str]:
    """Of main.cf and master.cf."""
    found = file_digests(postconf.folder)
    return {name: found[name].split()[0] for name in ("main.cf", "master.cf")}
