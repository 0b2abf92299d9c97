"""Everything installed into a private Postfix that runs: mail goes to the filter, bounces reach the program or are kept."""

import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from smtplib import SMTP

import pytest

from omicard_relay.services.attachcheck import State, check
from omicard_relay.services.attachrecord import our_folder
from omicard_relay.services.postconf import open_postconf
from omicard_relay.tables.settings import IngestSettings, RelaySettings, Settings
from omicard_relay.tables.snippets import Deployment, with_required
from tests.attaching import (
    ALL,
    SETTINGS,
    bring,
    configuration,
    free_port,
    light_client,
    needs_postfix,
    no_waiting,
    postfix,
    wait_for,
)

pytestmark = [
    needs_postfix,
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's configuration is changed as root"),
]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with no_waiting():
        yield


class Instance:
    """A running private Postfix with everything installed, a stand-in for the relay, and programs for the pipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.parent / "log/maillog"
        self.out = folder.parent / "out"
        self.out.mkdir()
        self.out.chmod(0o777)
        self.light: tuple[str, ...] = ()
        self.relay = _Listening(("127.0.0.1", 0), _Talk)
        self.public, self.back = free_port(), free_port()
        self.settings = Settings(
            relay=RelaySettings(port=self.relay.server_address[1], next_port=self.back),
            return_path=SETTINGS.return_path,
            ingest=IngestSettings(socket=str(folder.parent / "ingest.sock")),
        )
        threading.Thread(target=self.relay.serve_forever, daemon=True).start()

    def logged(self, *words: str) -> str:
        """The first log line with all the words, waited for."""

        def find() -> str | None:
            lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
            return next((line for line in lines if all(word in line for word in words)), None)

        wait_for(find, f"a log line with {words}")
        return find() or ""

    def program(self, text: str) -> None:
        """What the pipe's command does from now on."""
        path = self.folder.parent / "program"
        path.with_suffix(".new").write_text("#!/bin/sh\n" + text)
        path.with_suffix(".new").chmod(0o755)
        path.with_suffix(".new").replace(path)


class _Talk(socketserver.StreamRequestHandler):
    """As much SMTP as Postfix's client speaks to a filter; `talk` keeps its commands."""

    def handle(self) -> None:
        self.wfile.write(b"220 relay.test ESMTP\r\n")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            self.server.talk.append((self.client_address[0], line))
            match line.split()[0].upper():
                case "EHLO" | "LHLO":
                    self.wfile.write(
                        b"250-relay.test\r\n250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n250 DSN\r\n"
                    )
                case "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    while self.rfile.readline() != b".\r\n":
                        pass
                    self.wfile.write(b"250 2.0.0 taken\r\n")
                case "QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                case _:
                    self.wfile.write(b"250 2.0.0 fine\r\n")


class _Listening(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.talk: list[tuple[str, str]] = []


class _Listening6(_Listening):
    address_family = socket.AF_INET6


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with configuration() as folder:
        instance = Instance(folder)
        open_postconf(folder).set_services(
            {f"127.0.0.1:{instance.public}/inet": f"127.0.0.1:{instance.public} inet n - n - - smtpd"}
        )
        instance.program("exit 75\n")
        instance.light = light_client(folder)
        command = (str(folder.parent / "program"),)
        applied = bring(folder, *ALL, settings=instance.settings, command=command, light=instance.light)
        assert applied.warnings == ()
        assert postfix(folder, "check").returncode == 0
        started = postfix(folder, "start")
        assert started.returncode == 0, started.stderr
        try:
            for port in (instance.public, instance.back):
                wait_for(lambda port=port: _answers(port), f"Postfix on port {port}")
            yield instance
        finally:
            postfix(folder, "stop")
            instance.relay.shutdown()
            instance.relay.server_close()


def _answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


MAIL = "From: a@site.test\r\nSubject: x\r\nMessage-ID: <{id}@site.test>\r\n\r\nx\r\n"


def test_mail_taken_in_goes_through_the_filter_with_its_queue_id(running: Instance) -> None:
    with SMTP("127.0.0.1", running.public) as smtp:
        smtp.sendmail("a@site.test", ["ann@far.test"], MAIL.format(id="filter"))
    line = running.logged("postfix/smtp[", "to=<ann@far.test>", "status=sent")
    assert f"relay=127.0.0.1[127.0.0.1]:{running.settings.relay.port}" in line
    queue_id = line.split("]: ")[1].split(":")[0]
    said = " ".join(command for _, command in running.relay.talk if command.startswith("XFORWARD"))
    assert f"IDENT={queue_id}" in said
    # A long queue id: it is not used again.
    assert len(queue_id) > 11
    assert {address for address, _ in running.relay.talk} == {"127.0.0.1"}


def test_listener_offers_what_the_relay_needs(running: Instance) -> None:
    with SMTP("127.0.0.1", running.back) as smtp:
        smtp.ehlo("relay.test")
        for name in ("xforward", "dsn", "pipelining", "8bitmime", "smtputf8", "enhancedstatuscodes"):
            assert smtp.has_extn(name), name
        assert not smtp.has_extn("starttls")
        code, _ = smtp.docmd("XFORWARD", "IDENT=4abc NAME=client.test")
        assert code == 250


def test_bounce_that_comes_back_from_the_relay_reaches_the_program(running: Instance) -> None:
    running.program(f'printf "%s\\n" "$@" > {running.out}/args; cat > {running.out}/mail\n')
    with SMTP("127.0.0.1", running.back) as smtp:
        smtp.sendmail("", ["b+Token@bounce.example.com"], MAIL.format(id="bounce"))
    line = running.logged("postfix/pipe[", "to=<b+Token@bounce.example.com>", "status=sent")
    queue_id = line.split("]: ")[1].split(":")[0]
    assert (running.out / "args").read_text().splitlines() == [
        "bounce",
        "ingest",
        "--sender=",
        "--recipient=b+Token@bounce.example.com",
        f"--queue-id={queue_id}",
    ]
    assert "Return-Path: <>\n" in (running.out / "mail").read_text()


def test_with_a_service_the_bounce_goes_there_and_the_program_is_not_started(running: Instance) -> None:
    running.program(f"touch {running.out}/started; exit 75\n")
    with socket.socket(socket.AF_UNIX) as service:
        path = running.folder.parent / "ingest.sock"
        service.bind(str(path))
        path.chmod(0o666)
        service.listen()
        service.settimeout(60)
        with SMTP("127.0.0.1", running.back) as smtp:
            smtp.sendmail("", ["b+Served@bounce.example.com"], MAIL.format(id="served"))
        connection, _ = service.accept()
        got = b""
        while not got.endswith(b",0:,"):
            got += connection.recv(65_536)
        connection.sendall(b"2:OK,")
        connection.close()
        path.unlink()
    assert got.startswith(b"+0:,27:b+Served@bounce.example.com,")
    assert b"Message-ID: <served@site.test>" in got
    running.logged("postfix/pipe[", "to=<b+Served@bounce.example.com>", "status=sent")
    assert not (running.out / "started").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("nasty", "echo '5.1.1 nasty'; exit 1\n"), ("traceback", "exec python3 -c 1/0\n"), ("killed", "kill -9 $$\n")],
    ids=["prints 5.1.1", "Python traceback", "killed"],
)
def test_bounce_is_kept_whatever_the_program_does(running: Instance, name: str, text: str) -> None:
    running.program(text)
    with SMTP("127.0.0.1", running.back) as smtp:
        smtp.sendmail("", [f"b+{name}@bounce.example.com"], MAIL.format(id=name))
    line = running.logged("postfix/pipe[", f"to=<b+{name}@bounce.example.com>", "status=")
    assert "dsn=4.3.0, status=deferred" in line
    assert "omicard-bounce: exit" in line


def test_other_addresses_of_the_bounce_domain_are_refused_at_rcpt(running: Instance) -> None:
    with SMTP("127.0.0.1", running.public) as smtp:
        smtp.ehlo("far.test")
        smtp.mail("")
        code, text = smtp.rcpt("guess@bounce.example.com")
        assert code // 100 == 5
        assert b"5.1.1" in text
        assert smtp.rcpt("b+x@bounce.example.com")[0] == 250


def test_check_is_content_with_the_running_instance(running: Instance) -> None:
    running.program("exit 0\n")
    deployment = Deployment(
        folder=our_folder(running.folder),
        user="nobody",
        command=(str(running.folder.parent / "program"),),
        light=running.light,
    )
    snippets = with_required(ALL, running.settings, deployment)
    findings = check(open_postconf(running.folder), snippets, running.settings)
    assert [finding for finding in findings if finding.state not in (State.OK, State.NOTE)] == []


def test_log_has_no_complaint_about_our_configuration(running: Instance) -> None:
    with SMTP("127.0.0.1", running.public) as smtp:
        smtp.sendmail("a@site.test", ["last@far.test"], MAIL.format(id="last"))
    running.logged("to=<last@far.test>", "status=sent")
    complaints = [line for line in running.log.read_text().splitlines() if "warning:" in line or "fatal:" in line]
    assert complaints == []


@pytest.mark.parametrize(("family", "host"), [("IPv4", "127.0.0.1"), ("IPv6", "::1")])
def test_bounces_over_lmtp_and_the_filter_on_either_family(family: str, host: str) -> None:
    """The other way home, on a Postfix with a public address alone in inet_interfaces, on both loopback addresses."""
    server = _Listening6 if family == "IPv6" else _Listening
    try:
        relay, ingest = server((host, 0), _Talk), server((host, 0), _Talk)
    except OSError:
        pytest.skip(f"this machine has no {family} loopback")
    for each in (relay, ingest):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    settings = Settings(
        relay=RelaySettings(host=host, port=relay.server_address[1], next_host=host, next_port=free_port()),
        ingest=IngestSettings(host=host, port=ingest.server_address[1]),
        return_path=SETTINGS.return_path,
    )
    with configuration(main="smtp_bind_address = 127.0.0.2\nlmtp_bind_address = 127.0.0.2\n") as folder:
        text = (folder / "main.cf").read_text()
        (folder / "main.cf").write_text(text.replace("inet_interfaces = 127.0.0.1", "inet_interfaces = loopback-only"))
        bring(folder, "content-filter", "bounce-lmtp", settings=settings)
        log = folder.parent / "log/maillog"
        assert postfix(folder, "start").returncode == 0
        try:
            wait_for(lambda: _answers(settings.relay.next_port, host), "the listener")
            with SMTP(host, settings.relay.next_port) as smtp:
                smtp.sendmail("", ["b+Token@bounce.example.com"], MAIL.format(id="lmtp"))
            wait_for(lambda: "status=sent" in log.read_text(), "the bounce to be taken")
            submitted = subprocess.run(
                ["/usr/sbin/sendmail", "-C", str(folder), "-f", "a@site.test", "ann@far.test"],
                input=MAIL.format(id="sendmail").encode(),
                capture_output=True,
                check=False,
                timeout=30,
            )
            assert submitted.returncode == 0, submitted.stderr
            wait_for(lambda: log.read_text().count("status=sent") == 2, "the submission to be filtered")
        finally:
            postfix(folder, "stop")
            for each in (relay, ingest):
                each.shutdown()
                each.server_close()
    assert any(line.startswith("LHLO") for _, line in ingest.talk)
    assert any(line.startswith("RCPT TO:<b+Token@bounce.example.com>") for _, line in ingest.talk)
    assert any(line.startswith("RCPT TO:<ann@far.test>") for _, line in relay.talk)
    assert {address for address, _ in (*relay.talk, *ingest.talk)} == {host}
