"""The snippets of `postfix/` -> what main.cf and master.cf should hold, every place filled from the settings.

A snippet is a folder that an operator can read and paste: `main.cf`, `master.cf` and more files with places such as
`{{relay_nexthop}}`, and `snippet.toml`, which says what it is for and how Postfix's lists take its values in. A value that
could break out of its place (white space, `$`, braces) is refused here, with the key that it came from.
Not here: running Postfix's tools (services/postconf.py), comparing and changing (services/attach.py).
Known limits: in the fragments, an argument with white space inside is not supported, and none is shipped.
"""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

from omicard_relay.mail import TableError
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = [
    "BOUNCE_SNIPPETS",
    "SNIPPET_NAMES",
    "Deployment",
    "Join",
    "Parameter",
    "Service",
    "Snippet",
    "SnippetFile",
    "filled_snippet",
    "required_snippets",
    "with_required",
]

#: In the order in which they are shown and applied: what others need comes first.
SNIPPET_NAMES = ("reinject", "content-filter", "bounce-pipe", "bounce-lmtp")
#: Those that need `return_path.domain`.
BOUNCE_SNIPPETS = ("bounce-pipe", "bounce-lmtp")

_PLACE = re.compile(r"\{\{([a-z0-9_]+)\}\}")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,255}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,30}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9._-]{1,24}")
#: Inside `[…]` of a POSIX expression each of these stands for itself.
_DELIMITER = re.compile(r"[-+=_.#~*!%]")
_ARGUMENT = re.compile(r"[^\s${}\"'\\#\x00-\x1f\x7f]+")


class Join(StrEnum):
    """How a value enters main.cf."""

    #: It is the parameter's whole value.
    SET = "set"
    #: One item of a list, before those that stand there.
    FIRST = "first"
    #: One item of a list, after those that stand there.
    LAST = "last"
    #: The same, but an empty list stays empty: for Postfix that means "no check", and one item would refuse all others.
    LAST_IF_SET = "last-if-set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One line of main.cf."""

    name: str
    value: str
    join: Join = Join.SET


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of master.cf: `name/type`, and its entry on one line with single spaces."""

    name: str
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnippetFile:
    """One file for the folder `omicard-relay` below the configuration folder."""

    name: str
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A snippet whose places are filled. `main_text` and `master_text` are what a person pastes, comments included."""

    name: str
    summary: str
    summary_zh_tw: str
    requires: tuple[str, ...]
    excludes: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    services: tuple[Service, ...]
    files: tuple[SnippetFile, ...]
    main_text: str
    master_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What the settings do not say: our folder below Postfix's, the pipe's user, and the command that starts us."""

    folder: Path
    user: str
    command: tuple[str, ...]


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """snippet.toml."""

    summary: str
    summary_zh_tw: str
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    join: dict[str, Literal["first", "last", "last-if-set"]] = {}


def filled_snippet(name: str, settings: Settings, deployment: Deployment) -> Snippet:
    """The snippet of that name. Raises TableError: an unknown name, or a setting that is missing or cannot stand there."""
    if name not in SNIPPET_NAMES:
        raise TableError(f"There is no snippet `{name}`; there are: {', '.join(SNIPPET_NAMES)}.")
    folder, head = shipped("postfix", name), _head(name)
    values = _common_values(settings, deployment)
    if name in BOUNCE_SNIPPETS:
        values |= _bounce_values(settings)

    def fill(file_name: str) -> str:
        return _fill(folder / file_name, values)

    main_text, master_text = fill("main.cf"), fill("master.cf")
    parameters = []
    for line in _logical_lines(main_text):
        key, _, value = (part.strip() for part in line.partition("="))
        parameters.append(Parameter(name=key, value=value, join=Join(head.join.get(key, "set"))))
    services = []
    for line in _logical_lines(master_text):
        fields = line.split()
        services.append(Service(name="/".join(fields[:2]), entry=" ".join(fields)))
    return Snippet(
        name=name,
        summary=head.summary,
        summary_zh_tw=head.summary_zh_tw,
        requires=head.requires,
        excludes=head.excludes,
        parameters=tuple(parameters),
        services=tuple(services),
        files=tuple(
            SnippetFile(name=file_name, text=fill(file_name), executable=file_name in head.executables)
            for file_name in (*head.executables, *head.files)
        ),
        main_text=main_text,
        master_text=master_text,
    )


def required_snippets(name: str) -> tuple[str, ...]:
    """The snippets that this one cannot work without."""
    return _head(name).requires


def with_required(names: tuple[str, ...], settings: Settings, deployment: Deployment) -> tuple[Snippet, ...]:
    """The named snippets and those they require, each once, in SNIPPET_NAMES' order. Raises TableError, also for a pair that
    excludes each other."""
    wanted = {name: filled_snippet(name, settings, deployment) for name in dict.fromkeys(names)}
    for snippet in tuple(wanted.values()):
        for name in snippet.requires:
            wanted.setdefault(name, filled_snippet(name, settings, deployment))
    for snippet in wanted.values():
        for other in snippet.excludes:
            if other in wanted:
                raise TableError(f"`{snippet.name}` and `{other}` do the same in two ways; choose one of them.")
    return tuple(wanted[name] for name in SNIPPET_NAMES if name in wanted)


def _head(name: str) -> _Head:
    path = shipped("postfix", name, "snippet.toml")
    return convert(read_toml(path), _Head, path)


def _common_values(settings: Settings, deployment: Deployment) -> dict[str, str]:
    relay, ingest = settings.relay, settings.ingest
    filter_host = _reachable(relay.host, "relay.host")
    ingest_host = _reachable(ingest.host, "ingest.host")
    next_host = _reachable(relay.next_host, "relay.next_host")
    filter_sources, ingest_sources = _sources(filter_host), _sources(ingest_host)
    return {
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
    }


def _bounce_values(settings: Settings) -> dict[str, str]:
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


def _fill(path: Path, values: dict[str, str]) -> str:
    """The file's text with its places filled."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); install the package anew.") from None
    unknown = sorted(set(_PLACE.findall(text)) - values.keys())
    if unknown:
        raise TableError(f"{path}: no value for {{{{{unknown[0]}}}}}; known are {', '.join(sorted(values))}.")
    return _PLACE.sub(lambda match: values[match[1]], text)


def _logical_lines(text: str) -> list[str]:
    """Postfix's lines: comments and empty lines fall out, even between; a line that begins with white space goes on."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            lines[-1] += " " + line.strip()
        else:
            lines.append(line.strip())
    return lines


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
