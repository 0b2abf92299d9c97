"""Which domains are whose, and what the exceptions table must say about them while a lane of their provider is not ordinary.

Plain bookkeeping, without store and clock; the entry's form is steer_lanes.py's. Known limit: of a provider's domains
those are known that something was sent to lately, at most 200,000.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from omicard_relay.services.exceptions_table import Entry
from omicard_relay.services.steer_lanes import LANE_SECONDS, REST, TURN_SECONDS, Lanes, domain_entry, is_open
from omicard_relay.steering.values import Lane

__all__ = ["Domains"]

_MOST_DOMAINS = 200_000


@dataclass(slots=True, kw_only=True)
class Domains:
    """`mode` tells what may be done about a code at a provider. `changes`: what the table must learn; None: drop it."""

    mode: Callable[[int, str], str]
    changes: dict[str, Entry | None] = field(default_factory=dict)
    _domains: dict[str, str] = field(default_factory=dict)
    _of_provider: dict[str, set[str]] = field(default_factory=dict)
    _fresh: set[str] = field(default_factory=set)
    #: Provider -> what its domains have, until when.
    _entries: dict[str, tuple[object, float]] = field(default_factory=dict)

    def see(self, domain: str, provider: str) -> None:
        """Something was sent to the domain, whose provider this is."""
        before = self._domains.pop(domain, None)
        if before is not None and before != provider:
            self._of_provider[before].discard(domain)
            self.changes[domain] = None  # unless the new one has an entry for it
        self._domains[domain] = provider
        self._of_provider.setdefault(provider, set()).add(domain)
        if before != provider:
            self._fresh.add(domain)
        if len(self._domains) > _MOST_DOMAINS:
            oldest = next(iter(self._domains))
            gone = self._domains.pop(oldest)
            self._of_provider[gone].discard(oldest)
            self.changes[oldest] = None

    def provider_of(self, domain: str) -> str | None:
        """The provider of a domain that something was sent to lately."""
        return self._domains.get(domain)

    def keep(self, lanes: Lanes, uneven: Iterable[str], now: float) -> None:
        """Find what the table must learn; `uneven` are the providers with a lane that is not ordinary."""
        wanted: dict[str, object] = {}
        for provider in uneven:
            known = lanes.of(provider)
            if lanes.is_ordinary(provider) or not known or self._lane_mode(known, provider) != "act":
                continue
            turn = int(now / TURN_SECONDS) if sum(is_open(lane, now) for lane in known) > 1 else 0
            wanted[provider] = (
                tuple((lane.ip, lane.speed, is_open(lane, now), lane.rests_until) for lane in known),
                turn,
            )
        for provider in [one for one in self._entries if one not in wanted]:
            del self._entries[provider]
            self.changes.update(dict.fromkeys(self._of_provider.get(provider, ())))
        for provider, shape in wanted.items():
            before = self._entries.get(provider)
            if before is None or before[0] != shape or before[1] - now < LANE_SECONDS / 2:
                domains: Iterable[str] = self._of_provider.get(provider, ())
                self._entries[provider] = (shape, now + LANE_SECONDS)
            else:
                domains = self._fresh & self._of_provider.get(provider, set())
            for domain in domains:
                self.changes[domain] = domain_entry(domain, lanes.of(provider), now)
        self._fresh.clear()

    def _lane_mode(self, lanes: Sequence[Lane], provider: str) -> str:
        """That of the code for which a lane rests or is slowed."""
        for lane in lanes:
            for reason in lane.reasons:
                code = reason.figures.get("code")
                if isinstance(code, int):
                    return self.mode(code, provider)
        return self.mode(REST, provider)
