"""Runs a Python module in a network, mount and process namespace of its own, and takes everything down with it.

Inside, `lo` is up and nothing else, resolv.conf names the lab's DNS server (lab/dns_server.py), and every process
ends with the namespace's first one: no daemon outlives the run, whatever happens to the caller, kill -9 included.
Three processes: the caller (`enter`), unshare(1), and the namespace's init (`_init`), which starts the program and
reaps orphans. The caller forwards signals through a pipe, because unshare(1) blocks them; the end of the pipe means
that the caller is gone. The first SIGINT or SIGTERM reaches the program, so that it can say goodbye; the second ends all.
Nothing of the machine is touched: the files are mounted over /etc in the mount namespace alone.
Known limits: Linux with util-linux and iproute2; an /etc/resolv.conf must exist (it may be empty or a dangling link).
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from omicard_relay.mail import RelayError

__all__ = ["DNS_ADDRESS", "enter", "inside", "mount_short", "obstacle"]

#: Where the lab's DNS server listens; systemd-resolved uses the same address, but not in this namespace.
DNS_ADDRESS = "127.0.0.53"

#: Names the namespace, so that the variable alone, inherited by chance, proves nothing.
_MARK = "OMICARD_LAB_NETNS"
_UNSHARE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
#: Empty on nearly every machine: a place to mount on, short and open to every user.
_MOUNT_POINTS = ("/mnt", "/media", "/srv", "/opt")
_OURS = ".omicard-lab"
_INSIDE = Path("/proc/self/ns/net")


def inside() -> bool:
    """Whether this process runs in the lab's namespace."""
    return os.environ.get(_MARK) == os.readlink(_INSIDE)


def enter(argv: list[str], folder: Path) -> int:
    """Run `python -m argv[0] argv[1:]` in the namespace and return its exit status (128 + N when signal N ended it).

    `folder` takes the files that are mounted over /etc. Standard output and error, the working directory and the
    environment are the caller's. Inside the namespace already, the module just runs. Call it from the main thread.
    Raises RelayError when the namespace cannot be made.
    """
    program = [sys.executable, "-m", *argv]
    if inside():
        return subprocess.run(program, check=False).returncode
    _check_allowed()
    folder.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    command = [*_UNSHARE, sys.executable, "-m", "lab.namespace", str(reading), str(folder.resolve()), *program]
    environment = dict(os.environ)
    # The init must find this very package, whatever the working directory is.
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")])
    )

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(writing, bytes([number]))

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # A session of its own: Ctrl-C at the terminal reaches the caller alone, so nobody gets it twice.
        process = subprocess.Popen(command, pass_fds=[reading], start_new_session=True, env=environment)
        os.close(reading)
        return process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(writing)


def obstacle() -> str | None:
    """Why the namespace cannot be made here, as a sentence; None when it can."""
    try:
        _check_allowed()
    except RelayError as error:
        return str(error)
    return None


def mount_short(folder: Path) -> Path:
    """A short path for the folder, reachable by every user: what a checkout below /root, or a deep one, needs.

    Seen inside the namespace only; both paths lead to the same files. Raises RelayError outside of it.
    """
    if not inside():
        raise RelayError("A short path can be mounted inside the lab's namespace only; start through lab.namespace.")
    for point in map(Path, _MOUNT_POINTS):
        ours = (point / _OURS).exists()
        if not ours:
            if not point.is_dir() or any(point.iterdir()):
                continue
            _mount("-t", "tmpfs", "-o", "mode=755", "lab", str(point))
            (point / _OURS).touch()
        taken = [path for path in point.iterdir() if path.is_dir()]
        for path in taken:
            if path.samefile(folder):
                return path
        short = point / f"lab{len(taken)}"
        short.mkdir()
        _mount("--bind", str(folder), str(short))
        return short
    raise RelayError(
        f"None of {', '.join(_MOUNT_POINTS)} is empty, so nothing can be mounted there; use a shorter folder."
    )


def _check_allowed() -> None:
    """Raises RelayError with what to do where the namespace cannot be made."""
    for tool, package in (("unshare", "util-linux"), ("mount", "mount"), ("ip", "iproute2")):
        if shutil.which(tool) is None:
            raise RelayError(f"The lab needs the command `{tool}`; install the package {package}.")
    if os.geteuid() != 0:
        raise RelayError("The lab needs root (Postfix and namespaces do); run it as root or with sudo.")
    trial = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if trial.returncode:
        raise RelayError(
            f"This machine refuses a namespace ({trial.stderr.strip()}); in a container, start it with "
            "the capability SYS_ADMIN and without the AppArmor profile (docker run --privileged)."
        )


def _init(control: int, folder: Path, program: list[str]) -> None:
    """The namespace's first process: never returns; its end is the end of every process in here."""
    # PID 1 has no default action for signals anyway; what is meant for us comes through the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.set_inheritable(control, False)
    _run("ip", "link", "set", "lo", "up")
    _mount_names(folder)
    os.environ[_MARK] = os.readlink(_INSIDE)
    pid = os.posix_spawn(program[0], program, os.environ, setsigdef=[signal.SIGINT, signal.SIGTERM])
    threading.Thread(target=_obey, args=(control, pid), daemon=True).start()
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            number = os.waitstatus_to_exitcode(status)
            os._exit(128 - number if number < 0 else number)


def _obey(control: int, pid: int) -> None:
    """Pass the first signal on; the second, or the caller's end, ends everything."""
    first = os.read(control, 1)
    if first:
        os.kill(pid, first[0])
        second = os.read(control, 1)
        os._exit(128 + second[0] if second else 1)
    os._exit(1)


def _mount_names(folder: Path) -> None:
    """Put our resolv.conf, and where needed our nsswitch.conf, over the machine's."""
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {DNS_ADDRESS}\noptions timeout:2 attempts:2\n")
    _mount_over(resolv, Path("/etc/resolv.conf"))
    switch = Path("/etc/nsswitch.conf")
    plain = _plain_switch(switch.read_text()) if switch.exists() else None
    if plain is not None:
        own = folder / "nsswitch.conf"
        own.write_text(plain)
        _mount_over(own, switch)
    cache = Path("/run/nscd")
    if cache.is_dir():
        _mount("-t", "tmpfs", "lab", str(cache))


def _plain_switch(text: str) -> str | None:
    """nsswitch.conf with `hosts: files dns`; None when it says no more than that already.

    `resolve`, `mdns` and `ldap` ask daemons of the machine through sockets that a network namespace leaves open.
    """
    lines = text.splitlines()
    if all(line.split()[1:] in (["files"], ["files", "dns"]) for line in lines if line.startswith("hosts:")):
        return None
    return "".join(("hosts: files dns" if line.startswith("hosts:") else line) + "\n" for line in lines)


def _mount_over(source: Path, target: Path) -> None:
    """Bind `source` over `target`, through a link too; where the link leads nowhere, its folder is covered first."""
    real = Path(os.path.realpath(target))
    if not real.exists():
        if real == target:
            raise RelayError(f"{target} does not exist; make an empty one, the lab mounts its own over it.")
        parent = real.parent
        while not parent.is_dir():
            parent = parent.parent
        if parent in (Path("/"), Path("/etc"), Path("/usr")):
            raise RelayError(f"{target} leads to {real}, which does not exist; make it a plain file.")
        _mount("-t", "tmpfs", "-o", "mode=755", "lab", str(parent))
        real.parent.mkdir(parents=True, exist_ok=True)
        real.touch()
    _mount("--bind", str(source), str(real))


def _mount(*arguments: str) -> None:
    _run("mount", *arguments)


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RelayError(f"`{' '.join(command)}` failed: {result.stderr.strip()}.")


if __name__ == "__main__":
    try:
        _init(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except RelayError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(1)
