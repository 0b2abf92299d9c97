"""Where rules come from: the shipped folder, the imported packs by name, the site's own files; later ones win.

The same order as `load_policies` (tests/tables/test_layers.py holds the two in step), but each rule keeps its layer, file
and line, and those that a later layer replaces are still there.
Not here: reading and checking the files (tables/lint.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from omicard_relay.tables.rules import Rule
from omicard_relay.tables.toml import shipped

__all__ = ["Layer", "LayerKind", "PlacedRule", "in_force", "layers_of", "stacked"]


class LayerKind(StrEnum):
    """What kind of folder a layer is; `file` is one named on the command line."""

    SHIPPED = "shipped"
    PACK = "pack"
    SITE = "site"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """`files` are its rule files in order of name; `codes` its table of codes, if it has one; `name` is a pack's."""

    kind: LayerKind
    name: str = ""
    files: tuple[Path, ...] = ()
    codes: Path | None = None

    @property
    def label(self) -> str:
        """`shipped`, `pack NAME`, `site`, `file`."""
        return f"{self.kind} {self.name}" if self.name else str(self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRule:
    """A rule and where it stands; `line` counts from 1, None when it can't be told; `block` is its text in the file."""

    rule: Rule
    layer: Layer
    path: Path
    line: int | None = None
    block: str = ""


def layers_of(site_dir: Path | None) -> tuple[Layer, ...]:
    """The layers that `load_policies(site_dir)` reads, the strongest last."""
    folder = shipped("policies")
    layers = [_layer(LayerKind.SHIPPED, folder)]
    if site_dir is not None:
        packs = sorted(path.parent for path in (site_dir / "packs").glob("*/rules"))
        layers += [_layer(LayerKind.PACK, pack, pack.name) for pack in packs]
        layers.append(_layer(LayerKind.SITE, site_dir))
    return tuple(layers)


def in_force(stack: Iterable[PlacedRule]) -> Mapping[str, PlacedRule]:
    """By id, the rule that holds: that of the strongest layer."""
    return {placed.rule.id: placed for placed in stack}


def stacked(stack: Iterable[PlacedRule]) -> Mapping[str, tuple[PlacedRule, ...]]:
    """By id, the rules of all layers, the weakest first: the last one holds, in the place of the others."""
    found: dict[str, tuple[PlacedRule, ...]] = {}
    for placed in stack:
        found[placed.rule.id] = (*found.get(placed.rule.id, ()), placed)
    return found


def _layer(kind: LayerKind, folder: Path, name: str = "") -> Layer:
    codes = folder / "codes.toml"
    return Layer(
        kind=kind,
        name=name,
        files=tuple(sorted((folder / "rules").glob("*.toml"))),
        codes=codes if codes.exists() else None,
    )
