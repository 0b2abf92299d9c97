"""Who waits, for what, and what the exceptions table must say about an address: plain bookkeeping, without store and
clock.

A wait is one recipient of one mail that Postfix has deferred. The table is asked by address, so that all waits of one
address share an entry:

- one of them goes: its transport, until the attempt is seen or its time is over;
- one of them is to be returned, and no other mail for the address is known: `error:`, for a short time;
- else they rest: `retry:` until the first of them may go.

Postfix asks for `user@` where it finds nothing for `user+ext@`, so that an entry of the one meets mail for the other.
Known limit: `+` alone is taken for the site's `recipient_delimiter`.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from omicard_relay.mail import Action
from omicard_relay.services.exceptions_table import Entry
from omicard_relay.services.steer_lanes import Slot
from omicard_relay.wire.transports import resting_value, returned_value, transport_value

__all__ = ["GOING_SECONDS", "RETURN_SECONDS", "Extended", "Wait", "Waits", "base_of"]

#: How long an entry lets a mail go: Postfix is woken at once, and an attempt may take minutes; after that its own
#: schedule holds.
GOING_SECONDS = 300.0
#: How long `error:` stands: it would return any mail for the address.
RETURN_SECONDS = 20.0
#: An entry outlives its rest by this much, should the service be late; then the timer takes it out.
_GRACE_SECONDS = 180.0
#: Extended addresses are rare; of one that somebody makes anew for each mail the latest are known.
_MOST_BASES, _MOST_EXTENDED = 20_000, 50


@dataclass(slots=True, kw_only=True)
class Wait:
    """One recipient of one mail. `ip` "": from any; `speed` that of its lane when it went.

    `went`: since when it may go, None while it rests. `slot`: when a slowed lane has room for it, once that was asked.
    `is_held`: it never was planned for, an entry of others let it rest.
    """

    thread: str
    queue_id: str
    address: str
    domain: str
    provider: str
    at: float
    code: int = 938
    action: Action = Action.RETRY
    ip: str = ""
    transport: tuple[str, int] | None = None
    words: str = ""
    enhanced_status: str = ""
    went: float | None = None
    tries: int = 0
    is_held: bool = False
    slot: Slot | None = None


@dataclass(slots=True)
class Waits:
    """All waits of this machine, at most `limit` of them; above, a mail is left to Postfix's own schedule and counted."""

    limit: int
    left: int = 0
    _of: dict[str, Wait] = field(default_factory=dict)
    _by_address: dict[str, set[str]] = field(default_factory=dict)
    _due: list[tuple[float, str]] = field(default_factory=list)
    _dirty: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[Wait]:
        return iter(list(self._of.values()))

    def find(self, thread: str) -> Wait | None:
        """The wait of this name."""
        return self._of.get(thread)

    def of_address(self, address: str) -> list[Wait]:
        """All waits of one address, the first that may go first."""
        return sorted(
            (self._of[one] for one in self._by_address.get(address, ())), key=lambda wait: (wait.at, wait.thread)
        )

    def add(self, wait: Wait) -> bool:
        """Take a wait up, in place of an earlier one of its name; False where there are too many."""
        if wait.thread not in self._of and len(self._of) >= self.limit:
            self.left += 1
            return False
        self.remove(wait.thread)
        self._of[wait.thread] = wait
        self._by_address.setdefault(wait.address, set()).add(wait.thread)
        self._dirty.add(wait.address)
        heapq.heappush(self._due, (wait.at, wait.thread))
        return True

    def remove(self, thread: str) -> Wait | None:
        """It waits no more."""
        wait = self._of.pop(thread, None)
        if wait is not None:
            rest = self._by_address[wait.address]
            rest.discard(thread)
            if not rest:
                del self._by_address[wait.address]
            self._dirty.add(wait.address)
        return wait

    def postpone(self, wait: Wait, at: float) -> None:
        """Let it rest until then."""
        wait.at, wait.went = at, None
        heapq.heappush(self._due, (at, wait.thread))
        self._dirty.add(wait.address)

    def let_go(self, wait: Wait, now: float, transport: tuple[str, int] | None) -> None:
        """It may go now, by this transport (None: by Postfix's own choice); looked at again when its time is over."""
        wait.went, wait.transport, wait.slot = now, transport, None
        wait.tries += 1
        again = now + (RETURN_SECONDS if wait.action is Action.RETURN else GOING_SECONDS)
        wait.at = again
        heapq.heappush(self._due, (again, wait.thread))
        self._dirty.add(wait.address)

    def due(self, now: float, *, most: int) -> list[Wait]:
        """Those whose time has come, the earliest first, each once."""
        found: list[Wait] = []
        while self._due and self._due[0][0] <= now and len(found) < most:
            at, thread = heapq.heappop(self._due)
            wait = self._of.get(thread)
            if wait is not None and wait.at == at:  # else it was moved, or is gone
                found.append(wait)
        return found

    def changes(self) -> tuple[list[Entry], list[str]]:
        """What the table must learn since the last call: entries to put, addresses to drop."""
        put: list[Entry] = []
        drop: list[str] = []
        for address in sorted(self._dirty):
            entry = self.entry(address)
            if entry is None:
                drop.append(address)
            else:
                put.append(entry)
        self._dirty.clear()
        return put, drop

    def again(self, addresses: Iterable[str]) -> None:
        """The table did not take these: they are told once more."""
        self._dirty.update(addresses)

    def entry(self, address: str) -> Entry | None:
        """What the table should say about an address; None: nothing."""
        waits = self.of_address(address)
        going = [wait for wait in waits if wait.went is not None]
        for wait in going:
            if wait.action is Action.RETURN:
                value = returned_value(wait.code, wait.words, wait.enhanced_status)
                return Entry(key=address, value=value, expires=wait.at)
        if going:
            last = going[-1]
            if last.transport is None:
                return None
            return Entry(key=address, value=transport_value(*last.transport), expires=last.at)
        if not waits:
            return None
        first = waits[0]
        value = resting_value(first.code, datetime.fromtimestamp(first.at, UTC))
        return Entry(key=address, value=value, expires=first.at + _GRACE_SECONDS)


@dataclass(slots=True)
class Extended:
    """Which `user+ext@` were seen of a `user@`: its entry meets their mail, too."""

    _of: dict[str, dict[str, None]] = field(default_factory=dict)

    def see(self, address: str) -> None:
        base = base_of(address)
        if base == address:
            return
        known = self._of.pop(base, {})
        known.pop(address, None)
        known[address] = None
        self._of[base] = known
        if len(known) > _MOST_EXTENDED:
            del known[next(iter(known))]
        if len(self._of) > _MOST_BASES:
            del self._of[next(iter(self._of))]

    def of(self, address: str) -> tuple[str, ...]:
        return tuple(self._of.get(address, ()))


def base_of(address: str) -> str:
    """`user@` of `user+ext@`, for which Postfix asks next; any other address itself."""
    local, at, domain = address.rpartition("@")
    user, plus, _ = local.partition("+")
    return f"{user}@{domain}" if at and plus and user else address
