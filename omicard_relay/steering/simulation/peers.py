"""Other mail servers as strategies, each in a strong set-up; docs/worlds.md says where every figure comes from.

All of them take the digit of a reply for what it says, as they do in life: 4xx and broken sessions are tried again by the
schedule, 5xx is returned at once (ZoneMTA tries a block from another IP first).
- `Fixed`: rests in a row, the last one again and again; a mail keeps its IP.
- `Postfix`: default back-off and queue runs, randmap over the IPs, concurrency feedback, dead destinations.
- `ZoneMta`, `PowerMta`: their schedules and what they do on a block. KumoMTA is in kumomta.py.
"""

from collections.abc import Sequence

from omicard_relay.steering.simulation.spreading import InTurn, drawn
from omicard_relay.steering.simulation.strategy import ANEW, GO, RETURN, Judged, Mail, Place, Turn
from omicard_relay.steering.simulation.wording import Spoken
from omicard_relay.steering.values import Chance
from omicard_relay.tables.worldtables import World

__all__ = ["BLOCKED", "SLOWED", "Fixed", "Postfix", "PowerMta", "ZoneMta"]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_PERMANENT = 5
#: Causes that say that the IP is blocked, and those that say that it is too fast.
BLOCKED = frozenset({917, 938, 939})
SLOWED = frozenset({921, 924, 929})


class Fixed:
    """Tried again after fixed rests; `rests` in seconds. 20 sessions at once, as Postfix has."""

    by_domain = False
    sessions = 20
    #: A mail is given up after this age.
    lifetime = 5 * _DAY

    def __init__(
        self, world: World, places: Sequence[Place], chance: Chance, rests: Sequence[float] = (900.0,)
    ) -> None:
        self._rests = tuple(rests)
        self._ips = world.ips
        self._turn = InTurn(world.ips)

    def choose(self, mail: Mail, now: float) -> tuple[int, float]:
        return (mail.ip if mail.ip >= 0 else self._turn.next()), 0.0

    def may_go(self, mail: Mail, ip: int, group: int, now: float) -> tuple[Turn, float]:
        return GO

    def limits(self, ip: int, group: int, now: float) -> tuple[int, float]:
        return self.sessions, 0.0

    def failed(self, mail: Mail, ip: int, group: int, spoken: Spoken, judged: Judged, now: float) -> float:
        if spoken.reply_class == _PERMANENT or now - mail.queued >= self.lifetime:
            return RETURN
        return now + self._rests[min(mail.attempts, len(self._rests)) - 1]

    def delivered(self, mail: Mail, ip: int, group: int, now: float) -> None:
        pass

    def complained(self, mail: Mail, ip: int, now: float) -> None:
        pass


class _Window:
    """How many sessions Postfix opens at once to a destination, and whether it holds it for dead."""

    __slots__ = ("dead_until", "failed", "size")

    def __init__(self) -> None:
        self.size, self.failed, self.dead_until = Postfix.initial, 0.0, 0.0


class Postfix(Fixed):
    """Postfix 3.x with its defaults and one transport an IP, chosen by randmap at every attempt."""

    by_domain = True
    #: minimal_backoff_time, maximal_backoff_time, queue_run_delay, bounce_queue_lifetime.
    least, most, every = 300.0, 4000.0, 300.0
    #: initial_destination_concurrency, default_destination_concurrency_limit.
    initial, sessions = 5, 20

    def __init__(self, world: World, places: Sequence[Place], chance: Chance) -> None:
        super().__init__(world, places, chance)
        self._chance = chance
        self._weights = [source.weight for source in world.ips]
        self._windows: dict[tuple[int, int], _Window] = {}

    def choose(self, mail: Mail, now: float) -> tuple[int, float]:
        ip = drawn(self._weights, self._chance)
        if now < self._window(ip, mail.domain).dead_until:
            return -1, self._again(mail, now)
        return ip, 0.0

    def may_go(self, mail: Mail, ip: int, group: int, now: float) -> tuple[Turn, float]:
        if now < self._window(ip, group).dead_until:
            return Turn.DEFER, self._again(mail, now)
        return GO

    def limits(self, ip: int, group: int, now: float) -> tuple[int, float]:
        return self._window(ip, group).size, 0.0

    def failed(self, mail: Mail, ip: int, group: int, spoken: Spoken, judged: Judged, now: float) -> float:
        window = self._window(ip, group)
        if spoken.at_greeting:
            self._site_failed(window, now)
        if (spoken.reply_class == _PERMANENT and not spoken.at_greeting) or now - mail.queued >= self.lifetime:
            return RETURN
        return self._again(mail, now)

    def delivered(self, mail: Mail, ip: int, group: int, now: float) -> None:
        window = self._window(ip, group)
        window.size = min(self.sessions, window.size + 1)
        window.failed = 0.0

    def _site_failed(self, window: _Window, now: float) -> None:
        """A failure before the first mail command; a whole window of them in a row, and the destination is held for dead."""
        if now < window.dead_until:
            return
        window.failed += 1.0 / window.size
        window.size = max(1, window.size - 1)
        if window.failed >= 1.0:
            window.dead_until = now + self.least
            window.size, window.failed = self.initial, 0.0

    def _again(self, mail: Mail, now: float) -> float:
        """After its age, within bounds, at the next queue run."""
        ready = now + min(self.most, max(self.least, now - mail.queued))
        return -(-ready // self.every) * self.every

    def _window(self, ip: int, group: int) -> _Window:
        window = self._windows.get((ip, group))
        if window is None:
            window = self._windows[ip, group] = _Window()
        return window


class ZoneMta(Fixed):
    """ZoneMTA: one IP a mail by its id; an IP that a domain blocks is left out there for six hours, others go on."""

    by_domain = True
    sessions = 10
    rests = tuple(minutes * _MINUTE for minutes in (5, 7, 8, 25, 75, 120, *[240] * 11))
    avoids = 6 * _HOUR

    def __init__(self, world: World, places: Sequence[Place], chance: Chance) -> None:
        super().__init__(world, places, chance)
        self._avoided: dict[int, dict[int, float]] = {}

    def choose(self, mail: Mail, now: float) -> tuple[int, float]:
        return self._pick(mail, now)[0], 0.0

    def may_go(self, mail: Mail, ip: int, group: int, now: float) -> tuple[Turn, float]:
        return GO if self._pick(mail, now)[0] == ip else ANEW

    def failed(self, mail: Mail, ip: int, group: int, spoken: Spoken, judged: Judged, now: float) -> float:
        if judged.code in BLOCKED and spoken.reply_class:
            is_last = not self._pick(mail, now)[1]
            self._avoided.setdefault(group, {}).setdefault(ip, now + self.avoids)
            if is_last and spoken.reply_class == _PERMANENT:
                return RETURN
        elif spoken.reply_class == _PERMANENT:
            return RETURN
        if mail.attempts > len(self.rests):
            return RETURN
        return now + self.rests[mail.attempts - 1]

    def _pick(self, mail: Mail, now: float) -> tuple[int, bool]:
        """The IP for this mail, and whether any is left that the domain does not block."""
        avoided = self._avoided.get(mail.domain, {})
        for ip in [ip for ip, until in avoided.items() if now >= until]:
            del avoided[ip]
        usable = [ip for ip, source in enumerate(self._ips) if source.weight and ip not in avoided]
        pool = usable or [ip for ip, source in enumerate(self._ips) if source.weight]
        # Any even spread by the mail's own number, as ZoneMTA does with a checksum of its id.
        return pool[mail.number * 2_654_435_761 % 4_294_967_296 % len(pool)], bool(usable)


class PowerMta(Fixed):
    """PowerMTA: a mail keeps its VirtualMTA; a block or a limit puts the queue into back-off mode: slow, longer rests."""

    rest, backoff_rest = 10 * _MINUTE, _HOUR
    #: In back-off mode one mail a minute; back to normal after an hour.
    backoff_apart, backoff_for = 60.0, _HOUR
    lifetime = 4.5 * _DAY

    def __init__(self, world: World, places: Sequence[Place], chance: Chance) -> None:
        super().__init__(world, places, chance)
        self._backoff: dict[tuple[int, int], float] = {}

    def limits(self, ip: int, group: int, now: float) -> tuple[int, float]:
        if now < self._backoff.get((ip, group), 0.0):
            return 1, self.backoff_apart
        return self.sessions, 0.0

    def failed(self, mail: Mail, ip: int, group: int, spoken: Spoken, judged: Judged, now: float) -> float:
        if spoken.reply_class and judged.code in BLOCKED | SLOWED:
            self._backoff[ip, group] = now + self.backoff_for
        if spoken.reply_class == _PERMANENT or now - mail.queued >= self.lifetime:
            return RETURN
        return now + (self.backoff_rest if now < self._backoff.get((ip, group), 0.0) else self.rest)
