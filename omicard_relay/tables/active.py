"""Which tables are in force on this machine: the published release when there is one, else the site's own folder.

The site's folder (`policies_dir`, else `policies` in `data_dir`) is where rules are written; a release is a copy of it
that was checked and numbered. `released/current` in `data_dir` holds the number, `released/<number>/` the copy: both
are files, so that judging needs no database and goes on without one.
Layers, later ones win: shipped, imported packs (`packs/<name>/`), the site's own files.
Not here: publishing (services/), what the store knows of releases (store/).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from omicard_relay.mail import TableError
from omicard_relay.tables.policies import Policies, load_policies
from omicard_relay.tables.settings import Settings

__all__ = [
    "active_folder",
    "layer_digest",
    "layer_files",
    "load_active",
    "load_draft",
    "release_folder",
    "released_number",
    "site_folder",
]


def site_folder(settings: Settings) -> Path:
    """The folder in which the site's own tables are written; it need not exist unless `policies_dir` names it."""
    return Path(settings.policies_dir) if settings.policies_dir else settings.data_path("policies")


def release_folder(settings: Settings, number: int) -> Path:
    """Where the copy of a release lies."""
    return settings.data_path("released") / str(number)


def released_number(settings: Settings) -> int | None:
    """The number of the release in force on this machine; None before the first one. Raises TableError."""
    path = settings.data_path("released") / "current"
    try:
        text = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}; it tells which release of the rules is in force.") from None
    if not text.isdecimal():
        raise TableError(f"{path}: holds {text[:20]!r} and no number; `omicard-relay rules rollback N` writes it anew.")
    return int(text)


def active_folder(settings: Settings) -> Path | None:
    """The folder laid over the shipped tables; None when there is neither a release nor a site folder. Raises TableError."""
    number = released_number(settings)
    if number is not None:
        folder = release_folder(settings, number)
        if not folder.is_dir():
            raise TableError(
                f"{folder}: release {number} is in force, and its copy is gone; `omicard-relay rules rollback {number}` "
                "writes it anew."
            )
        return folder
    return _draft_folder(settings)


def load_active(settings: Settings) -> Policies:
    """The tables in force. Raises TableError."""
    return load_policies(active_folder(settings))


def load_draft(settings: Settings) -> Policies:
    """The tables as the site's folder has them, published or not. Raises TableError."""
    return load_policies(_draft_folder(settings))


def layer_files(folder: Path | None) -> dict[str, str]:
    """The tables of a folder as text, by path inside it: `codes.toml`, `rules/own.toml`, `packs/<name>/pack.json`.

    Raises TableError when one can't be read.
    """
    if folder is None or not folder.is_dir():
        return {}
    found = {}
    for pattern in (
        "*.toml",
        "rules/*.toml",
        "formats/*.toml",
        "packs/*/pack.json",
        "packs/*/codes.toml",
        "packs/*/rules/*.toml",
    ):
        for path in sorted(folder.glob(pattern)):
            try:
                found[path.relative_to(folder).as_posix()] = path.read_bytes().decode("utf-8")  # with its line ends
            except (OSError, UnicodeDecodeError) as error:
                raise TableError(f"{path}: cannot be read: {error}") from None
    return found


def layer_digest(files: Mapping[str, str]) -> str:
    """SHA-256, in hexadecimal, over the names and texts of a layer, whatever their order."""
    whole = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name].encode()):
            whole.update(len(part).to_bytes(8, "big"))
            whole.update(part)
    return whole.hexdigest()


def _draft_folder(settings: Settings) -> Path | None:
    folder = site_folder(settings)
    return folder if settings.policies_dir or folder.is_dir() else None
