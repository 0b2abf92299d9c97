"""Regular expressions of the package: none that the Python of Debian 12 reads wrongly.

Python 3.11.2 has a faulty reading of possessive quantifiers and atomic groups (mended in 3.11.4), by which a pattern
silently matches nothing.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]

import omicard_relay

_FAULTY = {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"}


def _operators(parsed: object) -> Iterator[str]:
    """The names of all operators in a parsed pattern, however deep."""
    if isinstance(parsed, _parser.SubPattern):
        for operator, argument in parsed:
            yield str(operator)
            yield from _operators(argument)
    elif isinstance(parsed, tuple | list):
        for part in parsed:
            yield from _operators(part)


def _patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    for info in pkgutil.walk_packages(omicard_relay.__path__, "omicard_relay."):
        if "migrations" in info.name or info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                yield f"{info.name}.{name}", value


def test_no_pattern_needs_a_newer_python_than_debians() -> None:
    patterns = list(_patterns())
    assert len(patterns) > 30
    wrong = [name for name, pattern in patterns if _FAULTY & set(_operators(_parser.parse(pattern.pattern)))]
    assert wrong == []


def test_a_possessive_pattern_is_found() -> None:
    assert "POSSESSIVE_REPEAT" in set(_operators(_parser.parse("a(b[c]++)")))
    assert "ATOMIC_GROUP" in set(_operators(_parser.parse("(?>a)b")))
