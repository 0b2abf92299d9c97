"""The bound on unproven mail: what is proven passes always, the rest so much a minute and an hour, whatever the clock does."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import MailKind, Trust
from omicard_relay.services import ingest_flood
from omicard_relay.services.ingest_flood import Admission, FloodBound, flood_bound
from omicard_relay.signing.return_path import TokenReading
from omicard_relay.store import bounces
from omicard_relay.store.bounce_flow import OVER_BOUND
from tests.keeping import NOW, a_store

NO_TOKEN = TokenReading(valid=False, reason="no token")
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def proven(name: bytes = b"12345") -> TokenReading:
    return TokenReading(valid=True, reason="signature verifies", nonce=name, recipient_digest=b"abcde")


def a_bound(mails: int = 60, octets: int = 1_000_000) -> FloodBound:
    return FloodBound(mails_per_minute=mails, octets_per_hour=octets, now=NOW)


def admitted(bound: FloodBound, count: int, *, octets: int = 1, now=NOW, token=NO_TOKEN) -> dict[Admission, int]:
    found = [bound.admit(token, octets, now) for _ in range(count)]
    return {kind: found.count(kind) for kind in Admission if kind in found}


def test_so_many_whole_as_many_notes_and_the_rest_is_counted():
    assert admitted(a_bound(), 200) == {Admission.WHOLE: 60, Admission.NOTE: 60, Admission.COUNT: 80}


def test_room_comes_back_with_time():
    bound = a_bound()
    admitted(bound, 500)
    assert admitted(bound, 10, now=NOW + 5 * SECOND)[Admission.WHOLE] == 5
    assert admitted(bound, 100, now=NOW + 2 * MINUTE)[Admission.WHOLE] == 60


def test_octets_are_bounded_too():
    bound = a_bound(mails=1000, octets=1_000_000)
    assert admitted(bound, 20, octets=100_000)[Admission.WHOLE] == 10
    assert admitted(bound, 20, octets=100_000, now=NOW + HOUR / 10)[Admission.WHOLE] == 1


def test_one_mail_above_the_octets_of_an_hour_still_gets_in():
    bound = a_bound(octets=1000)
    assert admitted(bound, 2, octets=5000)[Admission.WHOLE] == 1


def test_what_is_proven_passes_in_the_middle_of_a_flood():
    bound = a_bound()
    admitted(bound, 1000)
    for number in range(1000):
        assert bound.admit(proven(b"%05d" % number), 1_000_000, NOW) is Admission.WHOLE


def test_a_token_that_comes_without_end_is_bounded_like_none():
    bound = a_bound()
    many = ingest_flood._PER_TOKEN
    assert admitted(bound, many, token=proven()) == {Admission.WHOLE: many}
    assert admitted(bound, 200, token=proven())[Admission.WHOLE] == 60
    assert bound.admit(proven(b"other"), 1, NOW) is Admission.WHOLE


def test_tokens_are_forgotten_in_order_and_never_without_bound(monkeypatch):
    monkeypatch.setattr(ingest_flood, "_TOKENS", 100)
    bound = a_bound()
    for number in range(1000):
        bound.admit(proven(b"%05d" % number), 1, NOW)
    assert len(bound._tokens) == 100


def test_a_clock_that_is_set_back_gives_no_room_and_takes_none():
    bound = a_bound()
    admitted(bound, 30)
    assert admitted(bound, 100, now=NOW - HOUR)[Admission.WHOLE] == 30
    assert Admission.WHOLE not in admitted(bound, 10, now=NOW - HOUR)


def test_it_is_told_once_a_minute_with_all_since_the_last_time():
    bound = a_bound(mails=1)
    assert bound.report(NOW) is None
    admitted(bound, 11, octets=7)
    report = bound.report(NOW)
    assert (report.mails, report.octets) == (10, 70)
    admitted(bound, 5, octets=7, now=NOW + SECOND)
    assert bound.report(NOW + 59 * SECOND) is None
    assert bound.report(NOW + MINUTE).mails == 5
    assert bound.report(NOW + 5 * MINUTE) is None
    admitted(bound, 50, now=NOW + 5 * MINUTE)
    assert bound.report(NOW - HOUR) is not None  # a clock that was set back does not silence it


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 10**7), st.sampled_from([NO_TOKEN, proven()])), max_size=60)
)
def test_never_more_whole_unproven_mails_than_the_bound_and_the_time_allow(steps):
    bound, whole, now = a_bound(mails=10, octets=10**6), 0, NOW
    for milliseconds, octets, token in steps:
        now += timedelta(milliseconds=milliseconds)
        admission = bound.admit(token, octets, now)
        whole += admission is Admission.WHOLE and not token.valid
    assert whole <= 10 + (now - NOW) / MINUTE * 10 + 1


@pytest.mark.parametrize("kept", ["whole", "proven", "over the bound", "long ago"])
def test_it_goes_on_where_the_store_shows_that_others_left_off(tmp_path, kept):
    with a_store(tmp_path) as store:
        with store.write() as tx:
            for number in range(30):
                mail = bounces.BounceMail(
                    raw=b"%d" % number,
                    size=1000,
                    kind=MailKind.DSN,
                    sender="",
                    envelope_recipient="x@y.example",
                    message_id=None,
                    trust=Trust.PROVEN if kept == "proven" else Trust.CLAIMED,
                    trust_reason="",
                    notes=(OVER_BOUND,) if kept == "over the bound" else (),
                )
                bounces.record_mail(tx, mail, now=NOW - (2 * HOUR if kept == "long ago" else SECOND))
        of_mails = flood_bound(store, mails_per_minute=40, octets_per_hour=10**9, clock=lambda: NOW)
        of_octets = flood_bound(store, mails_per_minute=10**6, octets_per_hour=40_000, clock=lambda: NOW)
    wanted = 10 if kept == "whole" else 40
    assert admitted(of_mails, 100)[Admission.WHOLE] == wanted
    assert admitted(of_octets, 100, octets=1000)[Admission.WHOLE] == wanted


def test_a_flood_of_reports_keeps_no_answer_out():
    bound = a_bound()
    admitted(bound, 1000)
    assert bound.admit(NO_TOKEN, 1, NOW, is_null=False) is Admission.WHOLE
    found = [bound.admit(NO_TOKEN, 1, NOW, is_null=False) for _ in range(100)]
    assert found.count(Admission.WHOLE) == 59


def test_of_a_token_with_too_many_octets_the_statements_stay():
    bound = a_bound()
    assert bound.admit(proven(), 1, NOW, earlier=(3, ingest_flood._OCTETS_PER_TOKEN)) is Admission.STATEMENTS


def test_what_other_processes_took_of_a_token_counts():
    bound = a_bound(mails=1)
    found = [bound.admit(proven(), 1, NOW, earlier=(ingest_flood._PER_TOKEN, 1)) for _ in range(2)]
    assert found == [Admission.WHOLE, Admission.NOTE]
