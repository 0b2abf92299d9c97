"""A reply that gets another verdict: both are kept, the recipient follows, an expiry follows, and lists do not."""

from datetime import timedelta

import pytest

from omicard_relay.mail import ListName
from omicard_relay.services.follow import Follower
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.steering import expiry_verdict
from omicard_relay.store import lists, rejudgements, replies, schema
from omicard_relay.store.replies import Judgement, Period, ReplyKind
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import FULL, NOW, UNKNOWN, a_store, delivery, expired, queued, rows
from tests.mails import dsn
from tests.releasing import ship

SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")
TOKEN = SIGNER.make("ann@a.example", day=int(NOW.timestamp()) // 86_400, nonce=b"12345")
LATER = NOW + timedelta(days=1)
NEW = Judgement(
    release=2, bounce_code=921, rule_id="site", confidence=0.95, words="zq", action="retry", reasons="because"
)


@pytest.fixture
def book(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path / "program")
    return Rulebook.of(load_policies(), load_suppress(), release=1)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def follow(store, book, *lines):
    Follower(Settings(), store, book).take([line.rstrip(b"\n") for line in lines], None, now=NOW + timedelta(hours=1))


def change(store, new=NEW, kind=ReplyKind.ATTEMPT, only=lambda one: True):
    found = [one for page in replies.stored_replies(store, Period(), kind=kind) for one in page]
    with store.write() as tx:
        chosen = [(one, new) for one in found if only(one)]
        return rejudgements.apply_judgements(tx, chosen, now=LATER, expiry=expiry_verdict)


def story(store, kind, row_id=1):
    with store.read() as tx:
        return rejudgements.rereads(tx, kind, [row_id]).get(row_id, ())


def test_row_and_recipient_take_the_new_verdict_and_both_are_kept(store, book):
    queued(store, "ann@a.example")
    follow(store, book, delivery("ann@a.example", "bounced", UNKNOWN))
    before = rows(store, schema.attempt, "bounce_code", "rule_id", "words", "action", "rules_release")[0]
    assert change(store) == 1
    assert rows(store, schema.attempt, "bounce_code", "rule_id", "action", "rules_release") == [
        (921, "site", "retry", 2)
    ]
    assert rows(store, schema.recipient, "state", "bounce_code", "rule_id", "action") == [
        ("returned", 921, "site", "retry")
    ]
    (one,) = story(store, ReplyKind.ATTEMPT)
    assert (one.time, one.new) == (LATER, NEW)
    old = one.old
    assert (old.bounce_code, old.rule_id, old.words, old.action, old.release) == before == (902, *before[1:4], 1)


def test_a_bounce_report_and_its_recipient_follow(store, book):
    queued(store, "ann@a.example", reverse_paths=(TOKEN,))
    follow(store, book, delivery("ann@a.example", "sent", "250 ok"))
    Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW).take(dsn("ann@a.example"), sender="", recipient=TOKEN)
    assert rows(store, schema.recipient, "later_code") == [902]
    assert change(store, kind=ReplyKind.BOUNCE_REPORT) == 1
    assert rows(store, schema.recipient, "state", "later_code", "later_kind") == [("delivered", 921, "dsn")]
    assert rows(store, schema.bounce_report, "bounce_code", "rules_release") == [(921, 2)]
    assert [one.old.release for one in story(store, ReplyKind.BOUNCE_REPORT)] == [1]


def test_an_expiry_follows_the_attempt_that_named_its_cause(store, book):
    queued(store, "ann@a.example")
    follow(store, book, delivery("ann@a.example", "deferred", FULL, at=1), expired(at=2))
    assert rows(store, schema.attempt, "bounce_code") == [901, 901]
    assert change(store) == 2
    assert rows(store, schema.attempt, "bounce_code", "rules_release") == [(921, 2), (921, 2)]
    assert rows(store, schema.recipient, "state", "bounce_code", "action") == [("returned", 921, "return")]
    (one,) = story(store, ReplyKind.ATTEMPT, 2)
    assert (one.old.bounce_code, one.new.bounce_code, one.new.action) == (901, 921, "return")


def test_only_the_last_attempt_names_the_cause_of_an_expiry(store, book):
    queued(store, "ann@a.example")
    lines = [delivery("ann@a.example", "deferred", FULL, at=1), delivery("ann@a.example", "deferred", UNKNOWN, at=2)]
    follow(store, book, *lines, expired(at=3))
    assert change(store, only=lambda one: one.row_id == 1) == 1
    assert rows(store, schema.attempt, "bounce_code") == [921, 902, 902]
    assert story(store, ReplyKind.ATTEMPT, 3) == ()


def test_lists_stay_as_they_are(store, book):
    queued(store, "ann@a.example")
    follow(store, book, delivery("ann@a.example", "bounced", UNKNOWN))
    kept = rows(store, schema.list_entry), rows(store, schema.list_change)
    assert len(kept[0]) == 1
    change(store)
    assert (rows(store, schema.list_entry), rows(store, schema.list_change)) == kept
    with store.read() as tx:
        assert [e.value for e in lists.entries(tx, ListName.KNOWN_BOUNCE, now=LATER)] == ["ann@a.example"]


def test_who_comes_second_changes_nothing(store, book):
    follow(store, book, delivery("ann@a.example", "bounced", UNKNOWN))
    found = [one for page in replies.stored_replies(store, Period(), kind=ReplyKind.ATTEMPT) for one in page]
    assert change(store) == 1
    with store.write() as tx:
        assert rejudgements.apply_judgements(tx, [(found[0], NEW)], now=LATER, expiry=expiry_verdict) == 0
    assert len(rows(store, schema.rejudgement)) == 1


def test_every_change_of_a_verdict_is_told_in_order(store, book):
    follow(store, book, delivery("ann@a.example", "bounced", UNKNOWN))
    for number in range(2, 5):
        change(store, Judgement(**{**{n: getattr(NEW, n) for n in Judgement.__slots__}, "release": number}))
    told = story(store, ReplyKind.ATTEMPT)
    assert [(one.old.release, one.new.release) for one in told] == [(1, 2), (2, 3), (3, 4)]
