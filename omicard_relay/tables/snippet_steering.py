"""What the snippet `steering` needs of the settings: transports of each IP and class of speed, their limits, the spreading.

A class is a pace for each destination domain: Postfix counts neither providers nor minutes. `rate_delay` knows whole seconds;
above one mail a second the number of connections holds the pace down.
Not here: the paces (policies/speeds.toml), what else stands in the snippet (`postfix/steering/`).
Known limits: a provider with many domains is slowed domain by domain.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from math import gcd

from omicard_relay.mail import TableError
from omicard_relay.tables.active import active_folder
from omicard_relay.tables.settings import Settings, SteerIpSettings
from omicard_relay.tables.speeds import Speeds, load_speeds

__all__ = ["shares", "steering_limits", "steering_spread", "steering_transports", "transport_names"]

#: Entries of randmap at most: it draws one of them, so that this is how fine a weight can be.
_MOST = 100
#: How far a share may be from its weight.
_CLOSE = 0.005


def transport_names(settings: Settings) -> tuple[str, ...]:
    """Every transport that is generated, as wire/transports.py spells it. Raises TableError, also when there is no IP."""
    return tuple(name for name, _, _ in _each(settings, _speeds(settings)))


def steering_transports(settings: Settings) -> str:
    """The entries of master.cf."""
    lines = []
    for name, ip, _ in _each(settings, _speeds(settings)):
        version = ipaddress.ip_address(ip.address).version
        bind = "smtp_bind_address" if version == 4 else "smtp_bind_address6"
        lines.append(f"{name} unix - - n - - smtp")
        lines.append(f"  -o syslog_name=postfix/{name}")
        # One family: with both, mail to the other one would leave from an address that nobody has named.
        lines.append(f"  -o inet_protocols=ipv{version} -o {bind}={ip.address}")
        if ip.helo:
            lines.append(f"  -o smtp_helo_name={ip.helo}")
    return "\n".join(lines)


def steering_limits(settings: Settings) -> str:
    """The limits of the slower classes, for main.cf."""
    speeds = _speeds(settings)
    lines = []
    for name, _, speed in _each(settings, speeds):
        if not speed:
            continue
        one = speeds.classes[speed - 1]
        lines.append(f"{name}_destination_concurrency_limit = {one.concurrency}")
        lines.append(f"{name}_destination_recipient_limit = 2")
        if one.rate_delay_seconds:
            lines.append(f"{name}_destination_rate_delay = {one.rate_delay_seconds}s")
    return "\n".join(lines)


def steering_spread(settings: Settings) -> str:
    """The entries of randmap: each IP as often as its weight asks."""
    ips = _ips(settings)
    counts = shares([ip.weight for ip in ips])
    return ",".join(f"{ip.name}:" for ip, count in zip(ips, counts, strict=True) for _ in range(count))


def shares(weights: Sequence[float]) -> list[int]:
    """Small whole numbers in about this proportion, each at least 1, together as few as that allows."""
    total = sum(weights)
    wanted = [weight / total for weight in weights]
    counts = [1] * len(weights)
    for size in range(len(weights), max(_MOST, len(weights)) + 1):
        counts = _rounded(wanted, size)
        if all(abs(count / size - share) <= _CLOSE for count, share in zip(counts, wanted, strict=True)):
            break
    common = gcd(*counts)
    return [count // common for count in counts]


def _rounded(wanted: Sequence[float], size: int) -> list[int]:
    """`size` things divided by these shares, none of them empty: the largest remainders get what is left."""
    counts = [max(1, int(share * size)) for share in wanted]
    rest = sorted(range(len(wanted)), key=lambda number: counts[number] - wanted[number] * size)
    for number in rest[: max(0, size - sum(counts))]:
        counts[number] += 1
    return counts


def _each(settings: Settings, speeds: Speeds) -> Iterator[tuple[str, SteerIpSettings, int]]:
    """Name, IP and class of every transport, IP by IP, fastest first."""
    for ip in _ips(settings):
        for speed in range(speeds.slowest + 1):
            yield f"{ip.name}-s{speed}" if speed else ip.name, ip, speed


def _ips(settings: Settings) -> tuple[SteerIpSettings, ...]:
    if not settings.steer.ip:
        raise TableError(
            "There is no `[[steer.ip]]`; name each IP from which mail goes out, with `name` and `address`."
        )
    return settings.steer.ip


def _speeds(settings: Settings) -> Speeds:
    return load_speeds(active_folder(settings))
