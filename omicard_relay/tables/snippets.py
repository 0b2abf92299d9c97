"""The snippets of `postfix/` -> what main.cf and master.cf should hold, every place filled from the settings.

A snippet is a folder that an operator can read and paste: `main.cf`, `master.cf` and more files with places such as
`{{relay_nexthop}}`, and `snippet.toml`, which says what it is for and how Postfix's lists take its values in.
Not here: the values and what may not stand there (tables/snippet_values.py), running Postfix's tools (services/postconf.py),
comparing and changing (services/attach.py).
Known limits: in the fragments, an argument with white space inside is not supported, and none is shipped.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

from omicard_relay.mail import TableError
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.snippet_values import Deployment, bounce_values, snippet_values, steering_values
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = [
    "BOUNCE_SNIPPETS",
    "SNIPPET_NAMES",
    "STEERING_SNIPPET",
    "Deployment",
    "Join",
    "Parameter",
    "Service",
    "ServiceOption",
    "Snippet",
    "SnippetFile",
    "filled_snippet",
    "required_snippets",
    "with_required",
]

#: In the order in which they are shown and applied: what others need comes first.
SNIPPET_NAMES = ("reinject", "content-filter", "bounce-pipe", "bounce-lmtp", "steering")
#: The one that needs `[[steer.ip]]`.
STEERING_SNIPPET = "steering"
#: Those that need `return_path.domain`.
BOUNCE_SNIPPETS = ("bounce-pipe", "bounce-lmtp")

_PLACE = re.compile(r"\{\{([a-z0-9_]+)\}\}")


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
class ServiceOption:
    """`name=value` for every service of master.cf that runs one of these programs; it joins the site's own entry."""

    commands: tuple[str, ...]
    name: str
    value: str

    @property
    def words(self) -> str:
        """As it stands in the entry."""
        return f"-o {self.name}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnippetFile:
    """One file for the folder `omicard-relay` below the configuration folder."""

    name: str
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A snippet whose places are filled. `main_text` and `master_text` are what a person pastes, comments included.

    `our_listener` is where a service of ours, not Postfix, listens for it (`host:port`); `our_table` the LMDB table (a path
    without `.lmdb`) that must be there before Postfix asks for it; empty: none.
    """

    name: str
    summary: str
    summary_zh_tw: str
    requires: tuple[str, ...]
    excludes: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    services: tuple[Service, ...]
    files: tuple[SnippetFile, ...]
    options: tuple[ServiceOption, ...]
    our_listener: str
    our_table: str
    main_text: str
    master_text: str


class _Option(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[option]]."""

    commands: tuple[str, ...]
    option: str


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """snippet.toml."""

    summary: str
    summary_zh_tw: str
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    #: Where our own service listens, with places.
    listener: str = ""
    #: The LMDB table that Postfix reads, with places.
    table: str = ""
    option: tuple[_Option, ...] = ()
    join: dict[str, Literal["first", "last", "last-if-set"]] = {}


def filled_snippet(name: str, settings: Settings, deployment: Deployment) -> Snippet:
    """The snippet of that name. Raises TableError: an unknown name, or a setting that is missing or cannot stand there."""
    if name not in SNIPPET_NAMES:
        raise TableError(f"There is no snippet `{name}`; there are: {', '.join(SNIPPET_NAMES)}.")
    folder, head = shipped("postfix", name), _head(name)
    values = snippet_values(settings, deployment)
    if name in BOUNCE_SNIPPETS:
        values |= bounce_values(settings)
    if name == STEERING_SNIPPET:
        values |= steering_values(settings)

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
        options=tuple(
            ServiceOption(commands=one.commands, name=key, value=value)
            for one in head.option
            for key, _, value in (one.option.partition("="),)
        ),
        our_listener=_fill_text(head.listener, values, folder / "snippet.toml"),
        our_table=_fill_text(head.table, values, folder / "snippet.toml"),
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


def _fill(path: Path, values: dict[str, str]) -> str:
    """The file's text with its places filled."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}); install the package anew.") from None
    return _fill_text(text, values, path)


def _fill_text(text: str, values: dict[str, str], path: Path) -> str:
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
