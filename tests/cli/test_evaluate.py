"""`eval`: scores of a folder of labelled bounces, made here for the test."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from omicard_relay.cli.root import main, root

DSN = """\
From: MAILER-DAEMON@mx.example.net
To: news@example.org
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

Sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; ann@example.com
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 mailbox full

Final-Recipient: rfc822; bob@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
"""


def label(
    identifier: str, code: str | None, action: str | None, also: tuple[str, ...] = (), source: str = "one"
) -> str:
    return json.dumps({"id": identifier, "code": code, "also": also, "action": action, "source": source}) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mails").mkdir()
    (tmp_path / "mails" / "a.eml").write_text(DSN)
    (tmp_path / "mails" / "b.eml").write_text("From: ann@example.com\nSubject: lunch?\n\nHello, shall we?\n")
    (tmp_path / "gold.jsonl").write_text(
        label("r1", "901", "return")
        + label("r2", "907", "retry", ("902",))
        + label("r3", "935", "retry")
        + label("a#0", "902", "return", source="two")
        + label("a#1", "901", "return", source="two")
        + label("b#0", None, None, source="two")
    )
    (tmp_path / "replies.jsonl").write_text(
        "".join(
            json.dumps({"id": key, "text": text}) + "\n"
            for key, text in (("r1", "552 mailbox full"), ("r2", "550 no such user"), ("r3", "550 virus found"))
        )
    )
    (tmp_path / "mails.jsonl").write_text(
        "".join(
            json.dumps({"id": key, "file": f"mails/{file}.eml", "n": n, "recipient": recipient}) + "\n"
            for key, file, n, recipient in (
                ("a#0", "a", 0, "BOB@example.com"),
                ("a#1", "a", 1, "ann@example.com"),
                ("b#0", "b", 0, None),
            )
        )
    )
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(root, ["--lang", "en", "eval", *arguments])


def scores(result: Result) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    found = (json.loads(line) for line in result.stdout.splitlines())
    return {(r["by"], r["key"]): (r["rows"], r["strict"], r["also"], r["action"]) for r in found if "key" in r}


def test_scores_by_source_code_and_total(folder: Path) -> None:
    result = run(str(folder), "--jsonl")
    assert result.exit_code == 0
    found = scores(result)
    assert found["source", "one"] == (3, 1, 2, 1)
    assert found["source", "two"] == (3, 3, 3, 3)
    assert found["code", "901"] == (2, 2, 2, 2)
    assert found["code", "null"] == (1, 1, 1, 1)
    assert found["total", "replies"] == (3, 1, 2, 1)
    assert found["total", "mails"] == (3, 3, 3, 3)
    assert found["total", "all"] == (6, 4, 5, 4)


def test_what_was_taken_for_what_is_counted(folder: Path) -> None:
    found = [json.loads(line) for line in run(str(folder), "--jsonl").stdout.splitlines()]
    confusions = [(row["expected"], row["got"], row["rows"]) for row in found if row["by"] == "confusion"]
    assert sorted(confusions) == [("907", "902", 1), ("935", "930", 1)]
    assert "Confusions" in run(str(folder)).stdout


def test_misses_are_listed_on_request_only(folder: Path) -> None:
    missed = [json.loads(line) for line in run(str(folder), "--jsonl", "--misses").stdout.splitlines()]
    assert [(row["id"], row["expected"], row["got"]) for row in missed if row["by"] == "miss"] == [("r3", "935", "930")]
    assert '"miss"' not in run(str(folder), "--jsonl").stdout


def test_table_for_people(folder: Path) -> None:
    result = run(str(folder), "--misses")
    assert result.exit_code == 0
    assert "By source" in result.stdout
    assert "r3" in result.stdout


def test_mail_that_is_gone_counts_as_a_miss(folder: Path) -> None:
    (folder / "mails" / "a.eml").unlink()
    result = run(str(folder), "--jsonl")
    assert scores(result)["source", "two"] == (3, 1, 1, 1)
    assert "cannot be read" in result.stderr


@pytest.mark.parametrize("name", ["gold.jsonl", "replies.jsonl", "mails.jsonl"])
def test_missing_file_is_a_clear_error(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / name).unlink()
    with pytest.raises(SystemExit) as caught:
        main(["--lang", "en", "eval", str(folder)])
    assert caught.value.code == 1
    assert f"has no `{name}`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"), [("nonsense", "line 2: is not a JSON object"), ('{"id": 1}', "line 2: has no `text`")]
)
def test_bad_line_is_a_clear_error(folder: Path, line: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "replies.jsonl").write_text(f'{{"id": "r1", "text": "x"}}\n{line}\n')
    with pytest.raises(SystemExit):
        main(["--lang", "en", "eval", str(folder)])
    assert says in capsys.readouterr().err
