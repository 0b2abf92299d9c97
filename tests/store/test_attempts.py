"""What the follower writes: each line once, joined to our recipient, and how a mail in doubt is found again."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from omicard_relay.mail import Attempt, Decision, Outcome, Reply, Stage, Verdict
from omicard_relay.store import attempts, schema
from omicard_relay.store.attempts import Place
from omicard_relay.store.queues import QueueNotes
from tests.keeping import NOW, a_store, hand_over, queued, rows, state_of, submit

TOKEN = "b+aaaaaaaaaa@bounces.example"
NEWS = "news@shop.example"
PLACE = Place(path="/log", inode=1 << 40, head_digest="ab", head_length=2, offset=1 << 40)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def line(outcome=Outcome.DEFERRED, *, at=0, address="ann@a.example", queue_id="4QAAAAA1", is_attempt=True, text="450"):
    return Attempt(
        time=NOW + timedelta(seconds=at),
        queue_id=queue_id,
        recipient=address,
        outcome=outcome,
        enhanced_status="4.0.0",
        reply=Reply(text=text, innermost=text, reply_code=450, stage=Stage.RCPT),
        is_attempt=is_attempt,
        relay_host="mx.a.example",
        relay_ip="192.0.2.1",
        relay_port=25,
        delay_seconds=1.5,
        delays=(0.1, 0.0, 1.0, 0.4),
        line_digest=f"{outcome}{at}{address}{queue_id}",
    )


def record(store, one, *, code=None, **more):
    verdict = Verdict(bounce_code=code, rule_id="a-rule", confidence=0.9, words="full") if code else None
    decision = Decision(action="retry", reasons=("first", "second")) if code else None
    with store.write() as tx:
        return attempts.record_attempt(tx, one, verdict, decision, **more)


def in_store(store, function, *arguments, **more):
    with store.write() as tx:
        return function(tx, *arguments, **more)


# ------------------------------------------------------------------ lines


def test_a_line_is_kept_whole(store):
    (row,) = queued(store, "ann@a.example")
    assert record(store, line(text="450 4.2.2 \x1b[31m over quota"), code=901) == attempts.Recorded(
        is_new=True, recipient_id=row, address="ann@a.example"
    )
    (kept,) = rows(store, schema.attempt)
    assert kept.reply == "450 4.2.2 \x1b[31m over quota"
    assert (kept.bounce_code, kept.rule_id, kept.words, kept.action) == (901, "a-rule", "full", "retry")
    assert (kept.reasons, kept.delays, kept.delay) == ("first; second", "[0.1, 0.0, 1.0, 0.4]", 1.5)
    assert (kept.relay_host, kept.relay_ip, kept.relay_port) == ("mx.a.example", "192.0.2.1", 25)


def test_a_line_that_is_read_again_changes_nothing(store):
    queued(store, "ann@a.example")
    record(store, line(), code=901)
    before = rows(store, schema.attempt), rows(store, schema.recipient)
    assert not record(store, line(), code=902).is_new
    assert (rows(store, schema.attempt), rows(store, schema.recipient)) == before


def test_attempts_are_numbered_by_mail_and_recipient_and_a_rest_has_no_number(store):
    for one in (
        line(at=1),
        line(at=2, is_attempt=False),
        line(at=3),
        line(at=4, address="bob@a.example"),
        line(at=5, queue_id="4QAAAAA2"),
        line(Outcome.SENT, at=6),
    ):
        record(store, one)
    assert rows(store, schema.attempt, "number") == [1, 0, 2, 1, 1, 3]


def test_a_line_of_a_foreign_mail_is_kept_without_an_owner(store):
    queued(store, "ann@a.example")
    assert record(store, line(queue_id="4QZZZZZ9")).recipient_id is None
    assert record(store, line(queue_id="")).recipient_id is None
    assert rows(store, schema.attempt, "recipient_id") == [None, None]


def test_a_hop_has_no_owner(store):
    queued(store, "ann@a.example")
    assert record(store, line(Outcome.SENT), is_hop=True).recipient_id is None
    assert rows(store, schema.recipient, "state") == ["queued"]


# ------------------------------------------------------------------ expiry


def test_who_waits_is_told_with_the_cause_of_the_last_real_attempt(store):
    ann, bob, cat, _dan = queued(store, *(f"{name}@a.example" for name in ("ann", "bob", "cat", "dan")))
    record(store, line(at=1), code=901)
    record(store, line(at=2, is_attempt=False), code=910)
    record(store, line(Outcome.SENT, at=1, address="bob@a.example"))
    record(store, line(Outcome.BOUNCED, at=1, address="dan@a.example"), code=902)

    with store.read() as tx:
        waiting = attempts.waiting_recipients(tx, "4QAAAAA1")
    assert [(one.recipient_id, one.cause and one.cause.bounce_code) for one in waiting] == [(ann, 901), (cat, None)]
    assert waiting[0].cause == Verdict(bounce_code=901, rule_id="a-rule", confidence=0.9, words="full")

    gone = line(Outcome.EXPIRED, at=9, is_attempt=False)
    decision = Decision(action="return", reasons=("time",))
    assert in_store(store, attempts.record_expired, ann, gone, waiting[0].cause, decision).is_new
    assert not in_store(store, attempts.record_expired, ann, gone, waiting[0].cause, decision).is_new
    with store.read() as tx:
        assert [one.recipient_id for one in attempts.waiting_recipients(tx, "4QAAAAA1")] == [cat]
    assert state_of(store, ann) == "returned"
    assert state_of(store, bob) == "delivered"


# ------------------------------------------------------------------ doubt


def active(store, queue_id="4QAAAAA1", sender=NEWS, nrcpt=1):
    return in_store(store, attempts.record_active, queue_id, time=NOW, sender=sender, nrcpt=nrcpt)


def origin(store, name, queue_id="4QAAAAA1"):
    in_store(store, attempts.record_queue, queue_id, time=NOW, orig_queue_id=name)


def doubts(store):
    return rows(store, schema.recipient, "state", "queue_id")


def test_a_signed_reverse_path_names_the_recipient_in_whatever_case(store):
    (row,) = submit(store, "ann@a.example", reverse_paths=(TOKEN,))
    assert active(store, sender=TOKEN.upper()) == [row]
    assert doubts(store) == [("queued", "4QAAAAA1")]


def test_a_shared_reverse_path_names_nobody(store):
    submit(store, "ann@a.example")
    submit(store, "bob@a.example", name="s2")
    assert active(store) == []
    assert active(store, sender="") == []
    assert doubts(store) == [("handing-over", None)] * 2


def test_the_hand_over_that_postfix_repeats_names_all_of_its_recipients(store):
    ids = submit(store, "ann@a.example", "bob@a.example", hand_over="h1")
    submit(store, "cat@a.example", name="s2", hand_over="h2")
    origin(store, "h1")
    assert active(store, nrcpt=2) == ids
    assert doubts(store) == [("queued", "4QAAAAA1")] * 2 + [("handing-over", None)]


def test_of_a_hand_over_of_which_postfix_refused_a_part_each_line_tells(store):
    """Who was refused at RCPT must not be taken for queued: no line would ever tell of them again."""
    ann, bob = submit(store, "ann@a.example", "bob@a.example", hand_over="h1")
    origin(store, "h1")
    assert active(store, nrcpt=1) == []
    assert record(store, line(Outcome.SENT)).recipient_id == ann
    assert state_of(store, ann) == "delivered"
    assert state_of(store, bob) == "handing-over"
    assert active(store, nrcpt=1) == []  # a later look at the same mail


def test_a_delivery_line_solves_a_doubt_only_for_its_own_address_and_hand_over(store):
    submit(store, "ann@a.example", hand_over="h1")
    assert record(store, line(Outcome.SENT, at=1)).recipient_id is None  # the origin is not known
    origin(store, "h2", "4QAAAAA2")
    assert record(store, line(Outcome.SENT, at=2, queue_id="4QAAAAA2")).recipient_id is None
    origin(store, "h1", "4QAAAAA3")
    assert record(store, line(Outcome.SENT, at=3, queue_id="4QAAAAA3", address="bob@a.example")).recipient_id is None
    assert doubts(store) == [("handing-over", None)]


@pytest.mark.parametrize("relay_first", [True, False], ids=["relay-first", "log-first"])
def test_the_relay_and_the_log_agree_in_either_order(store, relay_first):
    ids = submit(store, "ann@a.example", reverse_paths=(TOKEN,))
    if relay_first:
        hand_over(store, ids, "4QAAAAA1")
    assert active(store, sender=TOKEN) == ([] if relay_first else ids)
    record(store, line(Outcome.SENT, at=1))
    if not relay_first:
        hand_over(store, ids, "4QAAAAA1", now=NOW + timedelta(seconds=5))
    (row,) = rows(store, schema.recipient)
    assert (row.state, row.queue_id, row.state_since) == ("delivered", "4QAAAAA1", NOW + timedelta(seconds=1))


def test_a_doubt_that_the_log_solves_takes_in_the_lines_that_came_before(store):
    (row,) = submit(store, "ann@a.example", hand_over="h1")
    record(store, line(at=1), code=901)
    origin(store, "h1")
    active(store)
    assert state_of(store, row) == "resting"
    assert rows(store, schema.attempt, "recipient_id") == [row]


# ------------------------------------------------------------------ queue ids


def test_what_is_told_of_a_queue_id_comes_together(store):
    at = NOW + timedelta(seconds=3)
    in_store(store, attempts.record_queue, "4QAAAAA1", time=NOW, orig_queue_id="h1")
    in_store(store, attempts.record_queue, "4QAAAAA1", time=NOW, message_id="<a@b>")
    active(store, sender="News@Shop.example")
    in_store(store, attempts.record_queue, "4QAAAAA1", time=at, removed=True)
    in_store(store, attempts.record_queue, "4QBBBBB2", time=at, notice_of="4QAAAAA1")
    assert [tuple(row) for row in rows(store, schema.queue)] == [
        ("4QAAAAA1", NOW, "<a@b>", NEWS, "h1", NOW, at, None),
        ("4QBBBBB2", at, None, None, None, None, None, "4QAAAAA1"),
    ]


# ------------------------------------------------------------------ places


def test_a_place_comes_back_as_it_was_stored(store):
    with store.read() as tx:
        assert attempts.find_place(tx, "/log") is None
    for place in (PLACE, Place(path="/log", inode=2, head_digest="cd", head_length=256, offset=9, read=NOW)):
        in_store(store, attempts.move_place, place)
        with store.read() as tx:
            assert attempts.find_place(tx, "/log") == place
            assert attempts.find_place(tx, "/other") is None


def test_a_place_in_the_middle_of_a_backlog_does_not_say_that_all_was_read(store):
    """The relay would take the silence of a log that nobody has read yet for Postfix's word that it has nothing."""
    in_store(store, attempts.move_place, PLACE)
    assert rows(store, schema.follow_place, "read") == [None]
    in_store(store, attempts.move_place, Place(path="/log", inode=1, head_digest="", head_length=0, offset=1, read=NOW))
    in_store(store, attempts.move_place, PLACE)
    assert rows(store, schema.follow_place, "read") == [NOW]


# ------------------------------------------------------------------ speed


def test_a_delivery_line_costs_four_statements(store):
    """Whose it is, the line, all lines of its recipient, and where that stands now: each is paid for every mail."""
    queued(store, "ann@a.example")
    statements = []
    with store.write() as tx:
        sa.event.listen(tx, "before_cursor_execute", lambda *seen: statements.append(seen[2].split()[0]))
        attempts.record_attempt(tx, line(Outcome.SENT), None, None, notes=QueueNotes(tx))
    assert statements == ["SELECT", "INSERT", "SELECT", "UPDATE"]


def test_what_waits_to_be_written_of_a_queue_id_is_known_to_its_lines(store):
    ann, bob = submit(store, "ann@a.example", "bob@a.example", hand_over="h1")
    with store.write() as tx:
        notes = QueueNotes(tx)
        attempts.record_queue(tx, "4QAAAAA1", time=NOW, orig_queue_id="h1", notes=notes)
        assert attempts.record_attempt(tx, line(Outcome.SENT), None, None, notes=notes).recipient_id == ann
        attempts.record_queue(tx, "4QAAAAA2", time=NOW, orig_queue_id="h1", notes=notes)
        assert attempts.record_active(tx, "4QAAAAA2", time=NOW, sender=NEWS, nrcpt=2, notes=notes) == [bob]
        notes.flush()
    assert rows(store, schema.queue, "queue_id", "sender") == [("4QAAAAA1", None), ("4QAAAAA2", NEWS)]


def test_postgresql_is_asked_for_the_same():
    text = str(attempts._INSERT["postgresql"].compile(dialect=postgresql.dialect()))
    assert text.endswith("ON CONFLICT (line_digest) DO NOTHING")
