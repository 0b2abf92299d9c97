"""What we changed in a Postfix configuration folder: the record, the backups, and the way back from one.

All of it lies in `omicard-relay/` below the configuration folder: `installed.json`, `backup-TIME/`, and the snippets'
files. The record is written before the first change, so that a crash in between leaves nothing that `remove` does not know.
Not here: what to change (services/attach.py).
Known limits: two installations at the same moment are not kept apart.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from omicard_relay.services.postconf import PostfixError
from omicard_relay.tables.snippets import SnippetFile

__all__ = [
    "Change",
    "Origin",
    "Record",
    "Target",
    "digest_of",
    "drop_record",
    "file_digests",
    "make_backup",
    "our_folder",
    "put_file",
    "read_record",
    "restore_backup",
    "restore_configuration",
    "write_record",
]

_CONFIGURATION = ("main.cf", "master.cf")
_RECORD = "installed.json"


class Target(StrEnum):
    """Where a change stands."""

    MAIN = "main.cf"
    MASTER = "master.cf"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value before and after; None: it is not there. Of a file, the value is its digest and mode.

    `item`: the part of `after` that is ours when it joined a list; empty: the whole value is ours.
    """

    snippet: str
    target: Target
    name: str
    before: str | None
    after: str | None
    item: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The backup from before the first change, as long as nobody but us has changed main.cf and master.cf since.

    `digests` are those of the two files as we left them.
    """

    backup: str
    digests: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """installed.json. `snippets` and `changes` in the order in which they came."""

    version: int = 1
    user: str = ""
    snippets: tuple[str, ...] = ()
    changes: tuple[Change, ...] = field(default=())
    origin: Origin | None = None


def our_folder(configuration: Path) -> Path:
    """The folder of ours below a configuration folder."""
    return configuration / "omicard-relay"


def read_record(configuration: Path) -> Record:
    """The record; an empty one where nothing is installed. Raises PostfixError when it is broken."""
    path = our_folder(configuration) / _RECORD
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record()
    except OSError as error:
        raise PostfixError(f"{path}: cannot be read ({error.strerror}); run this as root.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PostfixError(f"{path}: is broken ({error}); put back the one of the newest backup beside it.") from None
    if record.version != 1:
        raise PostfixError(
            f"{path}: has version {record.version}, which this program does not know; use the newer program."
        )
    return record


def write_record(configuration: Path, record: Record) -> None:
    """Write the record, whole or not at all."""
    text = msgspec.json.format(msgspec.json.encode(record), indent=2).decode() + "\n"
    put_file(our_folder(configuration) / _RECORD, text, executable=False)


def drop_record(configuration: Path) -> None:
    """Nothing is installed any more."""
    (our_folder(configuration) / _RECORD).unlink(missing_ok=True)


def put_file(path: Path, text: str, *, executable: bool) -> None:
    """Write one file of ours, whole or not at all, readable for all: the pipe's user and Postfix need them."""
    if not path.parent.is_dir():
        path.parent.mkdir()
        path.parent.chmod(0o755)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, "utf-8")
    temporary.chmod(0o755 if executable else 0o644)
    temporary.replace(path)


def digest_of(file: SnippetFile) -> str:
    """The digest and mode that the snippet's file has once it is written."""
    return f"{hashlib.sha256(file.text.encode()).hexdigest()} {'755' if file.executable else '644'}"


def file_digests(folder: Path) -> dict[str, str]:
    """Name -> digest and mode of each plain file in a folder; empty when there is no folder."""
    if not folder.is_dir():
        return {}
    return {
        path.name: f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mode & 0o777:o}"
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.is_symlink()
    }


def make_backup(configuration: Path, now: datetime) -> Path:
    """Copy main.cf, master.cf and our own files to a new folder, and return it."""
    ours = our_folder(configuration)
    if not ours.is_dir():
        ours.mkdir()
        ours.chmod(0o755)
    stem = f"backup-{now:%Y%m%dT%H%M%SZ}"
    number = 1
    while (backup := ours / (stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    backup.mkdir(mode=0o700)
    for name in _CONFIGURATION:
        shutil.copy2(configuration / name, backup / name)
    (backup / "ours").mkdir(mode=0o700)
    for name in file_digests(ours):
        shutil.copy2(ours / name, backup / "ours" / name)
    return backup


def restore_backup(configuration: Path, backup: Path) -> None:
    """Put everything back as the backup has it, and remove the backup: it would only repeat what stands there."""
    restore_configuration(configuration, backup)
    ours = our_folder(configuration)
    kept = file_digests(backup / "ours")
    for name in file_digests(ours):
        if name not in kept:
            (ours / name).unlink()
    for name in kept:
        shutil.copy2(backup / "ours" / name, ours / name)
    shutil.rmtree(backup)
    if not any(ours.iterdir()):
        ours.rmdir()


def restore_configuration(configuration: Path, backup: Path) -> None:
    """Put main.cf and master.cf back, byte for byte, with the owner that they have now."""
    for name in _CONFIGURATION:
        owner = (configuration / name).stat()
        temporary = configuration / f"{name}.omicard-relay"
        shutil.copy2(backup / name, temporary)
        os.chown(temporary, owner.st_uid, owner.st_gid)
        temporary.replace(configuration / name)
