"""Rule files -> all that is wrong with their form, each with file and line, and the rules that are sound all the same.

`load_policies` stops at the first fault, because a bad table must stop a start; an author wants to see them all at once.
What is sound here loads there, and the other way round (tests/tables/test_lint.py).
Not here: whether a rule does what its examples say (classify/check.py).
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from omicard_relay.mail import TableError, one_line
from omicard_relay.tables.codes import BounceCode, read_codes
from omicard_relay.tables.findings import Finding, FindingKind, Level
from omicard_relay.tables.layers import Layer, LayerKind, PlacedRule, in_force
from omicard_relay.tables.policies import Policies
from omicard_relay.tables.rules import Rule, rule_faults
from omicard_relay.tables.ruletext import Block, blocks_of
from omicard_relay.tables.toml import convert, read_toml

__all__ = ["Linted", "entry_faults", "lint"]

_FIELDS = {info.encode_name: info for info in msgspec.structs.fields(Rule)}
#: One structure a key, so that each value can be judged although another one is wrong.
_ALONE = {name: msgspec.defstruct(f"_{name}", [(name, info.type)], kw_only=True) for name, info in _FIELDS.items()}
_REQUIRED = tuple(name for name, info in _FIELDS.items() if info.required)


@dataclass(frozen=True, kw_only=True)
class Linted:
    """`stack` are the sound rules of all layers, weakest layer first; `policies` what they are together."""

    findings: tuple[Finding, ...]
    stack: tuple[PlacedRule, ...]
    policies: Policies

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings without the warnings."""
        return tuple(finding for finding in self.findings if finding.level is Level.ERROR)


def lint(layers: Iterable[Layer]) -> Linted:
    """Read the layers, weakest first (the first one must have codes). Raises TableError for the shipped codes only."""
    findings: list[Finding] = []
    stack: list[PlacedRule] = []
    codes: Mapping[int, BounceCode] = {}
    for layer in layers:
        if layer.codes is not None:
            try:
                codes = read_codes(layer.codes, base=codes or None)
            except TableError as error:
                if layer.kind is LayerKind.SHIPPED:
                    raise
                findings.append(_file_finding(layer.codes, FindingKind.BAD_CODES, error))
        seen: dict[str, PlacedRule] = {}
        for path in layer.files:
            for item in _read(path, layer):
                if isinstance(item, Finding):
                    findings.append(item)
                elif (first := seen.get(item.rule.id)) is not None:
                    findings.append(_duplicate(item, first))
                else:
                    seen[item.rule.id] = item
        stack += seen.values()
    rules = tuple(placed.rule for placed in in_force(stack).values())
    base = tuple(placed.rule for placed in stack if placed.layer.kind is LayerKind.SHIPPED)
    policies = Policies(codes=codes, rules=rules, shipped=base)
    return Linted(findings=tuple(findings), stack=tuple(stack), policies=policies)


def entry_faults(entry: Mapping[str, Any], path: Path) -> Iterator[tuple[str, FindingKind, Mapping[str, str]]]:
    """All that is wrong with one rule's keys and values: (key, kind, the places of its sentence)."""
    sound = True
    for key in entry:
        if key not in _FIELDS:
            near = difflib.get_close_matches(key, _FIELDS, 1)
            sound = False
            if near:
                yield key, FindingKind.UNKNOWN_KEY_NEAR, {"entry": one_line(key, 60), "near": near[0]}
            else:
                yield key, FindingKind.UNKNOWN_KEY, {"entry": one_line(key, 60), "allowed": ", ".join(_FIELDS)}
    for key in _REQUIRED:
        if key not in entry or (key == "examples" and entry[key] == []):
            sound = False
            if key == "examples":
                yield key, FindingKind.MISSING_EXAMPLE, {}
            else:
                yield key, FindingKind.MISSING_KEY, {"entry": key}
    for key, value in entry.items():
        if key in _ALONE and not (key == "examples" and value == []):
            try:
                convert({key: value}, _ALONE[key], path)
            except TableError as error:
                sound = False
                yield key, FindingKind.WRONG_VALUE, {"entry": key, "why": one_line(_without(path, error), 200)}
    if sound:
        for fault in rule_faults(convert(dict(entry), Rule, path)):
            found = one_line(fault.found, 80)
            yield fault.key, fault.kind, {"entry": fault.key, "found": found, "why": one_line(fault.why, 120)}


def _read(path: Path, layer: Layer) -> Iterator[Finding | PlacedRule]:
    try:
        raw = read_toml(path)
        text = path.read_text("utf-8")
    except TableError as error:
        yield _file_finding(path, FindingKind.UNREADABLE, error)
        return
    except (OSError, UnicodeDecodeError) as error:  # changed between the two readings
        yield _file_finding(path, FindingKind.UNREADABLE, TableError(str(error)))
        return
    for key in raw.keys() - {"rule"}:
        fields = {"entry": one_line(key, 60), "allowed": "rule"}
        yield Finding(kind=FindingKind.UNKNOWN_KEY, path=path, fields=fields)
    entries = raw.get("rule", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        fields = {"entry": "rule", "why": "write each rule under a `[[rule]]` of its own"}
        yield Finding(kind=FindingKind.WRONG_VALUE, path=path, fields=fields)
        return
    blocks: tuple[Block | None, ...] = blocks_of(text)
    if len(blocks) != len(entries):
        blocks = (None,) * len(entries)
    for entry, block in zip(entries, blocks, strict=True):
        yield from _read_entry(entry, block, path, layer)


def _read_entry(entry: dict[str, Any], block: Block | None, path: Path, layer: Layer) -> Iterator[Finding | PlacedRule]:
    rule_id = one_line(str(entry.get("id", "")), 80)
    bad = False
    for key, kind, fields in entry_faults(entry, path):
        bad = True
        line = block.line_of(key if key in entry else "id") if block else None
        yield Finding(kind=kind, rule_id=rule_id, path=path, line=line, fields=fields)
    if bad:
        return
    rule = convert(entry, Rule, path)
    line = block.line_of("id") if block else None
    if not rule.source:
        yield Finding(kind=FindingKind.MISSING_SOURCE, level=Level.WARNING, rule_id=rule.id, path=path, line=line)
    yield PlacedRule(rule=rule, layer=layer, path=path, line=line, block=block.text if block else "")


def _file_finding(path: Path, kind: FindingKind, error: TableError) -> Finding:
    return Finding(kind=kind, path=path, fields={"why": one_line(_without(path, error), 300)})


def _duplicate(item: PlacedRule, first: PlacedRule) -> Finding:
    other = f"{first.path.name}:{first.line}" if first.line else first.path.name
    return Finding(
        kind=FindingKind.DUPLICATE_ID,
        rule_id=item.rule.id,
        path=item.path,
        line=item.line,
        fields={"other": other},
    )


def _without(path: Path, error: TableError) -> str:
    return str(error).removeprefix(f"{path}: ")
