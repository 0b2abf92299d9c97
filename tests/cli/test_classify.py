"""`classify`: tables for people, JSON lines for programs, and bad lines that stop nothing."""

import json

import pytest
from click.testing import CliRunner, Result

from omicard_relay.cli.root import root


def run(*arguments: str, given: str | bytes = "") -> Result:
    return CliRunner().invoke(root, ["--lang", "en", *arguments], input=given)


def rows(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_text_gives_a_table() -> None:
    result = run("classify", "552 5.2.2 mailbox full")
    assert result.exit_code == 0
    assert "901" in result.stdout
    assert "return" in result.stdout


def test_table_in_traditional_chinese() -> None:
    result = CliRunner().invoke(root, ["--lang", "zh-TW", "classify", "552 5.2.2 mailbox full"])
    assert "退信" in result.stdout
    assert "代碼" in result.stdout


def test_lines_of_standard_input() -> None:
    result = run("classify", given="552 mailbox full\n\n550 no such user\n")
    assert result.exit_code == 0
    assert "901" in result.stdout
    assert "902" in result.stdout


def test_nothing_to_classify_is_usage() -> None:
    result = run("classify", given="\n")
    assert result.exit_code == 2
    assert "nothing to classify" in result.stderr


def test_json_lines_keep_order_and_keys() -> None:
    given = "".join(
        json.dumps(row) + "\n"
        for row in (
            {"id": "a", "text": "552 5.2.2 mailbox full"},
            {"id": 7, "text": "550 Unknown user", "stage": "end-of-data", "host": "mx.docomo.ne.jp"},
            {"id": None, "text": "550 Unknown user", "stage": "END OF DATA", "recipient": "ann@docomo.ne.jp"},
            {"id": "d", "text": ""},
        )
    )
    result = run("classify", "--jsonl", given=given)
    assert result.exit_code == 0
    answers = rows(result)
    assert [list(answer) for answer in answers] == [["id", "code", "name", "action", "confidence", "rule"]] * 4
    assert [(answer["id"], answer["code"], answer["action"]) for answer in answers] == [
        ("a", "901", "return"),
        (7, "926", "return"),
        (None, "926", "return"),
        ("d", "900", "retry"),
    ]


BAD = {
    "no JSON": ("nonsense", "line 2: is not JSON"),
    "no object": ("[1]", "line 2: is not a JSON object"),
    "no text": ('{"id": 1}', "line 2: has no `text`"),
    "text is a number": ('{"text": 1}', "line 2: `text` must be a string"),
    "unknown stage": ('{"text": "x", "stage": "lunch"}', "line 2: `stage` is `lunch`"),
    "deep nesting": ("[" * 100_000, "line 2: is not JSON"),
    "control characters": ('{"text": "x", "stage": "\\u001b[2J"}', "line 2: `stage` is `\\x1b[2J`"),
}


@pytest.mark.parametrize(("line", "says"), BAD.values(), ids=BAD.keys())
def test_bad_line_is_named_and_the_rest_goes_on(line: str, says: str) -> None:
    result = run(
        "classify", "--jsonl", given=f'{{"id": 1, "text": "552 mailbox full"}}\n{line}\n{{"id": 3, "text": "x"}}\n'
    )
    assert result.exit_code == 1
    assert says in result.stderr
    assert [answer["id"] for answer in rows(result)] == [1, 3]


def test_bytes_that_are_no_utf8_are_read() -> None:
    result = run("classify", "--jsonl", given=b'{"id": 1, "text": "552 mailbox full \xff\xfe"}\n')
    assert [answer["code"] for answer in rows(result)] == ["901"]


def test_lone_surrogate_is_answered() -> None:
    result = run("classify", "--jsonl", given='{"id": "\\ud800", "text": "552 mailbox full \\ud800"}\n')
    assert result.exit_code == 0
    assert "901" in result.stdout


def test_nothing_from_outside_reaches_the_terminal_raw() -> None:
    result = run("classify", "550 mailbox \x1b[31mfull\x1b[0m quota exceeded")
    assert "\x1b[31m" not in result.stdout
