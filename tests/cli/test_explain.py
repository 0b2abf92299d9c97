"""`explain`: one recipient's whole story by any name, with rules and reasons, safe to show."""

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import Action
from omicard_relay.services.follow import Follower
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.steering.values import Plan, Reason
from omicard_relay.store import schema, steering, steering_inputs, submissions
from omicard_relay.store.steering import Decided, Step
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import NOW, UNKNOWN, a_store, call, configured, delivery, queued, said
from tests.mails import dsn

EVIL = "\x1b[2J\x07\x9b\u202eevil"
SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")
DAY = int(NOW.timestamp()) // 86_400


@pytest.fixture(scope="module")
def policies():
    return load_policies()


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def config(tmp_path, store, policies):
    config = configured(tmp_path)
    token = SIGNER.make("ann@a.example", day=DAY, nonce=b"12345")
    queued(store, "ann@a.example", reverse_paths=(token,), campaign="spring" + EVIL, message_id=f"<m{EVIL}@x>")
    rulebook = Rulebook.of(policies, load_suppress())
    follower = Follower(Settings(), store, rulebook)
    lines = [
        delivery("ann@a.example", "deferred", said("450 4.2.0 greylisted " + EVIL), at=1),
        delivery(
            "ann@a.example", "deferred", "delivery temporarily suspended: busy", relay="none", program="error", at=2
        ),
        delivery("ann@a.example", "sent", "250 2.0.0 Ok", at=3),
        delivery("bob@a.example", "bounced", UNKNOWN, queue_id="4QFOREIGN", at=4),
    ]
    follower.take([line.rstrip(b"\n") for line in lines], None, now=NOW)
    ingester = Ingester(store, rulebook, SIGNER, 1_000_000, clock=lambda: NOW)
    ingester.take(
        dsn("ann@a.example", action="failed" + EVIL, words="550 5.1.1 gone " + EVIL), sender="", recipient=token
    )
    ingester.take(dsn("ann@a.example", action="failed", number=2), sender="", recipient=token.replace("@", "x@"))
    return config


@pytest.fixture
def run(config):
    def run(*arguments, lang="en"):
        done = CliRunner().invoke(
            root, ["--config", str(config), "--lang", lang, "explain", *arguments], catch_exceptions=False
        )
        for unsafe in ("\x1b", "\x07", "\x9b", "\u202e"):
            assert unsafe not in done.stdout + done.stderr
        return done

    return run


def test_people_are_told_the_whole_story(run):
    done = run("ann@a.example")
    assert done.exit_code == 0
    told = done.stdout
    assert "ann@a.example: delivered since 2026-11-24 08:00:03 UTC" in told
    assert "attempt 1 deferred" in told
    assert "rest deferred" in told
    assert "attempt 2 sent" in told
    assert "935 greylisted" in told
    assert "said: host mx.there.example[192.0.2.9] said: 450 4.2.0 greylisted \\x1b[2J" in told
    assert "on list known-bounce (holds): ann@a.example, scope all, reason: 902 by " in told
    assert "words: " in told


def test_people_are_told_in_chinese(run):
    told = run("ann@a.example", lang="zh-TW").stdout
    assert "灰名單機制阻擋" in told
    assert "名單 已知退信（有效）" in told
    assert "嘗試 1 延遲" in told


@pytest.mark.parametrize("name", ["4QAAAAA1", "s1", "ANN@A.example", f"<m{EVIL}@x>"])
def test_any_name_will_do(run, name):
    assert "ann@a.example: delivered" in run(name).stdout


def test_a_claim_is_marked_as_one(run, store):
    with store.write() as tx:
        tx.execute(schema.bounce_report.update().values(recipient_id=1))
    told = run("ann@a.example").stdout
    assert told.count("not proven: recorded only") == 1


def test_a_drop_is_told_with_step_and_reason(run, store):
    from omicard_relay.mail import Submission, Way

    mail = Submission(submission_id="d1", digest="d", received=NOW, way=Way.DIRECT)
    with store.write() as tx:
        submissions.add_submission(tx, mail)
        submissions.add_dropped(
            tx, mail, "cat@a.example", own_row=None, step="blacklist", reason="asked" + EVIL, bounce_code=926, now=NOW
        )
    assert "dropped before sending by step blacklist: asked\\x1b[2J" in run("cat@a.example").stdout


def test_mail_past_the_relay_is_told_apart(run):
    told = run("bob@a.example").stdout
    assert "log line of a mail that did not come through the relay" in told
    (row,) = map(json.loads, run("bob@a.example", "--jsonl").stdout.splitlines())
    assert (row["event"], row["code"], row["outcome"], row["queue_id"]) == ("other-mail", "902", "bounced", "4QFOREIGN")


def test_programs_get_one_object_for_each_event(run):
    rows = [json.loads(line) for line in run("ann@a.example", "--jsonl").stdout.splitlines()]
    assert [row["event"] for row in rows] == [
        *("recipient", "scrub", "bounce", "list", "attempt", "rest", "attempt", "list-entry")
    ]
    first = rows[0]
    assert (first["state"], first["later_code"], first["submission"]) == ("delivered", "902", "s1")
    attempt = rows[4]
    assert (attempt["code"], attempt["number"], attempt["host"]) == ("935", 1, "mx.there.example[192.0.2.9]:25")
    assert attempt["rule"]
    assert attempt["reasons"]
    assert EVIL in attempt["reply"]  # whole for programs
    assert rows[-1]["list"] == "known-bounce"


def test_what_is_not_known_is_said_to_be(run):
    done = run("nobody@a.example" + EVIL)
    assert done.exit_code == 1
    assert "nothing is known of nobody@a.example\\x1b[2J" in done.stderr


def test_a_list_entry_that_ended_is_shown_as_over(run, store):
    with store.write() as tx:
        tx.execute(schema.list_entry.update().values(removed=NOW))
    assert "on list known-bounce (over)" in run("ann@a.example").stdout


def test_an_entry_of_the_domain_is_shown_too(run, config):
    call(config, "lists", "add", "blacklist", "@a.example", "--reason", "all of them")
    assert "on list blacklist (holds): @a.example" in run("dan@a.example").stdout


def decide(store, number, *, key="learned-rest", action=Action.RETRY, mode="act", step=1, **figures):
    """A decision about an attempt, as the steering service writes it."""
    plan = Plan(
        action=action,
        at=NOW.timestamp() + 361 if action is Action.RETRY else 0.0,
        ip="ip1",
        chance=0.91,
        attempts_left=4,
        reasons=(Reason(key=key, figures={"code": 935, "minutes": 6, **figures}), Reason(key="same-ip", figures={})),
    )
    one = Step(
        node="out",
        number=step,
        time=NOW + timedelta(seconds=2),
        attempts=(number,),
        complaints=(),
        last_attempt=number,
        last_complaint=0,
        evidence="e",
        lanes=None,
        version=1,
        policy="p",
    )
    decided = Decided(
        attempt_id=number, node="out", step=step, time=one.time, mode=mode, provider="big-mail", plan=plan
    )
    with store.write() as tx:
        steering_inputs.add_policy(tx, "p", b"{}", now=NOW)
        steering.add_step(tx, one, [decided])


def test_a_decision_is_told_with_its_reasons_and_figures_behind_the_attempt(run, store):
    decide(store, 1, passes=214, trials=230)
    told = run("ann@a.example").stdout
    assert (
        "2026-11-24 08:00:02  decision (carried out): 935 greylisted; try again in 6 min from ip1: "
        "214 of 230 such failures at big-mail passed after a rest like this; this cause wants the same IP again; "
        "expected to deliver: 91%, then 4 more attempts at most" in told
    )
    assert told.index("attempt 1 deferred") < told.index("decision (carried out)") < told.index("attempt 2 sent")
    chinese = run("ann@a.example", lang="zh-TW").stdout
    assert "決定（已執行）：935 greylisted； 6 分鐘後從 ip1 重送：big-mail 的同類失敗" in chinese
    assert "230 次中有 214 次成功" in chinese


def test_a_decision_is_one_object_for_programs(run, store):
    decide(store, 1, key="policy-rest", mode="observe")
    rows = [json.loads(line) for line in run("ann@a.example", "--jsonl").stdout.splitlines()]
    (row,) = [row for row in rows if row["event"] == "decision"]
    decision = row["decision"]
    assert (row["outcome"], row["action"], decision["attempt"], decision["ip"]) == ("observe", "retry", 1, "ip1")
    assert decision["reasons"][0] == {"key": "policy-rest", "figures": {"code": 935, "minutes": 6}}


def test_a_reason_without_words_is_told_by_its_key(run, store):
    decide(store, 1, key="from-the-future" + EVIL)
    assert "from-the-future" in run("ann@a.example").stdout


def test_a_reason_that_lacks_a_figure_is_told_by_its_key(run, store):
    decide(store, 1)  # learned-rest without passes and trials
    assert "learned-rest (code 935, minutes 6)" in run("ann@a.example").stdout


def test_who_changed_a_list_stands_in_the_order_of_time(run):
    told = run("ann@a.example").stdout
    change = told.index("list known-bounce: add ann@a.example by suppress.toml: ")
    assert told.index("passed all steps before sending") < change < told.index("attempt 1 deferred")


def test_a_dropped_recipient_is_told_by_its_step(run, store):
    with store.write() as tx:
        tx.execute(schema.recipient.update().values(state="dropped", drop_step="blacklist", detail="listed by ann"))
    assert "2026-11-24 08:00:00  dropped before sending by step blacklist: listed by ann" in run("ann@a.example").stdout


def test_mail_past_the_relay_is_found_by_its_queue_id_with_its_decision(run, store):
    with store.read() as tx:
        (number,) = tx.execute(sa.select(schema.attempt.c.id).where(schema.attempt.c.queue_id == "4QFOREIGN")).scalars()
    decide(store, number, key="verdict-final", action=Action.RETURN, mode="observe")
    told = run("4QFOREIGN").stdout
    assert "log line of a mail that did not come through the relay" in told
    assert "decision (observed only, nothing was done): 902 recipient-unknown; return it: the cause is final" in told
    (row,) = [json.loads(line) for line in run("4QFOREIGN", "--jsonl").stdout.splitlines()]
    assert (row["event"], row["decision"]["action"]) == ("other-mail", "return")
