"""Where a recipient stands is a fold over its log lines: in whatever order they come, and however often."""

from datetime import timedelta
from itertools import permutations

import pytest

from omicard_relay.mail import Attempt, Decision, Outcome, Reply, Stage, Verdict
from omicard_relay.store import attempts, fates, schema
from tests.keeping import NOW, a_store, hand_over, queued, rows, submit

NEWS = "news@shop.example"


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def line(outcome, text="250 ok", *, at=0, address="ann@a.example", is_attempt=True, original="", queue_id="4QAAAAA1"):
    return Attempt(
        time=NOW + timedelta(seconds=at),
        queue_id=queue_id,
        recipient=address,
        original_recipient=original,
        outcome=outcome,
        enhanced_status="",
        reply=Reply(text=text, innermost=text, stage=Stage.RCPT),
        is_attempt=is_attempt,
        line_digest=f"{outcome}{text}{at}{address}",
    )


def record(store, one, code=None):
    verdict = Verdict(bounce_code=code, rule_id=f"rule-{code}", confidence=1.0) if code else None
    decision = Decision(action="retry" if one.outcome is Outcome.DEFERRED else "return", reasons=("so",))
    with store.write() as tx:
        return attempts.record_attempt(tx, one, verdict, decision if code else None)


def fate(store):
    return rows(store, schema.recipient, "state", "bounce_code", "detail", "attempts")[0]


FULL = (line(Outcome.DEFERRED, "452 full", at=1), 901)
SUSPENDED = (line(Outcome.DEFERRED, "delivery temporarily suspended", at=2, is_attempt=False), 910)
GREY = (line(Outcome.DEFERRED, "450 grey", at=3), 935)
SENT = (line(Outcome.SENT, "250 ok", at=9), None)
GONE = (line(Outcome.BOUNCED, "550 gone", at=9), 902)
EXPIRED = (line(Outcome.EXPIRED, "time ran out", at=9, is_attempt=False), 935)
EXPIRED_BARE = (line(Outcome.EXPIRED, "time ran out", at=9, is_attempt=False), 931)
ALIAS = (line(Outcome.OTHER, "forwarded as", at=4), None)

FATES = {
    "nothing yet": ([], ("queued", None, None, 0)),
    "deferred": ([FULL], ("resting", 901, "452 full", 1)),
    "deferred, then a rest": ([FULL, SUSPENDED], ("resting", 901, "452 full", 1)),
    "only a rest": ([SUSPENDED], ("resting", 910, "delivery temporarily suspended", 0)),
    "twice deferred": ([FULL, SUSPENDED, GREY], ("resting", 935, "450 grey", 2)),
    "delivered at last": ([FULL, GREY, SENT], ("delivered", None, "250 ok", 3)),
    "returned at last": ([FULL, GONE], ("returned", 902, "550 gone", 2)),
    "expired, the last server's words": ([FULL, GREY, EXPIRED], ("returned", 935, "450 grey", 2)),
    "expired, no cause": ([EXPIRED_BARE], ("returned", 931, "time ran out", 0)),
    "an alias is no fate": ([ALIAS], ("queued", None, None, 0)),
}


@pytest.mark.parametrize("case", FATES)
def test_the_state_is_that_of_the_last_telling_line_in_any_order(tmp_path, case):
    lines, wanted = FATES[case]
    for number, order in enumerate(permutations(lines)):
        with a_store(tmp_path / str(number)) as store:
            queued(store, "ann@a.example")
            for one in order:
                record(store, *one)
            assert fate(store) == wanted


@pytest.mark.parametrize("case", FATES)
def test_lines_that_come_before_the_queue_id_is_known_count_as_well(store, case):
    lines, wanted = FATES[case]
    ids = submit(store, "ann@a.example")
    for one in lines:
        assert record(store, *one).recipient_id is None
    hand_over(store, ids, "4QAAAAA1")
    assert fate(store) == wanted


def test_an_address_that_an_alias_changed_is_joined_by_what_we_sent_either_way(store):
    changed = line(Outcome.BOUNCED, "550 gone", at=1, address="ann@inside.example", original="Ann@a.example")
    ids = submit(store, "ann@a.example")
    record(store, changed, 902)
    hand_over(store, ids, "4QAAAAA1")
    assert fate(store) == ("returned", 902, "550 gone", 1)

    queued(store, "bob@a.example", name="s2", queue_id="4QAAAAA2")
    changed = line(Outcome.SENT, at=2, address="bob@inside.example", original="bob@a.example", queue_id="4QAAAAA2")
    recorded = record(store, changed)
    assert recorded.address == "bob@a.example"
    assert rows(store, schema.recipient, "state")[1] == "delivered"


def test_the_lines_of_another_recipient_or_mail_are_not_taken(store):
    queued(store, "ann@a.example", "bob@a.example")
    queued(store, "ann@a.example", name="s2", queue_id="4QAAAAA2")
    record(store, line(Outcome.SENT))
    assert rows(store, schema.recipient, "state") == ["delivered", "queued", "queued"]


def test_a_hop_is_no_fate(store):
    ids = queued(store, "ann@a.example")
    with store.write() as tx:
        attempts.record_attempt(tx, line(Outcome.SENT), None, None, is_hop=True)
        fates.refold(tx, ids[0])
    assert fate(store) == ("queued", None, None, 0)


def test_folding_again_changes_nothing(store):
    (row,) = queued(store, "ann@a.example")
    for one in (FULL, GONE):
        record(store, *one)
    before = rows(store, schema.recipient)
    with store.write() as tx:
        fates.refold(tx, row)
    assert rows(store, schema.recipient) == before


def test_a_signed_reverse_path_is_one_that_differs_from_the_submissions(store):
    submit(store, "ann@a.example", name="s1", reverse_paths=("b+abc@bounces.example",))
    submit(store, "bob@a.example", name="s2", sender="News@Shop.Example", reverse_paths=("news@shop.example",))
    with store.read() as tx:
        found = tx.execute(schema.recipient.select().where(fates.is_signed())).all()
    assert [row.address for row in found] == ["ann@a.example"]
