"""The follower: the same state whatever order the log and the relay come in, however often a line is read, and whoever dies."""

import asyncio
import contextlib
import os
import sqlite3
import threading
from datetime import timedelta

import msgspec
import pytest

from omicard_relay.mail import ListEntry, ListName, StoreError
from omicard_relay.services import follow_service
from omicard_relay.services.follow import Follower
from omicard_relay.services.follow_service import serve_follow
from omicard_relay.services.logreader import LogReader
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store import attempts, lists, schema
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import FollowSettings, ReturnPathSettings, Settings
from omicard_relay.tables.suppress import load_suppress
from omicard_relay.wire.loglines import parse_line
from tests.keeping import (
    BUSY,
    FULL,
    NOW,
    UNKNOWN,
    a_store,
    active,
    client,
    delivery,
    dump,
    expired,
    hand_over,
    log_line,
    queued,
    rows,
    said,
    states,
    submit,
    wait_for,
)

NEWS = "news@shop.example"
SETTINGS = Settings(return_path=ReturnPathSettings(domain="bounces.shop.example"))
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def policies():
    return load_policies()


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path, busy_seconds=1) as store:
        yield store


@pytest.fixture
def take(store, policies):
    """Takes lines as if they were read now."""
    follower = Follower(SETTINGS, store, Rulebook.of(policies, load_suppress()))

    def take(*lines: bytes, now=NOW + timedelta(minutes=1)) -> int:
        return follower.take([line.rstrip(b"\n") for line in lines], None, now=now)

    take.follower = follower
    return take


def known_bounces(store, now=NOW + DAY):
    with store.read() as tx:
        return [(e.value, e.bounce_code, e.source) for e in lists.entries(tx, ListName.KNOWN_BOUNCE, now=now)]


def fate(store, number=0):
    return rows(store, schema.recipient, "state", "bounce_code", "attempts")[number]


# ------------------------------------------------------------------ one mail's lines

GREY = delivery("ann@a.example", "deferred", said("450 4.2.0 greylisted, try again later"), at=10)
SUSPENDED = delivery(
    "ann@a.example",
    "deferred",
    "delivery temporarily suspended: connect to mx.there.example[192.0.2.9]:25: Connection refused",
    relay="none",
    program="error",
    at=20,
)
RESTING = delivery(
    "ann@a.example", "deferred", "[938] resting until 21:40", relay="none", program="error", dsn="4.3.2", at=30
)
SENT = delivery("ann@a.example", "sent", "250 2.0.0 Ok", at=40)
GONE = delivery("ann@a.example", "bounced", UNKNOWN, at=40, dsn="5.1.1")


RETURNED = delivery(
    "ann@a.example",
    "bounced",
    "[917] returned: five attempts, nothing is left to try",
    relay="none",
    program="error",
    at=50,
)


def test_what_steering_lets_rest_is_kept_and_is_no_attempt(store, take):
    """A mail that rested from the start has the cause for which it rests; nothing is read out of our own words."""
    queued(store, "ann@a.example")
    take(RESTING)
    assert fate(store) == ("resting", 938, 0)
    assert rows(store, schema.attempt, "is_attempt", "rule_id", "action") == [(False, "own-answer", "retry")]
    take(GREY)
    assert fate(store) == ("resting", 935, 1)


def test_what_steering_returns_has_the_cause_in_brackets(store, take):
    queued(store, "ann@a.example")
    take(GREY, RETURNED)
    assert fate(store) == ("returned", 917, 1)
    assert rows(store, schema.attempt, "bounce_code", "is_attempt")[-1] == (917, False)


def test_a_return_keeps_the_rule_where_its_reply_is_read_the_same(store, take):
    queued(store, "ann@a.example")
    take(delivery("ann@a.example", "bounced", f"[902] returned: {UNKNOWN}", relay="none", program="error", at=50))
    (rule,) = rows(store, schema.attempt, "rule_id")
    assert fate(store) == ("returned", 902, 0)
    assert rule != "own-answer"


def test_an_attempt_tells_its_transport_and_machine(store, take):
    queued(store, "ann@a.example")
    take(delivery("ann@a.example", "deferred", BUSY, program="ip1-s3/smtp"), SENT)
    assert rows(store, schema.attempt, "transport", "machine") == [("ip1-s3", "out"), (None, "out")]


def test_a_mail_goes_its_way(store, take):
    queued(store, "ann@a.example")
    story = []
    for line in (active(NEWS), GREY, SUSPENDED, RESTING, SENT, log_line("removed", program="qmgr", at=41)):
        take(line)
        story.append(fate(store))
    assert story == [
        ("queued", None, 0),
        ("resting", 935, 1),
        ("resting", 935, 1),  # neither a number nor another cause
        ("resting", 935, 1),
        ("delivered", None, 2),
        ("delivered", None, 2),
    ]
    assert rows(store, schema.attempt, "number", "is_attempt") == [(1, True), (0, False), (0, False), (2, True)]
    (queue,) = rows(store, schema.queue)
    assert queue.removed == NOW + timedelta(seconds=41)


def test_lines_that_tell_nothing_are_passed_over(store, take):
    lines = (
        b"",
        b"\xff\xfe\x00",
        b"Nov 24 08:00:00 out cron[1]: hello",
        GREY[:60],
        GREY[: len(GREY) // 2],
        log_line("uid=0 from=<root>", program="pickup"),
    )
    assert take(*lines) == 1  # pickup
    assert rows(store, schema.attempt) == []


def test_a_reply_is_kept_with_its_verdict_and_reasons(store, take):
    queued(store, "ann@a.example")
    take(GONE)
    (kept,) = rows(store, schema.attempt)
    assert kept.reply == UNKNOWN
    assert (kept.reply_code, kept.enhanced_status, kept.stage) == (550, "5.1.1", "rcpt")
    assert (kept.bounce_code, kept.action) == (902, "return")
    assert kept.rule_id
    assert "902" in kept.reasons
    assert rows(store, schema.recipient, "detail", "rule_id") == [(UNKNOWN, kept.rule_id)]


# ------------------------------------------------------------------ what is no fate


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(
            delivery("ann@a.example", "sent", "250 2.0.0 Ok: 4QAAAAA1", relay="127.0.0.1[127.0.0.1]:10025"), id="taken"
        ),
        pytest.param(
            delivery(
                "ann@a.example",
                "bounced",
                "host 127.0.0.1[127.0.0.1] said: 550 5.7.1 [926] refused (in reply to RCPT TO command)",
                relay="127.0.0.1[127.0.0.1]:10025",
            ),
            id="refused",
        ),
        pytest.param(
            delivery(
                "ann@a.example", "deferred", "connect to 127.0.0.1[127.0.0.1]:10025: Connection refused", relay="none"
            ),
            id="not-there",
        ),
        pytest.param(
            delivery(
                "b+x@bounces.shop.example",
                "sent",
                "delivered via omi-bounce service",
                relay="omi-bounce",
                program="pipe",
            ),
            id="bounce-to-us",
        ),
    ],
)
def test_what_goes_to_our_own_doors_is_no_fate(store, take, line):
    """The queue id is that of our mail here, to see that the hop itself is the reason."""
    queued(store, "ann@a.example", "b+x@bounces.shop.example")
    take(line)
    assert rows(store, schema.attempt, "is_hop") == [True]
    assert set(states(store).values()) == {"queued"}
    assert known_bounces(store) == []


def test_a_host_on_our_relays_port_elsewhere_is_no_door_of_ours(store, take):
    queued(store, "ann@a.example")
    take(delivery("ann@a.example", "sent", "250 ok", relay="mx.there.example[192.0.2.9]:10025"))
    assert states(store) == {"ann@a.example": "delivered"}


def test_a_refusal_by_our_own_postfix_is_kept_and_belongs_to_nobody(store, take):
    queued(store, "ann@a.example")
    take(
        log_line(
            "reject: RCPT from app.example[192.0.2.7]: 554 5.7.1 <ann@a.example>: Relay access denied; "
            "from=<s@s.example> to=<ann@a.example> proto=ESMTP helo=<app.example>",
            queue_id="NOQUEUE",
            program="smtpd",
        )
    )
    assert rows(store, schema.attempt, "outcome", "recipient_id", "bounce_code") == [("rejected", None, 923)]
    assert states(store) == {"ann@a.example": "queued"}


# ------------------------------------------------------------------ expiry


@pytest.mark.parametrize(
    ("before", "code", "detail"),
    [
        pytest.param(
            [delivery("ann@a.example", "deferred", said("452 4.2.2 mailbox full"), at=1)], 901, "452", id="cause"
        ),
        pytest.param([GREY, SUSPENDED], 935, "450", id="suspended-last"),
        pytest.param([], 931, "the time in the queue ran out", id="nothing-known"),
        pytest.param(
            [delivery("ann@a.example", "deferred", said("450 4.0.0 something"), at=1)], 931, "time", id="no-cause"
        ),
    ],
)
def test_an_expired_mail_is_returned_with_the_last_real_cause(store, take, before, code, detail):
    queued(store, "ann@a.example")
    take(*before, expired(at=99))
    state, found, _ = fate(store)
    assert (state, found) == ("returned", code)
    assert detail in rows(store, schema.recipient, "detail")[0]
    assert rows(store, schema.recipient, "action") == ["return"]
    before = dump(store)
    take(expired(at=99))
    assert dump(store) == before


def test_an_expiry_returns_only_who_still_waits(store, take):
    queued(store, "ann@a.example", "bob@a.example", "cat@a.example")
    take(
        delivery("bob@a.example", "sent", "250 ok", at=1),
        delivery("cat@a.example", "deferred", FULL, at=1),
        expired(at=99),
    )
    assert rows(store, schema.recipient, "state", "bounce_code") == [
        ("returned", 931),
        ("delivered", None),
        ("returned", 901),
    ]


# ------------------------------------------------------------------ doubt and races

TOKEN = "b+aaaaaaaaaa@bounces.shop.example"
WAYS = {
    "signed": ({"reverse_paths": (TOKEN,)}, [active(TOKEN.upper(), at=1)]),
    "orig-queue-id": ({"hand_over": "h1"}, [client("h1", at=0), active(NEWS, at=1)]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", range(5))
def test_the_relay_and_the_log_end_in_one_state_whoever_is_first(tmp_path, policies, way, after):
    """The relay's own record comes after so many lines."""
    ends = []
    for at in (after, 99):
        with a_store(tmp_path / str(at)) as store:
            follower = Follower(SETTINGS, store, Rulebook.of(policies, load_suppress()))
            more, begin = WAYS[way]
            ids = submit(store, "ann@a.example", **more)
            for number, line in enumerate([*begin, GREY, GONE]):
                if number == at:
                    hand_over(store, ids, "4QAAAAA1", now=NOW + timedelta(seconds=number))
                follower.take([line], None, now=NOW + timedelta(minutes=1))
            hand_over(store, ids, "4QAAAAA1", now=NOW + timedelta(seconds=99))
            ends.append(dump(store))
    assert ends[0] == ends[1]
    assert ends[0]["list_entry"]


def test_a_shared_reverse_path_solves_no_doubt(store, take):
    submit(store, "ann@a.example")
    take(active(NEWS), SENT)
    assert states(store) == {"ann@a.example": "handing-over"}
    assert rows(store, schema.attempt, "recipient_id") == [None]


def test_a_doubt_stays_where_the_log_shows_another_hand_over(store, take):
    submit(store, "ann@a.example", hand_over="h1")
    take(client("h2"), active(NEWS), SENT)
    assert states(store) == {"ann@a.example": "handing-over"}


def test_who_was_refused_in_a_shared_hand_over_is_not_taken_for_queued(store, take):
    """Both are still in doubt when the log shows that Postfix took one of them."""
    ids = submit(store, "ann@a.example", "bob@a.example", hand_over="h1")
    take(client("h1"), active(NEWS, nrcpt=1), GREY)
    assert states(store) == {"ann@a.example": "resting", "bob@a.example": "handing-over"}
    hand_over(store, ids[:1], "4QAAAAA1")
    assert states(store)["ann@a.example"] == "resting"


# ------------------------------------------------------------------ suppression


def test_a_clear_hard_bounce_suppresses_at_once_and_once(store, take):
    queued(store, "Ann@a.example", "bob@a.example")
    take(GONE, delivery("bob@a.example", "bounced", said("554 5.7.1 rejected as spam"), at=41))
    assert known_bounces(store) == [("ann@a.example", 902, "log 4QAAAAA1")]
    queued(store, "ann@a.example", name="s2", queue_id="4QAAAAA2")
    take(GONE, delivery("ann@a.example", "bounced", UNKNOWN, queue_id="4QAAAAA2", at=50))
    assert len(known_bounces(store)) == 1


def full_on(store, take, number, day, text=FULL):
    queue_id = f"4QFULL{number}"
    queued(store, "ann@a.example", name=f"f{number}", queue_id=queue_id, sender=f"s{number}@shop.example")
    take(delivery("ann@a.example", "bounced", text, queue_id=queue_id, at=day * DAY), now=NOW + day * DAY)


@pytest.mark.parametrize(
    ("days", "is_listed"),
    [((0, 5, 13), True), ((0, 5, 14), True), ((0, 5, 15), False), ((0, 5), False), ((0, 5, 15, 16), True)],
)
def test_a_full_mailbox_suppresses_after_three_mails_in_fourteen_days(store, take, days, is_listed):
    for number, day in enumerate(days):
        full_on(store, take, number, day)
    assert bool(known_bounces(store, NOW + 17 * DAY)) is is_listed


def test_three_lines_of_one_mail_are_one_failure(store, take):
    queued(store, "ann@a.example")
    take(*(delivery("ann@a.example", "bounced", FULL, at=second) for second in range(3)))
    assert known_bounces(store) == []


def test_a_delivery_in_between_begins_the_count_anew(store, take):
    for number, day in enumerate((0, 1)):
        full_on(store, take, number, day)
    queued(store, "ann@a.example", name="ok", queue_id="4QOKAY1")
    take(delivery("ann@a.example", "sent", "250 ok", queue_id="4QOKAY1", at=2 * DAY), now=NOW + 2 * DAY)
    full_on(store, take, 3, 3)
    assert known_bounces(store, NOW + 4 * DAY) == []


def test_a_log_that_is_read_days_later_still_counts(store, take):
    queued(store, "ann@a.example")
    take(GONE, now=NOW + 5 * DAY)
    assert [value for value, *_ in known_bounces(store, NOW + 6 * DAY)] == ["ann@a.example"]


def test_a_log_of_years_ago_lists_nobody(store, take):
    queued(store, "ann@a.example")
    take(GONE, now=NOW + 800 * DAY)
    assert known_bounces(store, NOW + 800 * DAY) == []


@pytest.mark.parametrize(
    "text",
    ["554 5.7.1 rejected as spam", "550 5.7.1 your IP is blocked", "552 5.3.4 message too big", "550 refused"],
)
def test_codes_that_do_not_speak_of_the_address_never_suppress(store, take, text):
    for number in range(5):
        full_on(store, take, number, number, said(text))
    assert known_bounces(store, NOW + 9 * DAY) == []
    assert "902" not in {str(code) for code in rows(store, schema.attempt, "bounce_code")}


@pytest.mark.parametrize(
    ("value", "scope", "is_listed"),
    [
        ("ann@a.example", "all", False),
        ("@a.example", "all", False),
        ("ann@a.example", "sender:a.example", True),
        ("ann@a.example", "campaign:spring", True),
        ("bob@a.example", "all", True),
    ],
)
def test_who_is_whitelisted_for_all_is_not_suppressed(store, take, value, scope, is_listed):
    queued(store, "ann@a.example")
    entry = ListEntry(
        list_name=ListName.WHITELIST, value=value, reason="friend", source="by hand", scope=scope, created=NOW
    )
    with store.write() as tx:
        lists.add_entry(tx, entry)
    take(GONE)
    assert bool(known_bounces(store)) is is_listed


def test_mail_that_is_not_ours_suppresses_nobody(store, take):
    take(GONE)
    assert rows(store, schema.attempt, "bounce_code") == [902]
    assert known_bounces(store) == []


def test_the_address_that_we_were_given_is_suppressed_not_what_an_alias_made_of_it(store, take):
    queued(store, "ann@a.example")
    take(delivery("ann@inside.example", "bounced", UNKNOWN, original="ann@a.example"))
    assert [value for value, *_ in known_bounces(store)] == ["ann@a.example"]


def test_a_mailbox_to_which_an_alias_leads_is_not_our_recipients(store, take):
    queued(store, "ann@a.example")
    take(delivery("bob@inside.example", "bounced", UNKNOWN, original="ann@a.example"))
    assert 902 not in rows(store, schema.attempt, "bounce_code")
    assert known_bounces(store) == []


def test_a_fault_in_settling_loses_no_line_and_is_put_aside(store, take, monkeypatch):
    queued(store, "ann@a.example", "bob@a.example")
    take(delivery("ann@a.example", "bounced", UNKNOWN))
    with store.write() as tx:
        tx.execute(schema.suppression_due.insert().values(attempt_id=rows(store, schema.attempt, "id")[0]))
    monkeypatch.setattr("omicard_relay.services.suppression.look_at", lambda *_, **__: 1 / 0)
    take(delivery("bob@a.example", "sent", "250 ok"))
    take(delivery("bob@a.example", "sent", "250 ok", at=9))
    assert states(store)["bob@a.example"] == "delivered"
    assert rows(store, schema.counter) == [("suppress.failed", 1)]
    assert [time is not None for time in rows(store, schema.suppression_due, "not_before")] == [True]


def test_an_address_without_a_name_never_lists_its_whole_domain(store, take):
    queued(store, "@a.example", "postmaster")
    take(delivery("@a.example", "bounced", UNKNOWN), delivery("postmaster", "bounced", UNKNOWN))
    assert set(states(store).values()) == {"returned"}
    assert known_bounces(store) == []


# ------------------------------------------------------------------ reading again, dying, failing

STORY = [
    client("h1"),
    log_line("message-id=<s1@shop.example>", program="cleanup"),
    active(NEWS, nrcpt=3),
    GREY,
    delivery("bob@a.example", "sent", "250 2.0.0 Ok", at=11),
    delivery("cat@a.example", "deferred", FULL, at=12),
    SUSPENDED,
    delivery("bob@b.example", "bounced", UNKNOWN, queue_id="4QFOREIGN", at=21),
    GONE,
    expired(at=50),
    log_line("sender non-delivery notification: 4QNOTICE", program="bounce", at=51),
    log_line("removed", program="qmgr", at=52),
]


@pytest.fixture
def whole(tmp_path, policies):
    """What is kept after the story was read in one go."""
    with a_store(tmp_path / "whole") as store:
        submit(store, *(f"{name}@a.example" for name in ("ann", "bob", "cat")), hand_over="h1")
        Follower(SETTINGS, store, Rulebook.of(policies, load_suppress())).take(
            [line.rstrip() for line in STORY], None, now=NOW + timedelta(minutes=1)
        )
        yield dump(store)


def test_the_story_tells_something_of_everything(whole):
    assert [row[5] for row in whole["recipient"]] != []
    assert all(whole[name] for name in ("attempt", "queue", "list_entry", "list_change"))


def test_reading_the_whole_log_again_changes_nothing(store, take, whole):
    submit(store, *(f"{name}@a.example" for name in ("ann", "bob", "cat")), hand_over="h1")
    for _ in range(3):
        take(*STORY)
        assert dump(store) == whole


@pytest.mark.parametrize("chunk", [1, 7, 64, 333])
@pytest.mark.parametrize("failing", [False, True], ids=["killed", "killed-and-failing"])
def test_a_kill_after_any_batch_neither_loses_nor_doubles(store, take, whole, tmp_path, chunk, failing):
    """The log grows by so many octets; each time a new reader goes on from what is stored. Where the store fails, nothing of
    the batch is kept, neither lines nor place."""
    submit(store, *(f"{name}@a.example" for name in ("ann", "bob", "cat")), hand_over="h1")
    octets = b"".join(STORY)
    log = tmp_path / "mail.log"
    log.touch()
    with log.open("ab", buffering=0) as writer:
        for start in range(0, len(octets), chunk):
            writer.write(octets[start : start + chunk])
            for round_ in range(2):
                with store.read() as tx:
                    reader = LogReader(log, attempts.find_place(tx, str(log)), most=2)
                lines = reader.read_lines()
                if failing and round_ == 0 and lines:
                    with pytest.raises(StoreError):
                        _take_and_fail(store, take.follower, lines, reader.place)
                elif lines:
                    take.follower.take(lines, reader.place, now=NOW + timedelta(minutes=1))
                reader.close()
        for _ in range(len(STORY)):
            with store.read() as tx:
                reader = LogReader(log, attempts.find_place(tx, str(log)), most=2)
            take.follower.take(reader.read_lines(), reader.place, now=NOW + timedelta(minutes=1))
            reader.close()
    assert dump(store) == whole


def _take_and_fail(store, follower, lines, place):
    """All is written, and then the disk fails."""
    events = [event for line in lines if (event := parse_line(line, now=NOW)) is not None]
    with store.write() as tx:
        rules = follower._rulebook.current
        follower._record(tx, [follower._judged(event, rules) for event in events], rules, NOW)
        attempts.move_place(tx, place)
        raise sqlite3.OperationalError("disk I/O error")


def test_a_line_that_brings_us_down_is_left_out_and_counted(store, take, monkeypatch, caplog):
    queued(store, "ann@a.example", "bob@a.example")
    real = attempts.record_attempt

    def breaks(tx, line, *arguments, **more):
        if line.recipient.startswith("ann"):
            raise KeyError("a bug")
        return real(tx, line, *arguments, **more)

    monkeypatch.setattr(attempts, "record_attempt", breaks)
    lines = [GREY.rstrip(), delivery("bob@a.example", "sent", "250 ok").rstrip()]
    with pytest.raises(KeyError):
        take(*lines)
    assert take.follower.take_singly(lines, None, now=NOW) == 1
    assert states(store) == {"ann@a.example": "queued", "bob@a.example": "delivered"}
    assert rows(store, schema.counter) == [("follow.failed-lines", 1)]
    assert "event=follow-bug" in caplog.text


# ------------------------------------------------------------------ the service


class Service:
    """serve_follow in a thread of its own."""

    def __init__(self, settings, store):
        self.loop = asyncio.new_event_loop()
        self.stop = asyncio.Event()
        self.error = None
        self.thread = threading.Thread(target=self._run, args=(settings, store))
        self.thread.start()

    def _run(self, settings, store):
        try:
            self.loop.run_until_complete(
                serve_follow(settings, store, Rulebook.of(load_policies(), load_suppress()), self.stop)
            )
        except BaseException as error:
            self.error = error
        finally:
            self.loop.close()

    def end(self):
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def serve(store):
    services = []

    def serve(*files, settings=SETTINGS):
        own = replace_follow(settings, tuple(map(str, files)))
        services.append(Service(own, store))
        return services[-1]

    yield serve
    for service in services:
        service.end()


def replace_follow(settings, files):
    return msgspec.structs.replace(settings, follow=FollowSettings(files=files, batch_size=3))


def test_the_service_follows_from_the_file_that_comes_later(store, serve, tmp_path):
    queued(store, "ann@a.example")
    log = tmp_path / "mail.log"
    service = serve(log)
    log.write_bytes(GREY)
    wait_for(lambda: states(store) == {"ann@a.example": "resting"})
    with log.open("ab") as file:
        file.write(GONE)
    wait_for(lambda: states(store) == {"ann@a.example": "returned"})
    service.end()
    assert service.error is None
    assert rows(store, schema.follow_place, "offset") == [len(GREY) + len(GONE)]


def test_an_idle_log_is_written_down_as_watched(store, serve, tmp_path, monkeypatch):
    monkeypatch.setattr(follow_service, "_TOUCH_SECONDS", 0.05)
    log = tmp_path / "mail.log"
    log.write_bytes(GREY)
    serve(log)
    first = wait_for(lambda: rows(store, schema.follow_place, "read") and rows(store, schema.follow_place, "read")[0])
    wait_for(lambda: rows(store, schema.follow_place, "read")[0] > first)


def test_a_locked_store_is_waited_for_and_nothing_is_lost(store, serve, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(follow_service, "_AGAIN_SECONDS", (0.05, 0.1))
    queued(store, "ann@a.example")
    log = tmp_path / "mail.log"
    log.touch()
    serve(log)
    other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    log.write_bytes(GREY + SENT)
    wait_for(lambda: "event=follow-store-failed" in caplog.text)
    other.execute("ROLLBACK")
    other.close()
    wait_for(lambda: states(store) == {"ann@a.example": "delivered"})
    assert len(rows(store, schema.attempt)) == 2


def test_a_stop_ends_a_follower_whose_store_is_gone(store, serve, tmp_path, monkeypatch, caplog):
    def gone(*_arguments, **_more):
        raise StoreError("gone")

    monkeypatch.setattr(Follower, "take", gone)
    log = tmp_path / "mail.log"
    log.write_bytes(GREY)
    service = serve(log)
    wait_for(lambda: "event=follow-store-failed" in caplog.text)
    service.end()
    assert service.error is None
    assert rows(store, schema.follow_place) == []


def test_a_bug_in_one_line_does_not_stop_the_service(store, serve, tmp_path, monkeypatch, caplog):
    queued(store, "ann@a.example", "bob@a.example")
    real = attempts.record_attempt

    def breaks(tx, line, *arguments, **more):
        if line.recipient.startswith("ann"):
            raise KeyError("a bug")
        return real(tx, line, *arguments, **more)

    monkeypatch.setattr(attempts, "record_attempt", breaks)
    log = tmp_path / "mail.log"
    log.write_bytes(GREY + delivery("bob@a.example", "sent", "250 ok"))
    serve(log)
    wait_for(lambda: states(store)["bob@a.example"] == "delivered")
    wait_for(lambda: rows(store, schema.follow_place, "offset") == [log.stat().st_size])


def test_several_logs_are_followed_side_by_side(store, serve, tmp_path):
    queued(store, "ann@a.example", "bob@a.example")
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    one.write_bytes(SENT)
    two.write_bytes(delivery("bob@a.example", "bounced", BUSY))
    serve(one, two)
    wait_for(lambda: states(store) == {"ann@a.example": "delivered", "bob@a.example": "returned"})
    assert sorted(rows(store, schema.follow_place, "path")) == [str(one), str(two)]


@pytest.mark.parametrize("kind", ["folder", "unreadable"])
def test_a_log_that_cannot_be_read_stops_the_start_with_a_sentence(store, serve, tmp_path, monkeypatch, kind):
    log = tmp_path / "mail.log"
    if kind == "folder":
        log.mkdir()
    else:
        log.touch()
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    service = serve(log)
    service.thread.join(20)
    assert "no file that this user can read; let the user join the group" in str(service.error)


@pytest.fixture
def piped(monkeypatch):
    """Standard input as the end of a pipe; gives the other end."""
    reading, writing = os.pipe()
    real = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: real(reading if fd == 0 else fd, size))
    yield writing
    for end in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(end)


def test_standard_input_is_followed_to_its_end(store, serve, piped):
    queued(store, "ann@a.example")
    service = serve("-")
    os.write(piped, GREY[:50])
    os.write(piped, GREY[50:] + SENT + b"half a line")
    wait_for(lambda: states(store) == {"ann@a.example": "delivered"})
    os.close(piped)
    service.thread.join(20)
    assert service.error is None
    assert not service.thread.is_alive()


def test_a_stop_does_not_wait_for_standard_input(store, serve, piped):
    queued(store, "ann@a.example")
    service = serve("-")
    os.write(piped, SENT)
    wait_for(lambda: states(store) == {"ann@a.example": "delivered"})
    service.end()
    assert service.error is None
    os.write(piped, b"\n")  # lets the reading thread go
