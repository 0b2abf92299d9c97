"""A private Postfix below one folder: own configuration, queue, data and log; the machine's own is never touched.

Stock services without chroot, postlogd for the log, and the smtpd listeners that the caller names. Short queue runs, so
that a deferred mail is tried again after seconds. Needs root, and Postfix 3.6 or newer.
A folder that the user postfix cannot reach (a checkout below /root) or whose sockets would have too long a name is
mounted at a short path, which works in the lab's namespace (lab/namespace.py); `root` is that path.
Known limits: the instance ends with the namespace, or by `stop`; outside of a namespace nothing else ends it.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import msgspec

from lab.namespace import inside, mount_short
from lab.postfix_config import SmtpdService, main_cf, master_cf
from omicard_relay.mail import RelayError

__all__ = ["PrivatePostfix", "QueuedMail", "SmtpdService", "installed"]

#: A Unix socket's name has at most 107 octets (unix(7)); the longest below the folder is `/spool/public/postlog`.
_LONGEST_ROOT = 107 - len("/spool/private/rewrite-smtpd-longest")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMail:
    """One mail in the queue; `recipients` maps each waiting address to why it waits ("" when it does not)."""

    queue_name: str
    queue_id: str
    arrival_time: datetime
    size: int
    sender: str
    recipients: Mapping[str, str]


class PrivatePostfix:
    """One instance. `folder` is where its files are; usable in a `with` statement.

    The first `start` writes the configuration, and empties queue and log unless `fresh` is False; later ones find what
    `configure`, `stop` or a kill left. `extra_main` wins over the lab's settings; `extra_master` are whole entries of
    master.cf. In both, `{root}` stands for the instance's path as Postfix sees it. Set-up errors are RelayErrors.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hostname: str,
        name: str = "postfix-lab",
        listen: Sequence[SmtpdService] = (),
        extra_main: Mapping[str, str] | None = None,
        extra_master: Sequence[str] = (),
        fresh: bool = True,
    ) -> None:
        self.folder = folder.resolve()
        self.root = self.folder
        self._hostname, self._name = hostname, name
        self._listen = tuple(listen)
        self._extra_main, self._extra_master = dict(extra_main or {}), tuple(extra_master)
        self._fresh = fresh
        self._prepared = False

    @property
    def config(self) -> Path:
        """The configuration folder, for `postfix -c` and its relatives."""
        return self.root / "etc"

    @property
    def log(self) -> Path:
        """The mail log."""
        return self.root / "log" / "maillog"

    def start(self) -> None:
        """Write the configuration (the first time), start, and wait until every listener answers. Raises RelayError."""
        if not self._prepared:
            self._prepare()
            self._prepared = True
        result = self._command("postfix", "start")
        if result.returncode:
            raise RelayError(f"The private Postfix did not start: {self._last_words(result.stderr)}")
        self.wait_running()

    def stop(self) -> None:
        """Stop, and wait until it has; no error when it does not run."""
        if self.running():
            self._command("postfix", "stop")

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change main.cf; `reload` makes it hold."""
        self._checked("postconf", "-e", *(f"{key}={value}" for key, value in settings.items()))

    def reload(self) -> None:
        """Read the configuration again."""
        self._checked("postfix", "reload")

    def running(self) -> bool:
        """Whether the master process runs."""
        return self.config.is_dir() and self._command("postfix", "status").returncode == 0

    def wait_running(self, timeout_seconds: float = 20) -> None:
        """Wait until every listener greets. Raises RelayError when one does not in time."""
        deadline = time.monotonic() + timeout_seconds
        waiting = [service.address for service in self._listen]
        while not self.running() or any(not _greets(address) for address in waiting):
            if time.monotonic() > deadline:
                raise RelayError(f"The private Postfix does not answer on {', '.join(waiting)}: {self._last_words('')}")
            time.sleep(0.05)

    def flush(self) -> None:
        """Try all deferred mails now."""
        self._checked("postqueue", "-f")

    def queue(self) -> list[QueuedMail]:
        """What waits in the queue; empty when nothing does."""
        lines = self._checked("postqueue", "-j").splitlines()
        return [_queued(msgspec.json.decode(line, type=_Listed)) for line in lines]

    def kill(self) -> None:
        """kill -9 for the master and all its processes, as a crash of the machine would."""
        master = int((self.root / "spool/pid/master.pid").read_text())
        for pid in (master, *_children(master)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> "PrivatePostfix":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        """Folders and configuration files."""
        if not installed():
            raise RelayError(
                'Postfix is not installed; install it with `apt-get install postfix` (choose "No configuration").'
            )
        if os.geteuid() != 0:
            raise RelayError("A private Postfix needs root; run it as root or with sudo.")
        if self._fresh:
            for name in ("spool", "data", "log"):
                shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in ("etc", "spool", "data", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for path in (self.folder, *(self.folder / name for name in ("etc", "spool", "data", "log"))):
            path.chmod(0o755)  # whatever the umask is: Postfix's processes are not root
        self.root = self._reachable()
        shutil.chown(self.folder / "data", "postfix")
        main = {"myhostname": self._hostname, "syslog_name": self._name, **self._extra_main}
        (self.config / "main.cf").write_text(main_cf(self.root, main))
        (self.config / "master.cf").write_text(master_cf(self.root, self._listen, self._extra_master))

    def _reachable(self) -> Path:
        """The folder itself where the user postfix reaches it and sockets fit; else a short mount. Raises RelayError."""
        fits = len(os.fsencode(self.folder)) <= _LONGEST_ROOT
        trial = subprocess.run(
            ["test", "-x", str(self.folder / "data")], user="postfix", group="postfix", extra_groups=[], check=False
        )
        if fits and trial.returncode == 0:
            return self.folder
        if inside():
            return mount_short(self.folder)
        reason = "is not reachable for the user postfix" if fits else f"is longer than {_LONGEST_ROOT} octets"
        raise RelayError(
            f"The folder {self.folder} {reason}; use one below /var/lib or /tmp, or start inside the lab's namespace."
        )

    def _command(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "-c", str(self.config), *arguments],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            env={**os.environ, "PATH": _search_path()},
        )

    def _checked(self, program: str, *arguments: str) -> str:
        result = self._command(program, *arguments)
        if result.returncode:
            raise RelayError(f"`{program} {' '.join(arguments)}` failed: {self._last_words(result.stderr)}")
        return result.stdout

    def _last_words(self, stderr: str) -> str:
        """What the command said, and the last warnings of the log."""
        log = self.log.read_text(errors="backslashreplace").splitlines() if self.log.exists() else []
        telling = [line for line in log if any(word in line for word in ("fatal:", "error:", "panic:", "warning:"))]
        return " ".join([stderr.strip(), *telling[-3:]]).strip() or f"see {self.log}."


def installed() -> bool:
    """Whether Postfix is on this machine; whether it is set up does not matter."""
    return shutil.which("postfix", path=_search_path()) is not None


class _Listed(msgspec.Struct):
    """One line of `postqueue -j` (postqueue(1), JSON OBJECT FORMAT)."""

    queue_name: str
    queue_id: str
    arrival_time: int
    message_size: int
    sender: str
    recipients: list[dict[str, str]]


def _queued(listed: _Listed) -> QueuedMail:
    return QueuedMail(
        queue_name=listed.queue_name,
        queue_id=listed.queue_id,
        arrival_time=datetime.fromtimestamp(listed.arrival_time, UTC),
        size=listed.message_size,
        sender=listed.sender,
        recipients={entry["address"]: entry.get("delay_reason", "") for entry in listed.recipients},
    )


def _greets(address: str) -> bool:
    """Whether an SMTP server says 220 there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            greeting = connection.recv(512)
            connection.sendall(b"QUIT\r\n")
            return greeting.startswith(b"220")
    except OSError:
        return False


def _children(parent: int) -> list[int]:
    """The processes whose parent is `parent`."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold anything; what follows the last one is plain.
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(folder.name))
    return found


def _search_path() -> str:
    """sbin folders too: an ordinary PATH may lack them, sudo's does not."""
    return os.pathsep.join([os.environ.get("PATH", "/usr/bin:/bin"), "/usr/sbin", "/sbin"])
