"""The pipe's light client, run for real, alone and behind its wrapper: 0 when the mail is stored, else 75, nothing else."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest

from omicard_relay.cli import pipe_client
from omicard_relay.tables.toml import shipped
from omicard_relay.wire.netstring import NetstringReader
from tests.keeping import wait_for

CLIENT = pipe_client.__file__
WRAPPER = str(shipped("postfix", "bounce-pipe", "omicard-bounce"))
LIGHT = [sys.executable, "-I", "-S", CLIENT]
ENVELOPE = ["--sender=", "--recipient=b+x@bounces.example", "--queue-id=4QAAAAA1"]
MAIL = b"Subject: x\r\n\r\n" + bytes(range(256)) * 8
#: What pipe(8) takes for an enhanced status code at the beginning of the output (RFC 3463).
STATUS_TEXT = re.compile(rb"\s*[245]\.\d{1,3}\.\d{1,3}")


@pytest.fixture(params=["alone", "wrapped"])
def start(request):
    """The words before SOCKET."""
    return LIGHT if request.param == "alone" else [WRAPPER, "--light", *LIGHT]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


@pytest.fixture
def storing(tmp_path):
    """A program that tells its arguments and its mail, as the full `bounce ingest` would get them."""
    program = tmp_path / "storing"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\ncat > {tmp_path}/mail\n')
    program.chmod(0o755)
    return program


class Service:
    """Takes one connection and answers `answer`; None: it reads all and goes away. `reads`: octets before it does so."""

    def __init__(self, path, answer=b"2:OK,", reads=None):
        self.answer, self.reads, self.got = answer, reads, b""
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen()
        self.thread = threading.Thread(target=self._serve)

    def _serve(self):
        connection, _ = self.listening.accept()
        with connection:
            while (self.reads is None and not self.got.endswith(b",0:,")) or len(self.got) < (self.reads or 0):
                part = connection.recv(1 << 16)
                if not part:
                    return
                self.got += part
            if self.answer is not None:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(self.answer)

    @property
    def values(self):
        assert self.got[:1] == b"+"
        sender, recipient, queue_id, *pieces = NetstringReader(1 << 20).feed(self.got[1:])
        return sender, recipient, queue_id, b"".join(pieces)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listening.close()
        self.thread.join(20)


def run(start, path, *envelope, program=(), stdin=MAIL, **more):
    words = [*start, str(path), *(envelope or ENVELOPE), *(["--", *map(str, program)] if program else [])]
    return subprocess.run(words, input=stdin, capture_output=True, timeout=60, check=False, **more)


def kept(done):
    """75, and nothing that Postfix could take for a status of its own."""
    assert done.returncode == 75, done
    assert not STATUS_TEXT.match(done.stdout + done.stderr)
    return done.stdout + done.stderr


def test_the_mail_goes_to_the_service_whole_and_in_silence(start, path):
    with Service(path) as service:
        done = run(start, path, program=["/bin/false"])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert service.values == (b"", b"b+x@bounces.example", b"4QAAAAA1", MAIL)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3_000_000])
def test_a_mail_of_any_size(path, size):
    with Service(path) as service:
        assert run(LIGHT, path, stdin=b"x" * size).returncode == 0
    assert service.values[3] == b"x" * size


def test_an_envelope_of_any_octets(path):
    with Service(path) as service:
        envelope = [b"--sender=\xff a=b@x", b"--recipient=--@x", b"--queue-id="]
        done = subprocess.run([*LIGHT, str(path), *envelope], input=MAIL, check=False)
    assert done.returncode == 0
    assert service.values[:3] == (b"\xff a=b@x", b"--@x", b"")


@pytest.mark.parametrize(
    "case", ["no socket", "a dead service's socket", "a file", "no folder", "-", "too long a name"]
)
def test_without_a_service_the_program_gets_the_whole_mail(start, path, tmp_path, storing, case):
    if case == "a dead service's socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    elif case == "a file":
        path.write_text("x")
    target = {"no folder": path / "x", "-": "-", "too long a name": tmp_path / ("x" * 200)}.get(case, path)
    done = run(start, target, program=[storing, "bounce", "ingest"])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "mail").read_bytes() == MAIL
    assert (tmp_path / "arguments").read_text().splitlines() == ["bounce", "ingest", *ENVELOPE]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"22:not stored: it is gone,", b"it is gone"),
        (b"2:NO,", b"NO"),
        (b"2:OK", b"OK"),
        (b"garbage", b""),
        (b"30:5.1.1 nasty\n\x1b[2J 5.1.1 nasty,", b"nasty"),
        (None, b"went away"),
        (b"99999:" + b"x" * 200_000, b"xxx"),
    ],
    ids=["refused", "another word", "half an OK", "garbage", "a status text", "gone", "endless"],
)
def test_whatever_the_service_says_but_ok_keeps_the_mail(start, path, answer, words):
    with Service(path, answer):
        said = kept(run(start, path, program=["/bin/true"]))
    assert words in said
    assert b"\x1b" not in said
    assert len(said) < 50_000


@pytest.mark.parametrize("reads", [0, 1, 100])
def test_a_service_that_goes_away_in_the_middle_keeps_the_mail(start, path, reads):
    with Service(path, None, reads):
        kept(run(start, path, program=["/bin/true"], stdin=b"x" * 5_000_000))


def test_a_service_that_is_killed_in_the_middle_keeps_the_mail(start, path):
    code = (
        "import socket, sys, os, signal\ns = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "c, _ = s.accept()\n"
        "c.recv(1 << 20); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as service:
        wait_for(path.exists)
        wait_for(lambda: _listens(path))
        kept(run(start, path, program=["/bin/true"]))
        assert service.wait(20) == -signal.SIGKILL


def _listens(path):
    """Whether listen(2) was called, without a connection that would be counted."""
    with open("/proc/net/unix") as table:
        return any(line.split()[3] == "00010000" and line.rstrip().endswith(str(path)) for line in table)


class Knocking:
    """A socket at which the first knocks find a full queue."""

    def __init__(self, full, then=None):
        self.full, self.then = full, then

    def connect(self, path):
        self.full -= 1
        if self.full >= 0:
            raise BlockingIOError
        if self.then:
            raise self.then


def test_a_service_whose_queue_is_full_is_waited_for(monkeypatch):
    monkeypatch.setattr(pipe_client, "_KNOCK_SECONDS", 0)
    assert pipe_client._connected(Knocking(5), b"x")
    assert not pipe_client._connected(Knocking(5, ConnectionRefusedError()), b"x")


def test_a_service_whose_queue_stays_full_keeps_the_mail(monkeypatch):
    """It lives: a second writer beside it would help nobody."""
    monkeypatch.setattr(pipe_client, "_KNOCK_SECONDS", 0)
    monkeypatch.setattr(pipe_client, "_SERVICE_SECONDS", 0)
    with pytest.raises(BlockingIOError):
        pipe_client._connected(Knocking(10**9), b"x")


WRONG = {
    "no socket named": [],
    "an unknown option": ["/nosuch", "--nosuch=1", "--", "/bin/true"],
    "an option without a value": ["/nosuch", "--sender", "--", "/bin/true"],
    "no program": ["/nosuch", *ENVELOPE],
    "nothing behind the mark": ["/nosuch", *ENVELOPE, "--"],
    "a program that is missing": ["/nosuch", *ENVELOPE, "--", "/nosuch/program"],
    "a program without a path": ["/nosuch", *ENVELOPE, "--", "true"],
    "an extra word": ["/nosuch", "extra", "--", "/bin/true"],
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_keeps_the_mail(start, case):
    done = subprocess.run([*start, *WRONG[case]], input=MAIL, capture_output=True, check=False)
    assert b"bounce not stored" in kept(done)


@pytest.mark.parametrize("status", [1, 2, 69, 75, 127, 255])
def test_behind_the_wrapper_every_end_of_the_program_is_75(path, status):
    program = ["/bin/sh", "-c", f"exit {status}", "x"]
    kept(run([WRAPPER, "--light", *LIGHT], path, program=program))


@pytest.mark.parametrize("redirection", ["<&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_input_is_no_mail(start, path, redirection):
    with Service(path, reads=1):
        command = " ".join(f"'{word}'" for word in [*start, str(path), *ENVELOPE, "--", "/bin/false"])
        done = subprocess.run(["/bin/sh", "-c", f"{command} {redirection}"], capture_output=True, check=False)
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
            last.sendall(b"x")
    assert done.returncode == 75


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_closed_outputs_change_no_status(path, redirection):
    command = " ".join(f"'{word}'" for word in [*LIGHT, str(path), *ENVELOPE])
    with Service(path) as service:
        done = subprocess.run(
            ["/bin/sh", "-c", f"{command} {redirection}"], input=MAIL, capture_output=True, check=False
        )
    assert done.returncode == 0
    assert service.values[3] == MAIL
    path.unlink()
    assert subprocess.run(["/bin/sh", "-c", f"{command} {redirection}"], input=MAIL, check=False).returncode == 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_to_the_wrapper_while_the_service_works_is_75(path, number):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        process = subprocess.Popen(
            [WRAPPER, "--light", *LIGHT, str(path), *ENVELOPE, "--", "/bin/true"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            # A shell can't trap what it inherits as ignored.
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
        )
        process.stdin.write(MAIL)
        process.stdin.close()
        connection, _ = listening.accept()
        # As pipe(8) does it: the whole process group.
        os.killpg(process.pid, number)
        assert process.wait(30) == 75
        connection.close()


def test_check_can_ask_without_touching_the_service(start, path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        assert run(start, path, "--help").returncode == 0
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_it_loads_what_the_interpreter_has_at_hand_and_nothing_more(path):
    code = (
        "import sys, os\nbefore = set(sys.modules)\nos._exit = lambda status: print(' '.join(set(sys.modules) - before))\n"
        f"sys.argv = ['x', {str(path)!r}, *{ENVELOPE!r}]\n"
        f"exec(compile(open({CLIENT!r}).read(), 'client', 'exec'), {{'__name__': '__main__'}})"
    )
    with Service(path):
        done = subprocess.run([sys.executable, "-I", "-S", "-c", code], input=MAIL, capture_output=True, check=True)
    assert set(done.stdout.decode().split("\n")[0].split()) <= {"_socket", "time"}
