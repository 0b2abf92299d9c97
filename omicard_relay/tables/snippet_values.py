"""The values for the places of the snippets in `postfix/`, from the settings.

A value that could break out of its place (white space, `$`, braces) is refused here, with the key that it came from.
Not here: the snippets themselves (tables/snippets.py).
Known limits: an argument of the pipe's command cannot hold white space.
"""

import ipaddress
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from omicard_relay.mail import TableError
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.snippet_steering import steering_limits, steering_spread, steering_transports

__all__ = ["Deployment", "bounce_values", "snippet_values", "steering_values"]

_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,255}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,30}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9._-]{1,24}")
#: Inside `[…]` of a POSIX expression each of these stands for itself.
_DELIMITER = re.compile(r"[-+=_.#~*!%]")
_TABLE = re.compile(r"/[^\s,:${}()<>\"'\\#\x00-\x1f\x7f]+")
_ARGUMENT = re.compile(r"[^\s${}\"'\\#\x00-\x1f\x7f]+")


_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the settings do not say: our folder below Postfix's, the pipe's user, and the command that starts us.

    `light`: the words that start cli/pipe_client.py, by the interpreter that runs now, without what slows its start.
    """

    folder: Path
    user: str
    command: tuple[str, ...]
    light: tuple[str, ...] = (sys.executable, "-I", "-S", str(_PACKAGE / "cli" / "pipe_client.py"))


def snippet_values(settings: Settings, deployment: Deployment) -> dict[str, str]:
    """The values of every snippet. Raises TableError with the key that cannot stand in Postfix's configuration."""
    relay, ingest = settings.relay, settings.ingest
    filter_host = _reachable(relay.host, "relay.host")
    ingest_host = _reachable(ingest.host, "ingest.host")
    next_host = _reachable(relay.next_host, "relay.next_host")
    filter_sources, ingest_sources = _sources(filter_host), _sources(ingest_host)
    return {
        "relay_address": f"{_bracketed(filter_host)}:{relay.port}",
        "relay_nexthop": f"[{filter_host}]:{relay.port}",
        "relay_source4": filter_sources[0],
        "relay_source6": filter_sources[1],
        "relay_addresses": ",".join(_callers(next_host)),
        "reinject_service": f"{_bracketed(next_host)}:{relay.next_port}",
        # Postfix refuses what is above with 452; never below its own default of 1000.
        "recipient_limit": str(max(1000, relay.max_recipients)),
        "ingest_address": f"{_bracketed(ingest_host)}:{ingest.port}",
        "ingest_source4": ingest_sources[0],
        "ingest_source6": ingest_sources[1],
        "folder": _argument(str(deployment.folder), "The configuration folder"),
        "user": _argument(deployment.user, "The user of the pipe"),
        "command": " ".join(_argument(word, "The command of the pipe") for word in deployment.command),
        "light": " ".join(_argument(word, "The light client of the pipe") for word in deployment.light),
        # No client can go where no socket is: `-` lets it start the program at once.
        "ingest_socket": _argument(str(settings.data_path(ingest.socket).absolute()), "`ingest.socket`")
        if ingest.socket
        else "-",
    }


def bounce_values(settings: Settings) -> dict[str, str]:
    """The values of those that bring bounces home. Raises TableError, also when `return_path.domain` is not set."""
    path = settings.return_path
    if not path.domain:
        raise TableError(
            "`return_path.domain` is not set; name the domain that bounces come home to, for example bounce.example.com."
        )
    domain = _checked(path.domain, _DOMAIN, "return_path.domain", "a domain in ASCII (xn--… for others)")
    local_part = _checked(path.local_part, _LOCAL_PART, "return_path.local_part", "letters, digits, `.`, `_` and `-`")
    delimiter = _checked(path.delimiter, _DELIMITER, "return_path.delimiter", "one of `- + = _ . # ~ * ! %`")
    return {
        "bounce_domain": domain.lower(),
        "bounce_domain_pattern": domain.lower().replace(".", r"\."),
        "local_part_pattern": local_part.replace(".", r"\."),
        "delimiter_pattern": f"[{delimiter}]",
    }


def steering_values(settings: Settings) -> dict[str, str]:
    """The values of the steering. Raises TableError, also when there is no `[[steer.ip]]`."""
    steer = settings.steer
    host = _reachable(steer.host, "steer.host")
    return {
        "steer_address": f"{_bracketed(host)}:{steer.port}",
        "steer_table": _checked(
            str(settings.steer_table.absolute()),
            _TABLE,
            "steer.table",
            "a path without white space, commas, `$` and braces",
        ),
        "steer_spread": steering_spread(settings),
        "steer_limits": steering_limits(settings),
        "steer_transports": steering_transports(settings),
    }


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _reachable(host: str, key: str) -> str:
    """The host to connect to when a service listens at `host`: the wildcards become the loopback address."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return _checked(host, _HOST, key, "an address or a host name")


def _sources(host: str) -> tuple[str, str]:
    """(IPv4, IPv6) source addresses for a hop to `host`; empty: the system's choice.

    With one address in inet_interfaces, smtp(8) would come from that one, which the relay does not know.
    """
    address = _address(host)
    if host == "localhost":
        return "127.0.0.1", "::1"
    if address is None or not address.is_loopback:
        return "", ""
    return ("127.0.0.1", "") if address.version == 4 else ("", "::1")


def _callers(next_host: str) -> list[str]:
    """The networks that a relay on this machine comes from when it connects to `next_host`."""
    address = _address(next_host)
    if address is None:
        return ["127.0.0.0/8", "[::1]/128", *([] if next_host == "localhost" else [next_host])]
    if address.is_loopback:
        return ["127.0.0.0/8" if address.version == 4 else "[::1]/128"]
    # A machine that calls its own address comes from that address.
    return [f"{address}/32" if address.version == 4 else f"[{address}]/128"]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _checked(value: str, allowed: re.Pattern[str], key: str, wanted: str) -> str:
    if not allowed.fullmatch(value):
        raise TableError(f"`{key}`: {value!r} cannot stand in Postfix's configuration; it takes {wanted}.")
    return value


def _argument(value: str, what: str) -> str:
    if not _ARGUMENT.fullmatch(value):
        raise TableError(
            f"{what}, {value!r}, cannot stand in master.cf: white space, quotes, `$`, braces, `#` and backslashes are "
            "not possible there; choose another place."
        )
    return value
