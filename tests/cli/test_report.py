"""`report`: the figures, for people in their language and for programs, with nothing in them that moves a terminal."""

import json

import pytest
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import Trust
from omicard_relay.services.follow import Follower
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store import answers, bounces
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import load_settings
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import BUSY, NOW, UNKNOWN, a_store, call, configured, delivery, queued, said


@pytest.fixture(scope="module")
def policies():
    return load_policies()


@pytest.fixture
def config(tmp_path, policies):
    """Four recipients of a campaign, with their lines."""
    config = configured(tmp_path)
    with a_store(tmp_path / "data") as store:
        queued(store, *(f"{name}@a.example" for name in ("ann", "bob", "cat", "dan")), campaign="spring")
        lines = [
            delivery("ann@a.example", "sent", "250 ok"),
            delivery("bob@a.example", "bounced", UNKNOWN),
            delivery("cat@a.example", "deferred", BUSY),
            delivery("dan@a.example", "bounced", said("550 5.1.1 \x1b[2J\x9b gone \u202e")),
        ]
        Follower(load_settings(config), store, Rulebook.of(policies, load_suppress())).take(
            [line.rstrip(b"\n") for line in lines], None, now=NOW
        )
        with store.write() as tx:
            bounces.count(tx, "bounce.forged", 3)
    return config


@pytest.fixture
def run(config):
    def run(*arguments, lang="en"):
        done = CliRunner().invoke(
            root, ["--config", str(config), "--lang", lang, "report", *arguments], catch_exceptions=False
        )
        assert done.exit_code == 0
        assert "\x1b" not in done.stdout
        assert "\x9b" not in done.stdout
        assert "\u202e" not in done.stdout
        return done.stdout

    return run


def cells(text):
    return [[cell.strip() for cell in line.replace("┃", "│").split("│")] for line in text.splitlines() if "│" in line]


def test_people_see_each_section_with_its_causes(run):
    told = run()
    for title in ("Recipients by state", "Returned", "Resting, will be tried again", "Campaigns", "Counters"):
        assert title in told
    assert ["returned", "2"] in cells(told)
    assert [row[:2] for row in cells(told) if row[0] == "902"] == [["902", "recipient-unknown"]]
    assert ["bounce.forged", "3"] in cells(told)
    assert "Dropped before sending" not in told


def test_people_see_it_in_chinese(run):
    told = run(lang="zh-TW")
    assert "收件人狀態" in told
    assert "收件人未知或地址無效" in told


def test_programs_get_one_object_a_line(run):
    rows = [json.loads(line) for line in run("--jsonl").splitlines()]
    assert all(list(row) == ["section", "key", "count"] for row in rows)
    found = {(row["section"], row["key"]): row["count"] for row in rows}
    assert found == {
        ("state", "delivered"): 1,
        ("state", "returned"): 2,
        ("state", "resting"): 1,
        ("returned", "902"): 2,
        ("resting", "915"): 1,
        ("counter", "bounce.forged"): 3,
    }


def test_only_a_campaign_or_only_the_last_days(run):
    assert "no mail in the store yet" not in run("--campaign", "spring")
    rows = [json.loads(line) for line in run("--campaign", "none", "--jsonl").splitlines()]
    assert {row["section"] for row in rows} == {"counter"}
    assert [json.loads(line) for line in run("--days", "36500", "--recipients", "--jsonl").splitlines()]


def test_every_recipient_for_programs(run):
    rows = [json.loads(line) for line in run("--recipients", "--jsonl").splitlines()]
    assert list(rows[0]) == [
        "recipient", "state", "code", "drop_step", "reply", "later_code", "later_kind", "queue_id", "attempts",
        "campaign", "message_id", "submission",
    ]  # fmt: skip
    assert [(row["recipient"], row["state"], row["code"], row["attempts"]) for row in rows] == [
        ("ann@a.example", "delivered", None, 1),
        ("bob@a.example", "returned", "902", 1),
        ("cat@a.example", "resting", "915", 1),
        ("dan@a.example", "returned", "902", 1),
    ]
    assert rows[1]["reply"] == UNKNOWN
    assert "\x1b[2J\x9b gone \u202e" in rows[3]["reply"]  # whole for programs, escaped on the way


def test_every_recipient_for_people(run):
    told = run("--recipients")
    assert [row[:3] for row in cells(told) if row[0].startswith("bob")] == [["bob@a.example", "returned", "902"]]
    assert "\\x1b[2J" in told


def test_an_empty_store_is_said_to_be(tmp_path):
    done = call(configured(tmp_path), "report")
    assert (done.returncode, done.stdout) == (0, b"no mail in the store yet\n")


def test_a_sites_own_words_for_a_code_are_used(config, run):
    rules = config.parent / "rules"
    rules.mkdir()
    (rules / "codes.toml").write_text(
        '[[code]]\nnumber = 902\nname = "nobody"\nen = "there is nobody"\nzh-TW = "無此人"\naction = "return"\n',
        encoding="utf-8",
    )
    config.write_text('data_dir = "data"\npolicies_dir = "rules"\n')
    assert ["902", "nobody", "there is nobody", "2"] in cells(run())


def test_mails_of_people_that_wait_are_shown_until_they_are_handed_on(config, run):
    assert "answers.waiting" not in run()
    with a_store(config.parent / "data") as store, store.write() as tx:
        mail = bounces.BounceMail(
            raw=b"x",
            size=1,
            kind="not-a-bounce",
            sender="",
            envelope_recipient="b@x.example",
            message_id=None,
            trust=Trust.CLAIMED,
            trust_reason="",
        )
        digest, _ = bounces.record_mail(tx, mail, now=NOW)
        answers.wait_to_be_handed_on(tx, digest, now=NOW)
    assert ["answers.waiting", "1"] in cells(run())
    with a_store(config.parent / "data") as store, store.write() as tx:
        answers.close_mail(tx, digest, "there", now=NOW)
    assert "answers.waiting" not in run()
