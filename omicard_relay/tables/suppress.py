"""policies/suppress.toml -> when an address that fails becomes a known bounce.

Only address codes may stand there (invariant 3): anything else stops the start.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from omicard_relay.mail import TableError
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = ["ADDRESS_CODES", "SuppressRule", "load_suppress"]

#: The codes that say that the address is bad; no other may ever suppress it.
ADDRESS_CODES = frozenset({901, 902, 903, 905, 908, 910, 912, 920, 927, 934})


#: A hundred years are for ever, and any date can be counted with them.
_Days = Annotated[int, Meta(ge=1, le=36_500)]


class SuppressRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after` failures with `code` within `days` days put the address on the list for `for_days` days."""

    code: int
    after: Annotated[int, Meta(ge=1)]
    days: _Days
    for_days: _Days
    source: str


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    suppress: tuple[SuppressRule, ...] = ()


def load_suppress(site_dir: Path | None = None) -> Mapping[int, SuppressRule]:
    """The rules by code; a site's own suppress.toml replaces them code by code. Raises TableError."""
    rules: dict[int, SuppressRule] = {}
    paths = [shipped("policies", "suppress.toml")]
    if site_dir is not None and (site_dir / "suppress.toml").exists():
        paths.append(site_dir / "suppress.toml")
    for path in paths:
        seen: set[int] = set()
        for number, rule in enumerate(convert(read_toml(path), _File, path).suppress):
            if rule.code not in ADDRESS_CODES:
                allowed = ", ".join(map(str, sorted(ADDRESS_CODES)))
                raise TableError(
                    f"{path}: `suppress.{number}.code`: {rule.code} does not speak of the address; allowed are {allowed}."
                )
            if rule.code in seen:
                raise TableError(f"{path}: `suppress.{number}.code`: {rule.code} stands twice; keep one of them.")
            seen.add(rule.code)
            rules[rule.code] = rule
    return rules
