"""Mails that wait to be handed on: taken by one at a time, waiting again when their taker dies, closed once."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Trust
from omicard_relay.store import answers, bounces, schema
from tests.keeping import NOW, a_store, rows

LEASE = timedelta(seconds=60)
SECOND = timedelta(seconds=1)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


@pytest.fixture
def kept(store):
    """Keeps a mail; gives its digest."""

    def kept(name, *, waits=NOW):
        mail = bounces.BounceMail(
            raw=name.encode(),
            size=1,
            kind="not-a-bounce",
            sender="ann@a.example",
            envelope_recipient="b@x.example",
            message_id=None,
            trust=Trust.CLAIMED,
            trust_reason="",
        )
        with store.write() as tx:
            digest, _ = bounces.record_mail(tx, mail, now=NOW)
            if waits:
                answers.wait_to_be_handed_on(tx, digest, now=waits)
        return digest

    return kept


@pytest.fixture
def take(store):
    def take(now=NOW, most=10):
        with store.write() as tx:
            return answers.take_waiting(tx, now=now, lease=LEASE, most=most)

    return take


def names(mails):
    return [mail.raw.decode() for mail in mails]


def test_only_what_was_marked_waits(store, kept, take):
    kept("a", waits=None)
    kept("b")
    assert names(take()) == ["b"]


def test_the_longest_waiting_come_first_and_not_before_their_time(kept, take):
    kept("late", waits=NOW + SECOND)
    kept("second", waits=NOW)
    kept("first", waits=NOW - SECOND)
    assert names(take(most=1)) == ["first"]
    assert names(take()) == ["second"]


def test_what_was_taken_is_the_takers_until_the_lease_ends(kept, take):
    kept("a")
    assert names(take()) == ["a"]
    assert take(NOW + LEASE - SECOND) == []
    assert names(take(NOW + LEASE)) == ["a"]


def test_a_closed_mail_waits_no_more_and_says_where_it_is(store, kept, take):
    digest = kept("a")
    take()
    with store.write() as tx:
        answers.close_mail(tx, digest, "there", now=NOW)
        assert (answers.count_waiting(tx), answers.next_due(tx)) == (0, None)
    assert take(NOW + LEASE) == []
    assert rows(store, schema.bounce_mail, "handed_on", "hand_on_note") == [(NOW, "there")]


def test_only_one_draft_becomes_the_copy_and_a_mail_put_off_keeps_it(store, kept, take):
    digest = kept("a")
    (mail,) = take()
    with store.write() as tx:
        assert answers.begin_placing(tx, digest, "draft 1", now=NOW)
        assert not answers.begin_placing(tx, digest, "draft 2", now=NOW)
        placing = answers.WaitingMail(digest=digest, raw=mail.raw, received=NOW, tries=0, placing="draft 1")
        answers.put_off(tx, placing, "disk full", until=NOW + SECOND)
        assert answers.next_due(tx) == NOW + SECOND
    (again,) = take(NOW + SECOND)
    assert (again.placing, again.tries) == ("draft 1", 1)
    with store.write() as tx:
        answers.close_mail(tx, digest, "there", now=NOW + LEASE)
        # Nobody may begin once more.
        assert not answers.begin_placing(tx, digest, "draft 3", now=NOW)
    assert rows(store, schema.bounce_mail, "handed_on") == [NOW]


def test_a_mail_that_is_never_handed_on_says_why(store, kept):
    digest = kept("a")
    with store.write() as tx:
        answers.never_hand_on(tx, digest, "a loop")
        assert answers.count_waiting(tx) == 0
    assert rows(store, schema.bounce_mail, "handed_on", "hand_on_note") == [(None, "a loop")]
