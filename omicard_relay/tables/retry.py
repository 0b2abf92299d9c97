"""policies/retry.toml -> how each bounce code is retried: bounds, first guesses, costs, and who may be slowed by it.

The rows bound everything that steering learns (docs/steering.md). A site's own retry.toml is laid over the shipped one
key by key: first its `[model]`, then its `[[retry]]` rows by code, then its `[[override]]` rows, which speak of a provider.
Not here: how a plan is made (steering/), and the verdict's own action (steering/decide.py).
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from omicard_relay.mail import TableError
from omicard_relay.tables.codes import FIRST_CODE, LAST_CODE, CodeNumber
from omicard_relay.tables.providers import load_providers
from omicard_relay.tables.speeds import Speeds, load_speeds
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = ["Guess", "Mode", "Model", "RetryPolicy", "RetryRule", "load_retry"]

MINUTE, HOUR = 60.0, 3600.0

Mode = Literal["off", "observe", "act"]
Scope = Literal["recipient", "ip", "provider"]
#: What a code does to a lane: nothing, fewer mails a second, fewer connections, or a rest.
LaneWay = Literal["none", "slow", "narrow", "close"]
_Chance = Annotated[float, Meta(ge=0, le=1)]
#: 30 days bound every rest and every deadline: no mail is worth more.
_Minutes = Annotated[float, Meta(ge=0, le=43_200)]
_Hours = Annotated[float, Meta(gt=0, le=720)]
_Clock = Annotated[str, Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$")]
#: (minutes of rest, chance that the next attempt delivers), rests rising.
Guess = tuple[tuple[_Minutes, _Chance], ...]


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for all codes; the meaning of each key stands in docs/steering.md."""

    model: bool = True
    deadline_hours: _Hours = 120
    half_life_days: Annotated[float, Meta(gt=0, le=3_650)] = 7
    memory: Annotated[float, Meta(ge=5, le=100_000)] = 40
    shrinkage: Annotated[float, Meta(gt=0, le=1_000)] = 6
    explore: Annotated[float, Meta(ge=0, le=0.5)] = 0.04
    explore_unknown: Annotated[float, Meta(ge=0, le=0.5)] = 0.2
    attempt_cost: Annotated[float, Meta(ge=0, le=1)] = 0.02
    delay_weight: Annotated[float, Meta(ge=0, le=1)] = 0.35
    delay_unit_minutes: Annotated[float, Meta(gt=0, le=1_440)] = 10
    surge_share: _Chance = 0.5
    quiet_hours: tuple[_Clock, _Clock] | None = None
    utc_offset_minutes: Annotated[int, Meta(ge=-840, le=840)] = 0
    most_threads: Annotated[int, Meta(ge=100, le=10_000_000)] = 500_000
    most_providers: Annotated[int, Meta(ge=10, le=1_000_000)] = 50_000


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a code is retried at a provider. Rests in minutes, the deadline in hours from the mail's arrival.

    `temporary` is what a verdict that says "return" comes to when the server itself said 4xx. `lane`: what the code does to
    the provider's mail from that IP (scope `ip`) or from all (scope `provider`) after `strikes` in a row.
    """

    code: CodeNumber
    scope: Scope = "recipient"
    lane: LaneWay = "none"
    strikes: Annotated[int, Meta(ge=1, le=1_000)] = 1
    attempts: Annotated[int, Meta(ge=1, le=1_000)]
    rest_minutes: tuple[_Minutes, _Minutes]
    growth: Annotated[float, Meta(ge=1, le=10)] = 2
    same_ip: bool = False
    may_change_ip: bool = True
    counted_from: Literal["first", "last"] = "last"
    deadline_hours: _Hours | None = None
    temporary: Literal["return", "retry"] = "return"
    guess: Guess
    weight: Annotated[float, Meta(gt=0, le=1_000)] = 6
    fade: _Chance = 0.85
    permanent: _Chance = 0.5
    returned: _Chance = 0.05
    other_ip: Annotated[float, Meta(ge=0, le=10)] = 0.95
    cost: _Chance = 0.01
    explore: Annotated[float, Meta(ge=0, le=0.5)] | None = None
    mode: Mode = "act"
    source: Annotated[str, Meta(min_length=1)]

    @property
    def least(self) -> float:
        """The shortest rest, in seconds."""
        return self.rest_minutes[0] * MINUTE

    @property
    def most(self) -> float:
        """The longest rest, in seconds."""
        return self.rest_minutes[1] * MINUTE


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a rule that a file gives; the rest comes from the row below it."""

    code: CodeNumber | UnsetType = UNSET
    codes: tuple[CodeNumber, ...] | UnsetType = UNSET
    provider: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    lane: LaneWay | UnsetType = UNSET
    strikes: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    attempts: Annotated[int, Meta(ge=1, le=1_000)] | UnsetType = UNSET
    rest_minutes: tuple[_Minutes, _Minutes] | UnsetType = UNSET
    growth: Annotated[float, Meta(ge=1, le=10)] | UnsetType = UNSET
    same_ip: bool | UnsetType = UNSET
    may_change_ip: bool | UnsetType = UNSET
    counted_from: Literal["first", "last"] | UnsetType = UNSET
    deadline_hours: _Hours | UnsetType = UNSET
    temporary: Literal["return", "retry"] | UnsetType = UNSET
    guess: Guess | UnsetType = UNSET
    weight: Annotated[float, Meta(gt=0, le=1_000)] | UnsetType = UNSET
    fade: _Chance | UnsetType = UNSET
    permanent: _Chance | UnsetType = UNSET
    returned: _Chance | UnsetType = UNSET
    other_ip: Annotated[float, Meta(ge=0, le=10)] | UnsetType = UNSET
    cost: _Chance | UnsetType = UNSET
    explore: Annotated[float, Meta(ge=0, le=0.5)] | UnsetType = UNSET
    mode: Mode | UnsetType = UNSET
    source: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET

    def keys(self) -> dict[str, Any]:
        """What the row gives, without whom it speaks of."""
        found = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return {
            name: value for name, value in found if value is not UNSET and name not in ("code", "codes", "provider")
        }


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: dict[str, Any] = {}
    retry: tuple[_Row, ...] = ()
    override: tuple[_Row, ...] = ()


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole policy. `rules` has a row for each code, `overrides` one for a (provider, code) that differs."""

    model: Model
    rules: Mapping[int, RetryRule]
    overrides: Mapping[tuple[str, int], RetryRule]
    speeds: Speeds
    families: Mapping[str, str]

    def rule(self, code: int, provider: str) -> RetryRule:
        """How this code is retried there. Raises KeyError for a number that is no bounce code."""
        return self.overrides.get((provider, code)) or self.rules[code]

    def deadline(self, rule: RetryRule) -> float:
        """Seconds after its arrival in which a mail with this failure must be delivered."""
        hours = self.model.deadline_hours
        return HOUR * (hours if rule.deadline_hours is None else min(hours, rule.deadline_hours))

    def family(self, provider: str) -> str:
        """The family of providers that behave alike; "" for those of which nothing is known."""
        return self.families.get(provider, "")

    def within(self, deadline_seconds: float) -> "RetryPolicy":
        """The same policy for mail that must be delivered by then; a later deadline changes nothing."""
        hours = min(self.model.deadline_hours, max(deadline_seconds, 1.0) / HOUR)
        return msgspec.structs.replace(self, model=msgspec.structs.replace(self.model, deadline_hours=hours))

    def without_model(self) -> "RetryPolicy":
        """The policy alone: nothing that was learned is heard."""
        return msgspec.structs.replace(self, model=msgspec.structs.replace(self.model, model=False))


def load_retry(site_dir: Path | None = None) -> RetryPolicy:
    """The shipped policy with the site's laid over it, its speeds and families of providers. Raises TableError."""
    return _load(site_dir, _stamps(site_dir))


def _stamps(site_dir: Path | None) -> tuple[int, ...]:
    """When the site's files changed: the same folder is read once until then."""
    if site_dir is None:
        return ()
    paths = (site_dir / name for name in ("retry.toml", "speeds.toml", "providers.toml"))
    return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)


@lru_cache(maxsize=4)
def _load(site_dir: Path | None, _stamp: tuple[int, ...]) -> RetryPolicy:
    paths = [shipped("policies", "retry.toml")]
    if site_dir is not None and (site_dir / "retry.toml").exists():
        paths.append(site_dir / "retry.toml")
    files = [(path, convert(read_toml(path), _File, path)) for path in paths]
    model: dict[str, Any] = {}
    rows: dict[int, dict[str, Any]] = {}
    for path, file in files:
        model |= file.model
        convert({"model": file.model}, _ModelFile, path)
        for number, row in enumerate(file.retry):
            rows |= {code: rows.get(code, {}) | row.keys() for code in _codes(row, path, f"retry.{number}")}
        _no_doubles(file.retry, path)
    last = paths[-1]
    missing = [str(code) for code in range(FIRST_CODE, LAST_CODE + 1) if code not in rows]
    if missing:
        raise TableError(f"{last}: code {', '.join(missing)} has no `[[retry]]`; all of 900 to 939 must have one.")
    rules = {code: _rule({"code": code} | keys, last, f"retry of {code}") for code, keys in sorted(rows.items())}
    overrides: dict[tuple[str, int], dict[str, Any]] = {}
    for path, file in files:
        for number, row in enumerate(file.override):
            where = f"override.{number}"
            if row.provider is UNSET:
                raise TableError(f"{path}: `{where}.provider` is missing; name the provider that differs.")
            for code in _codes(row, path, where):
                overrides[row.provider, code] = overrides.get((row.provider, code), {}) | row.keys()
    special = {
        (provider, code): _rule(msgspec.structs.asdict(rules[code]) | keys, last, f"override of {code} at {provider}")
        for (provider, code), keys in overrides.items()
    }
    book = load_providers(site_dir)
    return RetryPolicy(
        model=convert({"model": model}, _ModelFile, last).model,
        rules=MappingProxyType(rules),
        overrides=MappingProxyType(special),
        speeds=load_speeds(site_dir),
        families=book.families,
    )


class _ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    model: Model


def _codes(row: _Row, path: Path, where: str) -> Iterable[int]:
    """The codes of which a row speaks."""
    if row.code is not UNSET and row.codes is UNSET:
        return (row.code,)
    if row.codes is not UNSET and row.code is UNSET and row.codes:
        return row.codes
    raise TableError(f"{path}: `{where}`: give either `code` or `codes`, so that it is clear of which codes it speaks.")


def _no_doubles(rows: Iterable[_Row], path: Path) -> None:
    seen: set[int] = set()
    for number, row in enumerate(rows):
        if row.provider is not UNSET:
            raise TableError(
                f"{path}: `retry.{number}.provider`: what differs at a provider stands in an `[[override]]`."
            )
        for code in _codes(row, path, f"retry.{number}"):
            if code in seen:
                raise TableError(f"{path}: `retry.{number}.code`: {code} stands twice; keep one of them.")
            seen.add(code)


def _rule(keys: dict[str, Any], path: Path, where: str) -> RetryRule:
    """The row as a rule, its figures checked against each other."""
    try:
        rule = msgspec.convert(keys, RetryRule)
    except msgspec.ValidationError as error:
        raise TableError(f"{path}: {where}: {error}.") from None
    least, most = rule.rest_minutes
    if least > most:
        raise TableError(f"{path}: {where}: `rest_minutes` must rise, but {least:g} is more than {most:g}.")
    rests = [rest for rest, _ in rule.guess]
    if not rests or any(after <= before for before, after in pairwise(rests)):
        raise TableError(f"{path}: {where}: `guess` needs points (minutes, chance) whose minutes rise.")
    if rule.scope == "recipient" and rule.lane != "none":
        raise TableError(f"{path}: {where}: `lane` is {rule.lane}, but a code of scope recipient touches no lane.")
    return rule
