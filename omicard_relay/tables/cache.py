"""Values that are dear to make, kept on disk under the digest of what they are made of, so that a start takes no seconds.

A cache and nothing more: whatever is wrong with it (no folder, a full disk, a damaged or foreign file) costs time only.
Values may hold compiled programs, so that nobody else may write here: a folder or file of another owner, or one that
others may write to, is not read.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from omicard_relay import __version__

__all__ = ["cache_folder", "cached", "digest_of"]

#: Files of one kind that are kept: the sets of a few releases and versions.
_KEPT = 8
_OTHERS_WRITE = 0o022
_T = TypeVar("_T")


def cache_folder() -> Path | None:
    """Where values are kept: $OMICARD_RELAY_CACHE, what systemd's CacheDirectory= gives, or the user's cache folder.

    None when the variable is set to nothing, or there is no home.
    """
    named = os.environ.get("OMICARD_RELAY_CACHE")
    if named is not None:
        return Path(named) if named else None
    from_systemd = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    if from_systemd:
        return Path(from_systemd)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "omicard-relay"
    except RuntimeError:
        return None


def digest_of(parts: Iterable[bytes]) -> str:
    """SHA-256, in hexadecimal, of the parts in their order and of this program's version."""
    whole = hashlib.sha256(__version__.encode())
    for part in parts:
        whole.update(len(part).to_bytes(8, "big"))
        whole.update(part)
    return whole.hexdigest()


def cached(kind: str, digest: str, of: type[_T], make: Callable[[], _T], *, fits: Callable[[_T], bool] = bool) -> _T:
    """The value kept under this digest, else a new one, to be kept; `fits` may refuse a kept one. Raises what `make` raises."""
    folder = cache_folder()
    path = folder / f"{kind}-{digest}" if folder else None
    if path is not None:
        with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
            if _is_ours(path.parent) and _is_ours(path):
                value = msgspec.msgpack.decode(path.read_bytes(), type=of)
                if fits(value):
                    return value
    value = make()
    if path is not None:
        with contextlib.suppress(OSError):
            _keep(path, msgspec.msgpack.encode(value), kind)
    return value


def _is_ours(path: Path) -> bool:
    facts = path.stat()
    return facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS_WRITE


def _keep(path: Path, octets: bytes, kind: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(path.parent):
        return
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(octets)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    for old in sorted(path.parent.glob(f"{kind}-*"), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
        old.unlink(missing_ok=True)
