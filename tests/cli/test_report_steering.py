"""`report --steering`: what was planned beside what happened, each decision counted once."""

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from omicard_relay.cli.root import root
from omicard_relay.mail import Action, Outcome
from omicard_relay.steering.values import Plan
from omicard_relay.store import steering, steering_inputs
from omicard_relay.store.steering import Decided, Step
from tests.attempting import add_line
from tests.keeping import NOW, a_store, configured


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def run(tmp_path, store):
    config = configured(tmp_path)

    def run(*arguments, lang="en"):
        words = ["--config", str(config), "--lang", lang, "report", "--steering", *arguments]
        done = CliRunner().invoke(root, words, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    return run


@pytest.fixture
def decide(store):
    steps = iter(range(1, 1000))

    def decide(number, *, at=0.0, rest=360.0, action=Action.RETRY, chance=0.8, mode="observe", provider="big-mail"):
        step = next(steps)
        moment = NOW + timedelta(seconds=at)
        one = Step(
            node="out",
            number=step,
            time=moment,
            attempts=(number,),
            complaints=(),
            last_attempt=number,
            last_complaint=0,
            evidence="e",
            lanes=None,
            version=step,
            policy="p",
        )
        plan = Plan(action=action, at=moment.timestamp() + rest if action is Action.RETRY else 0.0, chance=chance)
        decided = Decided(
            attempt_id=number, node="out", step=step, time=moment, mode=mode, provider=provider, plan=plan
        )
        with store.write() as tx:
            steering_inputs.add_policy(tx, "p", b"{}", now=NOW)
            steering.add_step(tx, one, [decided])

    return decide


def test_nothing_decided_is_said(run):
    assert run() == "steering has decided nothing yet\n"
    assert run("--jsonl") == ""


def test_a_retry_is_compared_with_what_postfix_did(run, decide, store):
    """Postfix came after 300 s, in vain, and after 900 s again; 600 s were planned."""
    decide(add_line(store), rest=600)
    add_line(store, at=300)
    add_line(store, Outcome.SENT, at=900)
    (row,) = [json.loads(line) for line in run("--jsonl").splitlines()]
    assert row == {
        "provider": "big-mail",
        "code": "935",
        "mode": "observe",
        "decisions": 1,
        "retries": 1,
        "planned_rest": 600.0,
        "real_rest": 300.0,
        "tried": 1,
        "foreseen": 0.8,
        "passed": 0,
        "returns": 0,
        "returns_delivered_later": 0,
        "attempts_saved": 1,
    }


def test_a_return_that_postfix_delivered_later_is_told(run, decide, store):
    decide(add_line(store, code=902), action=Action.RETURN)
    add_line(store, code=902, at=300)
    add_line(store, Outcome.SENT, at=900)
    decide(add_line(store, code=902, queue_id="4QB", at=1), at=1, action=Action.RETURN)
    (row,) = [json.loads(line) for line in run("--jsonl").splitlines()]
    assert (row["returns"], row["returns_delivered_later"], row["attempts_saved"]) == (2, 1, 1)
    assert (row["planned_rest"], row["tried"]) == (None, 0)


def test_what_rests_is_no_attempt(run, decide, store):
    decide(add_line(store), rest=600, mode="act")
    add_line(store, at=300, program="error", is_attempt=False, text="[935] resting until 21:40")
    add_line(store, Outcome.SENT, at=601)
    (row,) = [json.loads(line) for line in run("--jsonl").splitlines()]
    assert (row["real_rest"], row["passed"], row["attempts_saved"]) == (601.0, 1, 0)


def test_groups_stand_by_provider_code_and_mode_the_largest_first(run, decide, store):
    decide(add_line(store), provider="small")
    for number in range(3):
        decide(add_line(store, queue_id=f"4Q{number}"))
    decide(add_line(store, queue_id="4QX"), mode="act")
    told = [json.loads(line) for line in run("--jsonl").splitlines()]
    assert [(row["provider"], row["mode"], row["decisions"]) for row in told] == [
        ("big-mail", "observe", 3),
        ("big-mail", "act", 1),
        ("small", "observe", 1),
    ]


def test_only_the_last_days(run, decide, store):
    decide(add_line(store), at=-3 * 86_400)
    assert run("--jsonl", "--days", "36500") != ""
    assert run("--jsonl", "--days", "1") == ""


def test_the_table_speaks_both_languages(run, decide, store, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    decide(add_line(store), rest=600)
    add_line(store, Outcome.SENT, at=300)
    assert "big-mail" in (told := run())
    assert "10.0" in told
    assert "5.0" in told
    assert "80%" in told
    assert "1/1" in told
    assert "重送決策：計畫與實際" in run(lang="zh-TW")
