"""What stands behind an entry: its own line or statement, of those in the same log or mail the one with its code."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Attempt, ListEntry, ListName, Outcome, Reply, Verdict
from omicard_relay.store import attempts, proofs
from tests.keeping import NOW, a_store, queued

MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        queued(store, "ann@a.example")
        yield store


def tell(store, code, *, at, outcome=Outcome.BOUNCED):
    line = Attempt(
        time=at,
        queue_id="4QAAAAA1",
        recipient="ann@a.example",
        outcome=outcome,
        enhanced_status="",
        reply=Reply(text=f"said {code}", innermost="x"),
        line_digest=f"{code}",
    )
    with store.write() as tx:
        attempts.record_attempt(tx, line, Verdict(bounce_code=code, rule_id="r", confidence=1.0), None)


def proof(store, code):
    entry = ListEntry(
        list_name=ListName.KNOWN_BOUNCE,
        value="ann@a.example",
        reason="x",
        source="log 4QAAAAA1",
        bounce_code=code,
        created=NOW,
    )
    with store.read() as tx:
        found = proofs.find_proof(tx, entry)
    return found and found.reply


@pytest.mark.parametrize(
    ("code", "reply"),
    [(902, "said 902"), (931, "said 931"), (903, "said 931"), (None, "said 931")],
    ids=["the older one", "the newer one", "one that no line has any more", "none"],
)
def test_of_several_lines_the_one_with_the_entrys_code_comes_first_then_the_newest(store, code, reply):
    tell(store, 902, at=NOW)
    tell(store, 931, at=NOW + MINUTE)
    assert proof(store, code) == reply


def test_a_line_that_failed_for_now_proves_nothing(store):
    tell(store, 902, at=NOW, outcome=Outcome.DEFERRED)
    assert proof(store, 902) is None
