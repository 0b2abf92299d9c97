"""`Finding`: one thing that is wrong with a rule file or with the rules as a set, in a form that can be said in any language.

`kind` is a closed set, `fields` fill the places of its sentence; the sentences stand in cli/rules_findings.py.
Not here: finding them (tables/lint.py for the form of files, classify/check.py for what the judge makes of the rules).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = ["Finding", "FindingKind", "Level"]


class Level(StrEnum):
    """An error stops a release; a warning is for the author."""

    ERROR = "error"
    WARNING = "warning"


class FindingKind(StrEnum):
    """What can be wrong. First the form of a file, then what the judge makes of the rules."""

    UNREADABLE = "unreadable"
    BAD_CODES = "bad-codes"
    UNKNOWN_KEY = "unknown-key"
    UNKNOWN_KEY_NEAR = "unknown-key-near"
    WRONG_VALUE = "wrong-value"
    MISSING_KEY = "missing-key"
    MISSING_EXAMPLE = "missing-example"
    MISSING_SOURCE = "missing-source"
    DUPLICATE_ID = "duplicate-id"
    NO_WORDS = "no-words"
    BAD_PHRASE = "bad-phrase"
    PATTERN_FOR_CODE = "pattern-for-code"
    BAD_PATTERN = "bad-pattern"
    EMPTY_MATCH = "empty-match"
    UNBOUNDED = "unbounded"

    EXAMPLE_FAILS = "example-fails"
    NOT_EXAMPLE_HITS = "not-example-hits"
    CONFLICT = "conflict"
    SAME_PHRASE = "same-phrase"
    DEAD_PHRASE = "dead-phrase"
    UNREACHABLE_PHRASE = "unreachable-phrase"
    SHADOWED = "shadowed"
    NEVER_DECIDES = "never-decides"
    REDUNDANT = "redundant"
    CODE_WITHOUT_RULE = "code-without-rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`line` counts from 1; `rule_id` is empty where no rule can be named, `path` None for the set as a whole."""

    kind: FindingKind
    level: Level = Level.ERROR
    rule_id: str = ""
    path: Path | None = None
    line: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
