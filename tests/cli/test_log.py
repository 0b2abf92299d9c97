"""`log parse`: the objects that programs read, the summary that people read, and what happens with bad files."""

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from omicard_relay.cli.root import root

KEYS = ["time", "queue_id", "recipient", "relay", "relay_ip", "status", "dsn", "reply", "stage", "delay", "code"]
KEYS += ["action", "rule"]
RELAY = "relay=mx.a.example[192.0.2.1]:25, delay=1.5, delays=0.1/0/1/0.4"
SAID = "host mx.a.example[192.0.2.1] said:"


def line(clock: str, queue_id: str, rest: str, program: str = "smtp") -> str:
    return f"2026-11-24T{clock}+08:00 out postfix/{program}[7]: {queue_id}: {rest}\n"


SENT = line("08:00:00", "4AAAAAA1", f"to=<ann@a.example>, {RELAY}, dsn=2.0.0, status=sent (250 2.0.0 Ok)")
FULL = line(
    "08:00:01",
    "4AAAAAA2",
    f"to=<bob@a.example>, {RELAY}, dsn=5.2.2, status=bounced ({SAID} 552 5.2.2 <bob@a.example> mailbox is full "
    "(in reply to RCPT TO command))",
)
GREY = line(
    "08:00:02",
    "4AAAAAA3",
    f"to=<cat@a.example>, {RELAY}, dsn=4.2.2, status=deferred ({SAID} 452 4.2.2 <cat@a.example> mailbox is full "
    "(in reply to RCPT TO command))",
)
REST = line(
    "08:00:03",
    "4AAAAAA3",
    "to=<cat@a.example>, relay=none, delay=2, delays=2/0/0/0, dsn=4.3.2, status=deferred ([938] resting until 21:40)",
    "error",
)
EXPIRED = line("08:00:12", "4AAAAAA3", "from=<s@s.example>, status=expired, returned to sender", "qmgr")
REFUSED = line(
    "08:00:13",
    "NOQUEUE",
    "reject: RCPT from app.example[192.0.2.7]: 554 5.7.1 <dan@a.example>: Relay access denied; from=<s@s.example> "
    "to=<dan@a.example> proto=ESMTP helo=<app.example>",
    "smtpd",
)


def run(*arguments: str, stdin: bytes | str | None = None, lang: str = "en") -> Result:
    return CliRunner().invoke(root, ["--lang", lang, "log", "parse", *arguments], input=stdin, catch_exceptions=False)


def rows(result: Result) -> list[dict[str, Any]]:
    return [json.loads(text) for text in result.stdout.splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "mail.log"
    path.write_text(SENT + "noise\n" + FULL + GREY + REST + EXPIRED + REFUSED)
    return path


def test_each_delivery_line_is_one_object_with_the_agreed_keys(log: Path) -> None:
    result = run(str(log), "--jsonl")
    assert result.exit_code == 0
    told = rows(result)
    assert [list(row) for row in told] == [KEYS] * 6
    assert [row["status"] for row in told] == ["sent", "bounced", "deferred", "deferred", "expired", "rejected"]
    assert told[0] == {
        "time": "2026-11-24T00:00:00+00:00",
        "queue_id": "4AAAAAA1",
        "recipient": "ann@a.example",
        "relay": "mx.a.example",
        "relay_ip": "192.0.2.1",
        "status": "sent",
        "dsn": "2.0.0",
        "reply": "250 2.0.0 Ok",
        "stage": "unknown",
        "delay": 1.5,
        "code": None,
        "action": None,
        "rule": None,
    }


def test_a_failure_is_judged_and_its_reply_is_whole(log: Path) -> None:
    full = rows(run(str(log), "--jsonl"))[1]
    assert (full["code"], full["action"], full["stage"]) == ("901", "return", "rcpt")
    assert full["rule"]
    assert full["reply"] == f"{SAID} 552 5.2.2 <bob@a.example> mailbox is full (in reply to RCPT TO command)"


def test_an_expiry_names_each_waiting_recipient_with_the_last_cause_a_server_gave(log: Path) -> None:
    expired = rows(run(str(log), "--jsonl"))[4]
    assert (expired["recipient"], expired["code"]) == ("cat@a.example", "901")
    assert expired["time"] == "2026-11-24T00:00:12+00:00"
    assert expired["delay"] == 11.5
    assert "452 4.2.2" in expired["reply"]


def test_an_expiry_without_a_cause_is_931_and_an_alert(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    vague = "to=<cat@a.example>, relay=none, delay=2, delays=2/0/0/0, dsn=4.0.0, status=deferred (unknown)"
    path.write_text(line("08:00:02", "4AAAAAA3", vague) + EXPIRED + EXPIRED)
    told = rows(run(str(path), "--jsonl"))
    assert [(row["status"], row["code"], row["action"]) for row in told][1:] == [("expired", "931", "alert")]


@pytest.mark.parametrize(
    "between",
    [
        SENT.replace("4AAAAAA1", "4AAAAAA3").replace("ann@", "cat@"),
        FULL.replace("4AAAAAA2", "4AAAAAA3").replace("bob@", "cat@"),
        line("08:00:05", "4AAAAAA3", "removed", "qmgr"),
    ],
    ids=["sent", "bounced", "removed"],
)
def test_who_is_not_waiting_any_more_does_not_expire(tmp_path: Path, between: str) -> None:
    path = tmp_path / "mail.log"
    path.write_text(GREY + between + EXPIRED)
    assert "expired" not in [row["status"] for row in rows(run(str(path), "--jsonl"))]


@pytest.mark.parametrize("arguments", [("--jsonl",), ("-", "--jsonl")], ids=["no-file", "dash"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_is_read_and_unpacked(arguments: tuple[str, ...], pack: Any) -> None:
    result = run(*arguments, stdin=pack((SENT + FULL).encode()))
    assert [row["queue_id"] for row in rows(result)] == ["4AAAAAA1", "4AAAAAA2"]


def test_compressed_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mail.log.2.gz"
    path.write_bytes(gzip.compress(SENT.encode()))
    assert len(rows(run(str(path), "--jsonl"))) == 1


def test_a_file_that_cannot_be_read_is_said_and_the_rest_goes_on(tmp_path: Path, log: Path) -> None:
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(os.urandom(4000))[:2000])
    result = run(str(tmp_path / "none"), str(tmp_path), str(broken), str(log), "--jsonl")
    assert result.exit_code == 1
    assert len(rows(result)) == 6
    errors = result.stderr.splitlines()
    assert len(errors) == 3
    for name, error in zip([tmp_path / "none", tmp_path, broken], errors, strict=True):
        assert error.startswith(f"error: cannot read {name}: ")


def test_a_last_line_that_is_still_being_written_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text(SENT + FULL[: FULL.index("(in reply")])
    assert [row["queue_id"] for row in rows(run(str(path), "--jsonl"))] == ["4AAAAAA1"]
    path.write_text(SENT + SENT.replace("Ok)", "Ok (as 1)"))
    path.write_text(path.read_text().rstrip("\n"))
    assert len(rows(run(str(path), "--jsonl"))) == 1
    path.write_text(SENT + FULL.rstrip("\n"))
    assert len(rows(run(str(path), "--jsonl"))) == 2


def test_an_old_log_keeps_its_year_and_the_named_zone(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text(SENT.replace("2026-11-24T08:00:00+08:00", "Nov 24 08:00:00"))
    written = datetime(2019, 11, 25, tzinfo=UTC).timestamp()
    os.utime(path, (written, written))
    (row,) = rows(run(str(path), "--jsonl", "--tz", "Asia/Taipei"))
    assert row["time"] == "2019-11-24T00:00:00+00:00"


def test_a_zone_that_does_not_exist_is_a_usage_error() -> None:
    result = run("--tz", "Nowhere/City", stdin="")
    assert result.exit_code == 2
    assert "Nowhere/City" in result.stderr


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ["Outcomes", "mailbox-full", "the recipient's mailbox is full"]),
        ("zh-TW", ["投遞結果", "收件人信箱已滿"]),
    ],
)
def test_people_see_outcomes_causes_and_servers(log: Path, lang: str, words: list[str]) -> None:
    result = run(str(log), lang=lang)
    assert result.exit_code == 0
    for word in [*words, "901", "mx.a.example", "rejected"]:
        assert word in result.stdout
    assert result.stderr == ""


def test_a_log_without_deliveries_is_said() -> None:
    assert run(stdin="nothing here\n").stdout == "1 lines read; none tells of a delivery.\n"


def test_foreign_words_reach_no_terminal_raw(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_text(SENT.replace("mx.a.example[", "mx\x1b]0;x\x07.example[").replace("Ok", "\x1b[31m\u202eOk"))
    for result in (run(str(path)), run(str(path), "--jsonl")):
        assert "\x1b" not in result.stdout
        assert "\x07" not in result.stdout
