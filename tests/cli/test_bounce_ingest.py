"""`bounce ingest` as Postfix's pipe(8) runs it: exit 0 when the mail is stored, 75 whatever else happens, never anything else.

Postfix returns a mail to its sender for any other status, and a bounce has none: it would be lost.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from omicard_relay.cli import bounce, root
from omicard_relay.mail import Attempt, Outcome, Reply, StoreError, Verdict
from omicard_relay.services.ingest import make_ingester
from omicard_relay.services.ingest_intake import Intake
from omicard_relay.services.ingest_socket import serve_socket
from omicard_relay.store import attempts, schema
from omicard_relay.tables.settings import load_settings
from tests.keeping import (
    ROOT,
    a_store,
    call,
    configured,
    environment,
    hand_over,
    needs_open_checkout,
    program,
    rows,
    submit,
    wait_for,
)
from tests.mails import dsn

MAIL = dsn("ann@a.example")
ARGUMENTS = ("bounce", "ingest", "--sender=", "--recipient=b+x@bounces.example", "--queue-id=4QAAAAA1")


@pytest.fixture
def config(tmp_path):
    return configured(tmp_path, "[store]\nbusy_seconds = 1\n")


def kept(config):
    with a_store(config.parent / "data") as store:
        return rows(store, schema.bounce_mail, "envelope_recipient", "size", "times_seen")


@contextlib.contextmanager
def service(config, ingester=None):
    """The running ingester's socket, in a thread of its own."""
    settings = load_settings(config)
    path = settings.data_path(settings.ingest.socket)
    with a_store(path.parent, busy_seconds=1) as store:
        loop, stop = asyncio.new_event_loop(), asyncio.Event()
        intake = Intake(ingester or make_ingester(settings, store), memory_limit=1 << 20)
        running = serve_socket(intake, path, stop)
        thread = threading.Thread(target=loop.run_until_complete, args=(running,))
        thread.start()
        wait_for(path.exists)
        try:
            yield path
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(20)
            loop.close()


def test_without_a_service_it_stores_by_itself(config):
    done = call(config, *ARGUMENTS, stdin=MAIL)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert kept(config) == [("b+x@bounces.example", len(MAIL), 1)]


def test_without_a_service_what_waited_is_settled_too(config):
    """A line that was read before the relay knew the queue id, and no service to look at it."""
    now = datetime.now(UTC)
    with a_store(config.parent / "data") as store:
        ids = submit(store, "ann@a.example", received=now)
        line = Attempt(
            time=now,
            queue_id="4QAAAAA1",
            recipient="ann@a.example",
            outcome=Outcome.BOUNCED,
            enhanced_status="5.1.1",
            reply=Reply(text="550 5.1.1 no such user", innermost="550 5.1.1 no such user"),
            line_digest="d",
        )
        with store.write() as tx:
            verdict = Verdict(bounce_code=902, rule_id="r", confidence=1.0)
            attempts.record_attempt(tx, line, verdict, None)
        hand_over(store, ids, "4QAAAAA1", now=now)
        assert len(rows(store, schema.suppression_due)) == 1
        done = call(config, *ARGUMENTS, stdin=MAIL)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert rows(store, schema.list_entry, "value", "bounce_code") == [("ann@a.example", 902)]
        assert rows(store, schema.suppression_due) == []


def test_with_a_service_the_service_stores_it(config):
    with service(config):
        done = call(config, *ARGUMENTS, stdin=MAIL)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert kept(config) == [("b+x@bounces.example", len(MAIL), 1)]


def test_both_ways_name_one_mail_alike(config):
    call(config, *ARGUMENTS, stdin=MAIL)
    with service(config):
        call(config, *ARGUMENTS, stdin=MAIL)
    assert kept(config) == [("b+x@bounces.example", len(MAIL), 2)]


def test_an_empty_mail_is_stored_as_well(config):
    assert call(config, *ARGUMENTS).returncode == 0
    assert kept(config) == [("b+x@bounces.example", 0, 1)]


def test_a_mail_that_is_too_long_is_cut_and_stored(tmp_path):
    config = configured(tmp_path, "[ingest]\nsize_limit = 1000\n")
    with service(config):
        done = call(config, *ARGUMENTS, stdin=MAIL + b"x" * 3_000_000)
    assert done.returncode == 0
    assert kept(config) == [("b+x@bounces.example", 1000, 1)]


def test_octets_that_are_no_text_in_the_envelope_are_stored(config):
    command = [
        *program(config, "bounce", "ingest"),
        b"--recipient=b+\xff\xfe@bounces.example",
        b"--sender=\xed\xa0\x80",
    ]
    assert subprocess.run(command, input=MAIL, env=environment(), check=False).returncode == 0
    with service(config):
        assert subprocess.run(command, input=MAIL, env=environment(), check=False).returncode == 0


def test_a_socket_of_a_dead_service_is_no_service(config):
    (config.parent / "data").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(config.parent / "data" / "ingest.sock"))
    assert call(config, *ARGUMENTS, stdin=MAIL).returncode == 0
    assert len(kept(config)) == 1


# ------------------------------------------------------------------ 75


def refused(done):
    """Exit 75, nothing on standard output, and nothing that Postfix could take for an enhanced status code."""
    assert done.returncode == 75, done
    assert done.stdout == b""
    assert not re.match(rb"\s*[245]\.\d", done.stderr)
    return done.stderr


def test_a_locked_database_is_tried_again(config):
    call(config, *ARGUMENTS, stdin=MAIL)
    other = sqlite3.connect(config.parent / "data" / "relay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    words = refused(call(config, *ARGUMENTS, stdin=MAIL + b"other"))
    other.execute("ROLLBACK")
    other.close()
    assert b"locked" in words
    assert len(kept(config)) == 1
    assert call(config, *ARGUMENTS, stdin=MAIL + b"other").returncode == 0


class Failing:
    size_limit = 1_000_000

    def begin(self, raw, **_):
        raise StoreError("it is gone")


def test_a_service_that_cannot_store_is_tried_again(config):
    with service(config, Failing()):
        words = refused(call(config, *ARGUMENTS, stdin=MAIL))
    assert b"it is gone" in words
    assert kept(config) == []


def test_a_service_that_dies_before_it_answers_is_tried_again(config):
    (config.parent / "data").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(config.parent / "data" / "ingest.sock"))
        listening.listen()
        process = subprocess.Popen(
            program(config, *ARGUMENTS), stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        process.stdin.write(MAIL)
        process.stdin.close()
        connection, _ = listening.accept()
        connection.recv(10)
        connection.close()
        assert process.wait(30) == 75
        process.stderr.close()


def broken(config, text):
    config.write_text(text)


def make(path, statement):
    path.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def other_version(config):
    with a_store(config.parent / "data"):
        pass
    make(config.parent / "data" / "relay.db", "UPDATE alembic_version SET version_num = '0000'")


PREPARE = {
    "a configuration that is no TOML": lambda c: broken(c, "data_dir = "),
    "a configuration with a typo": lambda c: broken(c, "data_dirr = 'x'"),
    "a configuration that is missing": lambda c: c.unlink(),
    "a configuration that is a folder": lambda c: (c.unlink(), c.mkdir()),
    "a database of another version": other_version,
    "a foreign database": lambda c: make(c.parent / "data" / "relay.db", "CREATE TABLE users (x)"),
    "no database at all": lambda c: (
        (c.parent / "data").mkdir(),
        (c.parent / "data" / "relay.db").write_text("x" * 9999),
    ),
    "a folder that cannot be made": lambda c: (c.parent / "data").write_text("x"),
    "a driver that is not there": lambda c: broken(c, "[store]\nurl = 'nosuch://x'"),
    "a key file that all can read": lambda c: (
        broken(c, "data_dir = 'data'\n[return_path]\ndomain = 'b.example'"),
        (c.parent / "data").mkdir(),
        (c.parent / "data" / "return-path.keys").write_text("a = " + "00" * 32),
        (c.parent / "data" / "return-path.keys").chmod(0o644),
    ),
    "rules with a mistake": lambda c: (
        broken(c, "data_dir = 'data'\npolicies_dir = 'rules'"),
        (c.parent / "rules").mkdir(),
        (c.parent / "rules" / "suppress.toml").write_text("[[suppress]]\ncode = 913"),
    ),
}


@pytest.mark.parametrize("case", PREPARE)
def test_whatever_is_wrong_with_the_set_up_the_mail_is_kept(config, case):
    PREPARE[case](config)
    assert b"Traceback" not in refused(call(config, *ARGUMENTS, stdin=MAIL))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["bounce", "ingest", "--nosuch=1"], id="unknown-option"),
        pytest.param(["bounce", "ingest", "extra"], id="extra-argument"),
        pytest.param(["bounce", "ingest", "--recipient"], id="option-without-value"),
        pytest.param(["--confg", "x.toml", "bounce", "ingest"], id="wrong-option-before"),
        pytest.param(["--config", "bounce", "ingest"], id="config-without-value"),
        pytest.param(["--lang", "klingon", "bounce", "ingest"], id="wrong-language"),
        pytest.param(["bounce", "--nosuch", "ingest"], id="wrong-option-between"),
        pytest.param(["--config", "/no/such/file", "bounce", "ingest"], id="missing-configuration"),
    ],
)
def test_a_wrong_call_keeps_the_mail_too(tmp_path, arguments):
    refused(call(None, *arguments, stdin=MAIL, cwd=tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [["bounce", "nosuch"], ["bounce", "parse", "--nosuch"], ["explain"], ["lists", "add", "bounce", "ingest"]],
)
def test_other_wrong_calls_are_usage_errors(arguments):
    assert call(None, *arguments).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["bounce", "parse", "ingest"], 1),
        (["bounce", "parse", "--jsonl", "ingest"], 1),
        (["bounce", "import", "ingest"], 1),
        (["bounce", "import", "--nosuch", "ingest"], 2),
        (["bounce", "import", "--recipient", "ingest"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_file_of_that_name_makes_no_pipe_of_another_command(config, arguments, status):
    """No file is called `ingest` here: its absence is told as anybody's."""
    assert call(config, *arguments, cwd=config.parent).returncode == status


def test_the_look_at_the_arguments_knows_all_commands_of_bounce():
    assert set(bounce.COMMANDS) == root._BOUNCES


def test_a_missing_interpreter_part_is_a_75(config):
    """Whatever happens while the program's own parts are loaded."""
    code = (
        "import sys; sys.modules['omicard_relay.cli.bounce'] = None\n"
        "from omicard_relay.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", str(config), *ARGUMENTS],
        input=MAIL,
        capture_output=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 75


@pytest.mark.parametrize(
    ("redirection", "status"),
    [("<&-", 75), ("2>&-", 0), (">&-", 0), (">&- 2>&-", 0), ("<&- >&- 2>&-", 75), (">/dev/full 2>/dev/full", 0)],
)
def test_closed_streams_change_no_status(config, redirection, status):
    command = " ".join(map(_quoted, program(config, *ARGUMENTS)))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} {redirection}"], input=MAIL, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == status
    assert len(kept(config)) == (status == 0)


def test_a_failure_with_closed_streams_is_a_75_all_the_same(config):
    config.unlink()
    command = " ".join(map(_quoted, program(config, *ARGUMENTS)))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} >&- 2>&-"], input=MAIL, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 75


def _quoted(word):
    return "'" + word.replace("'", "'\\''") + "'"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
@pytest.mark.parametrize("waiting_for", ["input", "service"])
def test_a_signal_while_it_waits_is_a_75(config, number, waiting_for):
    (config.parent / "data").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(config.parent / "data" / "ingest.sock"))
        listening.listen()
        process = subprocess.Popen(
            program(config, *ARGUMENTS), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
        )
        try:
            if waiting_for == "service":
                process.stdin.write(MAIL)
                process.stdin.close()
                connection, _ = listening.accept()
            else:
                wait_for(lambda: _catches(process.pid, signal.SIGHUP))  # the last one that is set
            process.send_signal(number)
            assert process.wait(30) == 75
        finally:
            process.kill()
            process.wait()
            if not process.stdin.closed:
                process.stdin.close()
            if waiting_for == "service":
                connection.close()


def _catches(pid, number):
    """Whether the process has a handler of its own for the signal by now."""
    with open(f"/proc/{pid}/status") as status:
        caught = int(re.search(r"SigCgt:\s*([0-9a-f]+)", status.read()).group(1), 16)
    return caught >> (number - 1) & 1


AS_NOBODY = """
import os, sys, pkgutil, importlib, encodings.idna, encodings.utf_8_sig, smtplib, sqlite3
import omicard_relay
from omicard_relay.cli import bounce, bounce_ingest, main
from omicard_relay.services import ingest
os.chdir("/")
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda data: data.chmod(0o500), id="folder-of-another"),
        pytest.param(lambda data: data.chmod(0o555), id="folder-read-only"),
        pytest.param(lambda data: [path.chmod(0o444) for path in data.iterdir()], id="database-read-only"),
    ],
)
@needs_open_checkout
def test_a_database_that_this_user_may_not_write_keeps_the_mail(config, prepare):
    with a_store(config.parent / "data"):
        pass
    data = config.parent / "data"
    data.chmod(0o755)
    folder = config.parent
    while folder != folder.parent and folder.stat().st_uid == os.geteuid():
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    prepare(data)
    try:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, "--config", str(config), *ARGUMENTS],
            input=MAIL,
            capture_output=True,
            env=environment(),
            check=False,
        )
    finally:
        data.chmod(0o755)
    words = refused(done)
    assert b"read-only" in words or b"cannot be opened" in words, words


# ------------------------------------------------------------------ light


HEAVY = {"rich", "sqlalchemy", "alembic", "hyperscan", "aiosmtpd", "asyncio", "cryptography", "flufl", "email"}


def test_with_a_service_nothing_heavy_is_loaded(config):
    code = (
        "import sys\nfrom omicard_relay.cli import main\n"
        "try:\n    main(sys.argv[1:])\nfinally:\n    sys.stderr.write(' '.join(sys.modules))"
    )
    with service(config):
        done = subprocess.run(
            [sys.executable, "-c", code, "--config", str(config), *ARGUMENTS],
            input=MAIL,
            capture_output=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 0
    loaded = {name.partition(".")[0] for name in done.stderr.decode().split()}
    assert "omicard_relay" in loaded
    assert loaded & HEAVY == set()
    assert ROOT.is_dir()
