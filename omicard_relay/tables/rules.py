"""`policies/rules/*.toml` -> `Rule` values: which words, enhanced status codes and reply codes mean which bounce code.

One file a provider or mail system, one `[[rule]]` an entry; every rule brings examples that a test sends through the
whole judge. Patterns are linear-time by construction: what google-re2 does not take (look-around, back-references) is
refused here. RFC 3463 for the form of enhanced status codes.
Not here: weighing one rule against another (classify/weigh.py).
"""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import re2
from msgspec import Meta

from omicard_relay.mail import Action, Road, Stage, TableError, one_line
from omicard_relay.tables.codes import CodeNumber
from omicard_relay.tables.findings import FindingKind
from omicard_relay.tables.toml import convert, read_toml

__all__ = ["GAP", "Rule", "RuleFault", "Strength", "read_rules", "rule_faults"]

#: In a phrase: any few words between two parts.
GAP = "…"
#: A pattern that matches the empty text would fire on every reply.
_STATUS_PHRASE = re.compile(r"[245x]\.\d{1,3}\.\d{1,3}")
_REPLY_PHRASE = re.compile(r"[245]\d\d")
# A counted repeat costs the matcher one state a step; 320 octets hold the longest address and the longest host name.
_LONG_REPEAT = re.compile(r"\{\d*,?(?:[4-9]\d\d|3[3-9]\d|32[1-9]|\d{4,})\}")
_WIDE_REPEAT = re.compile(r"(?<!\\)\.[*+]")
_QUIET = re2.Options()
_QUIET.log_errors = False


class Strength(StrEnum):
    """What kind of statement a rule reads, strongest first."""

    TOKEN = "token"  # noqa: S105 - a provider's token, no password
    TEXT = "text"
    ENHANCED = "enhanced"
    REPLY = "reply"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: when its words and conditions hold, it proposes `bounce_code`.

    `phrases` are plain words (`…` stands for up to 60 characters between them), `pattern` is a regular expression;
    both are read without regard to case, white space folded, every address shown as `a@b`. For strength `enhanced`
    and `reply`, phrases are whole codes such as `5.1.1`, `x.2.2` (2, 4 or 5) and `552`. A rule without words holds on
    its conditions alone. For a 4xx reply, `temporary_code` takes the place of `bounce_code` (the twins 938 and 939) and
    `temporary_action` that of `action`. `weak`: the words often stand beside a better cause. `road` empty: log, dsn and
    manual. `host`: suffixes of the remote host's name or of the recipient's domain.
    """

    id: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9.-]*$")]
    bounce_code: CodeNumber
    temporary_code: CodeNumber | None = None
    strength: Strength
    pattern: str = ""
    phrases: tuple[Annotated[str, Meta(min_length=2)], ...] = ()
    unless: str = ""
    stage: tuple[Stage, ...] = ()
    reply_class: Literal[2, 4, 5] | None = None
    host: tuple[Annotated[str, Meta(pattern="^[a-z0-9.-]+$")], ...] = ()
    road: tuple[Road, ...] = ()
    feedback_type: tuple[str, ...] = ()
    dsn_action: tuple[str, ...] = ()
    new_address: bool = False
    weak: bool = False
    action: Action | None = None
    temporary_action: Action | None = None
    source: str = ""
    seen: datetime.date | None = None
    examples: Annotated[tuple[str, ...], Meta(min_length=1)]
    not_examples: tuple[str, ...] = ()

    @property
    def has_words(self) -> bool:
        """Whether it reads words or codes at all."""
        return bool(self.pattern or self.phrases)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rule: tuple[Rule, ...] = ()


def read_rules(folder: Path) -> tuple[Rule, ...]:
    """All rules of a folder's `*.toml`, by file name, then in file order. Raises TableError: file, line, rule, key."""
    rules: dict[str, tuple[Rule, Path]] = {}
    for path in sorted(folder.glob("*.toml")):
        for rule in _read_file(path):
            if rule.id in rules:
                raise TableError(
                    f"{_place(path, rule.id)}: rule `{rule.id}` also stands in {rules[rule.id][1].name}; ids must differ."
                )
            rules[rule.id] = rule, path
    return tuple(rule for rule, _ in rules.values())


def _read_file(path: Path) -> tuple[Rule, ...]:
    raw = read_toml(path)
    try:
        found = convert(raw, _File, path).rule
    except TableError as error:
        raise TableError(_with_rule(str(error), raw, path)) from None
    for rule in found:
        for fault in rule_faults(rule):
            raise TableError(f"{_place(path, rule.id)}: rule `{rule.id}`, `{fault.key}`: {fault.sentence}")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFault:
    """What is wrong with a rule although its types are right: the key, the kind of fault, what was found, and a sentence."""

    key: str
    kind: FindingKind
    found: str = ""
    why: str = ""
    sentence: str


def rule_faults(rule: Rule) -> Iterator[RuleFault]:
    """What the types alone cannot say."""
    coded = rule.strength in (Strength.ENHANCED, Strength.REPLY)
    shape = _STATUS_PHRASE if rule.strength is Strength.ENHANCED else _REPLY_PHRASE
    allowed = "5.1.1 or x.2.2" if rule.strength is Strength.ENHANCED else "552"
    for phrase in rule.phrases if coded else ():
        if not shape.fullmatch(phrase):
            sentence = f"found `{phrase}`; for strength `{rule.strength}` write codes such as {allowed}."
            yield RuleFault(key="phrases", kind=FindingKind.BAD_PHRASE, found=phrase, why=allowed, sentence=sentence)
    for phrase in rule.phrases:
        if not phrase.replace(GAP, "").strip():
            sentence = f"found `{phrase}`, which also matches an empty text; write words."
            yield RuleFault(key="phrases", kind=FindingKind.EMPTY_MATCH, found=phrase, sentence=sentence)
    conditions = (rule.road, rule.feedback_type, rule.dsn_action, rule.new_address)
    if not rule.has_words and not any(conditions):
        sentence = "a rule needs `pattern`, `phrases`, or a condition on road, feedback_type, dsn_action, new_address."
        yield RuleFault(key="pattern", kind=FindingKind.NO_WORDS, sentence=sentence)
    if coded and rule.pattern:
        sentence = f"strength `{rule.strength}` reads whole codes; list them under `phrases`."
        yield RuleFault(key="pattern", kind=FindingKind.PATTERN_FOR_CODE, found=rule.strength, sentence=sentence)
    for key in ("pattern", "unless"):
        yield from _pattern_faults(key, getattr(rule, key))


def _pattern_faults(key: str, pattern: str) -> Iterator[RuleFault]:
    if not pattern:
        return
    shown = one_line(pattern, 80)
    try:
        compiled = re2.compile(pattern, _QUIET)
    except re2.error as error:
        why = one_line(
            error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error), 120
        )
        sentence = (
            f"found `{shown}`, which google-re2 does not take ({why}); look-around and back-references are not allowed."
        )
        yield RuleFault(key=key, kind=FindingKind.BAD_PATTERN, found=shown, why=why, sentence=sentence)
        return
    if compiled.search(""):
        sentence = f"found `{shown}`, which also matches an empty text; make some part of it obligatory."
        yield RuleFault(key=key, kind=FindingKind.EMPTY_MATCH, found=shown, sentence=sentence)
    if _LONG_REPEAT.search(pattern) or _WIDE_REPEAT.search(pattern):
        sentence = (
            f"found `{shown}`; instead of `.*`, `.+` or a repeat above 320 write a bounded gap such as `.{{0,60}}`."
        )
        yield RuleFault(key=key, kind=FindingKind.UNBOUNDED, found=shown, sentence=sentence)


def _place(path: Path, rule_id: str) -> str:
    """`file:line` of a rule's id, for editors; the file alone when the line is not found."""
    needle = re.compile(rf"""^\s*id\s*=\s*["']{re.escape(rule_id)}["']""")
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if needle.match(line):
            return f"{path}:{number}"
    return str(path)


def _with_rule(message: str, raw: dict[str, Any], path: Path) -> str:
    """The conversion's message, with the rule's id and line put before the key when they can be told."""
    where = re.search(r"rule\.(\d+|\.\.\.)", message)
    entries = raw.get("rule")
    if not where or not isinstance(entries, list):
        return message
    if where.group(1) == "...":
        index = next((n for n, entry in enumerate(entries) if not _converts(entry)), None)
    else:
        index = int(where.group(1))
    entry = entries[index] if index is not None and index < len(entries) else None
    if not isinstance(entry, dict):
        return message
    rule_id = entry.get("id")
    if isinstance(rule_id, str):
        try:
            convert(entry, Rule, path)
        except TableError as error:
            return f"{_place(path, rule_id)}: rule `{rule_id}`, {str(error).removeprefix(f'{path}: ')}"
        return message
    return f"{path}: the {(index or 0) + 1}. rule of the file, which has no `id`: {message.removeprefix(f'{path}: ')}"


def _converts(entry: Any) -> bool:
    try:
        msgspec.convert(entry, Rule, strict=True)
    except msgspec.ValidationError:
        return False
    return True
