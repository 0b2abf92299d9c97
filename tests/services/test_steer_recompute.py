"""Every stored decision comes out the same once more; a row of evidence or of a decision that was changed is found out."""

from datetime import timedelta

import msgspec
import pytest

from omicard_relay.mail import Action, Outcome
from omicard_relay.services import steer_fold
from omicard_relay.services.housekeeping import purge
from omicard_relay.services.steer_fold import Folder
from omicard_relay.services.steer_recompute import recompute
from omicard_relay.services.steer_setup import Setup, read_counts
from omicard_relay.steering.state import export_counts
from omicard_relay.steering.values import SourceIp, thread_of
from omicard_relay.store import forget, schema, steering, steering_inputs
from omicard_relay.store.hidden import Hider
from omicard_relay.store.purge import Cutoffs
from omicard_relay.tables.providers import load_providers
from omicard_relay.tables.retry import load_retry
from tests.attempting import add_line
from tests.keeping import NOW, a_store, rows

SETUP = Setup(load_retry(), load_providers(), (SourceIp(name="ip1"), SourceIp(name="ip2")), 7)
BLOCKED = "550 5.7.1 your IP is blocked, see our page"


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path, busy_seconds=1) as store:
        yield store


@pytest.fixture
def told(store, monkeypatch):
    """A day of mail, with a restart, a change of policy, an import, and states written in between."""
    monkeypatch.setattr(steer_fold, "_SNAPSHOT_FOLDS", 10)
    folder = Folder(store, "out", SETUP, "observe", frozenset({"out"}))
    folder.open(NOW, learn_days=30)
    for number in range(60):
        at = number * 97.25
        who = {"queue_id": f"4Q{number % 17}", "address": f"u{number % 17}@d{number % 5}.example"}
        who |= {"host": f"mx.d{number % 5}.example", "transport": f"ip{1 + number % 2}"}
        if number % 3 == 0:
            add_line(store, at=at, **who)
        elif number % 3 == 1:
            add_line(store, at=at, code=938, text="450 4.7.1 too much mail from your IP", **who)
        else:
            add_line(store, Outcome.SENT, at=at, text="250 2.0.0 Ok", **who)
        folder.advance(NOW + timedelta(seconds=at + 1, microseconds=number))
        if number == 20:
            folder.use(Setup(load_retry(), load_providers(), (SourceIp(name="ip1"), SourceIp(name="ip2", weight=2)), 7))
        if number == 30:
            folder = Folder(store, "out", folder.setup, "observe", frozenset({"out"}))
            assert folder.open(NOW + timedelta(seconds=at + 2), learn_days=30) == "restart"
        if number == 45:
            with store.write() as tx:
                counts = msgspec.json.encode(export_counts(folder.steer.state, 0))
                steering_inputs.add_counts(tx, "digest", counts, who="ann", now=NOW)
    folder.snapshot(NOW + timedelta(days=1))
    return folder


def test_all_decisions_lanes_and_states_come_out_the_same(store, told):
    done = recompute(store)
    assert (done.differing, done.forgotten, done.differences) == (0, 0, [])
    assert done.decisions == len(rows(store, schema.steering_decision)) > 30
    assert (done.steps, done.states > 3, done.without_base) == (59, True, 0)
    lanes = rows(store, schema.steering_step, "lanes")
    assert sum(text is not None for text in lanes) > 3


def change(store, table, number, **values):
    with store.write() as tx:
        tx.execute(table.update().where(table.primary_key.columns[0] == number).values(**values))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        pytest.param({"bounce_code": 901}, "evidence", id="another-cause"),
        pytest.param({"time": NOW - timedelta(seconds=1)}, "evidence", id="another-time"),
        pytest.param({"outcome": "sent"}, "evidence", id="another-outcome"),
        pytest.param({"relay_host": "mx.other.example"}, "evidence", id="another-provider"),
        pytest.param({"transport": "ip2"}, "evidence", id="another-ip"),
    ],
)
def test_a_changed_attempt_is_found_out(store, told, values, what):
    change(store, schema.attempt, 7, **values)
    done = recompute(store)
    assert done.differing > 0
    first = done.differences[0]
    step = next(s for s in steering.steps_after(store, "out", 0) if 7 in s.attempts)
    assert (first.node, first.step, first.what) == ("out", step.number, what)


def test_an_attempt_that_is_gone_is_no_silent_gap(store, told):
    """Purged evidence can't be recomputed: it is counted, not taken for right."""
    with store.write() as tx:
        tx.execute(schema.attempt.delete().where(schema.attempt.c.id == 8))
    done = recompute(store)
    assert (done.differing, done.forgotten > 0) == (0, True)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"chance": 0.123}, id="chance"),
        pytest.param({"ip": "ip9"}, id="ip"),
        pytest.param({"action": "return"}, id="action"),
        pytest.param({"reasons": '[["learned-rest", {"code": 935}]]'}, id="reasons"),
    ],
)
def test_a_changed_decision_is_found_out(store, told, values):
    number = rows(store, schema.steering_decision, "attempt_id")[5]
    change(store, schema.steering_decision, number, **values)
    (found,) = recompute(store).differences
    assert (found.what, found.attempt_id) == ("plan", number)


def test_since_compares_only_what_came_later(store, told):
    done = recompute(store, since=NOW + timedelta(seconds=50 * 97.25))
    assert 0 < done.steps < 15
    assert done.differing == 0


def test_a_verdict_that_was_replaced_later_is_read_as_it_was(store, told):
    change(store, schema.attempt, 4, bounce_code=901, rule_id="new", action=Action.RETURN)
    with store.write() as tx:
        row = {"attempt_id": 4, "time": NOW + timedelta(days=2), "old_bounce_code": 935, "old_rule_id": "a-rule"}
        tx.execute(schema.rejudgement.insert().values(old_action="retry", new_bounce_code=901, **row))
    assert recompute(store).differing == 0


# ------------------------------------------------------------------ forgetting and purging


def test_a_forgotten_address_leaves_its_name_in_no_state_and_no_decision(store, told):
    key, hider = "u3@d3.example", Hider(b"k" * 32)
    mine = [r.id for r in rows(store, schema.attempt) if r.address_key == key]
    name = thread_of("4Q3", key).encode()

    def states():
        with store.read() as tx:
            return [steering.snapshot_at(tx, "out", number).state for number in steering.snapshots_of(tx, "out")]

    assert any(name in state for state in states())
    with store.write() as tx:
        while forget.forget_evidence(tx, hider, key, now=NOW + timedelta(days=2)):
            pass
    assert not any(name in state for state in states())
    assert any(thread_of("4Q3", hider.ghost(key)).encode() in state for state in states())
    assert not set(rows(store, schema.steering_decision, "attempt_id")) & set(mine)
    done = recompute(store)
    assert (done.differing, done.differences) == (0, [])


def test_old_steps_go_and_what_is_left_can_still_be_recomputed(store, told):
    moment = NOW + timedelta(seconds=40 * 97.25)
    gone = purge(store, Cutoffs(steering=moment), clock=lambda: NOW + timedelta(days=2), holder="me:1")
    with store.read() as tx:
        base = steering.snapshots_of(tx, "out")[0]
    # The newest state from before the moment stays, and what stands behind it.
    assert min(rows(store, schema.steering_step, "number")) == base + 1
    assert min(rows(store, schema.steering_decision, "step")) > base
    assert gone.counts["steering_step"] == base > 20
    done = recompute(store)
    assert (done.differing, done.without_base, done.decisions > 0) == (0, 0, True)
    assert set(rows(store, schema.steering_policy, "digest")) == {told.setup.digest}


def test_a_stretch_without_all_of_its_steps_is_not_taken_for_right(store, told):
    with store.write() as tx:
        tx.execute(schema.steering_step.delete().where(schema.steering_step.c.number == 5))
    assert recompute(store).without_base == 1


def test_decisions_go_with_their_attempts(store, told):
    purge(store, Cutoffs(evidence=NOW + timedelta(days=1)), clock=lambda: NOW + timedelta(days=2), holder="me:1")
    assert rows(store, schema.attempt) == rows(store, schema.steering_decision) == []


def test_older_snapshots_are_thinned_to_one_a_day_and_made_anew_ones_stay(store, told):
    with store.write() as tx:
        before = steering.snapshots_of(tx, "out")
        gone = steering.thin_snapshots(tx, "out", before=NOW + timedelta(days=3))
        left = steering.snapshots_of(tx, "out")
    assert (gone, len(left)) == (len(before) - len(left), len(left))
    assert gone > 0
    anew = {row.number for row in rows(store, schema.steering_step) if row.evidence == ""}
    assert anew <= set(left)
    assert recompute(store).differing == 0


def test_counts_of_another_site_are_added_once(store, told):
    with store.write() as tx:
        content = steering_inputs.counts_after(tx, 0)[0].content
        assert not steering_inputs.add_counts(tx, "digest", content, who="ann", now=NOW)
    assert read_counts(content).cells
    assert told.last_counts == 1
