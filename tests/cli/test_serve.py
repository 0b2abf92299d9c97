"""`serve`: the services as processes: they end cleanly when told to, and say why they cannot begin."""

import re
import signal
import socket
import subprocess

import pytest

from omicard_relay.store import schema
from tests.keeping import a_store, call, configured, delivery, environment, program, queued, rows, wait_for
from tests.mails import dsn


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
def config(tmp_path):
    text = f'[ingest]\nport = {free_port()}\n[follow]\nfiles = ["mail.log"]\n[relay]\nport = {free_port()}\n'
    return configured(tmp_path, text)


class Serving:
    def __init__(self, config, *names):
        self.errors = (config.parent / "errors").open("w+b")
        self.process = subprocess.Popen(
            program(config, "serve", *names), stdout=subprocess.PIPE, stderr=self.errors, env=environment()
        )

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode()

    def until(self, words):
        wait_for(lambda: words in self.said() or self.process.poll() is not None)
        assert words in self.said()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def serve(config):
    running = []

    def serve(*names):
        running.append(Serving(config, *names))
        return running[-1]

    yield serve
    for one in running:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()
        one.errors.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_follow_and_ingest_serve_side_by_side_and_end_cleanly(config, serve, number):
    data = config.parent / "data"
    with a_store(data) as store:
        queued(store, "ann@a.example")
        running = serve("follow", "ingest")
        running.until("event=ingest-socket")
        running.until("event=ingest-lmtp")
        (config.parent / "mail.log").write_bytes(delivery("ann@a.example", "sent", "250 ok"))
        wait_for(lambda: rows(store, schema.recipient, "state") == ["delivered"])
        assert call(config, "bounce", "ingest", "--recipient=b@x.example", stdin=dsn("ann@a.example")).returncode == 0
        assert len(rows(store, schema.bounce_mail)) == 1
        assert running.end(number) == 0
    assert "Traceback" not in running.said()
    assert not (data / "ingest.sock").exists()


def test_a_restart_goes_on_where_it_was(config, serve):
    with a_store(config.parent / "data") as store:
        queued(store, "ann@a.example", "bob@a.example")
        log = config.parent / "mail.log"
        log.write_bytes(delivery("ann@a.example", "sent", "250 ok"))
        first = serve("follow")
        wait_for(lambda: rows(store, schema.recipient, "state")[0] == "delivered")
        first.process.kill()
        first.process.wait()
        with log.open("ab") as file:
            file.write(delivery("bob@a.example", "sent", "250 ok"))
        second = serve("follow")
        wait_for(lambda: rows(store, schema.recipient, "state")[1] == "delivered")
        assert len(rows(store, schema.attempt)) == 2
        assert second.end() == 0


def test_a_taken_port_is_told_in_one_sentence_and_takes_the_others_with_it(config, serve):
    port = int(config.read_text().split("port = ")[1].split("\n")[0])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        running = serve("follow", "ingest")
        assert running.process.wait(30) == 1
    told = running.said()
    assert f"error: port {port} on 127.0.0.1 is taken by another program" in told
    assert "set `ingest.port` to a free port" in told
    assert "Traceback" not in told


def test_a_second_service_does_not_push_the_first_one_out(config, serve, tmp_path):
    first = serve("ingest")
    first.until("event=ingest-socket")
    other = tmp_path / "other.toml"
    other.write_text(f'data_dir = "data"\n[ingest]\nport = {free_port()}\n')
    done = call(other, "serve", "ingest")
    assert done.returncode == 1
    assert b"another ingester is running there" in done.stderr
    assert b"Traceback" not in done.stderr
    assert first.end() == 0


BAD = {
    "a key that all can read": ('[return_path]\ndomain = "b.example"\n', "others than its owner can get at it"),
    "a log that cannot be read": ("", "is no file that this user can read"),
    "a table with a mistake": ('policies_dir = "rules"\n', "no such file|is no folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told_at_the_start(tmp_path, case):
    text, words = BAD[case]
    config = tmp_path / "relay.toml"
    config.write_text(f'data_dir = "data"\n{text if not text.startswith("[") else ""}[follow]\nfiles = ["mail.log"]\n')
    if text.startswith("["):
        config.write_text(config.read_text() + f"[ingest]\nport = {free_port()}\n" + text)
    (tmp_path / "data").mkdir()
    (tmp_path / "mail.log").mkdir()
    (tmp_path / "data" / "return-path.keys").write_text("a = " + "00" * 32)
    (tmp_path / "data" / "return-path.keys").chmod(0o644)
    done = call(config, "serve", "ingest" if "key" in case else "follow")
    assert done.returncode == 1
    assert re.search(words, done.stderr.decode())
    assert b"Traceback" not in done.stderr


def test_an_unknown_service_is_a_usage_error(config):
    assert call(config, "serve", "policyd").returncode == 2


def test_standard_input_may_be_the_log_and_ends_the_service(config, tmp_path):
    piped = tmp_path / "piped.toml"
    piped.write_text('data_dir = "data"\n[follow]\nfiles = ["-"]\n')
    with a_store(tmp_path / "data") as store:
        queued(store, "ann@a.example")
        done = call(piped, "serve", "follow", stdin=delivery("ann@a.example", "sent", "250 ok"))
        assert done.returncode == 0
        assert rows(store, schema.recipient, "state") == ["delivered"]
