"""The live Postfix configuration against the snippets, and the facts that no value shows: versions, ports, the pipe's start.

One `Finding` a line, in the order of the snippets, facts last. Nothing is changed.
Not here: words for people (cli/postfix.py).
Known limits: without root the pipe's command is not tried as its user; a port that answers may belong to another program.
"""

import os
import pwd
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from omicard_relay.mail import one_line
from omicard_relay.services.attachplan import services_of
from omicard_relay.services.attachrecord import digest_of, file_digests, our_folder
from omicard_relay.services.exceptions_table import table_file
from omicard_relay.services.postconf import Postconf, split_items
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.snippets import STEERING_SNIPPET, Join, Snippet

__all__ = ["Finding", "State", "check"]

#: What the shipped snippets are written for and tried with.
_OLDEST_VERSION = (3, 5)
#: Seconds for a connection on this machine.
_CONNECT_TIMEOUT = 2.0
#: Seconds for one start of our own program.
_START_TIMEOUT = 60


class State(StrEnum):
    """How one line of `check` ended; only NOTE and OK leave the exit status 0."""

    OK = "ok"
    MISSING = "missing"
    DIFFERS = "differs"
    WRONG = "wrong"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line. `about` names a parameter (`main.cf content_filter`), a service, a file or a fact; a fact's name is a key
    of texts in cli/postfix.py."""

    snippet: str
    about: str
    state: State
    found: str = ""
    wanted: str = ""


def check(postconf: Postconf, snippets: Sequence[Snippet], settings: Settings) -> tuple[Finding, ...]:
    """Every line. Raises PostfixError when Postfix's own tools fail."""
    main, services, files = postconf.explicit(), postconf.services(), file_digests(our_folder(postconf.folder))
    findings: list[Finding] = []

    def compare(snippet: str, about: str, found: str | None, wanted: str) -> None:
        state = State.OK if found == wanted else State.DIFFERS if found else State.MISSING
        findings.append(Finding(snippet=snippet, about=about, state=state, found=found or "", wanted=wanted))

    for snippet in snippets:
        for parameter in snippet.parameters:
            about = f"main.cf {parameter.name}"
            if parameter.join is Join.SET:
                compare(snippet.name, about, main.get(parameter.name), parameter.value)
                continue
            if parameter.join is Join.LAST_IF_SET and not postconf.effective(parameter.name):
                continue
            found = main.get(parameter.name, "")
            compare(
                snippet.name, about, parameter.value if parameter.value in split_items(found) else None, parameter.value
            )
        for service in snippet.services:
            compare(snippet.name, f"master.cf {service.name}", services.get(service.name), service.entry)
        for option in snippet.options:
            for name in services_of(option, services) or [option.commands[0]]:
                has = f" {option.words} " in f"{services.get(name, '')} "
                compare(snippet.name, f"master.cf {name}", option.words if has else None, option.words)
        for file in snippet.files:
            compare(snippet.name, str(our_folder(postconf.folder) / file.name), files.get(file.name), digest_of(file))
    findings.extend(_facts(postconf, snippets, settings, services))
    return tuple(findings)


def _facts(
    postconf: Postconf, snippets: Sequence[Snippet], settings: Settings, services: dict[str, str]
) -> Iterator[Finding]:
    by_name = {snippet.name: snippet for snippet in snippets}
    version = postconf.version()
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    yield _fact("version", numbers >= _OLDEST_VERSION, version, ".".join(map(str, _OLDEST_VERSION)))
    yield _fact("queue-ids", (ids := postconf.effective("enable_long_queue_ids")) == "yes", ids, "yes")
    relay, ingest = settings.relay, settings.ingest
    if {"reinject", "content-filter"} & by_name.keys():
        yield _listening("relay", relay.host, relay.port)
    if "reinject" in by_name:
        yield _listening("reinject", relay.next_host, relay.next_port)
        yield from _xforward(by_name["reinject"], services)
        limit = int(postconf.effective("message_size_limit") or 0)
        # 0 is no limit. A larger mail gets Postfix's 552 through the relay: true, but late.
        if 0 < limit < relay.size_limit:
            yield Finding(
                snippet="", about="size-limit", state=State.NOTE, found=str(limit), wanted=str(relay.size_limit)
            )
    if "bounce-lmtp" in by_name:
        yield _listening("ingest", ingest.host, ingest.port)
    for name in ("bounce-pipe", "bounce-lmtp"):
        if name in by_name:
            yield _route(postconf, settings, by_name[name])
    if "bounce-pipe" in by_name:
        yield from _pipe(by_name["bounce-pipe"], services)
    if STEERING_SNIPPET in by_name:
        yield from _steering(postconf, settings, by_name[STEERING_SNIPPET])


def _steering(postconf: Postconf, settings: Settings, snippet: Snippet) -> Iterator[Finding]:
    """Can Postfix read the table, is it first, does the filter answer, and has this machine the addresses?"""
    types = postconf.table_types()
    yield _fact("lmdb", "lmdb" in types, "" if "lmdb" in types else "postfix-lmdb is not installed", "lmdb")
    file = table_file(settings.steer_table)
    yield _fact("steer-table", file.is_file(), "" if file.is_file() else "there is none; every mail waits", str(file))
    first = split_items(postconf.explicit().get("transport_maps", ""))[:1]
    wanted = next(one.value for one in snippet.parameters if one.name == "transport_maps")
    if first != [wanted]:
        yield Finding(snippet="", about="steer-first", state=State.NOTE, found=" ".join(first), wanted=wanted)
    yield _listening("steer", settings.steer.host, settings.steer.port)
    for ip in settings.steer.ip:
        yield _own_address(ip.address)


def _own_address(address: str) -> Finding:
    """smtp(8) goes out from any address of the machine when it cannot bind the one that it was told."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return _fact("steer-address", False, one_line(error.strerror or str(error)), address)
    return _fact("steer-address", True, "", address)


def _fact(about: str, good: bool, found: str, wanted: str) -> Finding:
    return Finding(snippet="", about=about, state=State.OK if good else State.WRONG, found=found, wanted=wanted)


def _listening(about: str, host: str, port: int) -> Finding:
    """Does somebody answer at that address?"""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT).close()
    except OSError as error:
        return _fact(f"listening-{about}", False, one_line(error.strerror or str(error)), f"{host}:{port}")
    return _fact(f"listening-{about}", True, "", f"{host}:{port}")


def _xforward(snippet: Snippet, services: dict[str, str]) -> Iterator[Finding]:
    """Without this right at the live listener the two queue ids of a mail are never joined."""
    option = "smtpd_authorized_xforward_hosts="
    for service in snippet.services:
        wanted, found = (
            next((word.removeprefix(option) for word in entry.split() if word.startswith(option)), "")
            for entry in (service.entry, services.get(service.name, ""))
        )
        yield _fact("xforward", set(split_items(wanted)) <= set(split_items(found)), found, wanted)


def _route(postconf: Postconf, settings: Settings, snippet: Snippet) -> Finding:
    """Where Postfix's tables send a bounce: a table of the site's that stands before ours may take it."""
    path = settings.return_path
    address = f"{path.local_part}{path.delimiter}check@{path.domain}"
    wanted = {"bounce-pipe": "omi-bounce:", "bounce-lmtp": "omi-lmtp:"}[snippet.name]
    tables = split_items(postconf.effective("transport_maps"))
    found = next((answer for table in tables if (answer := postconf.lookup(table, address)) is not None), "")
    return _fact("route", found.startswith(wanted), one_line(found, 200), f"{address} → {wanted}")


def _pipe(snippet: Snippet, services: dict[str, str]) -> Iterator[Finding]:
    """Does the pipe's command start as the pipe's user, and may that one read the configuration that the command names?

    It is asked for its help, which reads no mail and writes nothing.
    """
    entry = next((services[service.name] for service in snippet.services if service.name in services), "")
    user, _, rest = entry.partition(" user=")[2].partition(" ")
    # A user may have a group behind a colon (pipe(8)).
    user = user.partition(":")[0]
    argv = [word for word in rest.partition("argv=")[2].split() if "${" not in word]
    # Entries of before have no light client in front of the program, and go on working.
    light, command = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else ([], argv)
    if light:
        yield _as_user("pipe-client", user, [*light, "--help"], f"{user}: {' '.join(light[:-1])}")
    yield _as_user("pipe-starts", user, [*command, "--help"], f"{user}: {' '.join(command[:2])}")
    if "--config" in command[:-1]:
        path = command[command.index("--config") + 1]
        yield _as_user("pipe-config", user, ["test", "-r", path], f"{user}: {path}")


def _as_user(about: str, user: str, command: Sequence[str], shown: str) -> Finding:
    """Does the command end with 0 for that user?"""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return _fact(about, False, f"no user {user}", shown)
    as_root = os.geteuid() == 0
    if os.geteuid() not in (0, account.pw_uid):
        return Finding(snippet="", about=about, state=State.NOTE, found="not tried: not root", wanted=shown)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            # pipe(8) hands on next to nothing of the environment.
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            timeout=_START_TIMEOUT,
            check=False,
            user=account.pw_uid if as_root else None,
            group=account.pw_gid if as_root else None,
            extra_groups=[] if as_root else None,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _fact(about, False, one_line(str(error), 300), shown)
    failed = one_line(done.stdout, 300) or f"exit status {done.returncode}"
    return _fact(about, done.returncode == 0, failed if done.returncode else "", shown)
