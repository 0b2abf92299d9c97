"""Folding: each attempt once, whatever happens in between; what is decided stands in the store before anything is done."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Outcome, RelayError, StoreError
from omicard_relay.services.steer_fold import Folder
from omicard_relay.services.steer_setup import Setup, encode_state, read_setup
from omicard_relay.steering.values import SourceIp
from omicard_relay.store import schema, steering_inputs
from omicard_relay.store.engine import Store
from omicard_relay.tables.providers import load_providers
from omicard_relay.tables.retry import load_retry
from tests.attempting import add_line
from tests.keeping import NOW, a_store, rows

SETUP = Setup(load_retry(), load_providers(), (SourceIp(name="ip1"), SourceIp(name="ip2")), 7)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path, busy_seconds=1) as store:
        yield store


def start(store, *, setup=SETUP, mode="act", node="out", at=0):
    folder = Folder(store, node, setup, mode, frozenset({"out"}))
    return folder, folder.open(NOW + timedelta(seconds=at), learn_days=30)


def advance(folder, at=0):
    return folder.advance(NOW + timedelta(seconds=at))


def decisions(store):
    return rows(store, schema.steering_decision, "attempt_id", "mode", "action", "ip")


def test_a_failure_of_this_machine_is_decided_and_written_with_its_step(store):
    folder, how = start(store)
    assert how == "cold"
    number = add_line(store)
    done = advance(folder, 1)
    assert [one.attempt_id for _, one in done.decided] == [number]
    assert decisions(store) == [(number, "act", "retry", "ip1")]
    step = rows(store, schema.steering_step)[-1]
    assert (step.attempts, step.node, step.version) == (str(number), "out", 1)


def test_nothing_new_writes_nothing(store):
    folder, _ = start(store)
    before = len(rows(store, schema.steering_step))
    assert advance(folder, 1).is_all
    assert len(rows(store, schema.steering_step)) == before


def test_failures_of_other_machines_are_learned_and_not_decided(store):
    folder, _ = start(store)
    add_line(store, machine="elsewhere")
    advance(folder, 1)
    assert (folder.steer.state.version, decisions(store)) == (1, [])


def test_a_name_without_dot_is_the_machines_whole_name_too(store):
    folder, _ = start(store)
    add_line(store, machine="out.shop.example")
    advance(folder, 1)
    assert len(decisions(store)) == 1


@pytest.mark.parametrize("transport", ["relay", "slow"])
def test_a_road_that_the_site_has_chosen_itself_is_left_alone(store, transport):
    folder, _ = start(store)
    add_line(store, transport=transport)
    done = advance(folder, 1)
    assert (done.lines, done.decided, folder.steer.state.version) == ([], [], 0)


@pytest.mark.parametrize("transport", ["", "ip2", "ip2-s3"])
def test_postfixs_plain_road_and_ours_are_steered(store, transport):
    folder, _ = start(store)
    add_line(store, transport=transport)
    assert len(advance(folder, 1).decided) == 1


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"program": "error", "is_attempt": False, "text": "[938] resting until 21:40"}, id="our-rest"),
        pytest.param({"program": "qmgr", "is_attempt": False, "outcome": Outcome.EXPIRED}, id="expired"),
        pytest.param({"program": "pipe"}, id="no-smtp"),
        pytest.param({"is_attempt": False}, id="suspended"),
    ],
)
def test_what_is_no_attempt_is_not_learned(store, more):
    folder, _ = start(store)
    add_line(store, **more)
    done = advance(folder, 1)
    assert (len(done.lines), done.folded, folder.steer.state.version) == (1, 0, 0)


@pytest.mark.parametrize(("mode", "count"), [("off", 0), ("observe", 1), ("act", 1)])
def test_the_mode_is_written_with_the_decision(store, mode, count):
    folder, _ = start(store, mode=mode)
    add_line(store)
    advance(folder, 1)
    assert [row[1] for row in decisions(store)] == [mode] * count


def test_of_two_failures_of_one_mail_in_one_look_only_the_last_is_decided(store):
    folder, _ = start(store)
    add_line(store)
    last = add_line(store, at=300)
    gone = add_line(store, queue_id="4QB")
    add_line(store, Outcome.SENT, queue_id="4QB", at=300)
    advance(folder, 301)
    assert [row[0] for row in decisions(store)] == [last]
    assert gone


def restarted_equals(store, folder, at):
    again, how = start(store, at=at)
    assert how == "restart"
    assert encode_state(again.steer.state) == encode_state(folder.steer.state)
    assert (again.reader.top, again.number) == (folder.reader.top, folder.number)
    return again


def test_a_restart_folds_the_same_again_out_of_the_store(store):
    folder, _ = start(store)
    for at in range(0, 600, 100):
        add_line(store, at=at)
        add_line(store, queue_id="4QB", address="bob@b.example", host="mx.b.example", at=at)
        advance(folder, at)
    restarted_equals(store, folder, 700)


def test_a_restart_goes_on_where_it_was_killed(store):
    """Attempts that came while it was dead are folded once, and those that were folded are not folded again."""
    folder, _ = start(store)
    add_line(store)
    advance(folder, 1)
    late = add_line(store, queue_id="4QB", at=2)
    again = restarted_equals(store, folder, 3)
    assert [line.id for line in advance(again, 3).lines if line.id == late] == [late]
    assert again.steer.state.version == 2
    assert advance(again, 4).folded == 0


class Breaks(Store):
    """A store whose writes fail while `is_broken`, before or behind their commit."""

    def __init__(self, store):
        super().__init__(store._engine, store.shown)
        self.is_broken = self.breaks_behind = False

    def write(self):
        if self.is_broken:
            raise StoreError("the database is gone.")
        return super().write()


def test_a_store_that_fails_is_held_on_to(store):
    """The step that could not be written is written when it is back; nothing is folded twice meanwhile."""
    breaking = Breaks(store)
    folder, _ = start(breaking)
    first = add_line(store)
    breaking.is_broken = True
    for at in (1, 2):
        with pytest.raises(StoreError):
            advance(folder, at)
    second = add_line(store, queue_id="4QB")
    breaking.is_broken = False
    assert [one.attempt_id for _, one in advance(folder, 3).decided] == [first]
    assert [one.attempt_id for _, one in advance(folder, 4).decided] == [second]
    assert (folder.steer.state.version, [row[0] for row in decisions(store)]) == (2, [first, second])


def test_a_commit_that_was_done_though_it_failed_is_taken_for_done(store, monkeypatch):
    folder, _ = start(store)
    add_line(store)
    unwritten = folder._prepare(NOW)
    folder._write(unwritten, NOW)
    folder._unwritten = unwritten  # as after a connection that broke while it committed
    assert [one.attempt_id for _, one in advance(folder, 1).decided] == [1]
    assert len(decisions(store)) == 1


def test_a_second_service_of_the_same_node_is_told_to_stop(store):
    one, _ = start(store)
    two, _ = start(store)
    add_line(store)
    advance(one, 1)
    with pytest.raises(RelayError, match=r"another steering service writes for `out`.*steer\.machine"):
        advance(two, 2)


def test_an_attempt_that_was_committed_late_is_folded(store):
    """PostgreSQL gives ids at the insert: a lower one may come behind a higher one."""
    folder, _ = start(store)
    add_line(store, number=10)
    advance(folder, 0)
    add_line(store, number=13, queue_id="4QB")
    advance(folder, 1)
    late = add_line(store, number=12, queue_id="4QC")
    done = advance(folder, 30)
    assert ([line.id for line in done.lines], folder.steer.state.version) == ([late], 3)
    assert advance(folder, 31).folded == 0


def test_a_late_one_is_found_behind_a_restart_too(store):
    folder, _ = start(store)
    for number in (10, 13):
        add_line(store, number=number, queue_id=f"4Q{number}")
        advance(folder, number)
    late = add_line(store, number=12, queue_id="4QC")
    again = restarted_equals(store, folder, 20)
    assert [line.id for line in advance(again, 21).lines] == [late]
    assert again.steer.state.version == 3


def test_an_id_that_never_comes_is_given_up(store):
    folder, _ = start(store)
    add_line(store, number=10)
    advance(folder, 0)
    add_line(store, number=12, queue_id="4QB")
    advance(folder, 1)
    assert set(folder.reader.gaps) == {11}
    advance(folder, 100)
    assert folder.reader.gaps == {}


def test_a_cold_start_learns_the_last_days(store):
    add_line(store, at=-40 * 86400, queue_id="4QOLD", delay=0)
    for number in range(5):
        add_line(store, at=-100 * number, queue_id=f"4Q{number}", delay=0)
    told = []
    folder = Folder(store, "out", SETUP, "act", frozenset({"out"}))
    assert folder.open(NOW, learn_days=30, tell=told.append) == "cold"
    assert (folder.steer.state.version, told) == (5, [5])
    assert advance(folder, 1).folded == 0  # what was learned is not decided about afterwards
    assert decisions(store) == []


def test_a_new_policy_is_named_and_kept(store):
    folder, _ = start(store)
    add_line(store)
    advance(folder, 1)
    other = Setup(load_retry(), load_providers(), (SourceIp(name="ip1"),), 8)
    folder.use(other)
    add_line(store, queue_id="4QB")
    advance(folder, 2)
    digests = rows(store, schema.steering_step, "policy")
    assert (digests[-2], digests[-1]) == (SETUP.digest, other.digest)
    with store.read() as tx:
        kept = read_setup(steering_inputs.find_policy(tx, SETUP.digest))
    assert (kept.digest, kept.policy.rule(935, "a.example")) == (SETUP.digest, SETUP.policy.rule(935, "a.example"))
    restarted = Folder(store, "out", other, "act", frozenset({"out"}))
    assert restarted.open(NOW, learn_days=30) == "restart"
    assert encode_state(restarted.steer.state) == encode_state(folder.steer.state)


def test_a_fault_in_learning_or_planning_leaves_that_one_out(store, monkeypatch, caplog):
    folder, _ = start(store)
    bad = add_line(store)
    good = add_line(store, queue_id="4QB")
    real = type(folder.steer).plan

    def plan(self, seen):
        if seen.id == bad:
            raise ZeroDivisionError
        return real(self, seen)

    monkeypatch.setattr(type(folder.steer), "plan", plan)
    assert [one.attempt_id for _, one in advance(folder, 1).decided] == [good]
    assert f"event=steer-bug attempt={bad} note=not-planned" in caplog.text
