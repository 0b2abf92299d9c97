"""`suppress`: the known bounces, and why each one is there."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import Attempt, Evidence, ListEntry, ListName, Outcome, RelayError, Reply, Road, Trust, Verdict
from omicard_relay.store import attempts, bounces, lists, schema
from tests.keeping import NOW, a_store, call, configured, queued

DAY = timedelta(days=1)
OLD = datetime(2020, 1, 1, tzinfo=UTC)


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


@pytest.mark.parametrize("code", ["906", "913"])
def test_a_code_that_does_not_speak_of_the_address_makes_no_known_bounce(run, code):
    with pytest.raises(RelayError, match=f"{code} does not speak of the address; allowed are 901, 902"):
        run("add", "ann@a.example", "--reason", "x", "--code", code)
    done = run("import", "-", stdin=f"address,code\nann@a.example,{code}\nbob@a.example,912\ncyd@a.example,\n")
    assert (done.exit_code, done.stdout) == (1, "2 added, 0 there already, 1 bad rows left out\n")
    assert f"line 2: {code} does not speak of the address" in done.stderr
    held = [json.loads(line)["value"] for line in run("list", "--jsonl").stdout.splitlines()]
    assert held == ["bob@a.example", "cyd@a.example"]


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


# ------------------------------------------------------------------ why, in full


def entry(store, **more):
    kept = {
        "list_name": ListName.KNOWN_BOUNCE,
        "value": "ann@a.example",
        "reason": "902 by r",
        "source": "log 4QAAAAA1",
    }
    kept |= {"bounce_code": 902, "created": NOW - DAY, "created_by": "suppress.toml", **more}
    with store.write() as tx:
        return lists.add_entry(tx, ListEntry(**kept))[0]


@pytest.fixture
def data(config):
    with a_store(config.parent / "data") as store:
        yield store


def returned(store):
    """A mail of ours that came back, as the log tells it."""
    queued(store, "ann@a.example")
    line = Attempt(
        time=NOW - DAY,
        queue_id="4QAAAAA1",
        recipient="ann@a.example",
        outcome=Outcome.BOUNCED,
        enhanced_status="5.1.1",
        reply=Reply(text="550 5.1.1 no such\x1b[2J user", innermost="x"),
        line_digest="d",
    )
    with store.write() as tx:
        verdict = Verdict(bounce_code=902, rule_id="a-rule", confidence=1.0, words="no such user")
        attempts.record_attempt(tx, line, verdict, None)


def claim(store, times=1, code=902):
    mail = bounces.BounceMail(
        raw=b"%d" % code,
        size=1,
        kind="dsn",
        sender="",
        envelope_recipient="b@x.example",
        message_id=None,
        trust=Trust.CLAIMED,
        trust_reason="no token",
    )
    evidence = Evidence(road=Road.DSN, recipient="Ann@a.example", dsn_action="failed")
    verdict = Verdict(bounce_code=code, rule_id="r", confidence=1.0)
    for _ in range(times):
        with store.write() as tx:
            digest, is_new = bounces.record_mail(tx, mail, now=NOW)
            if is_new:
                bounces.add_report(tx, digest, 0, evidence, verdict, None, owner=None, trust=Trust.CLAIMED, now=NOW)


def test_why_tells_the_line_that_proved_it_with_rule_words_and_reply(run, data):
    returned(data)
    entry(data, scope="sender:shop.example")
    told = run("why", "ann@a.example").stdout.splitlines()
    assert told[1:4] == [
        "  for sender:shop.example only",
        "  told 2026-11-23 08:00Z: 902 by a-rule, decided by: no such user",
        "  the reply: 550 5.1.1 no such\\x1b[2J user",
    ]


def test_why_tells_the_proof_though_the_rules_read_it_otherwise_now(run, data):
    returned(data)
    entry(data)
    with data.write() as tx:  # as `rules rejudge` does
        tx.execute(schema.attempt.update().values(bounce_code=921, rule_id="a-newer-rule"))
    told = run("why", "ann@a.example").stdout.splitlines()
    assert told[0].startswith("ann@a.example: known bounce 902")
    assert told[1:3] == [
        "  told 2026-11-23 08:00Z: 921 by a-newer-rule, decided by: no such user",
        "  the reply: 550 5.1.1 no such\\x1b[2J user",
    ]


def test_why_tells_what_ran_out_and_what_was_taken_off_and_how_it_comes_back(run, data):
    entry(data, created=OLD, expires=OLD + DAY)
    lifted = entry(data, bounce_code=901, scope="sender:shop.example")
    with data.write() as tx:
        change = lists.remove_entry(tx, lifted, who="suppress.toml", now=NOW, note="delivered: log 4QOK")
    done = run("why", "ann@a.example")
    assert done.exit_code == 1
    assert "was known bounce 902 from 2020-01-01, ran out on 2020-01-02" in done.stdout
    assert (
        "was known bounce 901 from 2026-11-23, taken off on 2026-11-24 by suppress.toml (delivered: log 4QOK)"
        in done.stdout
    )
    assert f"omicard-relay suppress undo {change}" in done.stdout
    assert run("undo", str(change)).exit_code == 0
    assert run("why", "ann@a.example").exit_code == 0


def test_why_tells_what_was_only_claimed(run, data):
    claim(data, times=3)
    claim(data, code=901)
    done = run("why", "ann@a.example")
    assert done.exit_code == 1
    assert "only claimed, and not believed: 3 times 902 by dsn, last on 2026-11-24 08:00Z" in done.stdout
    assert "1 times 901 by dsn" in done.stdout


def test_why_tells_that_a_whitelisted_address_fails(run, data):
    returned(data)
    entry(data, list_name=ListName.WHITELIST, bounce_code=None, created=NOW - 2 * DAY, reason="a friend")
    done = run("why", "ann@a.example")
    assert done.exit_code == 1
    assert (
        "is on the whitelist since 2026-11-22 (a friend); proven failures since then that changed nothing: 1"
        in done.stdout
    )
    assert "902 by a-rule" in done.stdout


def test_why_tells_what_a_complaint_has_unsubscribed(run, data):
    entry(
        data,
        list_name=ListName.UNSUBSCRIBED,
        bounce_code=None,
        scope="kind:marketing",
        reason="complaint: abuse",
        source="bounce 0123456789abcdef",
    )
    told = run("why", "ann@a.example").stdout
    assert told.startswith("ann@a.example: is no known bounce\n")
    assert "unsubscribed from kind:marketing since 2026-11-23; complaint: abuse; proof: bounce 0123456789abcdef" in told


def test_why_tells_it_to_programs_and_in_chinese(run, data):
    returned(data)
    entry(data)
    claim(data)
    found = [json.loads(line) for line in run("why", "ann@a.example", "--jsonl").stdout.splitlines()]
    assert [one["what"] for one in found] == ["known-bounce", "claim"]
    assert found[0]["created"] == "2026-11-23T08:00:00+00:00"
    assert (found[0]["proof"]["rule"], found[0]["proof"]["code"]) == ("a-rule", 902)
    assert "僅為宣稱而未採信：dsn 902 共 1 次" in run("why", "ann@a.example", lang="zh-TW").stdout


@pytest.mark.parametrize("source", ["log", "log ", "bounce %", "bounce _", "by hand", "import x.csv", ""])
def test_an_odd_source_is_no_proof(run, data, source):
    returned(data)
    claim(data)
    entry(data, source=source)
    assert "  told" not in run("why", "ann@a.example").stdout


def test_an_entry_can_hold_for_one_kind_of_campaign(run):
    assert run("add", "ann@a.example", "--reason", "x", "--scope", "kind:marketing").exit_code == 0
    assert "  for kind:marketing only" in run("why", "ann@a.example").stdout


@pytest.mark.parametrize("scope", ["kind:Mar keting", "kind:", "kind"])
def test_a_kind_that_is_none_is_refused(run, scope):
    with pytest.raises(RelayError, match="is no scope"):
        run("add", "ann@a.example", "--reason", "x", "--scope", scope)
