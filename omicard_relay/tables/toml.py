"""TOML files -> typed immutable values, with errors that name file, key, what was found and what is allowed.

The only place that reads TOML (tests/test_floors.py holds it). Shipped data is found beside the checkout or inside the wheel.
Not here: what the tables mean (each has a module of its own).
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

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
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise TableError(f"{path}: there is no such file; name an existing one.") from None
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from None
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: is not UTF-8 at byte {error.start}; save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"{path}: is not valid TOML: {error}.") from None


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
        allowed = list(getattr(struct, "__struct_encode_fields__", ()))
        near = difflib.get_close_matches(unknown.group(1), allowed, 1)
        hint = f"; did you mean `{near[0]}`?" if near else "."
        return f"[{key}] has no key `{unknown.group(1)}`{hint} Allowed are: {', '.join(allowed)}."
    found = f" (found {table!r})" if steps and not isinstance(table, dict | list) and table is not None else ""
    return f"`{key}`: {text}{found}."


def _child(struct: Any, name: str) -> Any:
    """The type of one step down: a structure's field, or the members of a list or mapping."""
    for candidate in (struct, *getattr(struct, "__args__", ())):
        if name and hasattr(candidate, "__struct_fields__"):
            for info in msgspec.structs.fields(candidate):
                if info.encode_name == name:
                    return _inner(info.type)
    return _inner(struct)


def _inner(kind: Any) -> Any:
    """A container's or optional's member that is a structure, else the type itself."""
    for member in getattr(kind, "__args__", ()):
        found = _inner(member)
        if hasattr(found, "__struct_fields__"):
            return found
    return kind
