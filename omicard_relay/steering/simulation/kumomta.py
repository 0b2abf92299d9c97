"""KumoMTA as a strategy: its retry schedule, its shaping per provider, and the automation that answers replies.

The figures are the published ones (docs/worlds.md). The automation knows causes instead of texts, so that it fits
every provider of a world, also one whose words it never saw: stronger than in life. A source that is suspended is
skipped; where all are, mail waits for the first.
Known limits: no limit of new connections a minute; message limits a connection are left out on all sides.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from omicard_relay.steering.simulation.peers import Fixed
from omicard_relay.steering.simulation.spreading import InTurn
from omicard_relay.steering.simulation.strategy import ANEW, GO, RETURN, Judged, Mail, Place, Turn
from omicard_relay.steering.simulation.wording import Spoken
from omicard_relay.steering.values import Chance
from omicard_relay.tables.worldtables import World

__all__ = ["KumoMta"]

T = TypeVar("T")

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_PERMANENT = 5
#: MX suffix -> sessions at once; the default is 10 and 100 mails a second.
_SESSIONS = {
    "google.com": 5,
    "googlemail.com": 5,
    "yahoodns.net": 10,
    "protection.outlook.com": 5,
    "mx.microsoft": 5,
    "icloud.com": 10,
    "comcast.net": 25,
    "yahoo.co.jp": 2,
    "gmx.net": 4,
    "web.de": 4,
    "qq.com": 4,
    "netease.com": 4,
}
_DEFAULT_SESSIONS, _APART = 10, 0.01
#: So many failed connections in a row put a queue off as a whole.
_FAILED_CONNECTIONS = 100


class _Rule(msgspec.Struct, frozen=True):
    """After `many` such replies in an hour, for `long` seconds: one mail every `apart` seconds, `sessions` at once, or stop."""

    many: int
    long: float
    apart: float = 0.0
    sessions: int = 0


_RULES: Mapping[int, _Rule] = {
    915: _Rule(5, 15 * _MINUTE),
    917: _Rule(5, 2 * _HOUR),
    921: _Rule(3, 30 * _MINUTE, apart=6.0),
    924: _Rule(3, _HOUR),
    929: _Rule(2, _HOUR, sessions=1),
    938: _Rule(3, 30 * _MINUTE),
    939: _Rule(5, 2 * _HOUR),
}
#: Where the published figures are about one provider.
_OWN_RULES: Mapping[str, Mapping[int, _Rule]] = {
    "google.com": {938: _Rule(2, 30 * _MINUTE, apart=6.0), 913: _Rule(5, _HOUR)},
    "yahoodns.net": {938: _Rule(2, 2 * _HOUR), 929: _Rule(3, _HOUR, apart=6.0)},
    "protection.outlook.com": {938: _Rule(5, _HOUR), 915: _Rule(3, 15 * _MINUTE, apart=60.0)},
    "icloud.com": {938: _Rule(3, 15 * _MINUTE)},
}


class _Site:
    """One source IP at one provider."""

    __slots__ = ("apart", "counts", "failed", "sessions", "slow_until", "stopped_until")

    def __init__(self) -> None:
        self.counts: dict[int, deque[float]] = {}
        self.stopped_until = self.slow_until = self.apart = 0.0
        self.sessions = self.failed = 0


class KumoMta(Fixed):
    """`is_sticky`: a mail keeps its source (StickyWeightedRoundRobin, which development builds have)."""

    rest, lifetime = 20 * _MINUTE, 7 * _DAY
    jitter = 30.0

    def __init__(self, world: World, places: Sequence[Place], chance: Chance, *, is_sticky: bool = False) -> None:
        super().__init__(world, places, chance)
        self._chance, self._is_sticky = chance, is_sticky
        self._turns = [InTurn(world.ips) for _ in places]
        self._most = [_of(_SESSIONS, place.mx, _DEFAULT_SESSIONS) for place in places]
        self._rules = [{**_RULES, **_of(_OWN_RULES, place.mx, {})} for place in places]
        self._sites = [[_Site() for _ in world.ips] for _ in places]

    def choose(self, mail: Mail, now: float) -> tuple[int, float]:
        sites = self._sites[mail.provider]
        if self._is_sticky and mail.ip >= 0:
            return (mail.ip, 0.0) if now >= sites[mail.ip].stopped_until else (-1, sites[mail.ip].stopped_until)
        stopped = [ip for ip, site in enumerate(sites) if now < site.stopped_until]
        ip = self._turns[mail.provider].next(stopped)
        return (ip, 0.0) if ip >= 0 else (-1, min(sites[ip].stopped_until for ip in stopped))

    def may_go(self, mail: Mail, ip: int, group: int, now: float) -> tuple[Turn, float]:
        return ANEW if now < self._sites[group][ip].stopped_until else GO

    def limits(self, ip: int, group: int, now: float) -> tuple[int, float]:
        site = self._sites[group][ip]
        if now < site.slow_until:
            return site.sessions or self._most[group], max(site.apart, _APART)
        return self._most[group], _APART

    def failed(self, mail: Mail, ip: int, group: int, spoken: Spoken, judged: Judged, now: float) -> float:
        site = self._sites[group][ip]
        if not spoken.reply_class:
            site.failed += 1
            if site.failed > _FAILED_CONNECTIONS:
                site.stopped_until, site.failed = now + self.rest, 0
        else:
            site.failed = 0
            self._count(site, group, judged.code, now)
        if spoken.reply_class == _PERMANENT or now - mail.queued >= self.lifetime:
            return RETURN
        return now + self.rest * 2.0 ** (mail.attempts - 1) + self._chance.uniform(-self.jitter, self.jitter)

    def delivered(self, mail: Mail, ip: int, group: int, now: float) -> None:
        self._sites[group][ip].failed = 0

    def _count(self, site: _Site, group: int, code: int, now: float) -> None:
        rule = self._rules[group].get(code)
        if rule is None:
            return
        seen = site.counts.setdefault(code, deque(maxlen=rule.many))
        seen.append(now)
        if len(seen) < rule.many or now - seen[0] > _HOUR:
            return
        seen.clear()
        if rule.apart or rule.sessions:
            site.slow_until, site.apart, site.sessions = now + rule.long, rule.apart, rule.sessions
        else:
            site.stopped_until = now + rule.long


def _of(table: Mapping[str, T], mx: str, otherwise: T) -> T:
    """The entry whose suffix ends the host's name."""
    return next((value for suffix, value in table.items() if mx == suffix or mx.endswith("." + suffix)), otherwise)
