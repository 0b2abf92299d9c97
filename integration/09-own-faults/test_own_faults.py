"""Our own faults on a running line: told as 451 or kept by Postfix, and nothing is lost or doubled when they are mended."""

import contextlib
import os
import re
import smtplib
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from lab.line import SENDER_DOMAIN, Line
from lab.waiting import wait_until
from omicard_relay.store import schema

_RELAY, _LMTP = 10025, 10027
#: Postfix waits before it answers the end of this recipient's mail.
_SLOW = "between@good.test"
_PAUSE = {"lab_pause": f"check_recipient_access inline:{{{{{_SLOW}=sleep 2}}}}"}
#: Octets of the data folder: a database that is new, and little more.
_DISK = 6_000_000


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line that waits one second for a lock, with its data on a small disk of its own, and a listener that can be slow."""
    folder = tmp_path_factory.mktemp("faults") / "line"
    (folder / "data").mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"mode=750,size={_DISK}", "lab", str(folder / "data"))
    try:
        with Line(folder, extra_configuration={"store": "busy_seconds = 1"}, postfix_settings=_PAUSE) as line:
            override = "127.0.0.1:10026/inet/smtpd_end_of_data_restrictions=$lab_pause"
            _run("postconf", "-c", str(line.postfix.config), "-P", override)
            line.postfix.reload()
            yield line
            for name in ("relay", "follow", "ingest"):
                print(f"--- {name}\n{line.service_log(name).read_text(errors='replace')[-3000:]}")
    finally:
        _run("umount", str(folder / "data"))


def test_a_locked_database_is_451_and_then_the_mail_is_delivered_once(line: Line) -> None:
    with _locked(line):
        assert _send("locked@good.test") == (451, "4.3.0")
    told = line.service_log("relay").read_text()
    assert re.search(r"event=own-fault .*relay\.db: the database is locked by another program", told)
    assert "Traceback" not in told
    assert _send("locked@good.test") == (250, "")
    _assert_delivered_once(line, "locked@good.test")


def test_a_lock_after_postfix_took_the_mail_doubles_nothing(line: Line) -> None:
    """Postfix has the mail, our record of it fails: the client must come again, and hears 250 without a second hand-over."""
    said: list[tuple[int, str]] = []
    client = threading.Thread(target=lambda: said.append(_send(_SLOW)))
    client.start()
    wait_until(lambda: _state(line, _SLOW) == "handing-over", "the mail is on its way to Postfix")
    with _locked(line):
        client.join(30)
        assert said == [(451, "4.3.0")]
        assert line.internet.books().wait_until(lambda: _is_booked(line, _SLOW), 30), "Postfix has delivered it"
    assert _send(_SLOW) == (250, "")
    _assert_delivered_once(line, _SLOW)


def test_a_full_disk_is_451_and_then_every_mail_is_delivered_once(line: Line) -> None:
    filler = line.folder / "data" / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    said: dict[str, tuple[int, str]] = {}
    # SQLite goes on for a while in the room that it has.
    while len(said) < 500 and (451, "4.3.0") not in said.values():
        recipient = f"full.{len(said)}@good.test"
        said[recipient] = _send(recipient)
    filler.unlink()
    assert set(said.values()) == {(250, ""), (451, "4.3.0")} or set(said.values()) == {(451, "4.3.0")}
    for recipient, reply in said.items():
        if reply != (250, ""):
            wait_until(lambda recipient=recipient: _send(recipient) == (250, ""), "the mail is taken")  # type: ignore[misc]
    for recipient in said:
        _assert_delivered_once(line, recipient)


def test_a_database_of_another_version_under_a_running_ingester_keeps_bounces_in_postfix(line: Line) -> None:
    """What a schema that another program has changed looks like to a service that is running."""
    with _without_table(line):
        assert _send("ann@later.test") == (250, "")
        kept = r"relay=127\.0\.0\.1\[127\.0\.0\.1\]:10027, .*dsn=4\.3\.0, status=deferred \(.*451 4\.3\.0 not stored"
        wait_until(lambda: _log_has(line, kept), "Postfix keeps the bounce")
    _assert_comes_home_once(line, "ann@later.test")


def test_each_recipient_of_one_lmtp_transaction_gets_its_own_answer(line: Line) -> None:
    with _without_table(line):
        assert _speak_lmtp(3) == ["451"] * 3
    assert _speak_lmtp(3) == ["250"] * 3
    assert _speak_lmtp(1) == ["250"]


def test_a_newer_database_stops_the_start_and_bounces_wait_in_postfix(line: Line) -> None:
    line.stop_service("ingest")
    with _database(line) as database:
        (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    try:
        done = _serve(line.configuration, "ingest")
        assert done.returncode == 1
        assert "is at version 9999, made by a newer program" in done.stderr
        assert _send("bob@later.test") == (250, "")
        refused = (
            r"to=<b\+.*dsn=4\.4\.1, status=deferred \(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:10027: Connection refused"
        )
        wait_until(lambda: _log_has(line, refused), "Postfix keeps the bounce")
    finally:
        with _database(line) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (version,))
        line.start_service("ingest")
    _assert_comes_home_once(line, "bob@later.test")


def test_a_read_only_database_keeps_bounces_in_postfix(line: Line) -> None:
    data, text = line.folder / "data", line.configuration.read_text()
    line.stop_service("ingest")
    _run("mount", "--bind", str(data), str(data))
    _run("mount", "-o", "remount,bind,ro", str(data))
    try:
        # The socket has no place there either, and that alone would stop the start.
        done = _serve(line.configuration, "ingest")
        assert done.returncode == 1
        assert re.search(r"error: .*/ingest\.sock: the socket cannot be made \(Read-only file system\)", done.stderr)
        line.configuration.write_text(re.sub(r'socket = ".*"', 'socket = ""', text))
        line.start_service("ingest")
        assert _speak_lmtp(2) == ["451"] * 2
        assert "the database is read-only for this user" in line.service_log("ingest").read_text()
        assert _send("eve@later.test") == (250, "")
        wait_until(lambda: _log_has(line, "451 4.3.0 not stored"), "Postfix keeps the bounce")
    finally:
        line.configuration.write_text(text)
        with contextlib.suppress(KeyError):
            line.stop_service("ingest")
        _run("umount", str(data))
        line.start_service("ingest")
    _assert_comes_home_once(line, "eve@later.test")


def test_a_taken_port_is_told_in_one_sentence(line: Line) -> None:
    done = _serve(line.configuration, "relay")
    assert done.returncode == 1
    assert "error: Port 10025 on 127.0.0.1 is taken by another program" in done.stderr
    assert "`relay.port`" in done.stderr
    assert "Traceback" not in done.stderr
    assert _send("still@good.test") == (250, "")


def _missing_key(folder: Path) -> str:
    return '[[dkim]]\ndomain = "shop.test"\nselector = "s"\nkey_file = "nowhere.pem"\n'


def _open_key(folder: Path) -> str:
    key = folder / "open.pem"
    key.write_text("secret")
    key.chmod(0o644)
    return '[[dkim]]\ndomain = "shop.test"\nselector = "s"\nkey_file = "open.pem"\n'


def _open_users(folder: Path) -> str:
    users = folder / "users"
    users.write_text("")
    users.chmod(0o644)
    return '[relay]\nauth_file = "users"\n'


def _no_certificate(folder: Path) -> str:
    return '[relay]\ntls_certificate = "no.crt"\ntls_key = "no.key"\n'


_FAULTS: dict[str, tuple[Callable[[Path], str], str]] = {
    "a-missing-key": (_missing_key, r"/nowhere\.pem: there is no such key file; make it or correct the path"),
    "a-key-that-others-can-read": (_open_key, r"/open\.pem: others than its owner .*mode 0644.* `chmod 600"),
    "users-that-others-can-read": (_open_users, r"/users: everybody can get at it .*mode 0644.*`chmod 640"),
    "a-missing-certificate": (_no_certificate, r"/no\.crt: cannot be read .*`relay\.tls_certificate`"),
    "a-key-with-a-typo": (
        lambda folder: "[relay]\nnext_prot = 25\n",
        r"/faulty\.toml: \[relay\] has no key `next_prot`; did you mean `next_port`\? Allowed are: host, port, .*next_port",
    ),
    "a-word-that-is-not-allowed": (
        lambda folder: '[scrub]\nsyntax = "regect"\n',
        r"/faulty\.toml: `scrub\.syntax`: .*'regect'.*allowed are 'discard', 'reject', 'off'",
    ),
    "a-table-with-a-typo": (
        lambda folder: "[realy]\nport = 25\n",
        r"/faulty\.toml: the file has no key `realy`; did you mean `relay`\? Allowed are: .*relay",
    ),
    "no-toml": (lambda folder: "[relay\n", r"/faulty\.toml: is not valid TOML: .*line 2"),
}


@pytest.mark.parametrize(("write", "told"), _FAULTS.values(), ids=_FAULTS)
def test_what_is_wrong_is_told_at_the_start(tmp_path: Path, write: Callable[[Path], str], told: str) -> None:
    configuration = tmp_path / "faulty.toml"
    configuration.write_text(f'data_dir = "data"\n{write(tmp_path)}')
    done = _serve(configuration, "relay")
    assert done.returncode == 1
    (sentence,) = [row for row in done.stderr.splitlines() if row.startswith("error: ")]
    assert re.search(told, sentence), sentence
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------ how to do and to see it


def _run(*words: str) -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    assert done.returncode == 0, f"`{' '.join(words)}`: {done.stderr}"


def _serve(configuration: Path, name: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Start a service that must fail by itself."""
    words = [sys.executable, "-m", "omicard_relay", "--config", str(configuration), "--lang", "en", "serve", name]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)


def _send(recipient: str, port: int = _RELAY) -> tuple[int, str]:
    """Submit the mail for this recipient, always the same; gives the reply code, and for a refusal its enhanced status."""
    mail = f"From: news@{SENDER_DOMAIN}\r\nMessage-ID: <{recipient}>\r\nSubject: fault\r\n\r\nHello.\r\n"
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.lab.test", timeout=30) as client:
        try:
            client.sendmail(f"news@{SENDER_DOMAIN}", [recipient], mail.encode())
        except smtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[recipient]
        except smtplib.SMTPResponseException as error:
            code, text = error.smtp_code, error.smtp_error
        else:
            return 250, ""
    return code, bytes(text).split()[0].decode()


@contextlib.contextmanager
def _database(line: Line) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(line.folder / "data" / "relay.db", isolation_level=None, timeout=10)
    try:
        yield database
    finally:
        database.close()


@contextlib.contextmanager
def _locked(line: Line) -> Iterator[None]:
    with _database(line) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


@contextlib.contextmanager
def _without_table(line: Line) -> Iterator[None]:
    """The table of the bounce mails has another name meanwhile."""
    with _database(line) as database:
        database.execute("ALTER TABLE bounce_mail RENAME TO elsewhere")
        try:
            yield
        finally:
            database.execute("ALTER TABLE elsewhere RENAME TO bounce_mail")


def _speak_lmtp(recipients: int) -> list[str]:
    """One mail for so many recipients, spoken by hand; the codes of the answers to its final dot."""
    with socket.create_connection(("127.0.0.1", _LMTP), timeout=20) as connection:
        answers = connection.makefile("r", newline="\r\n")

        def say(words: str) -> str:
            connection.sendall(f"{words}\r\n".encode())
            while (answer := answers.readline())[3:4] == "-":
                pass
            return answer[:3]

        assert answers.readline().startswith("220")
        assert say("LHLO client.test") == "250"
        assert say("MAIL FROM:<>") == "250"
        assert [say(f"RCPT TO:<b+{n}@bounces.shop.test>") for n in range(recipients)] == ["250"] * recipients
        assert say("DATA") == "354"
        first = say("Subject: by hand\r\n\r\ntext\r\n.")
        codes = [first, *(answers.readline()[:3] for _ in range(recipients - 1))]
        # No more than these: the next answer is QUIT's.
        assert say("QUIT") == "221"
        return codes


def _state(line: Line, recipient: str) -> str | None:
    store = line.store()
    try:
        with store.read() as tx:
            return tx.execute(
                sa.select(schema.recipient.c.state).where(schema.recipient.c.address == recipient)
            ).scalar()
    finally:
        store.close()


def _is_booked(line: Line, recipient: str) -> bool:
    return bool(line.internet.books().entries(recipient=recipient))


def _log_has(line: Line, pattern: str) -> bool:
    return re.search(pattern, line.postfix.log.read_text(errors="replace")) is not None


def _assert_delivered_once(line: Line, recipient: str) -> None:
    books = line.internet.books()
    assert books.wait_until(lambda: _is_booked(line, recipient), 30), f"{recipient} got nothing"
    wait_until(lambda: not line.postfix.queue(), "Postfix's queue is empty")
    wait_until(lambda: _state(line, recipient) == "delivered", f"the store has {recipient} as delivered")
    assert [entry.accepted for entry in books.entries(recipient=recipient)] == [True]


def _assert_comes_home_once(line: Line, recipient: str) -> None:
    """The failure report about a recipient is in the store, once, and Postfix has no mail left."""
    store = line.store()
    reports = (
        sa.select(schema.bounce_report.c.trust)
        .join(schema.recipient, schema.recipient.c.id == schema.bounce_report.c.recipient_id)
        .where(schema.recipient.c.address == recipient)
    )

    def found() -> list[str]:
        with store.read() as tx:
            return list(tx.execute(reports).scalars())

    try:
        line.postfix.flush()
        wait_until(lambda: bool(found()), "the bounce is in the store")
        wait_until(lambda: not line.postfix.queue(), "Postfix's queue is empty")
        assert found() == ["proven"]
    finally:
        store.close()
