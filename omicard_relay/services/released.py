"""Copies of releases on this machine's disk: how a release of the store becomes the files that everything here reads.

`released/<number>/` in `data_dir` holds the files, `released/current` the number (tables/active.py reads both). A copy is
made beside its place and renamed into it, and the number replaced in one step: a reader finds the old or the new, whole.
The store stays the truth: a copy that is gone, or that somebody has changed, is written anew.
Known limit: for the moment of replacing a copy that was changed by hand, a reader finds none.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from omicard_relay.mail import TableError
from omicard_relay.store.releases import Release
from omicard_relay.tables.active import layer_digest, layer_files, release_folder, released_number
from omicard_relay.tables.rules import Rule, read_rules
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.toml import shipped

__all__ = ["copy_here", "is_here", "rules_of", "shipped_digest", "unpacked", "write_layer"]


def shipped_digest() -> str:
    """SHA-256 over the tables that this program brings."""
    return layer_digest(layer_files(shipped("policies")))


def is_here(settings: Settings, number: int) -> bool:
    """Whether this machine has the release in force, as far as a look at two names can tell."""
    try:
        return released_number(settings) == number and release_folder(settings, number).is_dir()
    except TableError:
        return False


def copy_here(settings: Settings, release: Release) -> None:
    """Put a release in force on this machine: its files, where they are not there or not the same, and its number.

    Raises OSError where they cannot be written.
    """
    folder = release_folder(settings, release.number)
    if is_here(settings, release.number) and _holds(folder, release.digest):
        return
    _make_parent(folder.parent, settings)
    # One writer at a time: services and commands of this machine may all have seen the same new number.
    handle = os.open(folder.parent / ".lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _give_open_file(handle, settings)
        fcntl.flock(handle, fcntl.LOCK_EX)
        _copy_files(settings, release)
        _set_current(settings, release.number)
    finally:
        os.close(handle)


def _copy_files(settings: Settings, release: Release) -> None:
    folder = release_folder(settings, release.number)
    if folder.is_dir() and _holds(folder, release.digest):
        return
    fresh = Path(tempfile.mkdtemp(prefix=f".{release.number}-", dir=folder.parent))
    try:
        write_layer(fresh, release.files)
        fresh.chmod(0o755)
        _give_to_owner(fresh, settings)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _set_current(settings: Settings, number: int) -> None:
    with contextlib.suppress(TableError):  # it holds something else: written anew
        if released_number(settings) == number:
            return
    _replace(settings.data_path("released") / "current", f"{number}\n", settings)


def write_layer(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a layer below a folder. Raises OSError, and TableError for a name that would lead out of it."""
    for path, text in _placed(folder, files):
        _replace(path, text)


def _placed(folder: Path, files: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Each file's own place, the folder for it made."""
    for name, text in files.items():
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\x00" in name:
            raise TableError(f"`{name}` in a release is no path inside a folder of tables.")
        path = folder.joinpath(*place.parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path, text


def _replace(path: Path, text: str, settings: Settings | None = None) -> None:
    """Write a file by a draft beside it and a rename: a kill leaves the old one or the new one, and no link is followed.

    With `settings` it is the owner of `data_dir`'s from before it has its name.
    """
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(handle, 0o644)
            if settings is not None:
                _give_open_file(handle, settings)
            os.fsync(handle)
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def unpacked(files: Mapping[str, str], name: str) -> Iterator[Path]:
    """The files in a folder for a moment; a TableError names `name` instead of that folder."""
    with tempfile.TemporaryDirectory(prefix="omicard-rules-") as folder:
        try:
            for path, text in _placed(Path(folder), files):
                path.write_text(text, "utf-8", newline="")  # for a moment: nothing of it needs to last
            yield Path(folder)
        except TableError as error:
            raise TableError(str(error).replace(folder, name)) from None


def rules_of(files: Mapping[str, str], name: str) -> dict[str, Rule]:
    """The rules that the files themselves bring, by id, later layers over earlier ones. Raises TableError."""
    with unpacked(files, name) as folder:
        found: dict[str, Rule] = {}
        for rules in (*sorted((folder / "packs").glob("*/rules")), folder / "rules"):
            found |= {rule.id: rule for rule in read_rules(rules)}
        return found


def _holds(folder: Path, digest: str) -> bool:
    try:
        return layer_digest(layer_files(folder)) == digest
    except TableError:
        return False


def _make_parent(folder: Path, settings: Settings) -> None:
    if folder.is_symlink():
        # The owner of `data_dir` could point root anywhere with it.
        raise NotADirectoryError(
            errno.ENOTDIR, "is a link; the copies of releases lie in a folder of their own", str(folder)
        )
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _give_to_owner(folder, settings)


def _give_to_owner(path: Path, settings: Settings) -> None:
    """What root writes belongs to the owner of `data_dir`: the services' user writes there, too. No link is followed.

    The folder itself comes last: until then nobody else can put anything into it.
    """
    if os.geteuid() != 0:
        return
    owner = Path(settings.data_dir).stat()
    for one in (*sorted(path.rglob("*"), reverse=True), path):
        os.chown(one, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _give_open_file(handle: int, settings: Settings) -> None:
    if os.geteuid() == 0:
        owner = Path(settings.data_dir).stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)
