"""What a batch tells of queue ids: it comes together, is known before it is written, and is written at once."""

from datetime import timedelta
from itertools import pairwise

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from omicard_relay.store import queues, schema
from omicard_relay.store.queues import QueueNotes
from tests.keeping import NOW, a_store, rows

LATER = NOW + timedelta(seconds=3)
#: What the lines of one mail tell, in the order of the log.
TOLD = [
    {"time": NOW, "orig_queue_id": "h1"},
    {"time": NOW, "message_id": "<a@b>"},
    {"time": NOW, "sender": "", "active": NOW},
    {"time": LATER, "sender": "", "active": LATER},
    {"time": LATER, "notice_of": "4QNOTICE"},
    {"time": LATER, "removed": LATER},
]
WHOLE = ("4QAAAAA1", NOW, "<a@b>", "", "h1", LATER, LATER, "4QNOTICE")


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def write(store, told, queue_id="4QAAAAA1"):
    with store.write() as tx:
        notes = QueueNotes(tx)
        for one in told:
            notes.note(queue_id, **one)
        notes.flush()


def kept(store):
    return [tuple(row) for row in rows(store, schema.queue)]


@pytest.mark.parametrize("cut", range(len(TOLD) + 1))
def test_a_mail_is_told_whole_wherever_its_batch_ends(store, cut):
    write(store, TOLD[:cut])
    write(store, TOLD[cut:])
    assert kept(store) == [WHOLE]
    write(store, TOLD)
    assert kept(store) == [WHOLE]


def test_what_is_told_later_replaces_what_was_and_the_first_line_keeps_its_time(store):
    write(store, [{"time": NOW, "message_id": "<a@b>"}, {"time": LATER, "message_id": "<c@d>"}])
    assert kept(store)[0][1:3] == (NOW, "<c@d>")
    write(store, [{"time": LATER, "message_id": "<e@f>"}])
    assert kept(store)[0][1:3] == (NOW, "<e@f>")


def test_the_origin_is_what_waits_else_what_was_written(store):
    with store.write() as tx:
        notes = QueueNotes(tx)
        assert notes.origin("4QAAAAA1") is None
        notes.note("4QAAAAA1", time=NOW, orig_queue_id="h1")
        assert notes.origin("4QAAAAA1") == "h1"
        notes.flush()
        notes.note("4QAAAAA1", time=NOW, message_id="<a@b>")
        assert notes.origin("4QAAAAA1") == "h1"
        notes.note("4QAAAAA1", time=NOW, orig_queue_id="h2")
        assert notes.origin("4QAAAAA1") == "h2"
        assert notes.origin("4QAAAAA2") is None


def test_a_batch_is_one_statement_however_many_queue_ids_it_names(store):
    statements = []
    with store.write() as tx:
        sa.event.listen(tx, "before_cursor_execute", lambda *seen: statements.append((seen[2], seen[5])))
        notes = QueueNotes(tx)
        for number, (one, other) in enumerate(pairwise(TOLD * 20)):
            notes.note(f"4Q{number}", **one)
            notes.note(f"4Q{number}", **other)
        notes.flush()
        notes.flush()
    assert [is_many for _, is_many in statements] == [True]
    assert len(kept(store)) == len(TOLD) * 20 - 1


def test_postgresql_is_asked_for_the_same():
    text = str(queues._UPSERT["postgresql"].compile(dialect=postgresql.dialect()))
    assert "ON CONFLICT (queue_id) DO UPDATE SET message_id = coalesce(excluded.message_id, queue.message_id)" in text
