"""Imported rule packs on disk: reading a pack, what it would change, and putting it in whole or not at all.

`packs/NAME` in the site's folder is a symbolic link to a folder below `.packs/`; a new version is written beside the old one,
synced, and then the link is replaced by one rename(2). A kill at any moment leaves the old pack or the new one; what
it leaves behind is cleared away by the next import.
Callers hold `site_lock` (services/rulefiles.py) from `prepare_import` to `install`.
Not here: the file's form and signature (signing/rule_pack.py), whom to trust (services/packkeys.py), a release.
"""

import base64
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from omicard_relay.classify.check import Flip, example_findings, flips
from omicard_relay.mail import SigningError, TableError
from omicard_relay.services.packkeys import check_signer, read_bounded
from omicard_relay.services.rulefiles import read_layers, sync_folder
from omicard_relay.signing.rule_pack import PACK_LIMIT, RulePack, open_pack
from omicard_relay.tables.findings import Finding, FindingKind, Level
from omicard_relay.tables.layers import Layer, LayerKind, in_force, layers_of
from omicard_relay.tables.lint import Linted, lint
from omicard_relay.tables.ruletext import without

__all__ = [
    "InstalledPack",
    "PackChange",
    "collect_files",
    "export_findings",
    "install",
    "installed_packs",
    "prepare_import",
    "read_pack",
    "remove_pack",
]

#: What makes a pack unfit, and not only untidy: the importing site cannot mend it.
_REFUSING = frozenset({FindingKind.EXAMPLE_FAILS, FindingKind.NOT_EXAMPLE_HITS})
_STORE = ".packs"


class InstalledPack(msgspec.Struct, frozen=True, kw_only=True):
    """The pack.json of an installed pack; `intact` is False when its files were changed by hand."""

    name: str
    version: int
    created: str
    digest: str
    public_key: str
    intact: bool = True

    @property
    def key(self) -> bytes:
        """The raw public key that signed."""
        return base64.b64decode(self.public_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackChange:
    """What an import would do. `refusals` and `breaks` must be empty for it to be allowed; `is_same`: nothing to do."""

    pack: RulePack
    installed: InstalledPack | None
    is_same: bool
    findings: tuple[Finding, ...] = ()
    flips: tuple[Flip, ...] = ()
    rules: int = 0

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings that forbid it."""
        return tuple(finding for finding in self.findings if finding.level is Level.ERROR)

    @property
    def breaks(self) -> tuple[Flip, ...]:
        """The examples of other rules that it would break."""
        return tuple(flip for flip in self.flips if flip.breaks)


def read_pack(path: Path) -> RulePack:
    """The pack of a file, its signature verified. Raises SigningError."""
    octets = read_bounded(path, PACK_LIMIT)
    try:
        return open_pack(octets)
    except SigningError as error:
        raise SigningError(f"{path}: {error}") from None


def installed_packs(folder: Path) -> tuple[InstalledPack, ...]:
    """The packs of the site's folder by name. Raises TableError when a pack.json can't be read."""
    found = []
    for path in sorted((folder / "packs").glob("*/pack.json")):
        try:
            pack = msgspec.json.decode(path.read_bytes(), type=InstalledPack)
        except (OSError, msgspec.MsgspecError) as error:
            raise TableError(
                f"{path}: cannot be read ({error}); `omicard-relay rules packs remove {path.parent.name}`, then import it."
            ) from None
        found.append(msgspec.structs.replace(pack, intact=_is_intact(path.parent, path)))
    return tuple(found)


def prepare_import(folder: Path, pack: RulePack, keys: Mapping[bytes, Path]) -> PackChange:
    """Judge the set with the pack in it. `keys` were named for this import alone.

    Raises SigningError for a signer who is not trusted, TableError for a downgrade and for a site whose rules are bad already.
    """
    installed = next((found for found in installed_packs(folder) if found.name == pack.name), None)
    check_signer(folder, pack, keys, installed.key if installed else None)
    if installed is not None and pack.version == installed.version and pack.digest == installed.digest:
        if installed.intact:
            return PackChange(pack=pack, installed=installed, is_same=True)
    elif installed is not None and pack.version <= installed.version:
        raise TableError(
            f"pack {pack.name} is installed in version {installed.version}, and this is version {pack.version}; ask for a "
            f"later one. To go back on purpose: `omicard-relay rules packs remove {pack.name}`, then import it."
        )
    before = read_layers(folder).policies
    with tempfile.TemporaryDirectory(prefix="omicard-pack-") as place:
        inside = Path(place) / pack.name
        _write_files(inside, pack)
        linted = lint(_layers_with(folder, inside))
        findings = tuple(_shown(finding, inside) for finding in _findings_of(linted, inside))
    return PackChange(
        pack=pack,
        installed=installed,
        is_same=False,
        findings=findings,
        flips=flips(before, linted.policies),
        rules=sum(placed.layer.name == pack.name for placed in linted.stack),
    )


def install(folder: Path, pack: RulePack) -> None:
    """Put the pack in the place of its older version. Raises TableError; the old one stays then."""
    link = folder / "packs" / pack.name
    store = folder / _STORE
    target = store / f"{pack.name}-{pack.version}-{secrets.token_hex(8)}"
    fresh = store / f".link-{secrets.token_hex(8)}"
    if link.exists() and not link.is_symlink():
        raise TableError(f"{link}: was not imported, but put there by hand; move it away first.")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        store.mkdir(exist_ok=True)
        _write_files(target, pack)
        head = json.dumps(pack.head(), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        _write_synced(target / "pack.json", head)
        for place in (target / "rules", target, store):
            sync_folder(place)
        fresh.symlink_to(Path("..") / _STORE / target.name)
        fresh.replace(link)
        sync_folder(link.parent)
    except OSError as error:
        raise TableError(f"{folder}: the pack cannot be written ({error.strerror}); the old set stays.") from None
    _sweep(folder)


def remove_pack(folder: Path, name: str) -> bool:
    """Take a pack out; False when there is none of that name. Raises TableError."""
    link = folder / "packs" / name
    if not link.is_symlink():
        if link.exists():
            raise TableError(f"{link}: was not imported, but put there by hand; remove it by hand.")
        return False
    try:
        link.unlink()
        sync_folder(link.parent)
    except OSError as error:
        raise TableError(f"{link}: cannot be removed ({error.strerror}).") from None
    _sweep(folder)
    return True


def collect_files(folder: Path | None, *, everything: bool) -> dict[str, str]:
    """The files of a new pack: the site's own, or all layers with only the rules in force. Raises TableError."""
    linted = read_layers(folder)
    holding = {id(placed) for placed in in_force(linted.stack).values()}
    files: dict[str, str] = {}
    for layer in layers_of(folder if folder is not None and folder.is_dir() else None):
        if layer.kind is not LayerKind.SITE and not everything:
            continue
        for path in layer.files:
            text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
            for placed in linted.stack:
                if placed.path == path and id(placed) not in holding:
                    text = without(text, placed.rule.id)
            name = f"{layer.label.replace(' ', '-')}-{path.name}" if everything else path.name
            files[f"rules/{name.lower()}"] = text
        if layer.codes is not None and layer.kind is not LayerKind.SHIPPED:
            files["codes.toml"] = layer.codes.read_text("utf-8")
    return files


def export_findings(folder: Path | None, *, everything: bool) -> tuple[Finding, ...]:
    """Why an importing site would refuse the pack of `collect_files`. Raises TableError."""
    linted = read_layers(folder)
    holding = {i: p for i, p in in_force(linted.stack).items() if everything or p.layer.kind is LayerKind.SITE}
    found = (one for one in example_findings(linted.policies, holding) if one.kind in _REFUSING)
    return tuple(replace(one, path=holding[one.rule_id].path, line=holding[one.rule_id].line) for one in found)


def _findings_of(linted: Linted, inside: Path) -> Iterator[Finding]:
    """The faults of the pack's files, and of its rules as far as they hold."""
    yield from (one for one in linted.errors if one.path and one.path.is_relative_to(inside))
    holding = {i: placed for i, placed in in_force(linted.stack).items() if placed.path.is_relative_to(inside)}
    for finding in example_findings(linted.policies, holding):
        if finding.kind is FindingKind.SHADOWED:
            continue  # for the author
        placed = holding[finding.rule_id]
        level = Level.ERROR if finding.kind in _REFUSING else Level.WARNING
        yield replace(finding, level=level, path=placed.path, line=placed.line)


def _shown(finding: Finding, inside: Path) -> Finding:
    """The finding with the file as it is called in the pack."""
    if finding.path is None or not finding.path.is_relative_to(inside.parent):
        return finding
    return replace(finding, path=finding.path.relative_to(inside.parent))


def _layers_with(folder: Path, inside: Path) -> list[Layer]:
    """The site's layers with the pack in its place by name."""
    codes = inside / "codes.toml"
    layer = Layer(
        kind=LayerKind.PACK,
        name=inside.name,
        files=tuple(sorted((inside / "rules").glob("*.toml"))),
        codes=codes if codes.exists() else None,
    )
    others = [x for x in layers_of(folder) if x.kind is not LayerKind.PACK or x.name != layer.name]
    order = {LayerKind.SHIPPED: 0, LayerKind.PACK: 1, LayerKind.SITE: 2}
    return sorted([*others, layer], key=lambda one: (order[one.kind], one.name))


def _write_files(target: Path, pack: RulePack) -> None:
    (target / "rules").mkdir(parents=True)
    for name, text in pack.files.items():
        _write_synced(target / name, text)


def _write_synced(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _is_intact(folder: Path, head: Path) -> bool:
    """Whether the files still are what was signed, by whomever."""
    try:
        whole = json.loads(head.read_bytes())
        names = [*folder.glob("codes.toml"), *folder.glob("rules/*.toml")]
        files = {path.relative_to(folder).as_posix(): path.read_bytes().decode("utf-8") for path in names}
        digest = str(whole.pop("digest"))
        return open_pack(json.dumps({**whole, "files": files}, ensure_ascii=False).encode("utf-8")).digest == digest
    except (OSError, ValueError, KeyError, AttributeError, SigningError):
        return False


def _sweep(folder: Path) -> None:
    """Clear away the folders to which no link leads; what cannot be removed stays for the next time."""
    wanted = {link.resolve().name for link in (folder / "packs").iterdir() if link.is_symlink()}
    for path in (folder / _STORE).iterdir():
        if path.name not in wanted:
            if path.is_symlink():
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path, ignore_errors=True)
