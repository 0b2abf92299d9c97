"""What a person should look at, read from the state; whoever tells it keeps the same alert from being told twice.

931 (our own machine), an IP that is blocked at many providers, a provider at which all IPs are blocked, a sudden rise of
final replies, and our own authentication or names failing (933, 914, 916).
"""

from collections.abc import Sequence

from omicard_relay.steering.state import State
from omicard_relay.steering.values import Alert, SourceIp

__all__ = ["alerts_of"]

_BLOCKS = frozenset({917, 924, 925, 938, 939})
_OURS = {931: "own-resources", 933: "sender-not-verified", 914: "helo-rejected", 916: "no-reverse-dns"}
#: An IP is blocked everywhere where so many providers, and this part of all that it sends to, block it.
_MANY, _MOST = 3, 0.5
#: Seen so often among a provider's last hundred or so replies, one of our own faults is told.
_OFTEN = 3.0
_RISE = 20.0


def alerts_of(state: State, ips: Sequence[SourceIp], now: float) -> tuple[Alert, ...]:
    """The alerts as things stand, in a fixed order."""
    found: list[Alert] = []
    ours: dict[int, float] = {}
    blocked = {ip.name: 0 for ip in ips}
    used = {ip.name: 0 for ip in ips}
    for name, provider in sorted(state.providers.items()):
        rests = 0
        for ip in ips:
            lane = provider.lanes.get(ip.name)
            if lane is None:
                continue
            used[ip.name] += 1
            if lane.is_closed and lane.code in _BLOCKS:
                blocked[ip.name] += 1
                rests += 1
        if rests and rests == len(ips):
            found.append(Alert(key="all-ips-blocked", time=now, about=name, figures={"ips": rests}))
        for code, weight in sorted(provider.codes.items()):
            if code in _OURS:
                ours[code] = ours.get(code, 0.0) + weight
        (final, all_), (before, before_all) = provider.recent, provider.earlier
        if all_ >= _RISE and before_all >= _RISE and final / all_ >= 0.5 and before / before_all < final / all_ / 2:
            share = round(final / all_, 2)
            found.append(Alert(key="final-replies-rise", time=now, about=name, figures={"share": share}))
    for ip in ips:
        if blocked[ip.name] >= _MANY and blocked[ip.name] >= _MOST * used[ip.name]:
            figures: dict[str, str | int | float] = {"providers": blocked[ip.name], "used": used[ip.name]}
            found.append(Alert(key="ip-blocked-everywhere", time=now, about=ip.name, figures=figures))
    for code, weight in sorted(ours.items()):
        if weight >= (1.0 if code == 931 else _OFTEN):
            found.append(Alert(key=_OURS[code], time=now, about=str(code), figures={"replies": round(weight, 1)}))
    return tuple(found)
