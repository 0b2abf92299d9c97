"""Postfix configuration folders for tests: written below /tmp, readable for all, as Postfix's own users must reach them."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omicard_relay.cli import pipe_client
from omicard_relay.services.attach import Applied, install, remove
from omicard_relay.services.attachcheck import Finding, check
from omicard_relay.services.attachrecord import our_folder
from omicard_relay.services.postconf import Postconf, open_postconf
from omicard_relay.tables.settings import ReturnPathSettings, Settings
from omicard_relay.tables.snippets import Deployment, with_required

SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin:/bin"
needs_postfix = pytest.mark.skipif(
    shutil.which("postconf", path=SBIN) is None, reason="Postfix is not installed: no postconf to try this with"
)

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings(return_path=ReturnPathSettings(domain="bounce.example.com"))
ALL = ("reinject", "content-filter", "bounce-pipe")
#: In the place of the pipe's light client, where nothing goes through it.
LIGHT = ("/bin/true",)

MAIN = """\
# A comment that must survive.
compatibility_level = 3.6
queue_directory = {root}/spool
data_directory = {root}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
meta_directory = /etc/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {root}/log/maillog
maillog_file_prefixes = {root}
myhostname = mail.example.org
inet_interfaces = 127.0.0.1
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
"""

MASTER = """\
# Another comment.
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def configuration(*, main: str = "", master: str = "") -> Iterator[Path]:
    """A folder `etc` with main.cf and master.cf, beside its queue, data and log folders; gone afterwards."""
    root = Path(tempfile.mkdtemp(prefix="attach-"))
    root.chmod(0o755)
    try:
        for name in ("etc", "spool", "data", "log"):
            (root / name).mkdir()
            (root / name).chmod(0o755)
        shutil.chown(root / "data", "postfix")
        (root / "etc/main.cf").write_text(MAIN.format(root=root) + main)
        (root / "etc/master.cf").write_text(MASTER + master)
        yield root / "etc"
    finally:
        shutil.rmtree(root)


def age(folder: Path) -> None:
    """Make the files look old: every Postfix program waits while main.cf is younger than two seconds."""
    for path in folder.glob("ma*.cf"):
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))


@contextmanager
def no_waiting() -> Iterator[None]:
    """Age the configuration before each of our calls of a Postfix program."""
    command = Postconf._command

    def aged(self: Postconf, tool: str, *arguments: str) -> list[str]:
        age(self.folder)
        return command(self, tool, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Postconf, "_command", aged)
        yield


def free_port() -> int:
    """A port that nobody has at this moment; Postfix cannot listen on port 0."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait until the condition is true; fail with what it was."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for: {what}"
        pause.wait(0.02)


def postfix(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`postfix -c FOLDER …`."""
    age(folder)
    return subprocess.run(
        [shutil.which("postfix", path=SBIN) or "postfix", "-c", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def bring(
    folder: Path,
    *names: str,
    settings: Settings = SETTINGS,
    command: tuple[str, ...] = ("/bin/true",),
    light: tuple[str, ...] = LIGHT,
    replace_foreign: bool = False,
    dry_run: bool = False,
    user: str = "nobody",
) -> Applied:
    deployment = Deployment(folder=our_folder(folder), user=user, command=command, light=light)
    return install(
        open_postconf(folder),
        with_required(names, settings, deployment),
        deployment,
        now=NOW,
        replace_foreign=replace_foreign,
        dry_run=dry_run,
    )


def light_client(folder: Path) -> tuple[str, ...]:
    """The light client for the pipe's user: a copy beside the configuration, and an interpreter that this user can start."""
    copy = folder.parent / "pipe_client.py"
    shutil.copy(pipe_client.__file__, copy)
    copy.chmod(0o644)
    account = pwd.getpwnam("nobody")
    for python in (sys.executable, "/usr/bin/python3"):
        words = (python, "-I", "-S", str(copy))
        try:
            tried = subprocess.run([*words, "-", "--help"], user=account.pw_uid, capture_output=True, check=False)
        except OSError:
            continue
        if tried.returncode == 0:
            return words
    pytest.skip("nobody can start no Python here: put one where all users can reach it")


def take(folder: Path, *names: str) -> Applied:
    return remove(open_postconf(folder), names, now=NOW, dry_run=False)


def look(folder: Path, *names: str, settings: Settings = SETTINGS) -> dict[str, Finding]:
    deployment = Deployment(folder=our_folder(folder), user="nobody", command=("/bin/true",), light=LIGHT)
    findings = check(open_postconf(folder), with_required(names, settings, deployment), settings)
    return {finding.about: finding for finding in findings}


def both(folder: Path) -> tuple[str, str]:
    return (folder / "main.cf").read_text(), (folder / "master.cf").read_text()
