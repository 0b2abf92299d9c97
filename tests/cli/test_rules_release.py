"""`rules diff`, `publish`, `history`, `rollback`, `checkout`, `rejudge`: told before it happens, undone by one command."""

import json
import os
import subprocess

import pytest
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import RelayError
from omicard_relay.services import publishing, released
from omicard_relay.services.follow import Follower
from omicard_relay.services.rulebook import open_rulebook
from omicard_relay.store import releases, schema
from omicard_relay.tables.settings import load_settings
from tests.keeping import NOW, UNKNOWN, a_store, configured, delivery, queued, rows, said, wait_for
from tests.releasing import program_with, rule, ship, write_rules

EVIL = "\x1b[2J\x9b\u202eevil"
ZQ = said(f"550 5.7.1 zq17 letters are over {EVIL}")


@pytest.fixture
def config(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path / "program")
    return configured(tmp_path)


@pytest.fixture
def store(config):
    with a_store(config.parent / "data") as store:
        yield store


@pytest.fixture
def site(config):
    return config.parent / "data" / "policies"


@pytest.fixture
def run(config):
    def run(*arguments, lang="en", stdin=""):
        done = CliRunner().invoke(
            root, ["--config", str(config), "--lang", lang, "rules", *arguments], input=stdin, catch_exceptions=True
        )
        if isinstance(done.exception, RelayError):
            return 1, f"error: {done.exception}"
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        for unsafe in ("\x1b", "\x9b", "\u202e"):
            assert unsafe not in done.output
        return done.exit_code, done.output

    return run


@pytest.fixture
def filled(config, store):
    """Replies that the shipped rules judged."""
    queued(store, "ann@a.example")
    lines = [
        delivery("ann@a.example", "bounced", ZQ, at=1),
        delivery("bob@a.example", "bounced", UNKNOWN, queue_id="4QB00001"),
    ]
    settings = load_settings(config)
    Follower(settings, store, open_rulebook(settings, store)).take([one.rstrip() for one in lines], None, now=NOW)
    return store


def code(config, run):
    done = CliRunner().invoke(root, ["--config", str(config), "classify", "--jsonl", "550 zq17 letters are over"])
    return json.loads(done.stdout)["code"]


# ------------------------------------------------------------------ diff


def test_diff_tells_counts_and_samples(filled, run, site):
    write_rules(site, rule("site", 921, "zq17"))
    status, told = run("diff")
    assert status == 0
    assert f"the working folder {site} (1 files) against the shipped rules" in told
    assert "2 stored replies read, 1 read otherwise: 1 with another code" in told
    assert "907 -> 921" in told
    assert "base-refused -> site" in told
    assert "907 -> 921  ann@a.example: host mx.there.example[192.0.2.9] said: 550 5.7.1 zq17" in told
    assert "\\x1b[2J" in told
    assert rows(filled, schema.rule_release) == []


def test_diff_for_programs(filled, run, site):
    write_rules(site, rule("site", 921, "zq17"), rule("bad", 930, "zq99", example="550 other words"))
    status, told = run("diff", "--jsonl")
    assert status == 0
    objects = [json.loads(line) for line in told.splitlines()]
    by_section = {one["section"]: one for one in objects}
    assert by_section["summary"]["touched"] == by_section["summary"]["failing_examples"] == 1
    shift = by_section["shift"]
    assert (shift["old_code"], shift["new_code"], shift["old_rule"], shift["new_rule"], shift["count"]) == (
        "907", "921", "base-refused", "site", 1
    )  # fmt: skip
    assert by_section["sample"]["table"] == "attempt"
    assert EVIL in by_section["sample"]["text"]
    assert (by_section["failing-example"]["rule"], by_section["failing-example"]["got"]) == ("bad", "907")


def test_diff_against_a_release_or_the_shipped(filled, run, site):
    for wanted in (921, 922):
        write_rules(site, rule("site", wanted, "zq17"))
        assert run("publish", "--yes")[0] == 0
    assert "0 read otherwise" in run("diff")[1]
    assert "921 -> 922" in run("diff", "--against", "1")[1]
    assert "907 -> 922" in run("diff", "--against", "shipped")[1]
    assert run("diff", "--against", "9") == (
        1,
        "error: There is no release 9; `omicard-relay rules history` shows those that there are.",
    )
    assert run("diff", "--against", "last")[0] == 2


def test_diff_of_a_period_or_of_some(filled, run, site):
    write_rules(site, rule("site", 921, "zq17"))
    assert "no stored replies to compare with" in run("diff", "--since", "2026-11-25")[1]
    assert "2 stored replies read" in run("diff", "--since", "2026-11-24T00:00+00:00")[1]
    _status, told = run("diff", "--limit", "1", "--samples", "0")
    assert "only the newest 1 log replies" in told
    assert "1 stored replies read" in told
    assert run("diff", "--since", "yesterday")[0] == 2


def test_a_draft_that_does_not_load_is_told_by_file(store, run, site):
    write_rules(site, "no toml")
    for command in (["diff"], ["publish", "--yes"]):
        status, told = run(*command)
        assert status == 1
        assert f"{site}/rules/own.toml: is not valid TOML" in told


# ------------------------------------------------------------------ publish


def test_publish_tells_what_and_how_to_undo(filled, run, site, config):
    write_rules(site, rule("site", 921, "zq17"))
    status, told = run("publish", "--yes", "--author", "ann", "--note", f"letters{EVIL}")
    assert status == 0
    assert "1 read otherwise" in told
    assert "release 1 is in force (digest " in told
    assert "undo: omicard-relay rules rollback shipped" in told
    assert rows(filled, schema.rule_release, "number", "author") == [(1, "ann")]
    assert code(config, run) == "921"
    write_rules(site, rule("site", 922, "zq17"))
    assert "undo: omicard-relay rules rollback 1" in run("publish", "--yes")[1]
    assert code(config, run) == "922"


def test_nothing_to_publish_is_said(store, run, site):
    status, told = run("publish", "--yes")
    assert (status, "holds no tables" in told) == (0, True)
    write_rules(site, rule("site", 921, "zq17"))
    run("publish", "--yes")
    status, told = run("publish", "--yes")
    assert (status, "nothing to publish: release 1 has the same tables" in told) == (0, True)
    assert rows(store, schema.rule_release, "number") == [1]


def test_examples_that_the_draft_breaks_stop_it_unless_forced(store, run, site):
    write_rules(site, rule("bad", 930, "zq99", example="550 other words"))
    status, told = run("publish", "--yes")
    assert status == 1
    assert "example of rule bad fails: wants 930, gets 907 by base-refused: 550 other words" in told
    assert "failing examples: 1; nothing was published" in told
    assert rows(store, schema.rule_release) == []
    status, told = run("publish", "--yes", "--force")
    assert (status, "--force publishes all the same" in told) == (0, True)
    assert rows(store, schema.rule_release, "number") == [1]


def test_a_shipped_example_that_the_draft_breaks_counts(store, run, site):
    write_rules(site, rule("site", 921, "no such user"))
    status, told = run("publish", "--yes")
    assert status == 1
    assert "example of rule base-unknown fails: wants 902, gets 921 by site" in told


def test_an_example_that_failed_before_stops_nothing(store, run, site):
    write_rules(site, rule("bad", 930, "zq99", example="550 other words"))
    run("publish", "--yes", "--force")
    write_rules(site, rule("bad", 930, "zq99", example="550 other words"), rule("site", 921, "zq17"))
    status, told = run("publish", "--yes")
    assert (status, "examples that fail here and in release 1 alike: 1" in told) == (0, True)


def test_without_a_terminal_nobody_is_asked(store, run, site):
    write_rules(site, rule("site", 921, "zq17"))
    status, told = run("publish")
    assert status == 2
    assert "then publish with --yes" in told
    assert rows(store, schema.rule_release) == []


@pytest.mark.parametrize(("answer", "numbers"), [("y\n", [1]), ("n\n", []), ("\x04", [])], ids=["yes", "no", "end"])
def test_at_a_terminal_one_is_asked(store, config, site, answer, numbers):
    write_rules(site, rule("site", 921, "zq17"))
    words, environment = program_with(config.parent / "program", "--config", str(config), "rules", "publish")
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        os.write(ours, answer.encode())
        told = process.communicate(timeout=60)[0].decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == (0 if numbers else 1)
    assert "Put this in force as release 1? [y/N]" in told
    assert rows(store, schema.rule_release, "number") == numbers


def test_two_at_once_one_wins(store, config, site):
    write_rules(site, rule("site", 921, "zq17"))
    words, environment = program_with(config.parent / "program", "--config", str(config), "rules", "publish", "--yes")
    both = [
        subprocess.Popen([*words, "--author", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        for name in ("ann", "bob")
    ]
    told = [one.communicate(timeout=90)[0].decode() for one in both]
    assert sorted(one.returncode for one in both) in ([0, 0], [0, 1])
    assert sum("release 1 is in force (digest" in one for one in told) == 1
    assert sum("came into force meanwhile" in one or "nothing to publish" in one for one in told) == 1
    assert rows(store, schema.rule_release, "number") == [1]


def test_a_copy_that_cannot_be_written_is_told(store, run, site, monkeypatch):
    def full(settings, release):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "copy_here", full)
    write_rules(site, rule("site", 921, "zq17"))
    status, told = run("publish", "--yes")
    assert (status, "this machine's copy could not be written" in told) == (0, True)


def test_a_kill_while_publishing_leaves_the_old_or_the_new(store, config, site, run):
    """Between the store and the disk, the moment in which both differ: the next service brings it."""
    write_rules(site, rule("site", 921, "zq17"))
    run("publish", "--yes")
    write_rules(site, rule("site", 922, "zq17"))

    def killed(settings, release):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(released, "_set_current", killed)
        run("publish", "--yes")
    assert rows(store, schema.rule_release, "number") == [1, 2]
    assert code(config, run) == "921"
    assert "this machine is not at the store's release" in run("history")[1]
    assert open_rulebook(load_settings(config), store).current.release == 2
    assert code(config, run) == "922"


# ------------------------------------------------------------------ history, rollback, checkout


@pytest.fixture
def three(store, run, site):
    write_rules(site, rule("a", 921, "zq17"), rule("b", 930, "zq18"))
    run("publish", "--yes", "--author", "ann", "--note", "first" + EVIL)
    write_rules(site, rule("a", 922, "zq17"), rule("c", 936, "zq19"))
    run("publish", "--yes", "--author", "bob")
    run("rollback", "1", "--author", "cat", "--note", "too early")
    return run


def test_history_tells_who_when_why_and_what(three):
    status, told = three("history")
    assert status == 0
    for words in ("rollback", "ann", "bob", "cat", "too early", "first\\x1b", "+2 -0 ~0", "+1 -1 ~1"):
        assert words in told
    assert "in force: release 3 in the store, release 3 on this machine" in told


def test_history_of_one_release_names_its_rules(three):
    status, told = three("history", "2")
    assert status == 0
    assert "added: c" in told
    assert "removed: b" in told
    assert "changed: a" in told
    assert three("history", "9")[0] == 1


def test_history_for_programs(three):
    rows = [json.loads(line) for line in three("history", "--jsonl")[1].splitlines()]
    assert [(r["number"], r["kind"], r["rollback_of"], r["in_force"], r["here"]) for r in rows] == [
        (3, "rollback", 1, True, True),
        (2, "publish", None, False, False),
        (1, "publish", None, False, False),
    ]
    assert (rows[1]["added"], rows[1]["removed"], rows[1]["changed"]) == (["c"], ["b"], ["a"])
    assert len(json.loads(three("history", "2", "--jsonl")[1])["digest"]) == 64


def test_history_before_the_first_release(store, run, site):
    assert f"the shipped rules are in force, with the working folder {site} over them" in run("history")[1]
    assert run("history", "--jsonl") == (0, "")


def test_history_in_chinese(three):
    told = three("history", lang="zh-TW")[1]
    assert "生效中：資料庫為第 3 版，本機為第 3 版" in told


def test_rollback_leaves_the_working_folder_and_says_so(three, config, site, store):
    before = (site / "rules" / "own.toml").read_text()
    status, told = three("rollback", "2")
    assert status == 0
    assert "release 4 is in force, with the tables of release 2" in told
    assert "undo: omicard-relay rules rollback 3" in told
    assert f"the working folder {site} was not touched; `omicard-relay rules checkout 4`" in told
    assert (site / "rules" / "own.toml").read_text() == before
    assert code(config, three) == "922"


def test_rollback_to_the_shipped(three, config):
    assert "with the tables of the shipped rules" in three("rollback", "shipped")[1]
    assert code(config, three) == "907"
    assert "with these very tables already" in three("rollback", "0")[1]


@pytest.mark.parametrize("target", ["-1", "two", "9" * 20])
def test_rollback_to_nonsense(three, target):
    assert three("rollback", "--", target)[0] == 2


def test_checkout_brings_a_release_back_into_the_folder(three, site):
    status, told = three("checkout", "1")
    assert status == 0
    assert f"the tables of release 1 (1 files) are in {site} now" in told
    assert "what was there before is in" in told
    assert 'id = "b"' in (site / "rules" / "own.toml").read_text()
    assert three("checkout", "9")[0] == 1


# ------------------------------------------------------------------ rejudge


def test_rejudge_tells_and_explain_shows_both_verdicts(filled, run, site, config):
    write_rules(site, rule("site", 921, "zq17"))
    run("publish", "--yes")
    status, told = run("rejudge", "--dry-run")
    assert (status, "1 would have a new verdict; nothing was written" in told) == (0, True)
    status, told = run("rejudge")
    assert status == 0
    assert "2 stored replies judged again by release 1: 1 have a new verdict, and the old one is kept" in told
    assert "907 -> 921" in told
    assert "the lists were not changed" in told
    explained = CliRunner().invoke(root, ["--config", str(config), "--lang", "en", "explain", "ann@a.example"]).stdout
    assert "first read as 907 (base-refused) by the rules before the first release" in explained
    assert "read again as 921 (site) by release 1 of the rules on 20" in explained
    assert "921 " in explained
    (line,) = [
        json.loads(row)
        for row in CliRunner()
        .invoke(root, ["--config", str(config), "explain", "ann@a.example", "--jsonl"])
        .stdout.splitlines()
        if json.loads(row)["event"] == "attempt"
    ]
    assert (line["code"], line["rules_release"]) == ("921", 1)
    assert [(one["old_code"], one["old_release"], one["new_code"]) for one in line["rereads"]] == [("907", None, "921")]


def test_rejudge_for_programs_and_in_a_period(filled, run, site):
    write_rules(site, rule("site", 921, "zq17"))
    run("publish", "--yes")
    _status, told = run("rejudge", "--jsonl", "--until", "2026-11-24T08:00:00")
    assert json.loads(told) == {"section": "summary", "release": 1, "read": 0, "changed": 0, "dry_run": False}
    summary, shift = [json.loads(line) for line in run("rejudge", "--jsonl", "--since", "2026-11-24")[1].splitlines()]
    assert (summary["read"], summary["changed"]) == (2, 1)
    assert (shift["old_code"], shift["new_code"]) == ("907", "921")


def test_a_running_service_follows_what_is_published(store, config, site, run):
    """As processes: serve, publish, and the next line is judged by the new release, without a restart."""
    log = config.parent / "mail.log"
    log.write_bytes(b"")
    config.write_text(f'data_dir = "data"\n[follow]\nfiles = ["{log}"]\n')
    words, environment = program_with(config.parent / "program", "--config", str(config), "serve", "follow")
    with (config.parent / "said").open("w+b") as said_by:
        service = subprocess.Popen(words, stdout=said_by, stderr=said_by, env=environment)
        try:

            def said_so_far():
                return (config.parent / "said").read_text(errors="replace")

            def takes(number):
                with log.open("ab") as file:
                    file.write(delivery(f"a{number}@a.example", "bounced", ZQ, queue_id=f"4QC0000{number}", at=number))
                wait_for(lambda: len(rows(store, schema.attempt, "id")) == number + 1)
                return rows(store, schema.attempt, "bounce_code", "rules_release")[-1]

            wait_for(lambda: "event=follow-start" in said_so_far())
            assert takes(0) == (907, None)
            write_rules(site, rule("site", 921, "zq17"))
            assert run("publish", "--yes")[0] == 0
            wait_for(lambda: "event=rules-switched from=none to=1" in said_so_far())
            assert takes(1) == (921, 1)
            assert run("rollback", "shipped")[0] == 0
            wait_for(lambda: "event=rules-switched from=1 to=2" in said_so_far())
            assert takes(2) == (907, 2)
            assert service.poll() is None
        finally:
            service.terminate()
            service.wait(30)
    assert service.returncode == 0
    assert "Traceback" not in (config.parent / "said").read_text()


def test_a_service_starts_by_an_older_set_when_the_newest_does_not_load(store, config, site, run):
    """The line goes on; and going back needs neither the service nor the broken set."""
    write_rules(site, rule("site", 921, "zq17"))
    run("publish", "--yes")
    with store.write() as tx:
        releases.add_release(
            tx,
            after=1,
            created=NOW,
            author="ann",
            note="",
            kind=releases.ReleaseKind.PUBLISH,
            digest="x",
            shipped_digest=released.shipped_digest(),
            files={"rules/own.toml": "of a later program = 1"},
        )
    words, environment = program_with(config.parent / "program", "--config", str(config), "serve", "follow")
    said_by = config.parent / "said"
    with said_by.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out, env=environment) as service:
        wait_for(lambda: b"event=follow-start" in said_by.read_bytes() or service.poll() is not None)
        service.terminate()
        assert service.wait(30) == 0
    assert "event=rules-failed number=2" in said_by.read_text()
    assert "release 2/rules/own.toml: is not valid TOML" in said_by.read_text()
    assert "Traceback" not in said_by.read_text()
    assert run("rollback", "1")[0] == 0
    assert code(config, run) == "921"
