"""policies/providers.toml -> who runs a receiving server, by the end of its name, and which providers behave alike.

Not here: who a host without a row belongs to (steering/providers.py).
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from omicard_relay.mail import TableError
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = ["ProviderBook", "load_providers"]

#: A name of a provider holds no dot, so that it is never taken for a domain.
_Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]*$", max_length=40)]
_Suffix = Annotated[str, Meta(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$", max_length=253)]


class _Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: _Name
    family: _Name | None = None
    mx: Annotated[tuple[_Suffix, ...], Meta(min_length=1)]
    source: Annotated[str, Meta(min_length=1)]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: tuple[_Provider, ...] = ()


class ProviderBook(msgspec.Struct, frozen=True, kw_only=True):
    """`suffixes`: the end of an MX name -> provider; `families`: provider -> family, where it has one."""

    suffixes: Mapping[str, str]
    families: Mapping[str, str]

    def named(self, host: str) -> str:
        """The provider whose suffix the host's name has, the longest first; "" for none."""
        labels = host.lower().rstrip(".").split(".")
        # 127 labels are the most that a DNS name has.
        for start in range(max(0, len(labels) - 127), len(labels) - 1):
            found = self.suffixes.get(".".join(labels[start:]))
            if found is not None:
                return found
        return ""


def load_providers(site_dir: Path | None = None) -> ProviderBook:
    """The shipped book with the site's providers.toml laid over it suffix by suffix. Raises TableError."""
    paths = [shipped("policies", "providers.toml")]
    if site_dir is not None and (site_dir / "providers.toml").exists():
        paths.append(site_dir / "providers.toml")
    suffixes: dict[str, str] = {}
    families: dict[str, str] = {}
    for path in paths:
        seen: set[str] = set()
        for number, provider in enumerate(convert(read_toml(path), _File, path).provider):
            for suffix in provider.mx:
                if suffix in seen:
                    raise TableError(f"{path}: `provider.{number}.mx`: {suffix} stands twice; keep one of them.")
                seen.add(suffix)
                suffixes[suffix] = provider.name
            if provider.family:
                families[provider.name] = provider.family
    return ProviderBook(suffixes=MappingProxyType(suffixes), families=MappingProxyType(families))
