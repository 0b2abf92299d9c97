"""Acting: what the exceptions table says and who is woken, made anew out of the store, and done twice."""

import itertools
from datetime import timedelta

import pytest

from omicard_relay.mail import Action, Outcome
from omicard_relay.services.exceptions_table import Entry, ExceptionsTable
from omicard_relay.services.steer_acting import Actor
from omicard_relay.services.steer_fold import Folder
from omicard_relay.services.steer_lanes import AGAIN_SECONDS, LANE_SECONDS
from omicard_relay.services.steer_setup import Setup
from omicard_relay.services.steer_waits import GOING_SECONDS, RETURN_SECONDS, base_of
from omicard_relay.steering.values import Lane, SourceIp
from omicard_relay.store import schema, sightings, steering_waits
from omicard_relay.tables.providers import load_providers
from omicard_relay.tables.retry import load_retry
from tests.attempting import add_line
from tests.keeping import NOW, a_store, queued

SETUP = Setup(load_retry(), load_providers(), (SourceIp(name="ip1"), SourceIp(name="ip2")), 7)
ANN = "ann@a.example"
START = NOW.timestamp()


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path, busy_seconds=1) as store:
        yield store


class Machine:
    """A steering service without its loop: rounds by hand, at given seconds after NOW."""

    def __init__(self, store, path, setup=SETUP, mode="act", limit=1000):
        self.store = store
        self.folder = Folder(store, "out", setup, mode, frozenset({"out"}))
        self.folder.open(NOW, learn_days=30)
        self.table = ExceptionsTable(path)
        self.actor = Actor(
            names=frozenset({"out"}),
            table=self.table,
            mode=self.folder.mode,
            has_other_mail=self.has_other_mail,
            is_gone=self.is_gone,
            limit=limit,
            most_wakes=100,
        )

    def has_other_mail(self, addresses, queue_ids):
        with self.store.read() as tx:
            return steering_waits.has_other_mail(tx, addresses, queue_ids, NOW - timedelta(days=7))

    def is_gone(self, queue_id):
        with self.store.read() as tx:
            return steering_waits.is_gone(tx, queue_id)

    def rebuild(self):
        since = NOW - timedelta(days=7)
        for line, one in steering_waits.open_decisions(self.store, "out", since):
            self.actor.decide([(line, one)])
        for line in steering_waits.resting_lines(self.store, since):
            self.actor.see([line], self.folder.setup)
        with self.store.read() as tx:
            self.actor.learn_domains(sightings.lines_since(tx, since, after=0, most=1000), self.folder.setup)
        return self.actor.reconcile(self.folder.steer.providers())

    def round(self, at):
        done = self.folder.advance(NOW + timedelta(seconds=at))
        self.actor.see(done.lines, self.folder.setup)
        self.actor.decide(done.decided)
        return self.actor.round(self.folder.steer, self.folder.uneven, START + at).wake

    def value(self, key=ANN):
        entry = self.table.find(key)
        return entry.value if entry is not None else None

    def entries(self):
        return {entry.key: entry.value for entry in self.table.entries()}


class Slowed:
    """Steering for which one lane of each provider is slowed."""

    def __init__(self, speed, pace=None):
        self.speed = speed
        self.per_second = pace or SETUP.policy.speeds.pace(speed)

    def lanes(self, provider, now):
        return (Lane(provider=provider, ip="ip1", speed=self.speed, rests_until=None, is_probing=False, share=1.0),)

    def is_ordinary(self, provider, now):
        return False

    def pace(self, lane):
        return self.per_second


class Broken(Slowed):
    def lanes(self, provider, now):
        raise ZeroDivisionError


@pytest.fixture
def machine(store, tmp_path):
    machine = Machine(store, tmp_path / "exceptions")
    yield machine
    machine.table.close()


def planned(store):
    with store.read() as tx:
        from omicard_relay.store.decisions import decisions_for

        return {number: one.plan for number, one in decisions_for(tx, range(1, 200)).items()}


def test_a_failure_rests_until_its_time_then_goes_by_its_ip_and_is_woken(machine, store):
    number = add_line(store)
    assert machine.round(1) == []
    at = planned(store)[number].at - START
    assert machine.value().startswith("retry:4.3.2 [935] resting until 2026-11-24 08:")
    assert machine.table.find(ANN).expires > START + at
    assert machine.round(at - 1) == []
    assert machine.round(at + 1) == ["4QAAAAA1"]
    assert machine.value() == "ip1:"
    assert machine.round(at + 2) == []  # woken once


@pytest.mark.parametrize("outcome", [Outcome.SENT, Outcome.BOUNCED, Outcome.EXPIRED])
def test_what_has_its_fate_leaves_the_table(machine, store, outcome):
    add_line(store)
    machine.round(1)
    add_line(
        store,
        outcome,
        at=400,
        program="qmgr" if outcome is Outcome.EXPIRED else "smtp",
        is_attempt=outcome is not Outcome.EXPIRED,
    )
    machine.round(401)
    assert (machine.entries(), len(machine.actor.waits)) == ({}, 0)


def test_another_failure_rests_anew(machine, store):
    first = add_line(store)
    machine.round(1)
    at = planned(store)[first].at - START
    machine.round(at + 1)
    second = add_line(store, at=at + 2)
    machine.round(at + 3)
    assert machine.value().startswith("retry:4.3.2 [935] resting until")
    assert planned(store)[second].at > START + at + 2


def test_a_mail_that_met_the_old_answer_is_woken_again(machine, store):
    """qmgr remembers an answer for up to 30 s: the mail rests once more although it may go."""
    number = add_line(store)
    machine.round(1)
    at = planned(store)[number].at - START
    machine.round(at + 1)
    rest(store, at=at + 1.5)
    assert machine.round(at + 2) == []
    assert machine.round(at + 20) == []
    assert machine.round(at + 34) == ["4QAAAAA1"]


def rest(store, at=0.0, **more):
    more = {"queue_id": "4QAAAAA1", **more}
    return add_line(
        store, at=at, program="error", is_attempt=False, host=None, text="[935] resting until 21:40", **more
    )


def test_a_mail_of_which_nothing_is_seen_is_woken_some_times_and_then_left_to_postfix(machine, store):
    number = add_line(store)
    machine.round(1)
    at = planned(store)[number].at - START
    wakes = [seconds for seconds in range(0, 3000, 5) if machine.round(at + seconds)]
    assert len(wakes) == 4
    assert all(b - a >= GOING_SECONDS for a, b in itertools.pairwise(wakes))
    assert (machine.entries(), len(machine.actor.waits), machine.actor.counts["steer.left-to-postfix"]) == ({}, 0, 1)


def test_another_mail_for_a_resting_address_rests_with_it_and_is_woken_with_it(machine, store):
    number = add_line(store)
    machine.round(1)
    rest(store, at=30, queue_id="4QB")
    machine.round(31)
    at = planned(store)[number].at - START
    assert set(machine.round(at + 1)) == {"4QAAAAA1", "4QB"}


def test_a_mail_that_meets_another_rest_with_each_wake_is_left_to_postfix(machine, store):
    rest(store)
    woken = 0
    for at in range(1, 3600, 20):
        if machine.round(at):
            woken += 1
            rest(store, at=at + 0.5)
    rest(store, at=3600)  # by Postfix's own schedule
    assert machine.round(3601) == []
    assert (woken, machine.entries(), machine.actor.counts["steer.left-to-postfix"]) == (4, {}, 1)
    number = add_line(store, at=4000)
    machine.round(4001)
    assert machine.round(planned(store)[number].at - START + 1) == ["4QAAAAA1"]  # it was tried: all begins anew


def test_mail_for_an_extended_address_that_meets_the_rest_of_the_address_is_woken_with_it(machine, store):
    number = add_line(store)
    machine.round(1)
    rest(store, at=2, address="ann+news@a.example", queue_id="4QEXT")
    at = int(planned(store)[number].at - START)
    assert [queue_id for seconds in range(3, at, 5) for queue_id in machine.round(seconds)] == []
    assert sorted(machine.round(at + 1)) == ["4QAAAAA1", "4QEXT"]


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("ann+news@a.example", ANN),
        ("ann+a+b@a.example", ANN),
        (ANN, ANN),
        ("+news@a.example", "+news@a.example"),
        ("ann+news", "ann+news"),
    ],
)
def test_the_extension_of_an_address_is_cut_off_as_postfix_does(address, base):
    assert base_of(address) == base


def test_a_fault_with_some_mail_loses_no_mail(machine, store, caplog):
    numbers = [add_line(store, address=f"u{n}@a.example", queue_id=f"4Q{n}") for n in range(5)]
    machine.round(1)
    at = max(planned(store)[number].at for number in numbers) - START + 1
    assert machine.actor.round(Broken(0), [], START + at).wake == []
    assert caplog.text.count("event=steer-bug") == 1
    assert sorted(machine.round(at + 61)) == [f"4Q{n}" for n in range(5)]


def test_mail_that_is_observed_rests_nowhere(store, tmp_path):
    machine = Machine(store, tmp_path / "exceptions", mode="observe")
    add_line(store)
    machine.round(1)
    assert (machine.entries(), len(machine.actor.waits), len(planned(store))) == ({}, 0, 1)


def test_above_the_limit_mail_is_left_to_postfix(store, tmp_path):
    machine = Machine(store, tmp_path / "exceptions", limit=2)
    for number in range(5):
        add_line(store, address=f"u{number}@a.example", queue_id=f"4Q{number}")
    machine.round(1)
    assert (len(machine.actor.waits), machine.actor.waits.left) == (2, 3)


# ------------------------------------------------------------------ mail that is returned

#: When a mail that was tried at 0 may be returned.
DUE = AGAIN_SECONDS + 1
GONE = {"code": 902, "action": Action.RETURN, "text": "450 4.1.1 <ann@a.example>: user unknown"}


def test_a_return_stands_a_moment_and_goes_as_soon_as_the_fate_is_seen(machine, store):
    add_line(store, **GONE)
    machine.round(1)
    assert machine.round(DUE) == ["4QAAAAA1"]
    assert machine.value() == "error:5.1.1 [902] returned: 450 4.1.1 <ann@a.example>: user unknown"
    assert machine.table.find(ANN).expires == START + DUE + RETURN_SECONDS
    returned(store, at=DUE + 1)
    machine.round(DUE + 2)
    assert (machine.entries(), machine.actor.counts) == ({}, {"steer.returned": 1})


def test_a_return_of_which_nothing_is_seen_goes_from_the_table_and_is_tried_again(machine, store):
    add_line(store, **GONE)
    machine.round(1)
    machine.round(DUE)
    machine.round(DUE + RETURN_SECONDS + 2)
    assert machine.value().startswith("retry:")  # nothing else for the address is returned meanwhile
    assert machine.round(DUE + RETURN_SECONDS + 70) == ["4QAAAAA1"]


def test_a_mail_rests_before_its_return_until_the_old_answer_is_forgotten(machine, store):
    """By the answer that qmgr remembers for up to 30 s, a wake would send it to the server once more."""
    add_line(store, **GONE)
    assert [machine.round(at) for at in range(1, 31)] == [[]] * 30
    assert machine.value().startswith("retry:4.3.2 [902] resting until ")
    assert machine.round(DUE) == ["4QAAAAA1"]


def test_a_mail_that_is_tried_although_it_was_to_be_returned_is_left_to_postfix_after_the_second_time(machine, store):
    add_line(store, **GONE)
    woken = 0
    for at in range(1, 1800, 10):
        if machine.round(at):
            woken += 1
            add_line(store, at=at + 0.5, **GONE)
    assert (woken, machine.entries(), machine.actor.counts["steer.left-to-postfix"]) == (2, {}, 1)


def test_a_return_of_which_nothing_is_ever_seen_is_left_to_postfix(machine, store):
    add_line(store, **GONE)
    assert sum(len(machine.round(at)) for at in range(1, 1800, 5)) == 4
    assert (machine.entries(), len(machine.actor.waits), machine.actor.counts["steer.left-to-postfix"]) == ({}, 0, 1)


def test_a_mail_that_postfix_has_removed_is_not_returned(machine, store):
    add_line(store, **GONE)
    machine.round(1)
    with store.write() as tx:
        tx.execute(schema.queue.insert().values(queue_id="4QAAAAA1", seen=NOW, removed=NOW))
    assert machine.round(DUE) == []
    assert (machine.entries(), len(machine.actor.waits), machine.actor.counts) == ({}, 0, {"steer.gone": 1})


def test_all_mail_for_an_address_that_is_to_be_returned_goes_at_once(machine, store):
    add_line(store, **GONE)
    machine.round(1)
    add_line(store, queue_id="4QB", at=10, **GONE)
    assert [machine.round(at) for at in range(11, 41)] == [[]] * 30
    assert sorted(machine.round(42)) == ["4QAAAAA1", "4QB"]
    assert machine.value().startswith("error:5.1.1 [902] returned: ")
    returned(store, at=43)
    machine.round(44)
    assert machine.value().startswith("error:5.1.1 [902] returned: ")  # for the other one
    returned(store, at=44, queue_id="4QB")
    machine.round(45)
    assert (machine.entries(), machine.actor.counts) == ({}, {"steer.returned": 2})


def test_a_return_waits_while_an_extended_address_of_it_has_mail(machine, store):
    """Postfix asks for `ann@` where it finds nothing for `ann+news@`."""
    add_line(store, address="ann+news@a.example", queue_id="4QB", machine="other")
    add_line(store, **GONE)
    machine.round(1)
    assert machine.round(DUE) == []
    assert machine.actor.counts["steer.return-waits"] == 1
    add_line(store, Outcome.SENT, address="ann+news@a.example", queue_id="4QB", at=60, machine="other")
    assert machine.round(DUE + 61) == ["4QAAAAA1"]


@pytest.mark.parametrize("how", ["resting", "in-the-relay", "untried-in-the-log"])
def test_a_return_waits_while_another_mail_for_the_address_is_in_the_queue(machine, store, how):
    if how == "resting":
        rest(store, queue_id="4QB")
    elif how == "in-the-relay":
        queued(store, ANN, queue_id="4QB")
    else:
        add_line(store, queue_id="4QB", machine="out")
    add_line(store, **GONE)
    machine.round(1)
    assert "4QAAAAA1" not in machine.round(DUE)
    assert not (machine.value() or "").startswith("error:")
    assert machine.actor.counts["steer.return-waits"] == 1
    add_line(store, Outcome.SENT, queue_id="4QB", at=60)
    if how == "in-the-relay":
        with store.write() as tx:
            tx.execute(schema.recipient.update().values(state="delivered"))
    assert machine.round(DUE + 61) == ["4QAAAAA1"]
    assert machine.value().startswith("error:5.1.1 [902] returned: ")


def returned(store, at, queue_id="4QAAAAA1"):
    text = "[902] returned: gone"
    add_line(
        store,
        Outcome.BOUNCED,
        at=at,
        queue_id=queue_id,
        program="error",
        is_attempt=False,
        host=None,
        text=text,
    )


# ------------------------------------------------------------------ lanes

BLOCKED = {"code": 938, "text": "450 4.7.1 too many mails from your IP, blocked"}


def block(store, ip, at=0.0, count=3, domain="a.example"):
    for number in range(count):
        add_line(
            store,
            at=at + number,
            address=f"u{number}@{domain}",
            queue_id=f"4Q{ip}{number}",
            transport=ip,
            **BLOCKED,
        )


def test_the_domains_of_a_provider_leave_the_blocked_ip(machine, store):
    block(store, "ip1")
    machine.round(5)
    assert machine.value("a.example") == "ip2:"


def test_a_domain_that_is_seen_later_gets_its_providers_entry(machine, store):
    block(store, "ip1")
    machine.round(5)
    add_line(store, Outcome.SENT, at=6, address="x@new.example", queue_id="4QX", transport="ip2", text="250 Ok")
    machine.round(7)
    assert machine.value("new.example") == "ip2:"


def test_where_all_ips_are_blocked_the_domain_rests_and_what_rested_is_woken_when_it_opens(machine, store):
    block(store, "ip1")
    block(store, "ip2", at=10)
    machine.round(20)
    assert machine.value("a.example").startswith("retry:4.3.2 [938] resting until ")
    rest(store, at=25, address="new@a.example", queue_id="4QNEW")
    machine.round(26)
    until = max(lane.rests_until for lane in machine.folder.steer.lanes("a.example", START + 26))
    assert machine.round(60) == []
    woken = [queue_id for at in range(60, int(until - START) + 300, 5) for queue_id in machine.round(at)]
    # Only a trickle goes to see whether it is open again, never all.
    assert 1 <= len(set(woken)) <= 4
    add_line(store, Outcome.SENT, at=until - START + 301, address="new@a.example", queue_id="4QNEW", text="250 Ok")
    assert machine.round(until - START + 302) is not None


def slowed_wakes(machine, store, steer, times):
    numbers = [add_line(store, address=f"u{n}@a.example", queue_id=f"4Q{n}") for n in range(20)]
    machine.round(1)
    at = max(planned(store)[number].at for number in numbers) - START
    times = (at + seconds for seconds in times)
    return [at for at in times for _ in machine.actor.round(steer, [], START + at).wake]


def test_all_mail_goes_through_a_slowed_lane_at_its_pace(machine, store):
    steer = Slowed(12)
    gap = 1 / SETUP.policy.speeds.pace(12)
    wakes = slowed_wakes(machine, store, steer, range(1, int(gap * 20) + 10))[:20]
    assert len(wakes) == 20
    assert all(gap - 2 < b - a < gap + 2 for a, b in itertools.pairwise(wakes))


def test_mail_that_waits_for_a_slow_lane_goes_sooner_once_the_lane_is_quicker(machine, store):
    steer = Slowed(12, pace=0.001)
    slowed_wakes(machine, store, steer, [0])
    now = next(wait.went for wait in machine.actor.waits if wait.went is not None) + LANE_SECONDS
    resting = {wait.queue_id for wait in machine.actor.waits if wait.went is None}
    assert len(resting) == 19
    steer.speed, steer.per_second = 3, 1.0
    assert {queue_id for n in range(30) for queue_id in machine.actor.round(steer, [], now + n).wake} >= resting


def test_a_domain_that_changes_its_provider_loses_the_entry_of_the_earlier_one(machine, store):
    block(store, "ip1")
    machine.round(5)
    assert machine.value("a.example") == "ip2:"
    add_line(store, Outcome.SENT, at=6, address="x@a.example", queue_id="4QX", host="mx.other.example", text="250 Ok")
    machine.round(7)
    assert machine.value("a.example") is None


def test_an_ordinary_provider_has_no_entry(machine, store):
    add_line(store, Outcome.SENT, text="250 Ok")
    machine.round(1)
    assert machine.entries() == {}


# ------------------------------------------------------------------ once more


def test_a_start_makes_the_same_table_out_of_the_store(machine, store, tmp_path):
    """Killed after the decision was written and before anything was done, or in the middle, or after: the same."""
    add_line(store)
    add_line(store, address="bob@b.example", queue_id="4QB", host="mx.b.example")
    rest(store, at=3, address="bob@b.example", queue_id="4QC")
    machine.folder.advance(NOW + timedelta(seconds=4))  # decided, not carried out
    machine.table.close()
    again = Machine(store, tmp_path / "exceptions")
    again.rebuild()
    again.round(5)
    first = again.entries()
    assert set(first) == {ANN, "bob@b.example"}
    again.table.close()
    third = Machine(store, tmp_path / "exceptions")
    assert third.rebuild() == 0
    third.round(6)
    assert third.entries() == first
    assert len(third.actor.waits) == 3


def test_a_start_takes_out_what_nobody_waits_for(machine, store, tmp_path):
    add_line(store)
    machine.round(1)
    machine.table.close()
    add_line(store, Outcome.SENT, at=300)  # while it was dead
    again = Machine(store, tmp_path / "exceptions")
    assert again.rebuild() == 1
    assert again.entries() == {}


def test_a_table_that_cannot_be_written_is_written_in_the_next_round(machine, store, monkeypatch):
    add_line(store)
    with monkeypatch.context() as patch:
        patch.setattr(machine.table, "apply", lambda put, drop: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            machine.round(1)
    machine.round(2)
    assert machine.value().startswith("retry:")


def test_who_was_to_be_woken_is_woken_when_the_table_can_be_written_again(machine, store, monkeypatch):
    number = add_line(store)
    machine.round(1)
    at = planned(store)[number].at - START
    with monkeypatch.context() as patch:
        patch.setattr(machine.table, "apply", lambda put, drop: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            machine.round(at + 1)
    assert machine.round(at + 2) == ["4QAAAAA1"]
    assert machine.round(at + 3) == []


def test_a_start_keeps_the_entries_of_domains_whose_provider_is_not_ordinary(machine, store, tmp_path):
    block(store, "ip1")
    machine.round(5)
    machine.table.apply([Entry(key="stray.example", value="ip1:", expires=START + 1000)])
    machine.table.close()
    again = Machine(store, tmp_path / "exceptions")
    assert again.rebuild() == 1
    assert again.value("a.example") == "ip2:"
    again.round(6)
    assert again.value("a.example") == "ip2:"
    assert again.value("stray.example") is None
