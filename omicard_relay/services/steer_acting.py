"""Carrying out what steering decided, on this machine's Postfix: entries of the exceptions table, and whom to wake.

Recipients have entries while they rest, go or are returned (steer_waits.py); domains have them while a lane of their
provider differs from the ordinary (steer_domains.py). One `round` gives one batch for the table and the queue ids to
wake. All of it can be made anew out of the store, and doing it twice changes nothing.

A return is an `error:` entry, and Postfix asks by address: it would return any other mail for the same address. So it
stands only while the store knows of no other mail for the address that is not to be returned as well (else it waits, a
minute at a time), begins when qmgr has forgotten the answer that sent the mail out, is woken in the same moment, and
goes as soon as the fate is seen, after 20 seconds in any case. What comes for the address within these seconds, and
that is all, is returned, too. Known limit: of the extended addresses of an address (`user+ext@`) those are known that
the log told of.
"""

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from omicard_relay.mail import Action
from omicard_relay.services.exceptions_table import ExceptionsTable
from omicard_relay.services.steer_domains import Domains
from omicard_relay.services.steer_lanes import (
    AGAIN_SECONDS,
    LANE_SECONDS,
    REST,
    Lanes,
    Probes,
    Slots,
    is_open,
    turn_of,
)
from omicard_relay.services.steer_setup import Setup
from omicard_relay.services.steer_waits import Extended, Wait, Waits, base_of
from omicard_relay.steering.steer import Steer
from omicard_relay.steering.values import Lane
from omicard_relay.store.sightings import Line
from omicard_relay.store.steering import Decided

__all__ = ["Actor", "Round"]

log = logging.getLogger(__name__)

#: What has to wait for another mail of its address, or met a fault of ours, is looked at again after so long.
_WAIT_SECONDS = 60.0
#: Wakes of a mail that came to nothing; and true attempts of one that was to be returned. Then it is left to Postfix.
_TRIES, _MISSES = 4, 2
_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class Round:
    """What one round did: entries changed, and whom to wake."""

    changed: int = 0
    wake: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Actor:
    """The hands of the machine that the log calls by these names. `mode` tells what may be done about a code at a provider.

    `has_other_mail`: whether there is a mail for one of these addresses, past those of these queue ids; `is_gone`:
    whether Postfix has removed the mail of a queue id.
    """

    names: frozenset[str]
    table: ExceptionsTable
    mode: Callable[[int, str], str]
    has_other_mail: Callable[[Collection[str], Collection[str]], bool]
    is_gone: Callable[[str], bool]
    limit: int
    most_wakes: int
    waits: Waits = field(init=False)
    counts: dict[str, int] = field(default_factory=dict)
    _domains: Domains = field(init=False)
    _extended: Extended = field(default_factory=Extended)
    _probes: Probes = field(default_factory=Probes)
    _slots: Slots = field(default_factory=Slots)
    _missed: dict[str, int] = field(default_factory=dict)  # thread -> attempts of a mail that was to be returned
    _left: dict[str, None] = field(default_factory=dict)  # threads that are left to Postfix, until they are tried
    _fault_told: float = -_WAIT_SECONDS
    _wakes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waits = Waits(self.limit)
        self._domains = Domains(mode=self.mode)

    # --- what happened

    def see(self, lines: Iterable[Line], setup: Setup) -> None:
        """Lines of all machines, in order: ends and attempts end a wait, a rest of this machine may begin one."""
        for line in lines:
            self._learn(line, setup)
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
            if plan.action is Action.RETURN and self._missed.get(line.thread, 0) >= _MISSES:
                self._count("steer.left-to-postfix")
                continue
            self.waits.add(
                Wait(
                    thread=line.thread,
                    queue_id=line.queue_id,
                    address=line.address_key,
                    domain=line.domain,
                    provider=one.provider,
                    # qmgr would send it out once more by the answer that it remembers.
                    at=plan.at if plan.action is Action.RETRY else line.time.timestamp() + AGAIN_SECONDS,
                    code=line.code or REST,
                    action=plan.action,
                    ip=plan.ip,
                    words=line.head,
                    enhanced_status=line.enhanced_status,
                )
            )

    def _learn(self, line: Line, setup: Setup) -> None:
        self._extended.see(line.address_key)
        if line.is_evidence and line.domain:
            self._domains.see(line.domain, setup.provider_of(line.host, line.domain))

    def _settle(self, line: Line) -> None:
        self._left.pop(line.thread, None)
        missed = self._missed.pop(line.thread, 0)
        wait = self.waits.remove(line.thread)
        if wait is not None:
            self._probes.ended(line.thread)
            if line.is_end and wait.action is Action.RETURN and not line.is_attempt:
                self._count("steer.returned")
            missed += wait.action is Action.RETURN and wait.tries > 0
        if missed and not line.is_end:
            _keep(self._missed, line.thread, missed, self.limit)

    def _rest(self, line: Line, setup: Setup) -> None:
        wait = self.waits.find(line.thread)
        if wait is not None:
            if wait.went is not None and line.time.timestamp() >= wait.went:
                if wait.tries < _TRIES:
                    self.waits.postpone(wait, line.time.timestamp() + AGAIN_SECONDS)
                else:
                    self._leave(wait)
            return
        if line.thread in self._left:
            return
        others = self.waits.of_address(line.address_key) or self.waits.of_address(base_of(line.address_key))
        at = others[0].at if others else line.time.timestamp()
        provider = self._domains.provider_of(line.domain) or setup.provider_of("", line.domain)
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
            if wait.at > now or self.waits.find(wait.thread) is not wait:
                continue  # done with another one of this round
            try:
                self._come_due(wait, lanes, now, done)
            except Exception:
                self.waits.postpone(wait, now + _WAIT_SECONDS)
                self._count("steer.bug")
                if now - self._fault_told >= _WAIT_SECONDS:
                    self._fault_told = now
                    log.exception("event=steer-bug queue_id=%s note=looked-at-again-in-a-minute", wait.queue_id)
        self._domains.keep(lanes, uneven, now)
        put, drop = self.waits.changes()
        put += [entry for entry in self._domains.changes.values() if entry is not None]
        drop += [domain for domain, entry in self._domains.changes.items() if entry is None]
        if put or drop:
            try:
                done.changed = self.table.apply(put, drop)
            except Exception:
                self.waits.again([entry.key for entry in put if "@" in entry.key] + [key for key in drop if "@" in key])
                raise
            self._domains.changes.clear()
        # Whom to wake is kept until the table lets them go.
        self._wakes = []
        done.wake = list(dict.fromkeys(done.wake))
        return done

    def learn_domains(self, lines: Iterable[Line], setup: Setup) -> None:
        """Whose domains are whose, out of earlier lines: after a start their entries must be kept in step."""
        ours = {ip.name for ip in setup.ips}
        for line in lines:
            # A road that the site has chosen itself says nothing of ours.
            if not line.transport or line.lane[0] in ours:
                self._learn(line, setup)

    def reconcile(self, uneven: Iterable[str]) -> int:
        """After a start: what the table has and nobody waits for goes, and so do domains whose provider is ordinary again.

        Gives how many entries that were.
        """
        providers = set(uneven)
        stray = [
            entry.key
            for entry in self.table.entries()
            if ("@" in entry.key and not self.waits.of_address(entry.key))
            or ("@" not in entry.key and self._domains.provider_of(entry.key) not in providers)
        ]
        return self.table.apply((), stray) if stray else 0

    def _come_due(self, wait: Wait, lanes: Lanes, now: float, done: Round) -> None:
        if wait.went is not None:
            self._overdue(wait, now, done)
        elif wait.action is Action.RETURN:
            self._return(wait.address, now, done)
        else:
            self._let_go(wait, lanes, now, done)

    def _overdue(self, wait: Wait, now: float, done: Round) -> None:
        """It might go and nothing was seen of it: woken some times more, then left to Postfix's own schedule."""
        if wait.tries < _TRIES:
            self.waits.postpone(wait, now + (_WAIT_SECONDS if wait.action is Action.RETURN else 0.0))
            self._count("steer.woken-again")
        else:
            self._leave(wait)

    def _leave(self, wait: Wait) -> None:
        self.waits.remove(wait.thread)
        _keep(self._left, wait.thread, None, self.limit)
        self._count("steer.left-to-postfix")
        log.warning("event=steer-left queue_id=%s note=its-wakes-came-to-nothing", wait.queue_id)

    def _return(self, address: str, now: float, done: Round) -> None:
        """All mail for the address that is to be returned, by one entry, once no other mail for it is known."""
        for wait in self.waits.of_address(address):
            if wait.action is Action.RETURN and self.is_gone(wait.queue_id):
                self.waits.remove(wait.thread)
                self._count("steer.gone")
        known = self.waits.of_address(address)
        returns = [wait for wait in known if wait.action is Action.RETURN]
        if not returns:
            return
        # One that was tried or woken a moment ago is waited for.
        at = max(wait.at for wait in returns)
        others = (address, *self._extended.of(address))
        if at <= now and (
            len(returns) < len(known) or self.has_other_mail(others, [wait.queue_id for wait in returns])
        ):
            at = now + _WAIT_SECONDS
            self._count("steer.return-waits")
        for wait in returns:
            if at <= now:
                self.waits.let_go(wait, now, None)
                done.wake.append(wait.queue_id)
            elif wait.went is None:
                self.waits.postpone(wait, at)

    def _let_go(self, wait: Wait, lanes: Lanes, now: float, done: Round) -> None:
        """By the lane that was planned, or by one that is open; where none is, it rests on until the first one opens."""
        known = lanes.of(wait.provider)
        if wait.ip and any(lane.ip == wait.ip for lane in known):
            known = tuple(lane for lane in known if lane.ip == wait.ip)
        open_lanes = [lane for lane in known if is_open(lane, now)]
        probing = [lane for lane in known if lane.is_probing and self._probes.may_go(lane, now)]
        if open_lanes:
            held = [lane for lane in open_lanes if wait.slot is not None and wait.slot.is_of(lane)]
            lane: Lane | None = held[0] if held else turn_of(open_lanes, wait.address, now)
        elif probing:
            lane = probing[0]
        elif known:
            until = min(lane.rests_until or now for lane in known)
            spread = int(hashlib.blake2b(wait.thread.encode(), digest_size=2).hexdigest(), 16) % 30
            self.waits.postpone(wait, max(until, now + AGAIN_SECONDS) + spread)
            return
        else:
            lane = None
        if lane is not None:
            wait.slot = self._slots.take(lane, wait.slot, lanes.steer.pace(lane), now)
            if wait.slot.at > now:
                # Looked at before its time, too: the lane's speed may change.
                self.waits.postpone(wait, min(wait.slot.at, now + LANE_SECONDS))
                return
            if lane.is_probing:
                self._probes.went(lane, wait.thread, now)
        is_bound = lane is not None and (bool(wait.ip) or lane.is_probing or not lanes.is_ordinary(wait.provider))
        self.waits.let_go(wait, now, (lane.ip, lane.speed) if lane is not None and is_bound else None)
        done.wake.append(wait.queue_id)

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


def _keep(known: dict[str, _T], name: str, value: _T, most: int) -> None:
    """Among the latest `most` of them: a mail that is deleted by hand is never heard of again."""
    known[name] = value
    if len(known) > most:
        del known[next(iter(known))]
