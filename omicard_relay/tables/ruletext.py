"""A rule file as text: where each rule stands, and one rule put in, exchanged or taken out with the rest left byte for byte.

Comments and order survive, because the text is cut and never written anew. Every cut is checked: the new text must
read as the old rules with just this one change, else TableError says to edit by hand (a rule in an inline table, a
`[[rule]]` inside a multi-line string). TOML 1.0.
Not here: files, locks (services/rulefiles.py), what a rule means (tables/rules.py).
"""

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any

import msgspec

from omicard_relay.mail import TableError
from omicard_relay.tables.rules import Rule

__all__ = ["Block", "added", "blocks_of", "replaced", "without", "written"]

_HEADER = re.compile(r"[ \t]*\[\[[ \t]*rule[ \t]*\]\][ \t]*(?:#.*)?\r?")
#: A list longer than this is written one item a line.
_LINE = 100
_BY_HAND = "the file has a form that is not edited safely here; change it with an editor."


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One `[[rule]]` with its lines: from the header on, which is line `start` (counted from 0), without what trails it."""

    start: int
    lines: tuple[str, ...]

    @property
    def end(self) -> int:
        """The line after the last one, counted from 0."""
        return self.start + len(self.lines)

    @property
    def text(self) -> str:
        """The rule as it stands in the file, without a line break at the end."""
        return "\n".join(self.lines)

    def line_of(self, key: str) -> int:
        """The line, counted from 1, in which a key stands; that of the header when it is not there."""
        needle = re.compile(rf"""[ \t]*["']?{re.escape(key)}["']?[ \t]*=""")
        return next(
            (n for n, line in enumerate(self.lines, start=self.start + 1) if needle.match(line)), self.start + 1
        )


def blocks_of(text: str) -> tuple[Block, ...]:
    """The rules' places in file order. Blank lines and comments in front of the next rule belong to that one."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _HEADER.fullmatch(line.removeprefix("\ufeff"))]
    blocks = []
    for start, following in zip(starts, [*starts, len(lines)][1:], strict=True):
        end = following
        while end > start + 1 and (not (line := lines[end - 1].strip()) or line.startswith("#")):
            end -= 1
        blocks.append(Block(start=start, lines=tuple(lines[start:end])))
    return tuple(blocks)


def written(rule: Rule) -> str:
    """The rule as a `[[rule]]` block, keys in the order of the type, defaults left out, with a line break at the end."""
    lines = ["[[rule]]"]
    for info in msgspec.structs.fields(Rule):
        value = getattr(rule, info.name)
        if info.default is msgspec.NODEFAULT or value != info.default:
            lines.append(f"{info.encode_name} = {_value(value)}")
    return "\n".join(lines) + "\n"


def added(text: str, rule: Rule) -> str:
    """The text with the rule at its end. Raises TableError."""
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    return _checked(text + gap + written(rule), [*_entries(text), _entry(rule)])


def replaced(text: str, rule: Rule) -> str:
    """The text with the rule in the place of the one with its id. Raises TableError."""
    entries, index, block = _found(text, rule.id)
    lines = text.split("\n")
    new = [*lines[: block.start], *written(rule).rstrip("\n").split("\n"), *lines[block.end :]]
    return _checked("\n".join(new), [*entries[:index], _entry(rule), *entries[index + 1 :]])


def without(text: str, rule_id: str) -> str:
    """The text without the rule; the comments around it stay. Raises TableError."""
    entries, index, block = _found(text, rule_id)
    lines = text.split("\n")
    end = block.end
    if end < len(lines) - 1 and not lines[end].strip():
        end += 1
    return _checked("\n".join([*lines[: block.start], *lines[end:]]), [*entries[:index], *entries[index + 1 :]])


def _found(text: str, rule_id: str) -> tuple[list[dict[str, Any]], int, Block]:
    entries, blocks = _entries(text), blocks_of(text)
    index = next((n for n, entry in enumerate(entries) if entry.get("id") == rule_id), None)
    if index is None or len(blocks) != len(entries):
        raise TableError(f"rule `{rule_id}`: {_BY_HAND}")
    return entries, index, blocks[index]


def _checked(text: str, wanted: list[dict[str, Any]]) -> str:
    if _entries(text) != wanted:
        raise TableError(_BY_HAND)
    return text


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        entries = tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n")).get("rule", [])
    except (tomllib.TOMLDecodeError, RecursionError):
        raise TableError(_BY_HAND) from None
    return entries if isinstance(entries, list) else []


def _entry(rule: Rule) -> dict[str, Any]:
    entry: dict[str, Any] = tomllib.loads(written(rule))["rule"][0]
    return entry


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a basic string of TOML, but for DEL, which TOML wants escaped.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        items = [_value(item) for item in value]
        if sum(map(len, items)) > _LINE and len(items) > 1:
            return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
        return f"[{', '.join(items)}]"
    return str(value)  # a whole number or a date
