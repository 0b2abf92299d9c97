"""The `dkim` commands, with a DNS server of the test's own on the loopback."""

import json
import socket
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from click.testing import CliRunner, Result

from omicard_relay.cli import dkim as dkim_cli
from omicard_relay.cli.root import root
from omicard_relay.mail import SigningError
from omicard_relay.services.keyfiles import load_dkim_key
from omicard_relay.signing import DkimSigner
from omicard_relay.tables.settings import DkimKeySettings

MAIL = b"From: ann@example.com\r\nSubject: x\r\n\r\nHello\r\n"
NOW = 1_767_000_000


class Zone:
    """A DNS server: TXT values by name; `fault` is an rcode for all names, `silent` answers nothing."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.fault: int | None = None
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            wire, peer = self._socket.recvfrom(4096)
            if not wire:
                return
            if not self.silent:
                self._socket.sendto(self._answer(wire), peer)

    def _answer(self, wire: bytes) -> bytes:
        reply = dns.message.make_response(dns.message.from_wire(wire))
        reply.flags |= dns.flags.RA
        question = reply.question[0]
        texts = self.texts.get(question.name.to_text(omit_final_dot=True))
        if self.fault is not None:
            reply.set_rcode(dns.rcode.Rcode(self.fault))
        elif texts is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif texts:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", *texts))
        return reply.to_wire()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def zone() -> Iterator[Zone]:
    server = Zone()
    yield server
    server.close()


def run(*arguments: str, config: Path | None = None, lang: str = "en", stdin: bytes | None = None) -> Result:
    head = ["--lang", lang, *(["--config", str(config)] if config else [])]
    return CliRunner().invoke(root, [*head, "dkim", *arguments], input=stdin, env={"COLUMNS": "200"})


def make(folder: Path, algorithm: str = "ed25519", selector: str = "s1") -> tuple[Path, Result]:
    """A key made by the command, and a configuration file from the lines it printed."""
    result = run(
        "keygen", "--domain", "example.com", "--selector", selector, "--algorithm", algorithm,
        "--out", str(folder / f"{selector}.pem"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    lines = result.stdout.partition("[[dkim]]")[2].strip().splitlines()[:3]
    config = folder / "relay.toml"
    with config.open("a") as file:
        file.write("\n".join(["[[dkim]]", *lines, ""]))
    return config, result


def publish(zone: Zone, result: Result) -> None:
    """Put the printed zone line into DNS, its strings as they were printed."""
    line = next(line for line in result.stdout.splitlines() if " IN TXT " in line)
    name, _, strings = line.partition(". IN TXT ( ")
    zone.texts[name] = [strings.removesuffix(" )")]


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_what_keygen_prints_makes_check_pass(tmp_path: Path, zone: Zone, algorithm: str) -> None:
    config, made = make(tmp_path, algorithm)
    publish(zone, made)
    result = run("check", "--nameserver", zone.address, config=config)
    assert result.exit_code == 0
    assert "good" in result.stdout
    assert tomllib.loads(config.read_text())["dkim"][0]["key_file"] == str(tmp_path / "s1.pem")
    assert (tmp_path / "s1.pem").stat().st_mode & 0o777 == 0o600


def test_rsa_is_the_default(tmp_path: Path) -> None:
    result = run("keygen", "--domain", "example.com", "--selector", "s", "--out", str(tmp_path / "k"))
    assert "v=DKIM1; k=rsa; p=" in result.stdout


def test_keygen_refuses_to_overwrite(tmp_path: Path) -> None:
    make(tmp_path)
    before = (tmp_path / "s1.pem").read_bytes()
    result = run("keygen", "--domain", "example.com", "--selector", "s", "--out", str(tmp_path / "s1.pem"))
    assert isinstance(result.exception, SigningError)
    assert "never overwritten" in str(result.exception)
    assert (tmp_path / "s1.pem").read_bytes() == before


def test_keygen_with_a_wrong_name_leaves_no_file(tmp_path: Path) -> None:
    result = run("keygen", "--domain", "exa mple", "--selector", "s", "--out", str(tmp_path / "k"))
    assert isinstance(result.exception, SigningError)
    assert not (tmp_path / "k").exists()


def test_show_prints_keys_and_records(tmp_path: Path) -> None:
    config, _ = make(tmp_path)
    make(tmp_path, selector="s2")
    result = run("show", config=config)
    assert result.exit_code == 0
    assert "s1._domainkey.example.com. IN TXT" in result.stdout
    assert "s2._domainkey.example.com. IN TXT" in result.stdout
    rows = [json.loads(line) for line in run("show", "--jsonl", config=config).stdout.splitlines()]
    assert [(row["selector"], row["algorithm"]) for row in rows] == [("s1", "ed25519-sha256"), ("s2", "ed25519-sha256")]
    assert rows[0]["record"].startswith("v=DKIM1; k=ed25519; p=")


def test_a_bad_key_does_not_hide_a_good_one(tmp_path: Path, zone: Zone) -> None:
    config, made = make(tmp_path)
    publish(zone, made)
    make(tmp_path, selector="s2")
    (tmp_path / "s2.pem").chmod(0o644)
    shown = run("show", config=config)
    assert shown.exit_code == 1
    assert "s1._domainkey" in shown.stdout
    assert "chmod 600" in shown.stderr
    rows = [
        json.loads(x) for x in run("check", "--jsonl", "--nameserver", zone.address, config=config).stdout.splitlines()
    ]
    assert {row["selector"]: row["ok"] for row in rows} == {"s1": True, "s2": False}


def test_without_keys_both_say_so(tmp_path: Path, zone: Zone) -> None:
    (tmp_path / "relay.toml").write_text("")
    for arguments in (["show"], ["check", "--nameserver", zone.address]):
        result = run(*arguments, config=tmp_path / "relay.toml")
        assert result.exit_code == 0
        assert "No DKIM key is configured" in result.stderr


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        pytest.param(None, "There is no TXT record", id="nxdomain"),
        pytest.param([], "There is no TXT record", id="no-answer"),
        pytest.param(['"v=DKIM1; k=ed25519; p=AAAA"'], "holds another key", id="other-key"),
        pytest.param(['"v=DKIM1; p="'], "is revoked", id="revoked"),
        pytest.param(['"a"', '"b"'], "several TXT records", id="several"),
        pytest.param(['"v=spf1 \\027[2J"'], "is no DKIM record", id="junk"),
    ],
)
def test_check_tells_what_is_wrong_in_dns(tmp_path: Path, zone: Zone, texts: list[str] | None, words: str) -> None:
    config, _ = make(tmp_path)
    if texts is not None:
        zone.texts["s1._domainkey.example.com"] = texts
    result = run("check", "--nameserver", zone.address, config=config)
    assert result.exit_code == 1
    assert words in result.stdout
    assert "\x1b" not in result.stdout


def test_a_server_failure_is_told_as_such(tmp_path: Path, zone: Zone) -> None:
    config, _ = make(tmp_path)
    zone.fault = dns.rcode.SERVFAIL
    result = run("check", "--nameserver", zone.address, config=config)
    assert result.exit_code == 1
    assert "server failure" in result.stdout
    assert "There is no TXT record" not in result.stdout


def test_a_silent_dns_is_told_as_such_within_the_bound(
    tmp_path: Path, zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = make(tmp_path)
    zone.silent = True
    assert dkim_cli.DNS_SECONDS == 5.0
    monkeypatch.setattr(dkim_cli, "DNS_SECONDS", 0.3)
    result = run("check", "--nameserver", zone.address, config=config)
    assert result.exit_code == 1
    assert "did not answer" in result.stdout
    assert "within 0.3 s" in result.stdout


@pytest.mark.parametrize("server", ["dns.example", "127.0.0.1:x", "127.0.0.1:", "[::1", "300.1.1.1"])
def test_a_wrong_nameserver_is_a_usage_error(server: str) -> None:
    result = run("check", "--nameserver", server)
    assert result.exit_code == 2
    assert "write an IP address" in result.stderr


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("192.0.2.53", "192.0.2.53", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("2001:db8::53", "2001:db8::53", 53),
        ("[2001:db8::53]", "2001:db8::53", 53),
        ("[2001:db8::53]:5353", "2001:db8::53", 5353),
    ],
)
def test_a_nameserver_is_read_in_every_spelling(server: str, host: str, port: int) -> None:
    resolver = dkim_cli._resolver(server)
    assert (resolver.nameservers, resolver.port) == ([host], port)


def signed_mail(folder: Path) -> bytes:
    key = load_dkim_key(DkimKeySettings(domain="example.com", selector="s1", key_file=str(folder / "s1.pem")))
    return DkimSigner(keys=(key,)).sign(MAIL, now=NOW) + MAIL


def test_verify_passes_a_good_mail_and_fails_a_changed_one(tmp_path: Path, zone: Zone) -> None:
    _, made = make(tmp_path)
    publish(zone, made)
    mail = tmp_path / "mail.eml"
    mail.write_bytes(signed_mail(tmp_path))
    good = run("verify", str(mail), "--nameserver", zone.address)
    assert good.exit_code == 0
    assert "good" in good.stdout
    bad = run("verify", "-", "--jsonl", "--nameserver", zone.address, stdin=signed_mail(tmp_path) + b"more\r\n")
    assert bad.exit_code == 1
    row = json.loads(bad.stdout)
    assert (row["domain"], row["selector"], row["ok"]) == ("example.com", "s1", False)
    assert "body hash mismatch" in row["reason"]


def test_verify_tells_a_silent_dns_from_a_bad_signature(tmp_path: Path, zone: Zone) -> None:
    make(tmp_path)
    zone.fault = dns.rcode.REFUSED
    result = run("verify", "-", "--nameserver", zone.address, stdin=signed_mail(tmp_path))
    assert result.exit_code == 1
    assert "nothing is known about the record" in result.stdout


def test_verify_says_when_there_is_no_signature(zone: Zone) -> None:
    result = run("verify", "-", "--nameserver", zone.address, stdin=MAIL)
    assert result.exit_code == 1
    assert "no DKIM signature" in result.stderr


def test_verify_bounds_what_it_reads(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkim_cli, "MAIL_LIMIT", 10)
    result = run("verify", "-", "--nameserver", zone.address, stdin=MAIL)
    assert "more than 10 octets" in str(result.exception)


def test_texts_come_in_traditional_chinese(tmp_path: Path, zone: Zone) -> None:
    config, _ = make(tmp_path)
    result = run("check", "--nameserver", zone.address, config=config, lang="zh-TW")
    assert "沒有 TXT 記錄" in result.stdout
    assert "網域" in result.stdout
