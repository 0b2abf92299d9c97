"""policies/speeds.toml -> the classes of speed, how a lane moves between them, and the warm-up of a new IP.

A class is a pace on the wire: steering counts with `per_second`, Postfix gets `rate_delay_seconds` or `concurrency`.
Class 0, the ordinary one, has no row: Postfix's own limits hold there.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from omicard_relay.mail import TableError
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = ["Speed", "Speeds", "load_speeds"]


class Speed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One class: at most `per_second` mails, over `concurrency` connections, `rate_delay_seconds` between two mails."""

    per_second: Annotated[float, Meta(gt=0, le=10_000)]
    concurrency: Annotated[int, Meta(ge=1, le=1_000)] = 1
    rate_delay_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 0


class _Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a lane changes its class; docs/steering.md explains each key."""

    decrease: Annotated[float, Meta(gt=0, lt=1)] = 0.7
    pause_seconds: tuple[float, float] = (5.0, 60.0)
    rise_after: Annotated[int, Meta(ge=1)] = 8
    rise_seconds: Annotated[float, Meta(gt=0)] = 30.0
    hold_minutes: tuple[float, float] = (10.0, 1_440.0)
    source: str


class _WarmUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mails a day for each provider by the age of an IP in days; after the last figure it is warm."""

    per_day: Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)]
    source: str


class Speeds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table. `classes[0]` is class 1; each is slower than the one before."""

    classes: Annotated[tuple[Speed, ...], Meta(min_length=1, max_length=60)] = msgspec.field(name="speed")
    change: _Change
    warm_up: _WarmUp
    source: str

    def pace(self, speed: int) -> float:
        """Mails per second of a class; infinite for class 0, that of the slowest class beyond it."""
        return float("inf") if speed <= 0 else self.classes[min(speed, len(self.classes)) - 1].per_second

    def concurrency(self, speed: int) -> int:
        """Connections of a class at the same time; 20, Postfix's own limit, for class 0."""
        return 20 if speed <= 0 else self.classes[min(speed, len(self.classes)) - 1].concurrency

    @property
    def slowest(self) -> int:
        """The number of the slowest class."""
        return len(self.classes)

    def at_most(self, per_second: float) -> int:
        """The fastest class, from 1 on, that is no faster than this; the slowest where none is."""
        return next((n for n, one in enumerate(self.classes, 1) if one.per_second <= per_second), self.slowest)

    def narrower(self, connections: float) -> int:
        """The fastest class with no more connections than this; that of the first with one where that is less than one."""
        least = max(connections, 1.0)
        return next((n for n, one in enumerate(self.classes, 1) if one.concurrency <= least), self.slowest)

    def allowance(self, age_days: float) -> float:
        """Mails a day to one provider from an IP of that age; infinite once it is warm."""
        day = int(max(age_days, 0.0))
        return float(self.warm_up.per_day[day]) if day < len(self.warm_up.per_day) else float("inf")


def load_speeds(site_dir: Path | None = None) -> Speeds:
    """The speeds; a site's own speeds.toml replaces the shipped one as a whole. Raises TableError."""
    path = shipped("policies", "speeds.toml")
    if site_dir is not None and (site_dir / "speeds.toml").exists():
        path = site_dir / "speeds.toml"
    speeds = convert(read_toml(path), Speeds, path)
    paces = [one.per_second for one in speeds.classes]
    for number, (faster, slower) in enumerate(pairwise(paces), 1):
        if slower >= faster:
            raise TableError(f"{path}: `speed.{number}.per_second`: {slower:g} is no slower than {faster:g} before it.")
    days = list(speeds.warm_up.per_day)
    if days != sorted(days):
        raise TableError(f"{path}: `warm_up.per_day`: the figures of the days must rise.")
    for key in ("pause_seconds", "hold_minutes"):
        least, most = getattr(speeds.change, key)
        if not 0 <= least <= most:
            raise TableError(f"{path}: `change.{key}`: {least:g} and {most:g} are no bounds; give least, then most.")
    return speeds
