"""`policies/codes.toml` -> the 40 bounce codes: name, reason in two languages, default action, how they yield.

A code is a cause, never an action: `action` is only the table's default (steering/decide.py). `generality` and
`yields_to` say which cause wins when a reply states two of them (classify/weigh.py).
Not here: which words mean which code (tables/rules.py).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from omicard_relay.mail import Action, TableError
from omicard_relay.tables.toml import convert, read_toml

__all__ = ["FIRST_CODE", "LAST_CODE", "BounceCode", "CodeNumber", "read_codes"]

FIRST_CODE = 900
LAST_CODE = 939
CodeNumber = Annotated[int, Meta(ge=FIRST_CODE, le=LAST_CODE)]


class BounceCode(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One code. `zh_tw` is the product's own wording; `en` says the same.

    `address`: the code says that the address is bad, so it may lead to suppression. `generality` 0: a cause of its own;
    1: a cause with no detail; 2 and more: hardly a cause, and the enhanced status code may know better. `yields_to`:
    codes that win when a reply states both.
    """

    number: CodeNumber
    name: Annotated[str, Meta(pattern="^[a-z][a-z-]*$")]
    en: Annotated[str, Meta(min_length=1)]
    zh_tw: Annotated[str, Meta(min_length=1)] = msgspec.field(name="zh-TW")
    action: Action
    address: bool = False
    generality: Annotated[int, Meta(ge=0, le=4)] = 0
    yields_to: tuple[CodeNumber, ...] = ()

    def text(self, language: str) -> str:
        """The reason in `en` or `zh-TW`."""
        return self.zh_tw if language == "zh-TW" else self.en


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: tuple[BounceCode, ...] = ()


def read_codes(path: Path, *, base: Mapping[int, BounceCode] | None = None) -> Mapping[int, BounceCode]:
    """The codes of a file by number, laid over `base`. Raises TableError; without `base` all 40 must be there."""
    codes = dict(base or {})
    seen: set[int] = set()
    for code in convert(read_toml(path), _File, path).code:
        if code.number in seen:
            raise TableError(f"{path}: code {code.number} stands twice; keep one `[[code]]` of it.")
        seen.add(code.number)
        codes[code.number] = code
    missing = [str(number) for number in range(FIRST_CODE, LAST_CODE + 1) if number not in codes]
    if missing:
        raise TableError(f"{path}: code {', '.join(missing)} is missing; all of 900 to 939 must have a `[[code]]`.")
    names = [code.name for code in codes.values()]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise TableError(f"{path}: the name `{double}` is given to two codes; names must differ.")
    return MappingProxyType(dict(sorted(codes.items())))
