"""TOML files -> typed immutable values, with errors that name file, key, what was found and what is allowed.

The only place that reads TOML (tests/test_floors.py holds it). Shipped data is found beside the checkout or inside the wheel.
Not here: what the tables mean (each has a module of its own).
"""

import difflib
import enum
import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from omicard_relay.mail import TableError

__all__ = ["convert", "read_toml", "shipped"]

T = TypeVar("T")
_PACKAGE = Path(__file__).resolve().parent.parent


def shipped(*parts: str) -> Path:
    """The path of shipped data, for example `shipped("policies", "codes.toml")`: in the wheel, else in the checkout."""
    inside = _PACKAGE / "_data"
    return (inside if inside.is_dir() else _PACKAGE.parent).joinpath(*parts)


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables. Raises TableError when it is missing, unreadable or no TOML."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file; name an existing one.") from None
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"{path}: is not valid TOML: {error}.") from None
    except RecursionError:
        raise TableError(f"{path}: is nested too deep; no table of ours is.") from None


def convert(raw: Any, kind: type[T], path: Path) -> T:
    """The raw tables as a validated `kind` (a msgspec structure). Raises TableError: file, key, found, allowed."""
    try:
        return msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise TableError(f"{path}: {_explain(str(error), raw, kind)}") from None


def _explain(message: str, raw: Any, kind: Any) -> str:
    """msgspec's sentence with the key in TOML's spelling, the value found, and for a typo the keys that are allowed."""
    text, _, where = message.partition(" - at `")
    steps = re.findall(r"\.([A-Za-z0-9_-]+)|\[(\d+|\.\.\.)\]", where)
    table, struct = raw, kind
    for name, index in steps:
        struct = _child(struct, name)
        try:
            table = table[name] if name else table[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            table = None
    key = ".".join(name or index for name, index in steps) or "(top level)"
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if unknown:
        allowed = [name for one in _unions(struct) for name in getattr(one, "__struct_encode_fields__", ())]
        near = difflib.get_close_matches(unknown.group(1), allowed, 1)
        hint = f"; did you mean `{near[0]}`?" if near else "."
        return f"{f'[{key}]' if steps else 'the file'} has no key `{unknown.group(1)}`{hint} Allowed are: {', '.join(allowed)}."
    if isinstance(table, dict | list) and text.startswith("Expected"):
        found = f" (found a {'table' if isinstance(table, dict) else 'list'})"
    else:
        found = f" (found {table!r})" if steps and not isinstance(table, dict | list) and table is not None else ""
    choices = _choices(struct) if "enum value" in text else []
    allowed_values = f"; allowed are {', '.join(map(repr, choices))}" if choices else ""
    return f"`{key}`: {text}{found}{allowed_values}."


def _child(kind: Any, name: str) -> Any:
    """The type of one step down: a structure's field by its name in the file, or the members of a list or mapping."""
    for candidate in _unions(kind):
        if name and hasattr(candidate, "__struct_fields__"):
            for info in msgspec.structs.fields(candidate):
                if info.encode_name == name:
                    return info.type
        elif members := get_args(candidate):
            return members[-1] if members[-1] is not ... else members[0]
    return None


def _unions(kind: Any) -> list[Any]:
    """The type itself, or what an optional or union may be, without `Annotated`."""
    if hasattr(kind, "__metadata__"):
        return _unions(kind.__origin__)
    if get_origin(kind) in (Union, UnionType):
        return [inner for member in get_args(kind) for inner in _unions(member)]
    return [kind]


def _choices(kind: Any) -> list[Any]:
    """The values that a Literal or an enumeration allows."""
    found: list[Any] = []
    for candidate in _unions(kind):
        if get_origin(candidate) is Literal:
            found += get_args(candidate)
        elif isinstance(candidate, type) and issubclass(candidate, enum.Enum):
            found += [member.value for member in candidate]
    return found
