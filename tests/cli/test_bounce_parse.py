"""`bounce parse`: the objects that programs read, the table that people read, and files that cannot be read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from omicard_relay.cli import bounce, bounce_parse
from omicard_relay.cli.root import root

MAILS = Path(__file__).parent.parent / "bounce" / "mails"
KEYS = ["file", "kind", "recipient", "original_recipient", "status", "reply_code", "diagnostic", "remote_mta", "stage"]
KEYS += ["code", "action", "rule", "confidence"]


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(root, ["bounce", "parse", *arguments], input=given)


def rows(*arguments: str, given: bytes | None = None) -> list[dict[str, Any]]:
    result = run("--jsonl", *arguments, given=given)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_one_object_a_recipient_with_exactly_these_keys_in_order() -> None:
    found = rows(str(MAILS / "dsn-postfix-two.eml"))
    assert [list(row) for row in found] == [KEYS, KEYS]
    assert [(row["recipient"], row["code"], row["action"]) for row in found] == [
        ("ann@example.com", "902", "return"),
        ("bob@example.net", "901", "return"),
    ]


def test_values_of_one_failure() -> None:
    row = rows(str(MAILS / "dsn-postfix-two.eml"))[0]
    assert row["kind"] == "dsn"
    assert row["original_recipient"] == "ann+news@example.com"
    assert (row["status"], row["reply_code"], row["stage"]) == ("5.1.1", 550, "rcpt")
    assert row["diagnostic"] == "550 5.1.1 no mailbox of that name"
    assert row["remote_mta"] == "mx.example.com"
    assert isinstance(row["rule"], str)
    assert 0 < row["confidence"] <= 1


def test_stage_is_later_where_no_session_is_told() -> None:
    assert rows(str(MAILS / "dsn-exchange.eml"))[0]["stage"] == "later"
    assert rows(str(MAILS / "autoreply-vacation.eml"))[0]["stage"] == "later"


@pytest.mark.parametrize("name", ["person-about-office", "person-list-quotes-dsn", "mdn-displayed", "other-tlsrpt"])
def test_mail_that_is_no_failure_gives_one_object_without_code(name: str) -> None:
    (row,) = rows(str(MAILS / f"{name}.eml"))
    assert list(row) == KEYS
    assert [row[key] for key in KEYS[2:]] == [None] * len(KEYS[2:])
    assert row["kind"] == ("other" if name.startswith("other") else "not-a-bounce")


def test_success_report_has_no_code() -> None:
    (row,) = rows(str(MAILS / "dsn-success.eml"))
    assert (row["kind"], row["recipient"], row["code"], row["action"]) == ("dsn", "eve@example.org", None, None)


@pytest.mark.parametrize(
    ("name", "code"),
    [("autoreply-vacation", "906"), ("autoreply-moved", "908"), ("arf-abuse", "913"), ("plain-qmail", "902")],
)
def test_code_by_road(name: str, code: str) -> None:
    assert rows(str(MAILS / f"{name}.eml"))[0]["code"] == code


def test_standard_input() -> None:
    (row,) = rows("-", given=(MAILS / "plain-exim.eml").read_bytes())
    assert (row["file"], row["recipient"]) == ("-", "tom@far.example")


def test_folder_is_read_below_and_in_sorted_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.eml", "b/1.eml", "a.eml", "c.eml"):
        (tmp_path / name).write_bytes((MAILS / "dsn-delayed.eml").read_bytes())
    assert [row["file"] for row in rows(str(tmp_path))] == [
        str(tmp_path / name) for name in ("a.eml", "c.eml", "b/1.eml", "b/2.eml")
    ]


def test_pipe_inside_a_folder_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.eml").write_bytes(b"From: a@b.example\n\nhi\n")
    assert len(rows(str(tmp_path))) == 1


def test_unreadable_file_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    result = run("--jsonl", str(tmp_path / "missing.eml"), str(MAILS / "plain-exim.eml"))
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == f"{tmp_path}/missing.eml: cannot be read: No such file or directory\n"


def test_no_file_is_a_usage_error() -> None:
    assert run().exit_code == 2


def test_table_for_people() -> None:
    result = run(str(MAILS / "plain-exim.eml"))
    assert result.exit_code == 0
    assert "{" not in result.stdout
    assert "tom@far.exampl" in result.stdout.replace("\n", "")


def test_table_in_chinese() -> None:
    result = CliRunner().invoke(root, ["--lang", "zh-TW", "bounce", "parse", str(MAILS / "autoreply-vacation.eml")])
    assert "收件人" in result.stdout


@pytest.mark.parametrize("form", [[], ["--jsonl"]], ids=["table", "jsonl"])
def test_control_characters_of_a_mail_never_come_out(form: list[str]) -> None:
    raw = b"From: MAILER-DAEMON@x.example\nSubject: Undelivered\n\n<ann@example.com>: 550 \x1b]0;title\x07 \xc2\x9b31m no\n"
    result = run(*form, "-", given=raw)
    assert result.exit_code == 0
    assert not set(result.stdout) & set("\x1b\x07\x9b")


def test_hostile_mail_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 100_000)
    (tmp_path / "2").write_bytes(os.urandom(5000))
    (tmp_path / "3").write_bytes(b"")
    assert [row["code"] for row in rows(str(tmp_path))] == [None] * 3


def test_subcommands_are_named_and_loaded_late() -> None:
    assert bounce.COMMANDS == {"import": "bounce_import", "ingest": "bounce_ingest", "parse": "bounce_parse"}
    assert "parse" in CliRunner().invoke(root, ["bounce", "--help"]).stdout


def test_progress_is_shown_only_after_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 2.5, 2.6, 2.9])
    monkeypatch.setattr(bounce_parse.time, "monotonic", lambda: next(clock))
    assert list(bounce_parse._counted(["a", "b", "c", "d"], shown=True)) == ["a", "b", "c", "d"]
    told = capsys.readouterr().err
    assert told.count("of 4 mails read") == 2
    assert told.startswith("\r2 of 4")
