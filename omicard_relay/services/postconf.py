"""One Postfix configuration folder, read and changed by Postfix's own tools: postconf(1), postmap(1) and postfix(1).

Main.cf values are read raw (`$name` unexpanded) or expanded; master.cf entries come as one line with single spaces.
Everything goes through `-c FOLDER`, always absolute: with a relative one `postfix reload` fails without a word.
Not here: what should stand there (tables/snippets.py), and what to do about a difference (services/attach.py).
Known limits: white space inside the braces of a master.cf argument is folded to single spaces.
"""

import os
import pty
import select
import shutil
import stat
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from omicard_relay.mail import RelayError, one_line

__all__ = ["Postconf", "PostfixError", "open_postconf", "split_items"]

#: Debian keeps the tools in /usr/sbin, which an ordinary user's PATH lacks.
_TOOL_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/postfix/sbin")
#: Seconds; each of these tools is done in a fraction of one, `postfix check` on a large queue in a few.
_TIMEOUT = 60


class PostfixError(RelayError):
    """Postfix is missing, the folder is none of its, or one of its tools refused."""


class Postconf:
    """One configuration folder. Made by `open_postconf`, which checks it. Every method raises PostfixError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def version(self) -> str:
        """Postfix's version, such as `3.7.11`."""
        return self._run("postconf", "-dh", "mail_version").strip()

    def table_types(self) -> frozenset[str]:
        """The types of tables that this Postfix can read, such as `lmdb`."""
        return frozenset(self._run("postconf", "-m").split())

    def explicit(self) -> dict[str, str]:
        """Name -> raw value of every parameter that main.cf sets."""
        done = self._done("postconf", "-n")
        # What nothing uses, such as `omi_destination_concurrency_limit` without a service `omi`, stands in a warning only.
        unused = f"{self.folder}/main.cf: unused parameter: "
        lines = [line.partition(unused)[2] for line in done.stderr.split("\n") if unused in line]
        pairs = (line.partition("=") for line in (*lines, *done.stdout.split("\n")))
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}

    def effective(self, name: str) -> str:
        """The value that holds, default included, with every `$name` expanded; empty for an unknown name."""
        return self._run("postconf", "-hx", name).strip()

    def default(self, name: str) -> str:
        """Postfix's default, raw; empty for an unknown name."""
        return self._run("postconf", "-dh", name).strip()

    def services(self) -> dict[str, str]:
        """`name/type` -> master.cf entry, on one line with single spaces."""
        found = {}
        for line in self._run("postconf", "-M").split("\n"):
            if line and not line[0].isspace():
                found[name := "/".join(line.split()[:2])] = " ".join(line.split())
            elif line.strip():
                found[name] += " " + " ".join(line.split())
        return found

    def set_main(self, values: Mapping[str, str]) -> None:
        """Write these raw values to main.cf, in one step."""
        if values:
            self._change("main.cf", "-e", *(f"{name}={_single(value)}" for name, value in values.items()))

    def drop_main(self, names: Iterable[str]) -> None:
        """Take these parameters out of main.cf, in one step."""
        if names := list(names):
            self._change("main.cf", "-X", *names)

    def set_services(self, entries: Mapping[str, str]) -> None:
        """Write these entries to master.cf, in one step."""
        if entries:
            self._change("master.cf", "-M", *(f"{name}={_single(entry)}" for name, entry in entries.items()))

    def drop_services(self, names: Iterable[str]) -> None:
        """Take these services out of master.cf, in one step."""
        if names := list(names):
            self._change("master.cf", "-MX", *names)

    def lookup(self, table: str, key: str) -> str | None:
        """What one table (`type:name`) answers to a key, or None. It may be a table on the network: up to the time limit."""
        done = self._start("postmap", "-q", key, table)
        return done.stdout.strip() if done.returncode == 0 else None

    def verify(self) -> tuple[bool, tuple[str, ...]]:
        """(`postfix check` is content, what it said, a line each). It makes missing queue folders and needs root."""
        status, said = self._postfix("check")
        return status == 0, tuple(dict.fromkeys(one_line(line) for line in said.splitlines() if line.strip()))

    def reload(self) -> None:
        """Tell the running Postfix to read its configuration again."""
        status, said = self._postfix("reload")
        if status:
            reason = one_line(said, 300) or f"exit status {status}"
            raise PostfixError(f"`postfix reload` in {self.folder} failed: {reason}")

    def _postfix(self, *arguments: str) -> tuple[int, str]:
        """(exit status, what it said) of postfix(1), which speaks to a terminal, else to the mail log alone."""
        command = self._command("postfix", *arguments)
        try:
            ours, theirs = pty.openpty()
        except OSError:
            # A bare container has no terminals to give: the status is what counts, the words stand in the log.
            plain = self._start("postfix", *arguments)
            return plain.returncode, plain.stderr
        try:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=_environment(),
            ) as process:
                os.close(theirs)
                said = _read_terminal(ours, time.monotonic() + _TIMEOUT)
                if said is None:
                    process.kill()
                    raise PostfixError(f"`postfix {arguments[0]}` in {self.folder} gave no answer within {_TIMEOUT} s.")
            return process.returncode, said
        finally:
            os.close(ours)

    def _change(self, name: str, *arguments: str) -> None:
        """Let postconf write one file. It makes a new one, 0644 and root's, whatever it was; mode and owner come back."""
        path = self.folder / name
        before = path.stat()
        with path.open("rb+") as file:
            # postconf writes a new entry right behind the last byte, so that two entries of master.cf would become one.
            if before.st_size and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")
        self._run("postconf", *arguments)
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(stat.S_IMODE(before.st_mode))

    def _run(self, tool: str, *arguments: str) -> str:
        return self._done(tool, *arguments).stdout

    def _done(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = self._start(tool, *arguments)
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if "warning:" not in line] or done.stderr.splitlines()
            reason = one_line(said[-1] if said else f"exit status {done.returncode}", 300)
            raise PostfixError(f"`{tool} {arguments[0]}` in {self.folder} failed: {reason}")
        return done

    def _command(self, tool: str, *arguments: str) -> list[str]:
        return [_tool(tool), "-c", str(self.folder), *arguments]

    def _start(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                self._command(tool, *arguments),
                capture_output=True,
                text=True,
                errors="replace",
                env=_environment(),
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PostfixError(
                f"`{tool} {arguments[0]}` in {self.folder} gave no answer within {_TIMEOUT} s."
            ) from None


def open_postconf(folder: Path) -> Postconf:
    """The configuration in that folder; a relative path is made absolute. Raises PostfixError when it is none."""
    folder = folder.absolute()
    _tool("postconf")
    if not folder.is_dir():
        raise PostfixError(f"{folder}: there is no such folder; name Postfix's configuration folder with --config-dir.")
    for name in ("main.cf", "master.cf"):
        if not (folder / name).is_file():
            raise PostfixError(
                f"{folder}: has no {name}, so it is no Postfix configuration; set Postfix up there first."
            )
        if not os.access(folder / name, os.R_OK):
            raise PostfixError(f"{folder / name}: permission denied; run this as root.")
    return Postconf(folder)


def split_items(value: str) -> list[str]:
    """The items of a Postfix list: separated by commas or white space, except inside braces."""
    items, depth, word = [], 0, ""
    for char in value:
        if depth == 0 and (char == "," or char.isspace()):
            items.append(word)
            word = ""
            continue
        depth = max(0, depth + {"{": 1, "}": -1}.get(char, 0))
        word += char
    return [item for item in [*items, word] if item]


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _read_terminal(descriptor: int, deadline: float) -> str | None:
    """All that comes until the other side is closed, at most 64 KiB kept; None when the deadline passes first."""
    said = bytearray()
    while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            block = os.read(descriptor, 4096)
        except OSError:
            # Linux says EIO, not end of file, when the last user of the terminal has gone.
            block = b""
        if not block:
            return said.decode("utf-8", "replace")
        said += block[: 65_536 - len(said)]
    return None


def _single(value: str) -> str:
    """The value, which must be one line: a second one would be a parameter of its own."""
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
        raise PostfixError(f"{value!r} has a control character and cannot be written to Postfix's configuration.")
    return value


def _tool(name: str) -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_TOOL_FOLDERS))
    found = shutil.which(name, path=path)
    if found is None:
        raise PostfixError(f"Postfix is not installed here: there is no `{name}`; install it, for example with apt.")
    return found
