"""`suppress`: the known bounces, and why each one is there."""

import json

import pytest
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import ListEntry, ListName
from omicard_relay.store import lists
from tests.keeping import NOW, a_store, call, configured


@pytest.fixture
def config(tmp_path):
    return configured(tmp_path)


@pytest.fixture
def run(config):
    def run(*arguments, lang="en", stdin=None):
        arguments = ["--config", str(config), "--lang", lang, "suppress", *arguments]
        return CliRunner().invoke(root, arguments, input=stdin, catch_exceptions=False)

    return run


def test_an_address_is_held_back_let_go_and_held_back_again(run):
    assert "on known-bounce now" in run("add", "ann@a.example", "--reason", "gone").stdout
    assert run("why", "ann@a.example").exit_code == 0
    done = run("remove", "ann@a.example", "--note", "mended")
    assert run("why", "ann@a.example").exit_code == 1
    assert run("undo", done.stdout.split()[-1]).exit_code == 0
    assert [json.loads(line)["value"] for line in run("list", "--jsonl").stdout.splitlines()] == ["ann@a.example"]


def test_why_tells_cause_proof_and_end(run, config):
    entry = ListEntry(
        list_name=ListName.KNOWN_BOUNCE,
        value="ann@a.example",
        reason="902 by a-rule: \x1b[31mno such user",
        source="log 4QAAAAA1",
        bounce_code=902,
        created=NOW,
        created_by="suppress.toml",
    )
    with a_store(config.parent / "data") as store, store.write() as tx:
        lists.add_entry(tx, entry)
    told = run("why", "Ann@a.example").stdout
    assert told == (
        "ann@a.example: known bounce 902 since 2026-11-24 until it is removed; "
        "902 by a-rule: \\x1b[31mno such user; proof: log 4QAAAAA1; by suppress.toml\n"
        "all that happened: omicard-relay explain Ann@a.example\n"
    )
    assert "已知退信 902，自 2026-11-24 至 移除為止" in run("why", "ann@a.example", lang="zh-TW").stdout


def test_who_is_free_is_said_to_be(run):
    done = run("why", "ann@a.example")
    assert (done.exit_code, done.stdout) == (1, "ann@a.example: is no known bounce, mail to it is not held back\n")


def test_other_lists_are_not_touched(run, config):
    white = ListEntry(list_name=ListName.WHITELIST, value="ann@a.example", reason="x", source="x", created=NOW)
    with a_store(config.parent / "data") as store, store.write() as tx:
        lists.add_entry(tx, white)
    assert run("remove", "ann@a.example").exit_code == 1
    assert run("list", "--jsonl").stdout == ""


def test_a_file_goes_in_and_out(run):
    assert run("import", "-", stdin="address,code\nann@a.example,912\n").exit_code == 0
    assert run("export").stdout.splitlines()[1].startswith("ann@a.example,imported,all,912,")
    assert "known bounce 912" in run("why", "ann@a.example").stdout


def test_an_entry_without_a_code_is_told_without_one(run):
    run("import", "-", stdin="ann@a.example\n")
    assert "known bounce - since" in run("why", "ann@a.example").stdout


def test_commands_work_in_a_process_that_has_loaded_nothing_else(config):
    for arguments in (("add", "ann@a.example", "--reason", "x"), ("list",), ("why", "ann@a.example")):
        done = call(config, "suppress", *arguments)
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_domain_on_the_list_holds_its_addresses_back(run):
    run("add", "@held.example", "--reason", "the domain is dead")
    done = run("why", "joe@held.example")
    assert done.exit_code == 0
    assert "@held.example: known bounce" in done.stdout
