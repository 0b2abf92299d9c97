"""The wrapper of the bounce pipe, run for real: whatever its program does, Postfix sees 0 or 75 and no status text."""

import os
import re
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from omicard_relay.tables.toml import shipped

WRAPPER = shipped("postfix", "bounce-pipe", "omicard-bounce")
#: What pipe(8) takes for an enhanced status code at the beginning of the output (RFC 3463).
STATUS_TEXT = re.compile(rb"\s*[245]\.\d{1,3}\.\d{1,3}")


def run(*command: str, stdin: bytes = b"From: x\n\nx\n", **options: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(WRAPPER), *command], input=stdin, capture_output=True, timeout=60, check=False, **options
    )


def program(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "target"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


BROKEN = {
    "missing program": lambda folder: [str(folder / "no-such-program")],
    "missing program without a folder": lambda folder: ["no-such-program-anywhere"],
    "no program named": lambda folder: [],
    "missing interpreter": lambda folder: [program(folder, "#!/no/such/python\n")],
    "not executable": lambda folder: [program(folder, "#!/bin/sh\nexit 0\n", 0o644)],
    "a folder": lambda folder: [str(folder)],
    "not a program at all": lambda folder: [program(folder, "\x00\x01\x02")],
    "exit 1": lambda folder: ["sh", "-c", "exit 1"],
    "exit 2": lambda folder: ["sh", "-c", "exit 2"],
    "exit 64 (usage)": lambda folder: ["sh", "-c", "exit 64"],
    "exit 69 (unavailable)": lambda folder: ["sh", "-c", "exit 69"],
    "exit 75": lambda folder: ["sh", "-c", "exit 75"],
    "exit 99 (qmail: drop)": lambda folder: ["sh", "-c", "exit 99"],
    "exit 255": lambda folder: ["sh", "-c", "exit 255"],
    "killed by SIGKILL": lambda folder: ["sh", "-c", "kill -KILL $$"],
    "killed by SIGTERM": lambda folder: ["sh", "-c", "kill -TERM $$"],
    "killed by SIGSEGV": lambda folder: ["sh", "-c", "kill -SEGV $$"],
    "Python traceback": lambda folder: [sys.executable, "-c", "1/0"],
    "Python module missing": lambda folder: [sys.executable, "-m", "no_such_module"],
    "prints 5.1.1 and exits 1": lambda folder: ["sh", "-c", "echo '5.1.1 nasty'; exit 1"],
    "prints 5.1.1 and exits 75": lambda folder: ["sh", "-c", "echo '5.1.1 nasty'; exit 75"],
    "prints 5.1.1 to standard error": lambda folder: ["sh", "-c", "echo '5.1.1 nasty' >&2; exit 1"],
    "prints a megabyte": lambda folder: ["sh", "-c", "head -c 1000000 /dev/zero; echo; echo 5.1.1 x; exit 3"],
    "claims success in words": lambda folder: ["sh", "-c", "printf ' 0'; exit 4"],
    "closes its output": lambda folder: ["sh", "-c", "exec >&- 2>&-; exit 5"],
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_every_failure_is_75_and_no_status_text(tmp_path: Path, broken: object) -> None:
    done = run(*broken(tmp_path))  # type: ignore[operator]
    assert done.returncode == 75
    assert done.stdout.startswith(b"omicard-bounce: ")
    assert not STATUS_TEXT.match(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert len(done.stdout) < 400
    assert done.stderr == b""


def test_the_log_learns_why() -> None:
    done = run(sys.executable, "-c", "raise SystemError('the database is on fire')")
    assert b"exit 1" in done.stdout
    assert b"the database is on fire" in done.stdout


def test_control_characters_of_the_program_do_not_come_through() -> None:
    done = run("sh", "-c", r"printf '\033[2Jred\r\n\377'; exit 1")
    assert set(done.stdout.rstrip(b"\n")) <= set(range(0x20, 0x7F))


def test_success_is_0_and_silent() -> None:
    done = run("sh", "-c", "echo '5.1.1 chatty'; echo more >&2; exit 0")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_program_gets_arguments_and_mail_untouched(tmp_path: Path) -> None:
    """Also those that a shell would read as its own: Postfix hands on what a stranger wrote."""
    arguments = ["--sender=", "--recipient=b+$(touch /tmp/x);`id`@x", "--queue-id=a b", "*", ""]
    mail = bytes(range(256)) * 500
    out = tmp_path / "out"
    script = "import sys; open(sys.argv[1], 'wb').write(repr(sys.argv[2:]).encode() + b'|' + sys.stdin.buffer.read())"
    done = run(sys.executable, "-c", script, str(out), *arguments, stdin=mail)
    assert done.returncode == 0, done.stdout
    seen, _, body = out.read_bytes().partition(b"|")
    assert seen == repr(arguments).encode()
    assert body == mail


def test_program_that_does_not_read_its_mail() -> None:
    assert run("sh", "-c", "exit 0", stdin=b"x" * 1_000_000).returncode == 0


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda sent: sent.name)
def test_signal_to_the_wrapper_is_75(tmp_path: Path, sent: signal.Signals) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    script = f"echo go > {started}; cat > /dev/null"
    with subprocess.Popen(
        [str(WRAPPER), "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A shell can't trap what it inherits as ignored, and whoever runs the tests may ignore it (nohup, a background job).
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),
    ) as wrapper:
        assert started.read_text() == "go\n"
        wrapper.send_signal(sent)
        wrapper.communicate(b"mail", timeout=30)
        assert wrapper.returncode == 75


def test_program_that_hangs_is_stopped_long_before_postfix_would(tmp_path: Path) -> None:
    """pipe(8) returns the mail when command_time_limit (1000s) is over, so the wrapper's limit must come first."""
    (tmp_path / "timeout").write_text('#!/bin/sh\necho "$@" >&2\nexit 124\n')
    (tmp_path / "timeout").chmod(0o755)
    done = run("the-program", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert done.returncode == 75
    assert b"exit 124" in done.stdout
    assert b"-k 10 300 the-program" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's processes away")
def test_no_process_left_is_75() -> None:
    """The shell itself cannot fork: dash would end with 2, and the mail would be lost."""
    # Nobody's processes of another test would count for the limit, and the shell itself could not start.
    unused = 61_234

    def poor() -> None:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        os.setgroups([])
        os.setgid(unused)
        os.setuid(unused)

    # From standard input's file, so that the checkout need not be readable for nobody.
    done = subprocess.run(
        ["/bin/sh", "-c", WRAPPER.read_text(), "omicard-bounce", "true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        preexec_fn=poor,
        check=False,
        timeout=30,
    )
    assert done.returncode == 75
    assert not STATUS_TEXT.match(done.stdout)


def test_it_is_shipped_executable_and_plain_posix() -> None:
    assert WRAPPER.stat().st_mode & stat.S_IXOTH
    assert WRAPPER.read_text().startswith("#!/bin/sh\n")
    done = subprocess.run(["/bin/sh", "-n", str(WRAPPER)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
