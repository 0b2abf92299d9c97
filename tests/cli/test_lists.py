"""`lists`: every change says what it did and how to take it back."""

import csv
import io
import json
import re

import pytest
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import RelayError
from tests.keeping import call, configured


@pytest.fixture
def config(tmp_path):
    return configured(tmp_path)


@pytest.fixture
def run(config):
    def run(*arguments, lang="en", stdin=None):
        return CliRunner().invoke(
            root, ["--config", str(config), "--lang", lang, "lists", *arguments], input=stdin, catch_exceptions=False
        )

    return run


@pytest.fixture
def held(run):
    def held(name="blacklist"):
        return [json.loads(line)["value"] for line in run("list", name, "--jsonl").stdout.splitlines()]

    return held


def undo_of(text):
    return re.search(r"lists undo (\d+)", text).group(1)


def test_an_entry_is_added_and_taken_back_as_told(run, held):
    done = run("add", "blacklist", "Ann@a.example", "--reason", "asked")
    assert done.exit_code == 0
    assert done.stdout.startswith("Ann@a.example: on blacklist now (entry 1); undo: omicard-relay lists undo 1")
    assert held() == ["ann@a.example"]
    assert run("undo", undo_of(done.stdout)).stdout == "change 1 is undone: ann@a.example on blacklist\n"
    assert held() == []


def test_an_entry_is_removed_and_taken_back_as_told(run, held):
    run("add", "blacklist", "ann@a.example", "@b.example", "--reason", "asked")
    done = run("remove", "blacklist", "ANN@a.example", "--note", "she called")
    assert (done.exit_code, held()) == (0, ["@b.example"])
    run("undo", undo_of(done.stdout))
    assert held() == ["@b.example", "ann@a.example"]


def test_an_entry_that_is_there_is_said_to_be(run):
    run("add", "blacklist", "ann@a.example", "--reason", "asked")
    done = run("add", "blacklist", "ann@a.example", "--reason", "again")
    assert (done.exit_code, done.stdout) == (
        0,
        "ann@a.example: is on blacklist already (entry 1), nothing changed\n",
    )


def test_what_is_not_on_a_list_cannot_be_removed(run):
    done = run("remove", "blacklist", "ann@a.example")
    assert done.exit_code == 1
    assert "ann@a.example is not on blacklist" in done.stderr


def test_all_that_was_given_comes_out_as_jsonl(run):
    run(
        "add",
        "known-bounce",
        "a@b.example",
        "--reason",
        "gone",
        "--code",
        "902",
        "--days",
        "9",
        "--scope",
        "campaign:x",
    )
    (row,) = map(json.loads, run("list", "known-bounce", "--jsonl").stdout.splitlines())
    assert list(row) == [
        "list", "value", "scope", "code", "reason", "source", "created", "created_by", "expires", "entry"
    ]  # fmt: skip
    assert (row["list"], row["code"], row["scope"], row["source"]) == ("known-bounce", "902", "campaign:x", "by hand")
    assert row["expires"] > row["created"]


def test_people_get_a_table_in_either_language(run):
    run("add", "blacklist", "ann@a.example", "--reason", "請求")
    assert re.split(r"[\s┃]+", run("list").stdout)[:5] == ["list", "value", "scope", "code", "reason"]
    assert re.split(r"[\s┃]+", run("list", lang="zh-TW").stdout)[:5] == ["名單", "內容", "範圍", "代碼", "原因"]
    assert "請求" in run("list").stdout


def test_the_history_tells_who_did_what(run):
    run("add", "blacklist", "ann@a.example", "--reason", "asked")
    run("remove", "blacklist", "ann@a.example", "--note", "she called")
    run("add", "whitelist", "bob@a.example", "--reason", "friend")
    told = [json.loads(line) for line in run("history", "ann@a.example", "--jsonl").stdout.splitlines()]
    assert [(row["what"], row["list_name"], row["note"]) for row in told] == [
        ("remove", "blacklist", "she called"),
        ("add", "blacklist", ""),
    ]
    assert all(row["who"] and row["time"] for row in told)
    assert "she called" in run("history").stdout


BAD = {
    "no address": (["blacklist", "ann", "--reason", "x"], "neither an address nor a domain"),
    "a control character": (["blacklist", "a\x1b@b.example", "--reason", "x"], "control characters"),
    "no scope": (["blacklist", "a@b.example", "--reason", "x", "--scope", "me"], "is no scope"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_changes_nothing(run, held, case):
    arguments, words = BAD[case]
    with pytest.raises(RelayError, match=words) as caught:
        run("add", arguments[0], "good@b.example", *arguments[1:])
    assert "nothing was changed" in str(caught.value)
    assert held() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "graylist", "a@b.example", "--reason", "x"],
        ["add", "blacklist", "a@b.example"],
        ["add", "blacklist", "a@b.example", "--reason", "x", "--code", "899"],
        ["add", "blacklist", "a@b.example", "--reason", "x", "--days", "0"],
        ["add", "blacklist", "a@b.example", "--reason", "x", "--days", "999999999"],
        ["undo", "x"],
    ],
)
def test_a_wrong_call_is_a_usage_error(run, arguments):
    assert run(*arguments).exit_code == 2


def test_octets_that_are_no_text_are_made_readable(config):
    """As a shell hands them on."""
    done = call(config, "lists", "add", "blacklist", "ann@a.example", b"--reason=\xff\xed\xa0\x80")
    assert done.returncode == 0
    done = call(config, "lists", "add", "blacklist", b"\xff@a.example", "--reason=x")
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_commands_work_in_a_process_that_has_loaded_nothing_else(config):
    """Texts that another command registers are not there."""
    for arguments in (
        ("add", "blacklist", "ann@a.example", "--reason", "x"),
        ("list",),
        ("history",),
        ("remove", "blacklist", "ann@a.example"),
        ("undo", "1"),
    ):
        done = call(config, "lists", *arguments)
        assert (done.returncode, done.stderr) == ((0, b"") if arguments != ("undo", "1") else (1, done.stderr))
        assert b"Traceback" not in done.stderr


def test_a_file_goes_in_and_bad_rows_are_named(run, held, tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes(b"ann@a.example\nnonsense\n\xff\xfe@a.example\nbob@a.example\nann@a.example\n")
    done = run("import", "blacklist", str(file), "--reason", "moved here")
    assert done.exit_code == 1
    assert done.stdout == "2 added, 1 there already, 2 bad rows left out\n"
    assert "line 2: `nonsense` is neither" in done.stderr
    assert "line 3: is not UTF-8" in done.stderr
    assert len(held()) == 2


def test_many_rows_go_in(run, held):
    text = "".join(f"u{number}@a.example\n" for number in range(2500))
    assert run("import", "blacklist", "-", stdin=text).stdout.startswith("2500 added, 0 there already")
    assert len(held()) == 2500


def test_what_is_exported_can_be_imported(run, held, tmp_path):
    run("add", "blacklist", "ann@a.example", "--reason", "a, b", "--scope", "sender:x.example", "--days", "3")
    file = tmp_path / "out.csv"
    assert run("export", "blacklist", str(file)).stderr == "1 entries written\n"
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert (rows[0]["value"], rows[0]["reason"], rows[0]["scope"]) == ("ann@a.example", "a, b", "sender:x.example")
    assert run("import", "whitelist", str(file)).exit_code == 0
    assert held("whitelist") == ["ann@a.example"]
    assert run("export", "whitelist").stdout.startswith("value,reason,scope")
