"""Carrying out what steering decided, on this machine's Postfix: entries of the exceptions table, and whom to wake.

Recipients have entries while they rest, go or are returned (steer_waits.py); domains have them while a lane of their
provider differs from the ordinary. One `round` gives one batch for the table and the queue ids to wake. All of it can
be made anew out of the store, and doing it twice changes nothing.

A return is an `error:` entry, and Postfix asks by address: it would return any other mail for the same address. So it
stands only while the store knows of no other mail for the address (else it waits, a minute at a time), is woken in
the same moment, and goes as soon as the fate is seen, after 20 seconds in any case. What comes for the address within
these seconds, and that is all, is returned, too. Known limit: of a provider's domains those are known that something
was sent to lately, at most 200,000.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from omicard_relay.mail import Action
from omicard_relay.services.exceptions_table import Entry, ExceptionsTable
from omicard_relay.services.steer_lanes import (
    AGAIN_SECONDS,
    LANE_SECONDS,
    REST,
    TURN_SECONDS,
    Lanes,
    domain_entry,
    is_open,
    turn_of,
)
from omicard_relay.services.steer_setup import Setup
from omicard_relay.services.steer_waits import Wait, Waits
from omicard_relay.steering.steer import Steer
from omicard_relay.steering.values import Lane
from omicard_relay.store.sightings import Line
from omicard_relay.store.steering import Decided

__all__ = ["Actor", "Round"]

log = logging.getLogger(__name__)

#: A return that has to wait for another mail of its address, and how often a wake that came to nothing is repeated.
_WAIT_SECONDS, _TRIES = 60.0, 4
#: Mails that probe a lane at once, and for how long one is waited for.
_PROBES, _PROBE_SECONDS = 2, 120.0
_MOST_DOMAINS = 200_000


@dataclass(slots=True, kw_only=True)
class Round:
    """What one round did: entries changed, and whom to wake."""

    changed: int = 0
    wake: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Actor:
    """The hands of the machine that the log calls by these names. `mode` tells what may be done about a code at a provider."""

    names: frozenset[str]
    table: ExceptionsTable
    mode: Callable[[int, str], str]
    has_other_mail: Callable[[str, str], bool]
    limit: int
    most_wakes: int
    waits: Waits = field(init=False)
    counts: dict[str, int] = field(default_factory=dict)
    _domains: dict[str, str] = field(default_factory=dict)
    _of_provider: dict[str, set[str]] = field(default_factory=dict)
    _fresh_domains: set[str] = field(default_factory=set)
    _probing: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    _next_free: dict[tuple[str, str], float] = field(default_factory=dict)
    _entries: dict[str, tuple[object, float]] = field(
        default_factory=dict
    )  # provider -> what its domains have, until when
    _domain_changes: dict[str, Entry | None] = field(default_factory=dict)
    _wakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waits = Waits(self.limit)

    # --- what happened

    def see(self, lines: Iterable[Line], setup: Setup) -> None:
        """Lines of all machines, in order: ends and attempts end a wait, a rest of this machine may begin one."""
        for line in lines:
            if line.is_evidence and line.domain:
                self._know(line.domain, setup.provider_of(line.host, line.domain))
            if not line.is_of(self.names):
                continue
            if line.is_end or line.is_evidence:
                self._settle(line)
            elif line.is_rest:
                self._rest(line, setup)

    def decide(self, decided: Iterable[tuple[Line, Decided]]) -> None:
        """What was decided about failures of this machine, in mode `act`: from now on they wait by it."""
        for line, one in decided:
            plan = one.plan
            if one.mode != "act":
                continue
            self.waits.add(
                Wait(
                    thread=line.thread,
                    queue_id=line.queue_id,
                    address=line.address_key,
                    domain=line.domain,
                    provider=one.provider,
                    at=plan.at if plan.action is Action.RETRY else one.time.timestamp(),
                    code=line.code or REST,
                    action=plan.action,
                    ip=plan.ip,
                    words=line.head,
                    enhanced_status=line.enhanced_status,
                )
            )

    def _know(self, domain: str, provider: str) -> None:
        before = self._domains.pop(domain, None)
        if before is not None and before != provider:
            self._of_provider[before].discard(domain)
        self._domains[domain] = provider
        self._of_provider.setdefault(provider, set()).add(domain)
        if before != provider:
            self._fresh_domains.add(domain)
        if len(self._domains) > _MOST_DOMAINS:
            oldest = next(iter(self._domains))
            gone = self._domains.pop(oldest)
            self._of_provider[gone].discard(oldest)
            self._domain_changes[oldest] = None

    def _settle(self, line: Line) -> None:
        wait = self.waits.remove(line.thread)
        if wait is not None:
            for probes in self._probing.values():
                probes.pop(line.thread, None)
            if line.is_end and wait.action is Action.RETURN and not line.is_attempt:
                self._count("steer.returned")

    def _rest(self, line: Line, setup: Setup) -> None:
        wait = self.waits.find(line.thread)
        if wait is not None:
            if wait.went is not None and line.time.timestamp() >= wait.went:
                self.waits.postpone(wait, line.time.timestamp() + AGAIN_SECONDS)
            return
        others = self.waits.of_address(line.address_key)
        at = others[0].at if others else line.time.timestamp()
        provider = self._domains.get(line.domain) or setup.provider_of("", line.domain)
        self.waits.add(
            Wait(
                thread=line.thread,
                queue_id=line.queue_id,
                address=line.address_key,
                domain=line.domain,
                provider=provider,
                at=at,
                is_held=True,
            )
        )

    # --- what is done

    def round(self, steer: Steer, uneven: Iterable[str], now: float) -> Round:
        """Let go what is due, keep the table in step; `uneven` are the providers with a lane that is not ordinary.

        Raises ExceptionsError; the next round does it all then.
        """
        done = Round(wake=self._wakes)
        lanes = Lanes(steer, now)
        for wait in self.waits.due(now, most=self.most_wakes):
            self._come_due(wait, lanes, now, done)
        self._lanes(lanes, uneven, now)
        put, drop = self.waits.changes()
        moved = [(domain, entry) for domain, entry in self._domain_changes.items()]
        put += [entry for _, entry in moved if entry is not None]
        drop += [domain for domain, entry in moved if entry is None]
        if put or drop:
            try:
                done.changed = self.table.apply(put, drop)
            except Exception:
                self.waits.again([entry.key for entry in put if "@" in entry.key] + [key for key in drop if "@" in key])
                raise
            self._domain_changes.clear()
        # Whom to wake is kept until the table lets them go.
        self._wakes = []
        done.wake = list(dict.fromkeys(done.wake))
        return done

    def learn_domains(self, lines: Iterable[Line], setup: Setup) -> None:
        """Whose domains are whose, out of earlier lines: after a start their entries must be kept in step."""
        for line in lines:
            if line.is_evidence and line.domain:
                self._know(line.domain, setup.provider_of(line.host, line.domain))

    def reconcile(self, uneven: Iterable[str]) -> int:
        """After a start: what the table has and nobody waits for goes, and so do domains whose provider is ordinary again.

        Gives how many entries that were.
        """
        providers = set(uneven)
        stray = [
            entry.key
            for entry in self.table.entries()
            if ("@" in entry.key and not self.waits.of_address(entry.key))
            or ("@" not in entry.key and self._domains.get(entry.key) not in providers)
        ]
        return self.table.apply((), stray) if stray else 0

    def _come_due(self, wait: Wait, lanes: Lanes, now: float, done: Round) -> None:
        if wait.went is not None:
            self._overdue(wait, now, done)
        elif wait.action is Action.RETURN:
            self._return(wait, now, done)
        else:
            self._let_go(wait, lanes, now, done)

    def _overdue(self, wait: Wait, now: float, done: Round) -> None:
        """It might go and nothing was seen of it: woken some times more, then left to Postfix's own schedule."""
        if wait.action is Action.RETURN or wait.tries < _TRIES:
            self.waits.postpone(wait, now + (_WAIT_SECONDS if wait.action is Action.RETURN else 0.0))
            self._count("steer.woken-again")
            return
        self.waits.remove(wait.thread)
        self._count("steer.left-to-postfix")
        log.warning("event=steer-left queue_id=%s note=nothing-seen-of-it", wait.queue_id)

    def _return(self, wait: Wait, now: float, done: Round) -> None:
        others = [one for one in self.waits.of_address(wait.address) if one.thread != wait.thread]
        if others or self.has_other_mail(wait.address, wait.queue_id):
            self.waits.postpone(wait, now + _WAIT_SECONDS)
            self._count("steer.return-waits")
            return
        self.waits.let_go(wait, now, None)
        done.wake.append(wait.queue_id)

    def _let_go(self, wait: Wait, lanes: Lanes, now: float, done: Round) -> None:
        """By the lane that was planned, or by one that is open; where none is, it rests on until the first one opens."""
        known = lanes.of(wait.provider)
        if wait.ip and any(lane.ip == wait.ip for lane in known):
            known = tuple(lane for lane in known if lane.ip == wait.ip)
        open_lanes = [lane for lane in known if is_open(lane, now)]
        probing = [lane for lane in known if lane.is_probing and lane not in open_lanes and self._may_probe(lane, now)]
        if open_lanes:
            lane: Lane | None = turn_of(open_lanes, wait.address, now)
        elif probing:
            lane = probing[0]
            self._probing.setdefault((lane.provider, lane.ip), {})[wait.thread] = now
        elif known:
            until = min(lane.rests_until or now for lane in known)
            spread = int(hashlib.blake2b(wait.thread.encode(), digest_size=2).hexdigest(), 16) % 30
            self.waits.postpone(wait, max(until, now + AGAIN_SECONDS) + spread)
            return
        else:
            lane = None
        if lane is not None and lane.speed:
            free = self._next_free.get((lane.provider, lane.ip), 0.0)
            if free > now:
                self.waits.postpone(wait, free)
            pace = lanes.steer.pace(lane)
            self._next_free[lane.provider, lane.ip] = max(free, now) + 1.0 / max(pace, 1e-4)
            if free > now:
                return
        is_bound = lane is not None and (bool(wait.ip) or lane.is_probing or not lanes.is_ordinary(wait.provider))
        self.waits.let_go(wait, now, (lane.ip, lane.speed) if lane is not None and is_bound else None)
        done.wake.append(wait.queue_id)

    def _may_probe(self, lane: Lane, now: float) -> bool:
        probes = self._probing.get((lane.provider, lane.ip), {})
        for thread in [one for one, since in probes.items() if now - since > _PROBE_SECONDS]:
            del probes[thread]
        return len(probes) < _PROBES

    # --- domains

    def _lanes(self, lanes: Lanes, uneven: Iterable[str], now: float) -> None:
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
            self._domain_changes.update(dict.fromkeys(self._of_provider.get(provider, ())))
        for provider, shape in wanted.items():
            before = self._entries.get(provider)
            if before is None or before[0] != shape or before[1] - now < LANE_SECONDS / 2:
                domains: Iterable[str] = self._of_provider.get(provider, ())
                self._entries[provider] = (shape, now + LANE_SECONDS)
            else:
                domains = self._fresh_domains & self._of_provider.get(provider, set())
            for domain in domains:
                self._domain_changes[domain] = domain_entry(domain, lanes.of(provider), now)
        self._fresh_domains.clear()

    def _lane_mode(self, lanes: Sequence[Lane], provider: str) -> str:
        """That of the code for which a lane rests or is slowed."""
        for lane in lanes:
            for reason in lane.reasons:
                code = reason.figures.get("code")
                if isinstance(code, int):
                    return self.mode(code, provider)
        return self.mode(REST, provider)

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
