"""Lanes of a moment, as acting needs them: which are open, whose turn it is, and what a domain's entry says."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from omicard_relay.services.exceptions_table import Entry
from omicard_relay.steering.steer import Steer
from omicard_relay.steering.values import Lane
from omicard_relay.wire.transports import resting_value, transport_value

__all__ = [
    "AGAIN_SECONDS",
    "LANE_SECONDS",
    "REST",
    "TURN_SECONDS",
    "Lanes",
    "Probes",
    "Slot",
    "Slots",
    "domain_entry",
    "is_open",
    "turn_of",
]

#: A mail that was woken and still rested met an answer that qmgr remembered: for up to 30 s.
AGAIN_SECONDS = 31.0
#: A domain's entry is written again when half of this is over, so that a dead service leaves nothing behind for long.
LANE_SECONDS = 600.0
#: Mail of a domain changes between open lanes so often, by their shares.
TURN_SECONDS = 60.0
#: The cause of a rest that has no other.
REST = 938
#: Mails that probe a lane at once, and for how long one is waited for.
_PROBES, _PROBE_SECONDS = 2, 120.0
#: Mails a second, at the least: no class is slower than a mail in some hours.
_LEAST_PACE = 1e-4


@dataclass(slots=True)
class Lanes:
    """The lanes of one moment, each provider asked once."""

    steer: Steer
    now: float
    _known: dict[str, tuple[Lane, ...]] = field(default_factory=dict)

    def of(self, provider: str) -> tuple[Lane, ...]:
        known = self._known.get(provider)
        if known is None:
            known = self._known[provider] = self.steer.lanes(provider, self.now)
        return known

    def is_ordinary(self, provider: str) -> bool:
        return self.steer.is_ordinary(provider, self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The moment at which a mail may use a slowed lane. It is void where the lane has another speed by then."""

    provider: str
    ip: str
    speed: int
    at: float

    def is_of(self, lane: Lane) -> bool:
        return (self.provider, self.ip, self.speed) == (lane.provider, lane.ip, lane.speed)


@dataclass(slots=True)
class Slots:
    """Slots of slowed lanes, given in turn by the pace. A lane that is not slowed is free at any time."""

    _last: dict[tuple[str, str], Slot] = field(default_factory=dict)

    def take(self, lane: Lane, held: Slot | None, pace: float, now: float) -> Slot:
        """The slot that is held, where it is good for this lane; else the next one. `pace`: mails a second."""
        if held is not None and held.is_of(lane):
            return held
        last = self._last.pop((lane.provider, lane.ip), None)
        at = now
        if last is not None and last.is_of(lane):
            at = max(now, last.at + 1.0 / max(pace, _LEAST_PACE))
        slot = Slot(provider=lane.provider, ip=lane.ip, speed=lane.speed, at=at)
        if lane.speed:
            self._last[lane.provider, lane.ip] = slot
        return slot


@dataclass(slots=True)
class Probes:
    """The mails that see whether a lane is open again: few at once."""

    _of: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def may_go(self, lane: Lane, now: float) -> bool:
        probes = self._of.get((lane.provider, lane.ip), {})
        for thread in [one for one, since in probes.items() if now - since > _PROBE_SECONDS]:
            del probes[thread]
        return len(probes) < _PROBES

    def went(self, lane: Lane, thread: str, now: float) -> None:
        self._of.setdefault((lane.provider, lane.ip), {})[thread] = now

    def ended(self, thread: str) -> None:
        for probes in self._of.values():
            probes.pop(thread, None)


def is_open(lane: Lane, now: float) -> bool:
    return not lane.is_probing and (lane.rests_until is None or lane.rests_until <= now)


def turn_of(lanes: Sequence[Lane], what: str, now: float) -> Lane:
    """One of the open lanes, by their shares: each name has its place, which moves from minute to minute."""
    total = sum(lane.share for lane in lanes)
    if total <= 0:
        return lanes[0]
    number = hashlib.blake2b(
        f"{what} {int(now / TURN_SECONDS)}".encode("utf-8", "surrogatepass"), digest_size=4
    ).digest()
    place = int.from_bytes(number) / (1 << 32) * total
    for lane in lanes:
        place -= lane.share
        if place < 0:
            return lane
    return lanes[-1]


def domain_entry(domain: str, lanes: Sequence[Lane], now: float) -> Entry:
    open_lanes = [lane for lane in lanes if is_open(lane, now)]
    if open_lanes:
        lane = turn_of(open_lanes, domain, now)
        return Entry(key=domain, value=transport_value(lane.ip, lane.speed), expires=now + LANE_SECONDS)
    until = min((lane.rests_until for lane in lanes if lane.rests_until is not None), default=now)
    until = max(until, now + AGAIN_SECONDS)
    code = next((one for lane in lanes for r in lane.reasons if isinstance(one := r.figures.get("code"), int)), REST)
    return Entry(
        key=domain, value=resting_value(code, datetime.fromtimestamp(until, UTC)), expires=until + LANE_SECONDS
    )
