"""Stored replies come back as they were judged: page by page, and the evidence is the very one that the judge saw."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from omicard_relay.mail import Road
from omicard_relay.services.follow import Follower
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.rulediff import EvidenceReader
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from omicard_relay.store import replies, schema
from omicard_relay.store.replies import Period, ReplyKind
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import BUSY, FULL, NOW, UNKNOWN, a_store, delivery, expired, log_line, queued, rows, said
from tests.mails import arf, dsn, vacation
from tests.releasing import ship

SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")

LINES = {
    "a-remote-refusal": delivery("ann@a.example", "bounced", UNKNOWN),
    "an-alias": delivery("ann@real.example", "deferred", BUSY, original="Ann@a.example"),
    "nobody-spoke": delivery("ann@a.example", "deferred", "connect to mx[192.0.2.9]:25: timed out", relay="none"),
    "a-local-program": delivery("ann@a.example", "bounced", "unknown user: ann", relay="local", program="local"),
    "a-transport": delivery(
        "ann@a.example", "bounced", said("550 x"), relay="mail.example[private/lmtp]", program="lmtp"
    ),
    "a-bare-address": delivery("ann@a.example", "bounced", "550 5.1.1 gone", relay="192.0.2.9[192.0.2.9]:25"),
    "chinese-and-broken": delivery("ann@a.example", "bounced", said("550 信箱已滿 \\n \x07 end")),
    "two-replies": delivery("ann@a.example", "bounced", said("550-5.7.1 first 550 5.7.1 second")),
    "our-own-refusal": log_line(
        "reject: RCPT from client[192.0.2.7]: 554 5.7.1 <cat@a.example>: Relay access denied;"
        " from=<x@b.example> to=<cat@a.example> proto=ESMTP helo=<c>",
        queue_id="NOQUEUE",
        program="smtpd",
    ),
}
MAILS = {
    "a-dsn": dsn("ann@a.example"),
    "a-delay": dsn("ann@a.example", action="delayed", words="451 4.2.2 the mailbox is full"),
    "an-automatic-reply": vacation("ann@a.example"),
    "a-complaint": arf("ann@a.example"),
}


class Spy:
    """A judge that remembers what it was asked."""

    def __init__(self, judge):
        self.judge_really, self.asked = judge.judge, []

    def judge(self, evidence):
        self.asked.append(evidence)
        return self.judge_really(evidence)


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path / "program")


@pytest.fixture
def book(shipped):
    book = Rulebook.of(load_policies(), load_suppress(), release=3)
    book.current = replace(book.current, judge=Spy(book.current.judge))
    return book


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def follow(store, book, *lines):
    Follower(Settings(), store, book).take([line.rstrip(b"\n") for line in lines], None, now=NOW + timedelta(hours=1))


def stored(store, kind, period=None, **more):
    return [one for page in replies.stored_replies(store, period or Period(), kind=kind, **more) for one in page]


def alike(evidence):
    """Without what no judge looks at: names in the case in which they were written, and ids."""
    return msgspec.structs.replace(
        evidence,
        original_recipient=evidence.original_recipient.lower(),
        queue_id=None,
        message_id=None,
        envelope_id=None,
        reporting_mta=None,
        notes=(),
    )


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_log_line_comes_back_as_the_judge_saw_it(store, book, line):
    follow(store, book, line)
    (asked,) = book.current.judge.asked
    (one,) = stored(store, ReplyKind.ATTEMPT)
    assert EvidenceReader(book.current.reader).read(one) == one.evidence
    assert alike(one.evidence) == alike(asked)
    assert one.judgement.release == 3


@pytest.mark.parametrize("mail", MAILS.values(), ids=MAILS)
def test_a_bounce_comes_back_as_the_judge_saw_it(store, book, mail):
    Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW).take(mail, sender="", recipient="b@x.example")
    (asked,) = book.current.judge.asked
    (one,) = stored(store, ReplyKind.BOUNCE_REPORT)
    assert EvidenceReader(book.current.reader).read(one) == asked
    assert one.judgement.release == 3
    assert one.evidence.road is asked.road


def test_a_bounce_that_reads_otherwise_today_is_taken_from_its_columns(store, book):
    Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW).take(
        dsn("ann@a.example"), sender="", recipient="b@x.example"
    )
    with store.write() as tx:
        tx.execute(schema.bounce_report.update().values(address="bob@b.example"))
    (one,) = stored(store, ReplyKind.BOUNCE_REPORT)
    found = EvidenceReader(book.current.reader).read(one)
    assert (found.road, found.recipient) == (Road.DSN, "bob@b.example")
    assert found.reply.text == rows(store, schema.bounce_report, "reply")[0]


def test_what_did_not_fail_and_what_only_expired_is_left_out(store, book):
    queued(store, "ann@a.example")
    follow(store, book, delivery("ann@a.example", "deferred", FULL, at=1), expired(at=2))
    follow(store, book, delivery("bob@a.example", "sent", "250 ok", queue_id="4QOTHER", at=3))
    assert len(rows(store, schema.attempt)) == 3
    assert [one.evidence.recipient for one in stored(store, ReplyKind.ATTEMPT)] == ["ann@a.example"]


@pytest.fixture
def many(store, book, monkeypatch):
    monkeypatch.setattr(replies, "PAGE", 4)
    lines = [delivery(f"a{n}@a.example", "bounced", UNKNOWN, queue_id=f"4QAAAA0{n}", at=n) for n in range(10)]
    follow(store, book, *lines)
    return store


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        pytest.param({}, list(range(10)), id="all"),
        pytest.param({"newest_first": True}, list(range(10))[::-1], id="newest-first"),
        pytest.param({"newest_first": True, "limit": 5}, [9, 8, 7, 6, 5], id="some"),
        pytest.param({"limit": 0}, [], id="none"),
        pytest.param({"period": Period(since=NOW + timedelta(seconds=7))}, [7, 8, 9], id="since"),
        pytest.param({"period": Period(until=NOW + timedelta(seconds=2))}, [0, 1], id="until"),
    ],
)
def test_pages_hold_each_reply_once(many, more, wanted):
    assert [one.evidence.recipient for one in stored(many, ReplyKind.ATTEMPT, **more)] == [
        f"a{n}@a.example" for n in wanted
    ]


def test_what_comes_while_pages_are_read_is_left_out(many, book):
    pages = replies.stored_replies(many, Period(), kind=ReplyKind.ATTEMPT)
    first = next(pages)
    follow(many, book, delivery("late@a.example", "bounced", UNKNOWN, queue_id="4QLATE", at=99))
    assert len(first) + sum(map(len, pages)) == 10


def test_they_are_counted_as_they_are_read(many):
    with many.read() as tx:
        assert replies.count_replies(tx, Period()) == {"attempt": 10, "bounce_report": 0}
        assert replies.count_replies(tx, Period(since=NOW + timedelta(seconds=7)))[ReplyKind.ATTEMPT] == 3
