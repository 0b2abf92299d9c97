"""Purging by age: what goes and what stays, beside those who write, one at a time, and what a start is refused for."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from omicard_relay.mail import RelayError, StoreBusyError, StoreError
from omicard_relay.services import housekeeping
from omicard_relay.services.follow import Follower
from omicard_relay.services.housekeeping import Purged, cutoffs_of, keep_house, purge
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.running import run_services
from omicard_relay.store import leases, lists, mails, reports, schema
from omicard_relay.store.purge import Cutoffs, count_old
from omicard_relay.store.space import find_space
from omicard_relay.store.writer import Writer
from omicard_relay.tables.settings import KeepSettings, Settings, StoreSettings
from tests.forgetting import DAY, add_attempt, add_bounce, add_entry, add_mail, everything, put
from tests.keeping import NOW, UNKNOWN, a_store, content_of, delivery, hand_over, rows, submit, wait_for

ANN, BOB = "ann@a.example", "bob@a.example"
OLD, NEW = NOW - 500 * DAY, NOW - DAY
AGES = Settings(keep=KeepSettings(list_history_days=400))


def run(store, settings=AGES, *, now=NOW, holder="me:1", **more):
    more.setdefault("sleep", lambda seconds: None)
    done = purge(store, cutoffs_of(settings, now), clock=lambda: now, holder=holder, **more)
    assert done is not None
    return done


def a_life(store, name, address, at, *, campaign=None):
    """A mail with all that can be known of it."""
    who = add_mail(store, name, address, received=at, campaign=campaign)[address]
    add_attempt(store, f"l-{name}", address, who, time=at)
    add_bounce(store, f"m-{name}", f"{name}\n".encode(), (address, who, ""), received=at)
    put(store, schema.queue, queue_id=f"Q{name}", seen=at)


def names(store, table, column):
    return sorted(rows(store, table, column))


# --- what goes, what stays --------------------------------------------------------------------------------------------


def test_evidence_goes_when_it_is_old_and_not_before(store):
    a_life(store, "old", ANN, OLD, campaign="spring")
    a_life(store, "new", BOB, NEW, campaign="summer")
    new = {
        key: row
        for key, row in everything(store).items()
        if BOB in str(row) or "Qnew" in str(row) or "m-new" in str(row)
    }
    done = run(store)
    expected = {
        "mail_content": 1,
        "attempt": 1,
        "rejudgement": 1,
        "suppression_due": 1,
        "bounce_mail": 1,
        "bounce_report": 1,
        "campaign_claim": 1,
        "recipient": 1,
        "submission": 1,
        "queue": 1,
    }
    assert done.counts == expected
    left = everything(store)
    assert {key: left[key] for key in new} == new
    assert names(store, schema.submission, "id") == ["new"]
    assert names(store, schema.queue, "queue_id") == ["Qnew"]
    assert run(store, now=NOW + DAY).counts == {}


def test_what_would_go_is_counted_before(store):
    a_life(store, "old", ANN, OLD, campaign="spring")
    a_life(store, "new", BOB, NEW)
    add_entry(store, ANN, removed=OLD)
    found = count_old(store, cutoffs_of(AGES, NOW))
    done = run(store).counts
    # What hangs on an attempt is not counted beforehand.
    assert found == {name: count for name, count in done.items() if name in found}
    assert set(done) - set(found) == {"rejudgement", "suppression_due", "campaign_claim"}


def test_contents_go_first_and_statements_stay(store):
    a_life(store, "m", ANN, NOW - 100 * DAY)
    assert run(store).counts == {"mail_content": 1}
    with store.read() as tx:
        assert content_of(tx, "m-m") is None
        (subject,) = reports.find_subjects(tx, ANN)
        deleted = [event.content_deleted for event in reports.timeline(tx, subject)]
    assert deleted == [None, NOW]


def test_a_content_goes_with_the_last_mail_that_holds_it(store):
    add_bounce(store, "m1", b"same\n", received=NOW - 100 * DAY)
    add_bounce(store, "m2", b"same\r\n", received=NOW - 10 * DAY)
    assert run(store).counts == {}
    assert rows(store, schema.bounce_mail, "digest", "content_deleted") == [("m1", NOW), ("m2", None)]
    assert len(rows(store, schema.mail_content)) == 1
    assert run(store, now=NOW + 81 * DAY).counts == {"mail_content": 1}


def test_what_waits_to_be_handed_on_is_kept(store):
    add_bounce(store, "m1", b"an answer\n", received=OLD, hand_on_after=NOW)
    assert run(store).counts == {}
    with store.read() as tx:
        assert content_of(tx, "m1") == b"an answer\n"


def test_who_was_first_in_a_campaign_that_still_runs_stays(store):
    """A welcome mail runs for years, and nobody may get it twice."""
    a_life(store, "old", ANN, OLD, campaign="welcome")
    a_life(store, "gone", BOB, OLD, campaign="spring")
    add_mail(store, "new", "new@a.example", received=NEW, campaign="welcome")
    run(store)
    assert names(store, schema.campaign_claim, "address_key") == [ANN, "new@a.example"]
    assert names(store, schema.submission, "id") == ["new", "old"]
    assert rows(store, schema.attempt) == []


def test_an_old_mail_stays_while_something_new_is_known_of_it(store):
    who = add_mail(store, "old", ANN, received=OLD)[ANN]
    add_bounce(store, "m1", b"late\n", (ANN, who, ""), received=NEW)
    run(store)
    assert names(store, schema.submission, "id") == ["old"]
    run(store, now=NOW + 500 * DAY)
    assert names(store, schema.submission, "id") == []


def test_entries_that_hold_stay_and_tell_why(store):
    a_life(store, "old", ANN, OLD)
    add_entry(store, ANN, list_name="known-bounce", reason="902 by r: no", bounce_code=902)
    add_entry(store, BOB, removed=OLD)
    add_entry(store, BOB, list_name="known-bounce", expires=OLD)
    add_entry(store, BOB, list_name="blacklist", removed=NEW)
    assert run(store).counts["list_entry"] == 2
    assert names(store, schema.list_entry, "list_name") == ["blacklist", "known-bounce"]
    with store.read() as tx:
        (entry,) = lists.history(tx, [ANN])
    assert (entry.reason, entry.source, entry.bounce_code) == ("902 by r: no", "by hand", 902)
    assert len(rows(store, schema.list_change)) == 2


@pytest.mark.parametrize("keep", [{"mail_days": 0}, {"evidence_days": 0}, {"list_history_days": 0}], ids=str)
def test_nought_is_for_ever(store, keep):
    a_life(store, "old", ANN, OLD)
    add_entry(store, ANN, removed=OLD)
    ages = {"mail_days": 90, "evidence_days": 400, "list_history_days": 400, **keep}
    done = run(store, Settings(keep=KeepSettings(**ages))).counts
    gone = {"mail_content" in done, "attempt" in done, "list_entry" in done}
    assert gone == {True, False} or keep == {"mail_days": 0}
    assert ("list_entry" in done) == bool(ages["list_history_days"])
    assert ("attempt" in done) == bool(ages["evidence_days"])


def test_nothing_refers_to_what_went(store):
    for number in range(30):
        a_life(store, f"s{number}", f"{number}@a.example", NOW - (380 + number) * DAY, campaign=f"c{number}")
    run(store)
    with store.outside() as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert len(rows(store, schema.submission)) == 21


# --- beside others ----------------------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_is_taken_up(store):
    for number in range(120):
        add_attempt(store, f"l{number}", ANN, None, time=OLD)
    stops = iter([False, False, True])
    first = run(store, is_stopped=lambda: next(stops))
    assert not first.is_whole
    assert 0 < first.counts["attempt"] < 120
    second = run(store, only_when_due=True)  # the first was not whole, so it is due
    assert second.is_whole
    assert first.counts["attempt"] + second.counts["attempt"] == 120


def test_one_at_a_time_and_once_a_day(store):
    with store.write() as tx:
        assert leases.take(tx, "purge", "other:7", now=NOW, lease=timedelta(minutes=10))
    with pytest.raises(StoreBusyError, match="other:7 is purging"):
        run(store)
    assert purge(store, Cutoffs(), clock=lambda: NOW, holder="me:1", only_when_due=True) is None
    later = NOW + timedelta(minutes=11)  # the other one is dead
    assert purge(store, Cutoffs(), clock=lambda: later, holder="me:1", only_when_due=True) == Purged()
    for hours, is_due in ((1, False), (22, False), (24, True)):
        at = later + timedelta(hours=hours)
        assert (
            purge(store, Cutoffs(), clock=lambda at=at: at, holder="me:1", only_when_due=True) is not None
        ) == is_due


def test_what_goes_by_hand_by_other_days_leaves_the_daily_one_due(store):
    assert run(store, is_daily=False).is_whole
    assert run(store, only_when_due=True) is not None
    assert purge(store, Cutoffs(), clock=lambda: NOW, holder="me:1", only_when_due=True) is None


def test_who_lost_the_work_to_another_stops(store):
    for number in range(120):
        add_attempt(store, f"l{number}", ANN, None, time=OLD)

    def lose(counts):
        with store.write() as tx:
            leases.take(tx, "purge", "other:7", now=NOW + DAY, lease=timedelta(minutes=10))

    with pytest.raises(StoreError, match="taken the purging over"):
        run(store, on_progress=lose)
    with store.read() as tx:
        assert leases.holder_of(tx, "purge") == "other:7"


def test_writers_get_in_while_much_is_purged(tmp_path):
    """A busy time of one second is enough beside thousands of rows that go: no transaction is long."""
    with a_store(tmp_path, busy_seconds=1) as store:
        with store.write() as tx:
            line = {"time": OLD, "queue_id": "Q", "outcome": "bounced", "is_attempt": True, "program": "smtp"}
            for start in range(0, 20_000, 1000):
                tx.execute(
                    schema.attempt.insert(),
                    [
                        {**line, "line_digest": f"{n}", "address": ANN, "address_key": ANN, "reply": "550 no " * 20}
                        for n in range(start, start + 1000)
                    ],
                )
        writer = Writer(store)
        waits, errors, ended = [], [], threading.Event()

        def write():
            number = 0
            while not ended.wait(0.002):
                number += 1
                begun = time.monotonic()
                job = {"digest": f"{number}" * 9}
                try:
                    writer.submit(lambda tx, job=job: mails.keep_content(tx, job["digest"].encode())).result()
                except StoreError as error:
                    errors.append(error)
                waits.append(time.monotonic() - begun)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            done = run(store, sleep=time.sleep)
        finally:
            ended.set()
            thread.join()
            writer.close()
    assert done.counts == {"attempt": 20_000}
    assert errors == []
    assert len(waits) > 20
    assert max(waits) < 1.0


# --- room on the disk -------------------------------------------------------------------------------------------------


def test_pages_that_got_free_are_given_back(store):
    with store.write() as tx:
        tx.execute(
            schema.attempt.insert(),
            [
                {
                    "line_digest": f"{n}",
                    "time": OLD,
                    "queue_id": "Q",
                    "address": ANN,
                    "address_key": ANN,
                    "outcome": "bounced",
                    "is_attempt": True,
                    "program": "smtp",
                    "reply": "550 no " * 600,
                }
                for n in range(1500)
            ],
        )
    before = find_space(store)
    done = run(store)
    after = find_space(store)
    assert before.can_give_back
    assert done.given_back == before.octets - after.octets > 4_000_000
    assert after.free <= after.octets // 10 + (1 << 20)


# --- the task beside the services -------------------------------------------------------------------------------------


def rulebook():
    return Rulebook(SimpleNamespace(suppress={}))


def keep(store, settings, monkeypatch, until, book=None):
    monkeypatch.setattr(housekeeping, "_FIRST_SECONDS", 0.0)
    monkeypatch.setattr(housekeeping, "_LOOK_SECONDS", 0.01)

    async def go():
        stop = asyncio.Event()
        task = asyncio.create_task(keep_house(settings, store, book or rulebook(), stop))
        await asyncio.to_thread(wait_for, until)
        stop.set()
        await asyncio.wait_for(task, 10)

    asyncio.run(asyncio.wait_for(go(), 30))


def test_the_services_purge_by_themselves(store, monkeypatch):
    long_ago = OLD - 3650 * DAY  # by the real clock
    a_life(store, "old", ANN, long_ago)
    keep(store, Settings(), monkeypatch, lambda: rows(store, schema.housekeeping, "done") not in ([], [None]))
    assert rows(store, schema.submission) == []


def test_what_waits_for_a_log_that_nobody_follows_is_settled(store, monkeypatch, book):
    """The line was read before the relay knew the queue id; no other line, and no bounce, comes after it."""
    now = datetime.now(UTC)
    ids = submit(store, ANN, received=now)
    line = delivery(ANN, "bounced", UNKNOWN, at=now - NOW).rstrip()
    Follower(Settings(), store, book).take([line], None, now=now)
    hand_over(store, ids, "4QAAAAA1", now=now)
    assert rows(store, schema.list_entry) == []
    keep(store, Settings(), monkeypatch, lambda: rows(store, schema.list_entry, "value") == [ANN], book)
    assert rows(store, schema.suppression_due) == []


def test_a_settling_that_fails_does_not_end_the_task(store, monkeypatch, caplog):
    tries = []

    def fails(*args, **named):
        tries.append(1)
        raise (StoreBusyError("locked"), ZeroDivisionError())[len(tries) % 2]

    monkeypatch.setattr(housekeeping, "settle_all", fails)
    keep(store, Settings(), monkeypatch, lambda: len(tries) > 2)
    assert "event=suppress-store-failed error='locked'" in caplog.text
    assert "event=suppress-bug" in caplog.text


def test_a_store_that_fails_does_not_end_the_task(store, monkeypatch, caplog):
    tries = []

    def fails(*args, **named):
        tries.append(1)
        raise (StoreBusyError("locked"), ZeroDivisionError())[len(tries) % 2]

    monkeypatch.setattr(housekeeping, "purge", fails)
    keep(store, Settings(), monkeypatch, lambda: len(tries) > 2)
    assert "event=purge-failed error='locked'" in caplog.text
    assert "event=purge-bug" in caplog.text


def test_services_do_not_start_with_too_few_days(tmp_path):
    settings = Settings(data_dir=str(tmp_path), store=StoreSettings(), keep=KeepSettings(mail_days=1, evidence_days=10))
    with a_store(tmp_path) as store, pytest.raises(RelayError, match=r"keep\.evidence_days`: 10 days are too few"):
        run_services(("relay",), settings, store)
