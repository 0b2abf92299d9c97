"""A world's TOML file -> `World`: the receivers with their hidden behaviour, the campaigns and our source IPs, for `simulate`.

Everything has a default, so that a world may be a few lines; docs/worlds.md lists each key, and a test holds the two in
step. Spans of time are seconds, or a text such as "90s", "5m", "2h", "1d"; here they become seconds. A behaviour may be
`true` (with its defaults) or `false` (none). What the behaviours do is in steering/simulation/receivers.py.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omicard_relay.mail import TableError
from omicard_relay.tables.toml import convert, read_toml, shipped
from omicard_relay.tables.worldtables import (
    BEHAVIOURS,
    SPANS,
    TEXT_KINDS,
    Behaviour,
    Phase,
    Provider,
    Source,
    World,
    WorldFile,
)

__all__ = ["load_world", "shipped_worlds", "world_of"]

_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|h|d)")
_UNIT = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
#: What a whole campaign may be: beyond it a run takes hours.
_MOST_RECIPIENTS = 20_000_000
#: Tables that may stand once, without double brackets.
_LISTS = ("campaign", "ip", "provider")
_LISTED = ("rate", "banned", "refuse", "change")
#: Keys of a provider that are no behaviour and cannot change later.
_FIXED = ("name", "mx", "domains", "share")


def shipped_worlds() -> Mapping[str, Path]:
    """The worlds that come with the product: name -> file."""
    return {path.stem: path for path in sorted(shipped("policies", "worlds").glob("*.toml"))}


def load_world(path: Path) -> World:
    """The world of a file; a path that is no file but the name of a shipped world finds that. Raises TableError."""
    if (
        not path.exists()
        and path.name == str(path)
        and (named := shipped_worlds().get(path.name.removesuffix(".toml")))
    ):
        path = named
    return world_of(read_toml(path), path)


def world_of(raw: dict[str, Any], path: Path) -> World:
    """The world of raw tables; `path` is for the messages. Raises TableError: file, key, found, allowed."""
    raw = _tidy(raw, path, "")
    for key in _LISTS:
        if isinstance(raw.get(key), dict):
            raw[key] = [raw[key]]
    for provider in raw["provider"] if isinstance(raw.get("provider"), list) else []:
        if isinstance(provider, dict):
            _plain(provider)
    file = convert(raw, WorldFile, path)
    ips = _sources(file, path)
    providers = tuple(_provider(row, number, raw, path, ips) for number, row in enumerate(file.provider))
    _check(file, providers, path)
    return World(
        name=file.name or path.stem,
        about=file.about,
        deadline=file.deadline,
        campaigns=file.campaign,
        ips=ips,
        providers=providers,
    )


def _tidy(raw: Any, path: Path, where: str) -> Any:
    """A copy in which every span of time is a number."""
    if isinstance(raw, dict):
        tidied = {}
        for key, value in raw.items():
            inner = f"{where}.{key}" if where else key
            tidied[key] = (
                _span(value, path, inner) if key in SPANS and isinstance(value, str) else _tidy(value, path, inner)
            )
        return tidied
    if isinstance(raw, list):
        return [_tidy(value, path, f"{where}.{number}") for number, value in enumerate(raw)]
    return raw


def _span(text: str, path: Path, where: str) -> float:
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise TableError(
            f'{path}: `{where}`: {text!r} is no span of time; write seconds, or such as "90s", "5m", "2h", "1d".'
        )
    return float(found[1]) * _UNIT[found[2]]


def _plain(table: dict[str, Any]) -> None:
    """`greylist = true` -> its defaults, `false` -> none; single tables where lists stand -> lists of one."""
    for key in (*BEHAVIOURS, "banned"):
        if table.get(key) is True and key in BEHAVIOURS:
            table[key] = {}
        elif table.get(key) is False:
            del table[key]
    for key in _LISTED:
        if isinstance(table.get(key), dict):
            table[key] = [table[key]]


def _sources(file: WorldFile, path: Path) -> tuple[Source, ...]:
    """The IPs, each with a name and an address: 192.0.2.1 and on where none is given."""
    rows = file.ip or (Source(), Source())
    sources = tuple(
        Source(
            name=row.name or f"ip{n}", weight=row.weight, age_days=row.age_days, address=row.address or f"192.0.2.{n}"
        )
        for n, row in enumerate(rows, start=1)
    )
    for number, source in enumerate(sources):
        _named(source.name, f"ip.{number}.name", path)
        try:
            ipaddress.IPv4Address(source.address)
        except ValueError:
            raise TableError(
                f"{path}: `ip.{number}.address`: {source.address!r} is no IPv4 address; write such as 192.0.2.1."
            ) from None
    _once([source.name for source in sources], "ip", path)
    if not any(source.weight for source in sources):
        raise TableError(f"{path}: `ip`: every weight is 0; give at least one IP a weight.")
    return sources


def _provider(row: Any, number: int, raw: dict[str, Any], path: Path, ips: tuple[Source, ...]) -> Provider:
    """One provider with its behaviour from the start and after each change."""
    where = f"provider.{number}"
    _named(row.name, f"{where}.name", path)
    mx = row.mx or f"mx1.{row.name.lower()}.example"
    domains = row.domains or (f"{row.name.lower()}.example",)
    for key, host in (("mx", mx), *(("domains", domain) for domain in domains)):
        if not _HOST.fullmatch(host):
            raise TableError(f"{path}: `{where}.{key}`: {host!r} is no host name; write such as mx1.a.example.")
    table = {key: value for key, value in raw["provider"][number].items() if key not in (*_FIXED, "change")}
    phases = [Phase(at=0.0, behaviour=convert(table, Behaviour, path))]
    for step, change in enumerate(raw["provider"][number].get("change", ())):
        at = change.pop("at", None)
        if isinstance(at, bool) or not isinstance(at, int | float) or at <= phases[-1].at:
            raise TableError(
                f"{path}: `{where}.change.{step}.at`: {at!r} is no time after the one before; "
                "write seconds or a span from the start of the world, growing from change to change."
            )
        for key in _FIXED:
            if key in change:
                raise TableError(f"{path}: `{where}.change.{step}`: `{key}` cannot change; it belongs to the provider.")
        table = {**table, **change}
        _plain(table)
        label = Path(f"{path} [provider {row.name}, change {step + 1}]")
        phases.append(Phase(at=float(at), behaviour=convert(table, Behaviour, label)))
    known = {source.name for source in ips}
    for phase in phases:
        _check_behaviour(phase.behaviour, where, known, path)
    return Provider(name=row.name, mx=mx, domains=domains, share=row.share, phases=tuple(phases))


def _check_behaviour(behaviour: Behaviour, where: str, known: set[str], path: Path) -> None:
    """What single values cannot tell: names that must be known."""
    for banned in behaviour.banned:
        if missing := [name for name in banned.ips if name not in known]:
            raise TableError(
                f"{path}: `{where}.banned.ips`: there is no IP {missing[0]!r}; known are {', '.join(sorted(known))}."
            )
    for kind, texts in behaviour.texts.items():
        if kind not in TEXT_KINDS:
            raise TableError(f"{path}: `{where}.texts`: {kind!r} is no behaviour; allowed are {', '.join(TEXT_KINDS)}.")
        if not texts or not all(re.match(r"[45][0-9]{2} ", text) for text in texts):
            raise TableError(
                f"{path}: `{where}.texts.{kind}`: each reply begins with its code, such as `450 4.7.1 Come back later`."
            )


def _check(file: WorldFile, providers: tuple[Provider, ...], path: Path) -> None:
    if not providers:
        raise TableError(f'{path}: there is no provider; add at least `[[provider]]` with a `name = "a"`.')
    _once([provider.name for provider in providers], "provider", path)
    domains = [domain for provider in providers for domain in provider.domains]
    if twice := sorted({domain for domain in domains if domains.count(domain) > 1}):
        raise TableError(f"{path}: the domain {twice[0]!r} stands at two providers; keep one of them.")
    if not sum(provider.share for provider in providers):
        raise TableError(f"{path}: `provider`: every share is 0; give at least one provider a share.")
    if (count := sum(campaign.recipients for campaign in file.campaign)) > _MOST_RECIPIENTS:
        raise TableError(f"{path}: {count:,} recipients are more than {_MOST_RECIPIENTS:,}; take fewer.")
    if not file.campaign:
        raise TableError(
            f"{path}: there is no campaign; leave `campaign` out for the default one, or name its recipients."
        )


def _named(name: str, where: str, path: Path) -> None:
    if not _NAME.fullmatch(name):
        raise TableError(f"{path}: `{where}`: {name!r} is no name; use letters, digits, dot, dash and underscore.")


def _once(names: list[str], kind: str, path: Path) -> None:
    if twice := [name for name in names if names.count(name) > 1]:
        raise TableError(f"{path}: `{kind}`: the name {twice[0]!r} stands twice; give each its own.")
