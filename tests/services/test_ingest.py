"""The ingester: what proves something acts once, what proves nothing changes nothing but counters, and no mail is too bad."""

import time
import tracemalloc
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omicard_relay.mail import ListName, MailKind, StoreError
from omicard_relay.services.ingest import Ingester, make_ingester
from omicard_relay.store import bounces, lists, schema
from omicard_relay.tables.settings import IngestSettings, ReturnPathSettings, Settings
from tests.ingesting import FORGER, SIGNER, token
from tests.keeping import NOW, dump, hand_over, queued, rows, submit
from tests.mails import arf, dsn, vacation

DAY = timedelta(days=1)
LIMIT = 1_000_000


@pytest.fixture
def ingester(store, book, clock):
    return Ingester(store, book, SIGNER, LIMIT, clock=clock)


@pytest.fixture
def take(ingester):
    def take(raw, recipient=None, **more):
        return ingester.take(raw, sender="", recipient=recipient or token(), **more)

    return take


@pytest.fixture
def ann(store):
    """Ann and Bob have got a mail, each with a signed reverse-path."""
    ids = submit(
        store,
        "ann@a.example",
        "bob@a.example",
        reverse_paths=(token("ann@a.example"), token("bob@a.example")),
    )
    hand_over(store, ids, "4QAAAAA1")
    return ids[0]


def known_bounces(store, now=NOW):
    with store.read() as tx:
        return [(e.value, e.bounce_code) for e in lists.entries(tx, ListName.KNOWN_BOUNCE, now=now)]


def later(store):
    return rows(store, schema.recipient, "later_code", "later_kind")


def counted(store):
    with store.read() as tx:
        return bounces.counters(tx)


def untouched(store):
    return known_bounces(store) == [] and set(later(store)) == {(None, None)} and not rows(store, schema.list_change)


# ------------------------------------------------------------------ what is proven


def test_a_failure_to_a_valid_token_acts(store, take, ann):
    assert take(dsn("ann@a.example")) is MailKind.DSN
    assert known_bounces(store) == [("ann@a.example", 902)]
    assert later(store) == [(902, "dsn"), (None, None)]
    assert rows(store, schema.bounce_mail, "trust", "trust_reason") == [("proven", "the signed reverse-path verifies")]
    assert counted(store) == {"bounce.dsn": 1}


def test_servers_may_change_the_case_of_a_token(store, take, ann):
    take(dsn("ann@a.example"), token("ann@a.example").upper())
    assert known_bounces(store) == [("ann@a.example", 902)]


def test_the_same_mail_a_thousand_times_counts_once(store, take, ann):
    raw = dsn("ann@a.example", words="552 5.2.2 mailbox full", status="5.2.2")
    for _ in range(1000):
        take(raw)
    assert known_bounces(store) == []  # three mails would suppress, one does not
    assert rows(store, schema.bounce_mail, "times_seen") == [1000]
    assert len(rows(store, schema.bounce_report)) == 1
    assert counted(store) == {"bounce.dsn": 1, "bounce.again": 999}


def test_a_full_mailbox_suppresses_after_three_mails(store, take, clock):
    for number in range(3):
        assert known_bounces(store) == []
        path = token("ann@a.example", nonce=b"%05d" % number)
        ids = submit(store, "ann@a.example", name=f"s{number}", reverse_paths=(path,))
        hand_over(store, ids, f"4QAAAAA{number}")
        clock.now = NOW + number * DAY
        take(dsn("ann@a.example", words="552 5.2.2 mailbox full", status="5.2.2", number=number), path)
    assert known_bounces(store) == [("ann@a.example", 901)]


def test_a_forwarded_mail_that_fails_elsewhere_counts_for_whom_it_was_sent_to(store, take, ann):
    take(dsn("ann@elsewhere.example"))
    assert [value for value, _ in known_bounces(store)] == ["ann@a.example"]


def test_a_dsn_without_a_recipient_belongs_to_the_token(store, take, ann):
    assert take(dsn()) is MailKind.DSN
    assert rows(store, schema.bounce_report, "recipient_id", "address", "bounce_code") == [(ann, "ann@a.example", 900)]
    assert known_bounces(store) == []  # no cause is told


# ------------------------------------------------------------------ what is not

FORGED = {
    "another key": (lambda: token("ann@a.example", signer=FORGER), "bounce.forged"),
    "one character changed": (lambda: _changed(token("ann@a.example")), "bounce.forged"),
    "dated in the future": (lambda: token("ann@a.example", age=-9), "bounce.forged"),
    "too old": (lambda: token("ann@a.example", age=31), "bounce.too-old"),
    "cut": (lambda: token("ann@a.example").replace("@", "x@"), "bounce.unproven"),
    "none": (lambda: "b@bounces.example", "bounce.unproven"),
    "another domain": (lambda: token("ann@a.example").replace("bounces.example", "x.example"), "bounce.unproven"),
    "nothing": (lambda: "", "bounce.unproven"),
    "the sender's own address": (lambda: "news@shop.example", "bounce.unproven"),
}


def _changed(address: str) -> str:
    place = 10
    return address[:place] + ("b" if address[place] == "a" else "a") + address[place + 1 :]


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(dsn("ann@a.example", queue_id="4QAAAAA1", message_id="<s1@shop.example>"), id="dsn"),
        pytest.param(arf(), id="arf"),
        pytest.param(vacation(text="My new address is ann@new.example"), id="autoreply"),
    ],
)
def test_what_proves_nothing_changes_nothing_but_counters(store, take, ann, case, raw):
    make, counter = FORGED[case]
    take(raw, make() or "<>")
    assert untouched(store)
    assert counted(store)[counter] == 1
    assert rows(store, schema.bounce_mail, "trust") == ["claimed"]
    assert set(rows(store, schema.bounce_report, "trust")) <= {"claimed"}


def test_a_token_that_was_good_when_it_was_made_gets_too_old(store, take, ann, clock):
    clock.now = NOW + 31 * DAY
    take(dsn("ann@a.example"))
    assert untouched(store)
    assert rows(store, schema.bounce_mail, "trust_reason") == ["older than 30 days"]


def test_without_signed_reverse_paths_nothing_is_proven(store, book):
    queued(store, "ann@a.example")
    Ingester(store, book, None, LIMIT).take(
        dsn("ann@a.example", queue_id="4QREMOTE", message_id="<s1@shop.example>"),
        sender="",
        recipient="news@shop.example",
    )
    assert untouched(store)
    assert rows(store, schema.bounce_report, "recipient_id") == [1]  # found, and only claimed


def test_a_token_speaks_for_its_own_recipient_alone(store, take, ann):
    """Ann's server, or whoever got hold of her token, says that everybody is gone."""
    take(dsn("bob@a.example", "ann@a.example", "cat@a.example", message_id="<s1@shop.example>"))
    assert known_bounces(store) == [("ann@a.example", 902)]
    assert later(store) == [(902, "dsn"), (None, None)]
    assert rows(store, schema.bounce_report, "address", "trust") == [
        ("bob@a.example", "claimed"),
        ("ann@a.example", "proven"),
        ("cat@a.example", "claimed"),
    ]


def test_a_token_of_one_mail_names_nobody_of_another(store, take, ann):
    """Only others are named, more than one: nothing is known of Ann."""
    take(dsn("bob@a.example", "cat@a.example", message_id="<s1@shop.example>"))
    assert untouched(store)


def test_a_valid_token_whose_mail_is_not_known_proves_nothing_about_others(store, take):
    """The row of the token's mail is gone; the DSN names Bob and his mail."""
    queued(store, "bob@a.example")
    take(dsn("bob@a.example", message_id="<s1@shop.example>"))
    assert untouched(store)
    assert rows(store, schema.bounce_report, "recipient_id", "trust") == [(1, "claimed")]


def test_our_own_postfix_only_repeats_what_its_log_tells(store, take, ann):
    take(dsn("ann@a.example", queue_id="4QAAAAA1"))
    assert untouched(store)
    assert rows(store, schema.bounce_report, "is_echo", "bounce_code") == [(True, 902)]


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "delayed", "Delayed", "RELAYED"])
def test_a_report_of_no_failure_never_counts(store, take, ann, action):
    take(dsn("ann@a.example", action=action))
    assert untouched(store)
    assert len(rows(store, schema.bounce_report)) == 1


def test_a_vacation_never_suppresses(store, take, ann):
    for number in range(9):
        assert take(vacation(text=f"I am out of the office until Monday {number}.")) is MailKind.AUTOREPLY
    assert known_bounces(store) == []
    assert later(store)[0] == (906, "autoreply")


def test_a_vacation_does_not_hide_an_earlier_failure(store, take, ann):
    take(dsn("ann@a.example"))
    take(vacation())
    assert later(store)[0] == (902, "dsn")


def test_a_complaint_is_told_and_never_suppresses(store, take, ann):
    assert take(arf()) is MailKind.ARF
    assert later(store)[0] == (913, "arf")
    assert known_bounces(store) == []


def test_a_whitelisted_address_is_not_suppressed(store, take, ann):
    from omicard_relay.mail import ListEntry

    white = ListEntry(list_name=ListName.WHITELIST, value="@a.example", reason="x", source="by hand", created=NOW)
    with store.write() as tx:
        lists.add_entry(tx, white)
    take(dsn("ann@a.example"))
    assert known_bounces(store) == []
    assert later(store)[0] == (902, "dsn")


def test_each_kind_is_counted(store, take, ann):
    person = b"From: ann@a.example\r\nSubject: hello\r\n\r\nThank you for your letter.\r\n"
    for raw in (dsn("ann@a.example"), dsn("ann@a.example", number=2), vacation(), arf(), person):
        take(raw)
    assert counted(store) == {"bounce.arf": 1, "bounce.autoreply": 1, "bounce.dsn": 2, "bounce.not-a-bounce": 1}


# ------------------------------------------------------------------ bad mails


def nested(depth: int) -> bytes:
    open_ = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (level, level) for level in range(depth)
    )
    return b"From: <>\r\nMIME-Version: 1.0\r\n" + open_ + b"Content-Type: text/plain\r\n\r\nthe heart\r\n"


BAD = {
    "empty": b"",
    "one line end": b"\r\n",
    "no header": b"\r\nwords alone\r\n",
    "header only": b"Subject: x",
    "binary": bytes(range(256)) * 40,
    "nulls": b"\0" * 5000,
    "broken utf-8": b"From: <>\r\nSubject: \xff\xfe\xed\xa0\x80\r\n\r\n\xed\xb0\x80 \xc3\x28",
    "lone surrogates in encoded words": b"From: <>\r\nSubject: =?utf-16?B?2AA=?=\r\n\r\nx",
    "nested a thousand deep": nested(1000),
    "a DSN without recipients": dsn(),
    "a DSN of broken bytes": dsn("ann@a.example").replace(b"no such user", b"\xff\xed\xa0\x80\0user"),
    "a DSN with a broken recipient": dsn("ann\x00@a.example\x1b[2J"),
    "a DSN cut in half": dsn("ann@a.example")[:700],
    "a DSN of a thousand recipients": dsn(*(f"u{number}@a.example" for number in range(1000))),
    "a boundary that never comes": b'Content-Type: multipart/report; boundary="zz"\r\n\r\nx',
    "header without end": b"Subject: " + b"a" * 500_000,
}


@pytest.mark.parametrize("case", BAD)
def test_no_mail_is_too_bad_to_be_kept(store, take, ann, case):
    begin = time.monotonic()
    take(BAD[case])
    assert time.monotonic() - begin < 10
    assert len(rows(store, schema.bounce_mail)) == 1
    before = dump(store)
    take(BAD[case])
    after = dump(store)
    assert after["bounce_report"] == before["bounce_report"]
    assert after["list_entry"] == before["list_entry"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=300), at=st.integers(0, 900), recipient=st.text(max_size=30), sender=st.text(max_size=30))
def test_any_bytes_and_any_envelope_are_kept(store, ingester, raw, at, recipient, sender):
    mail = dsn("ann@a.example")
    ingester.take(mail[:at] + raw + mail[at:], sender=sender, recipient=recipient)


def test_an_envelope_of_octets_that_are_no_text_is_kept(store, take):
    """As `os.fsdecode` and aiosmtpd hand them on."""
    bad = b"b+\xff\xfe\x00@bounces.example".decode("utf-8", "surrogateescape")
    take(b"x", bad)
    assert rows(store, schema.bounce_mail, "envelope_recipient") == ["b+\\udcff\\udcfe\\x00@bounces.example"]


def test_of_a_mail_that_is_too_long_the_start_is_kept_and_noted(store, take, ann):
    begin = dsn("ann@a.example")
    take(begin + b"x" * (2 * LIMIT))
    (kept,) = rows(store, schema.bounce_mail)
    assert kept.size == LIMIT
    assert "longer than the size limit: only its start is kept" in kept.notes
    assert known_bounces(store) == [("ann@a.example", 902)]


def test_a_mail_that_was_cut_before_is_noted(store, take, ann):
    take(dsn("ann@a.example"), cut=True)
    assert "only its start is kept" in rows(store, schema.bounce_mail, "notes")[0]


def test_a_hundred_megabytes_need_no_hundred_more(store, take, ann):
    raw = dsn("ann@a.example") + b"0123456789abcde\n" * (100 * 1024 * 1024 // 16)
    tracemalloc.start()
    try:
        take(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * LIMIT


# ------------------------------------------------------------------ failing, and settings


def test_a_mail_that_could_not_be_stored_is_told_and_leaves_nothing(store, take, ann, monkeypatch):
    def fails(*_arguments, **_more):
        raise StoreError("gone")

    before = dump(store)
    with monkeypatch.context() as patch:
        patch.setattr(bounces, "add_report", fails)
        with pytest.raises(StoreError):
            take(dsn("ann@a.example"))
    assert dump(store) == before
    take(dsn("ann@a.example"))
    assert known_bounces(store) == [("ann@a.example", 902)]


def test_an_ingester_is_made_by_the_settings(store, tmp_path):
    settings = Settings(
        data_dir=str(tmp_path),
        return_path=ReturnPathSettings(domain="bounces.example"),
        ingest=IngestSettings(size_limit=9),
    )
    ingester = make_ingester(settings, store)
    assert ingester.size_limit == 9
    ingester.take(b"0123456789", sender="", recipient="b@bounces.example")
    assert rows(store, schema.bounce_mail, "size", "trust_reason") == [(9, "no token")]
    assert (tmp_path / "return-path.keys").exists()
