"""What suppress.toml counts: each mail of ours once, at the moment of its first telling, also for one sender or kind alone."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Attempt, Evidence, Outcome, Reply, Road, Trust, Verdict
from omicard_relay.store import attempts, bounces, failures, schema
from tests.keeping import NOW, a_store, queued, rows

DAY = timedelta(days=1)
FULL = Verdict(bounce_code=901, rule_id="r", confidence=1.0)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def mail(store, name, *, sender="news@shop.example", kind="marketing"):
    (ours,) = queued(store, "ann@a.example", name=name, queue_id=f"4Q{name}", sender=sender)
    with store.write() as tx:
        tx.execute(schema.submission.update().where(schema.submission.c.id == name).values(kind=kind))
    return ours


def line(store, name, *, at=NOW, outcome=Outcome.BOUNCED):
    told = Attempt(
        time=at,
        queue_id=f"4Q{name}",
        recipient="ann@a.example",
        outcome=outcome,
        enhanced_status="",
        reply=Reply(text="x", innermost="x"),
        line_digest=f"{name}{at}{outcome}",
    )
    with store.write() as tx:
        attempts.record_attempt(tx, told, None if outcome is Outcome.SENT else FULL, None)


def bounce(store, ours, *, at=NOW, road=Road.DSN, **more):
    kept = {"raw": f"{at}{more}".encode(), "size": 1, "kind": "dsn", "sender": "", "envelope_recipient": "b@x.example"}
    kept |= {"message_id": None, "trust": Trust.PROVEN, "trust_reason": "so"}
    owner = bounces.Owner(recipient_id=ours, address="ann@a.example", found_by="reverse-path")
    said = Evidence(road=road, recipient="ann@a.example", dsn_action="failed", trust=Trust.PROVEN, **more)
    with store.write() as tx:
        digest, _ = bounces.record_mail(tx, bounces.BounceMail(**kept), now=at)
        bounces.add_report(tx, digest, 0, said, FULL, None, owner=owner, trust=Trust.PROVEN, now=at)


def times(store, *, since=NOW - 14 * DAY, **only):
    with store.read() as tx:
        return failures.failure_times(tx, "Ann@a.example", 901, since=since, **only)


def test_the_first_telling_of_a_mail_is_its_moment(store):
    ours = mail(store, "m1")
    bounce(store, ours, at=NOW + 2 * DAY)
    line(store, "m1", at=NOW + DAY)
    bounce(store, ours, at=NOW + 9 * DAY)
    assert times(store) == [NOW + DAY]
    assert times(store, since=NOW + 2 * DAY) == []  # what is told again later is no newer failure


def test_mails_count_in_the_order_of_their_failures(store):
    for number in (3, 1, 2):
        mail(store, f"m{number}")
        line(store, f"m{number}", at=NOW + number * DAY)
    assert times(store) == [NOW + number * DAY for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        ({}, 3),
        ({"sender_domain": "Shop.example"}, 2),
        ({"sender_domain": "other.example"}, 1),
        ({"sender_domain": "hop.example"}, 0),
        ({"sender_domain": "%"}, 0),
        ({"kind": "marketing"}, 2),
        ({"kind": "alert"}, 1),
        ({"sender_domain": "shop.example", "kind": "alert"}, 1),
    ],
)
def test_of_one_sender_or_kind_alone(store, only, wanted):
    mail(store, "m1")
    mail(store, "m2", sender="news@other.example")
    mail(store, "m3", kind="alert")
    for number in (1, 2, 3):
        line(store, f"m{number}")
    assert len(times(store, **only)) == wanted


def test_a_delivery_of_any_mail_ends_the_count(store):
    mail(store, "m1")
    mail(store, "m2", sender="news@other.example")
    line(store, "m1", at=NOW - DAY)
    line(store, "m2", outcome=Outcome.SENT)
    assert times(store, sender_domain="shop.example") == []


def test_what_waits_is_not_told_yet(store):
    ours = mail(store, "m1")
    bounce(store, ours, queue_id="4QOTHER")
    with store.write() as tx:
        assert failures.tellings(tx, ours, 901) == 0
        tx.execute(schema.suppression_due.delete())
        assert failures.tellings(tx, ours, 901) == 1
    line(store, "m1")
    with store.read() as tx:
        assert (failures.tellings(tx, ours, 901), failures.tellings(tx, ours, 902)) == (2, 0)


def test_complaints_are_counted_by_their_type(store):
    ours = mail(store, "m1")
    for number, kind in enumerate(("abuse", "not-spam", "abuse")):
        bounce(store, ours, at=NOW + number * DAY, road=Road.ARF, feedback_type=kind)
    with store.write() as tx:
        tx.execute(schema.suppression_due.delete())
        assert failures.complaints(tx, ours, frozenset({"abuse", "opt-out"})) == 2
        assert failures.sent_as(tx, ours) == ("news@shop.example", "marketing")


def test_what_waits_goes_with_what_it_speaks_of(store):
    """An erased or purged statement leaves nothing behind that would act."""
    ours = mail(store, "m1")
    bounce(store, ours, queue_id="4QOTHER")
    assert len(rows(store, schema.suppression_due)) == 1
    with store.write() as tx:
        tx.execute(schema.bounce_report.delete())
    assert rows(store, schema.suppression_due) == []
