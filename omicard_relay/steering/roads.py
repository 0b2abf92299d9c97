"""The lanes as they stand at one moment: which IP takes how much of a provider's mail, at which speed, or until when it rests.

Shares follow the IPs' weights, what a slowed lane can carry, and how much of its mail a lane was accepted lately, compared
with the best.
"""

from collections.abc import Sequence

from omicard_relay.steering.state import LaneState, ProviderState, State
from omicard_relay.steering.values import Lane, Reason, SourceIp
from omicard_relay.steering.warmup import DAY, is_exhausted
from omicard_relay.tables.speeds import Speeds

__all__ = ["lanes_of"]

#: A lane that probes beside open ones gets this part of the mail: enough to try, too little to matter.
_PROBE_SHARE = 0.01
#: Mails per second that try whether a host is back, or whether an IP is still blocked.
_TRICKLE, _POKES = 0.09, 0.009
#: Mails per second beyond a new IP's allowance, where no other IP is open.
_OVER_ALLOWANCE = 0.05
#: An ordinary lane counts as this fast, in mails a second, when mail is shared between it and slowed ones.
_ORDINARY_PACE = 50.0
#: Lanes whose rate of acceptance is less than this part of the best lane's get less; before so many mails none is judged.
_WORSE, _JUDGED_AFTER = 0.7, 20.0


def lanes_of(
    name: str, provider: ProviderState | None, ips: Sequence[SourceIp], state: State, speeds: Speeds, now: float
) -> tuple[Lane, ...]:
    """One lane for each IP, in their order."""
    if provider is None:
        total = sum(ip.weight for ip in ips) or 1.0
        return tuple(Lane(provider=name, ip=ip.name, share=ip.weight / total) for ip in ips)
    whole = provider.whole
    whole_rests = now < whole.until
    # Of what the whole provider's trickle is, the first open lane alone carries it.
    whole_probes = whole.is_closed and not whole_rests
    best = max((_rate(provider.lanes.get(ip.name)) for ip in ips), default=1.0)
    parts: list[tuple[LaneState | None, float, bool, float]] = []
    used_up = [is_exhausted(provider.lanes.get(ip.name), state.ages.get(ip.name), now, speeds) for ip in ips]
    for ip in ips:
        lane = provider.lanes.get(ip.name)
        until, probes, weight = 0.0, whole_probes, ip.weight
        if whole_rests:
            until = whole.until
        if lane is not None:
            if now < lane.until:
                until = max(until, lane.until)
            elif lane.is_closed:
                probes = True
            if lane.speed:
                weight *= min(1.0, speeds.pace(lane.speed) / _ORDINARY_PACE)
            rate = _rate(lane)
            if rate < best * _WORSE:
                weight *= (rate / best) ** 2
        parts.append((lane, until, probes, weight))
    if any(used_up) and any(
        not until and not probes and not used for (_, until, probes, _), used in zip(parts, used_up, strict=True)
    ):
        # Others carry what is beyond the day's allowance; where none can, a trickle goes on.
        midnight = (now // DAY + 1) * DAY
        parts = [
            (lane, max(until, midnight) if used else until, probes, weight)
            for (lane, until, probes, weight), used in zip(parts, used_up, strict=True)
        ]
    total = sum(weight for _, until, probes, weight in parts if not until and not probes)
    probing = sum(1 for _, until, probes, _ in parts if not until and probes)
    probe_share = (_PROBE_SHARE if total else 1.0 / probing) if probing else 0.0
    open_share = 1.0 - probe_share * probing if total else 0.0
    found = []
    for ip, (lane, until, probes, weight), used in zip(ips, parts, used_up, strict=True):
        speed = lane.speed if lane is not None else 0
        if used:
            speed = max(speed, speeds.at_most(_OVER_ALLOWANCE))
        if until:
            reasons = _why(lane, whole if whole_rests else None, "lane-rests")
            found.append(Lane(provider=name, ip=ip.name, speed=speed, rests_until=until, reasons=reasons))
        elif probes:
            reasons = _why(lane, whole if whole_probes else None, "lane-probes")
            # Who blocks an IP minds each poke; a host that was down does not.
            trickle = speeds.at_most(_POKES if lane is not None and lane.is_closed else _TRICKLE)
            found.append(
                Lane(provider=name, ip=ip.name, speed=trickle, is_probing=True, share=probe_share, reasons=reasons)
            )
        else:
            share = open_share * weight / total if total else 0.0
            reasons = (Reason(key="lane-slowed", figures={"per_second": speeds.pace(speed)}),) if speed else ()
            found.append(Lane(provider=name, ip=ip.name, speed=speed, share=share, reasons=reasons))
    return tuple(found)


def _rate(lane: LaneState | None) -> float:
    """Which part of its last hundred mails a lane was accepted; 1 while little is known."""
    if lane is None:
        return 1.0
    seen = lane.good + lane.bad
    return 1.0 if seen < _JUDGED_AFTER else lane.good / seen


def _why(lane: LaneState | None, whole: LaneState | None, key: str) -> tuple[Reason, ...]:
    cause = whole if whole is not None else lane
    if cause is None or not cause.code:
        return (Reason(key="lane-warms-up", figures={"mails": lane.day_count if lane is not None else 0}),)
    return (Reason(key=key, figures={"code": cause.code, "failures": cause.strikes, "probes": cause.probes}),)
