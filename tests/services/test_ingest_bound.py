"""The ingester in a flood and under many mails at once: what is proven is never lost, and one bad mail harms no other."""

from concurrent.futures import Future

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from omicard_relay.mail import MailKind, StoreBusyError, StoreError, Trust
from omicard_relay.services import ingest_flood
from omicard_relay.services.ingest import FloodError, Ingester, make_ingester
from omicard_relay.services.ingest_flood import FloodBound, TokenFinder
from omicard_relay.store import bounces, schema
from omicard_relay.store.bounce_flow import CONTENT_LEFT_OUT
from omicard_relay.store.writer import Writer
from omicard_relay.tables.settings import IngestSettings, ReturnPathSettings, Settings
from tests.ingesting import FORGER, SIGNER, TODAY, token
from tests.keeping import NOW, content_of, hand_over, rows, submit
from tests.mails import arf, dsn

ANN = token("ann@a.example")
FORGED = token("ann@a.example", signer=FORGER)


@pytest.fixture
def ingester(store, book):
    """Five unproven mails a minute."""
    flood = FloodBound(mails_per_minute=5, octets_per_hour=10**6, now=NOW)
    return Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW, flood=flood)


def counted(store):
    with store.read() as tx:
        return bounces.counters(tx)


def forge(ingester, count, *, sender="", recipient=FORGED, start=0):
    return [
        ingester.take(dsn("ann@a.example", number=start + number), sender=sender, recipient=recipient)
        for number in range(count)
    ]


# ------------------------------------------------------------------ floods


def test_of_a_flood_so_much_is_kept_whole_as_much_as_notes_and_all_is_counted(store, ingester):
    kinds = forge(ingester, 50)
    assert kinds == [MailKind.DSN] * 5 + [MailKind.OTHER] * 45
    assert counted(store)["bounce.flood"] == 45
    kept = rows(store, schema.bounce_mail, "kind", "trust", "size")
    assert sorted(kind for kind, *_ in kept) == ["dsn"] * 5 + ["other"] * 5
    assert {trust for _, trust, _ in kept} == {"claimed"}
    assert len(rows(store, schema.bounce_report)) == 5
    assert rows(store, schema.list_entry) == []


def test_a_note_says_that_it_is_one_and_how_long_the_mail_was(store, ingester):
    forge(ingester, 5)
    ingester.take(b"Subject: x\r\n\r\n" + b"y" * 5000, sender="", recipient=FORGED)
    found = [row for row in rows(store, schema.bounce_mail, "kind", "notes", "size") if row[0] == "other"]
    assert found == [("other", "over the bound of unproven mails: only the start of its head is kept", 5014)]


def test_nothing_of_what_is_over_the_bound_is_parsed(store, ingester, book, monkeypatch):
    forge(ingester, 5)
    monkeypatch.setattr(type(book.current.reader), "read", lambda *_: pytest.fail("it was parsed"))
    forge(ingester, 20, start=5)


def test_a_proven_bounce_in_the_middle_of_a_flood_acts_as_ever(store, ingester):
    hand_over(store, submit(store, "ann@a.example", reverse_paths=(ANN,)), "4QAAAAA1")
    forge(ingester, 30)
    assert ingester.take(dsn("ann@a.example", number=99), sender="", recipient=ANN) is MailKind.DSN
    assert rows(store, schema.list_entry, "value", "bounce_code") == [("ann@a.example", 902)]


def test_a_complaint_that_returns_our_mail_passes_whatever_address_it_came_to(store, ingester):
    forge(ingester, 30)
    raw = arf().replace(b"From: news@shop", b"Return-Path: <" + ANN.encode() + b">\r\nFrom: news@shop")
    assert ingester.take(raw, sender="fbl@there.example", recipient="b@bounces.example") is MailKind.ARF


def test_a_persons_mail_in_a_flood_is_left_to_postfix_and_never_dropped(store, ingester):
    forge(ingester, 30)
    assert forge(ingester, 5, sender="mallory@b.example", start=30) == [MailKind.DSN] * 5
    with pytest.raises(FloodError, match="taken later"):
        ingester.take(b"Subject: Re: Spring\r\n\r\nhello", sender="ann@a.example", recipient="b@bounces.example")
    assert counted(store)["bounce.flood-deferred"] == 1
    assert len(rows(store, schema.bounce_mail)) == 15


@pytest.mark.parametrize("sender", ["", "<>", "MAILER-DAEMON"])
def test_a_null_reverse_path_is_never_left_to_postfix(ingester, sender):
    forge(ingester, 10)
    assert forge(ingester, 1, sender=sender, start=10) == [MailKind.OTHER]


def test_where_reverse_paths_are_not_signed_nothing_is_bounded(store, book):
    flood = FloodBound(mails_per_minute=1, octets_per_hour=1, now=NOW)
    ingester = Ingester(store, book, None, 1_000_000, clock=lambda: NOW, flood=flood)
    assert forge(ingester, 20) == [MailKind.DSN] * 20


def test_it_is_logged_once_a_minute(ingester, caplog):
    forge(ingester, 100)
    assert caplog.text.count("event=bounce-flood") == 1


def test_the_settings_set_the_bound(tmp_path, store):
    own = IngestSettings(unproven_per_minute=3)
    settings = Settings(data_dir=str(tmp_path), return_path=ReturnPathSettings(domain="bounces.example"), ingest=own)
    kinds = forge(make_ingester(settings, store), 10, recipient="b@bounces.example")
    assert kinds.count(MailKind.DSN) == 3
    # A process that starts in the middle of it, such as the pipe's own, does not begin anew.
    kinds = forge(make_ingester(settings, store), 10, recipient="b@bounces.example", start=10)
    assert kinds.count(MailKind.DSN) == 0


def test_of_one_tokens_reports_beyond_its_octets_the_statements_act_and_the_contents_are_not_kept(
    store, ingester, monkeypatch
):
    raw = dsn("ann@a.example", words="552 5.2.2 mailbox full", status="5.2.2")
    monkeypatch.setattr(ingest_flood, "_OCTETS_PER_TOKEN", 3 * len(raw))
    hand_over(store, submit(store, "ann@a.example", reverse_paths=(ANN,)), "4QAAAAA1")
    for number in range(3):
        ingester.take(raw.replace(b"notice-1", b"notice-%d" % number), sender="", recipient=ANN)
    long = dsn("ann@a.example", number=9) + b"x" * 2000
    # In whatever spelling: it is one token.
    assert ingester.take(long, sender="", recipient=ANN.upper()) is MailKind.DSN
    assert rows(store, schema.list_entry, "value", "bounce_code") == [("ann@a.example", 902)]
    assert rows(store, schema.bounce_report, "trust") == [Trust.PROVEN] * 4
    told = dict(rows(store, schema.bounce_mail, "message_id", "notes"))
    assert [CONTENT_LEFT_OUT in notes for notes in told.values()].count(True) == 1
    with store.read() as tx:
        lengths = {
            size: len(content_of(tx, digest))
            for digest, size in tx.execute(sa.select(schema.bounce_mail.c.digest, schema.bounce_mail.c.size))
        }
    assert lengths == {len(raw): len(raw), len(long): 1024}


def test_a_persons_mail_beyond_the_octets_of_its_token_is_bounded_as_if_it_had_none(store, ingester, monkeypatch):
    monkeypatch.setattr(ingest_flood, "_OCTETS_PER_TOKEN", 100)
    forge(ingester, 5, sender="mallory@b.example")
    with pytest.raises(FloodError):
        ingester.take(b"Subject: Re: Spring\r\n\r\n" + b"hello " * 99, sender="ann@a.example", recipient=ANN)


def test_the_octets_of_a_token_that_another_process_took_count(store, book, ingester, monkeypatch):
    raw = dsn("ann@a.example")
    monkeypatch.setattr(ingest_flood, "_OCTETS_PER_TOKEN", len(raw))
    ingester.take(raw, sender="", recipient=ANN)
    flood = FloodBound(mails_per_minute=5, octets_per_hour=10**6, now=NOW)
    other = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW, flood=flood)
    other.take(dsn("ann@a.example", number=2), sender="", recipient=ANN.upper())
    found = [CONTENT_LEFT_OUT in notes for notes in rows(store, schema.bounce_mail, "notes")]
    assert sorted(found) == [False, True]


@pytest.mark.parametrize(
    ("raw", "is_found"),
    [
        (ANN.encode(), True),
        (ANN.upper().encode(), True),
        (b"x" * 5000 + b"<" + ANN.encode() + b">", True),
        (FORGED.encode() + b" " + ANN.encode(), True),
        (FORGED.encode() * 8 + ANN.encode(), False),
        (FORGED.encode(), False),
        (ANN.replace("bounces.example", "bouncesxexample").encode(), False),
        (b"\xff\x00" * 5000, False),
        (b"b+" * 100_000, False),
    ],
    ids=["alone", "upper case", "deep", "behind a forged one", "behind many", "forged", "domain", "octets", "starts"],
)
def test_a_token_is_found_wherever_it_stands(raw, is_found):
    assert (TokenFinder(SIGNER).find(raw, today=TODAY) is not None) is is_found


# ------------------------------------------------------------------ many at once


@pytest.fixture
def writer(store):
    writer = Writer(store)
    yield writer
    writer.close()


@pytest.fixture
def shared(store, book, writer):
    return Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW, writer=writer)


def begin(ingester, number):
    return ingester.begin(dsn("ann@a.example", number=number), sender="", recipient=ANN)


def test_mails_that_come_together_are_each_answered_when_they_are_on_disk(store, shared):
    hand_over(store, submit(store, "ann@a.example", reverse_paths=(ANN,)), "4QAAAAA1")
    futures = [begin(shared, number) for number in range(100)]
    assert [future.result(30) for future in futures] == [MailKind.DSN] * 100
    assert len(rows(store, schema.bounce_mail)) == 100
    assert len(rows(store, schema.list_entry)) == 1


def test_a_mail_that_the_database_refuses_fails_alone(store, shared, writer, monkeypatch):
    """The whole batch is rolled back by it; all others are then written one by one."""
    keep, gate = bounces.keep_mail, Future()

    def refusing(tx, digest, mail, *, now):
        if b"notice-3@" in mail.raw:
            raise OperationalError("INSERT", {}, Exception("too much for this database"))
        return keep(tx, digest, mail, now=now)

    monkeypatch.setattr(bounces, "keep_mail", refusing)
    writer.submit(lambda tx: gate.result(30))  # until it is done, all others gather for one batch
    futures = [begin(shared, number) for number in range(8)]
    gate.set_result(None)
    for number, future in enumerate(futures):
        if number == 3:
            with pytest.raises(StoreError, match="too much"):
                future.result(30)
        else:
            assert future.result(30) is MailKind.DSN
    assert len(rows(store, schema.bounce_mail)) == 7


def test_a_store_that_is_busy_is_told_at_once_and_not_asked_for_each(store, book):
    class Busy:
        asked = 0

        def submit(self, job):
            self.asked += 1
            future = Future()
            future.set_exception(StoreBusyError("locked"))
            return future

    busy = Busy()
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW, writer=busy)
    with pytest.raises(StoreBusyError):
        begin(ingester, 1).result(30)
    assert (busy.asked, rows(store, schema.bounce_mail)) == (1, [])


def test_what_is_written_alone_raises_as_itself(store, book, monkeypatch):
    def broken(*_, **__):
        raise KeyError("a bug")

    monkeypatch.setattr(bounces, "keep_mail", broken)
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=lambda: NOW)
    with pytest.raises(KeyError):
        begin(ingester, 1).result(30)
    assert rows(store, schema.counter) == []


def test_the_trust_of_a_mail_does_not_hang_on_how_it_is_written(store, shared):
    begin(shared, 1).result(30)
    assert rows(store, schema.bounce_mail, "trust") == [Trust.PROVEN]
