"""What steering reads of stored lines: provider by the server's name, lane by the transport's, complaints by their delivery."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import Action, Outcome
from omicard_relay.store import schema, sightings, steering
from tests.attempting import add_line
from tests.keeping import NOW, a_store, rows


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def named(host, domain):
    return f"{host}|{domain}"


def seen(store, number):
    with store.read() as tx:
        return sightings.seen_of(sightings.lines_of(tx, [number])[number], named)


@pytest.mark.parametrize(
    ("host", "text", "provider"),
    [
        pytest.param("MX1.Big.Example", "250 Ok", "mx1.big.example|a.example", id="relay"),
        pytest.param(
            None,
            "connect to mx.dead.example[192.0.2.9]:25: Connection refused",
            "mx.dead.example|a.example",
            id="connect",
        ),
        pytest.param(
            None,
            "lost connection with mx.b.example[192.0.2.9] while sending RCPT TO",
            "mx.b.example|a.example",
            id="lost",
        ),
        pytest.param(
            None, "host mx.c.example[192.0.2.9] refused to talk to me: 554 no", "mx.c.example|a.example", id="refused"
        ),
        pytest.param(
            None, "Host or domain name not found. Name service error for name=mx.big.example", "|a.example", id="dns"
        ),
        pytest.param("/run/lmtp", "250 Ok", "|a.example", id="socket"),
    ],
)
def test_the_server_names_the_provider_else_the_domain_does(store, host, text, provider):
    assert seen(store, add_line(store, host=host, text=text)).provider == provider


@pytest.mark.parametrize(
    ("transport", "lane"),
    [("ip1", ("ip1", 0)), ("ip2-s3", ("ip2", 3)), (None, ("", 0)), ("omi-x", ("", 0)), ("Ip1", ("", 0))],
)
def test_the_transport_names_ip_and_speed(store, transport, lane):
    one = seen(store, add_line(store, transport=transport))
    assert (one.ip, one.speed) == lane


def test_a_failure_carries_its_verdict_and_a_delivery_none(store):
    failed = seen(store, add_line(store, at=30, delay=30.5))
    assert (failed.code, failed.rule_id, failed.action, failed.reply_class) == (935, "a-rule", Action.RETRY, 4)
    assert (failed.time, failed.queued) == (NOW.timestamp() + 30, NOW.timestamp() - 0.5)
    sent = seen(store, add_line(store, Outcome.SENT, text="250 2.0.0 Ok"))
    assert (sent.code, sent.rule_id, sent.action, sent.reply_class, sent.outcome) == (None, "", None, 2, Outcome.SENT)


def test_a_thread_is_one_recipient_of_one_mail_and_no_address(store):
    ann, again, bob, other = (
        seen(store, add_line(store, **who)).thread
        for who in ({}, {"at": 300}, {"address": "bob@a.example"}, {"queue_id": "4QOTHER"})
    )
    assert ann == again
    assert len({ann, bob, other}) == 3
    assert "ann" not in ann
    assert len(ann) == 24


def complaint(store, delivered, *, trust="proven", road="arf", number=0):
    with store.write() as tx:
        mail = {"received": NOW, "last_seen": NOW, "kind": "arf", "size": 1, "sender": "", "envelope_recipient": "b@x"}
        tx.execute(schema.bounce_mail.insert().values(digest=f"m{number}", trust=trust, trust_reason="", **mail))
        report = {"number": 0, "time": NOW + timedelta(hours=1), "road": road, "address": "", "address_key": ""}
        tx.execute(
            schema.bounce_report.insert().values(
                mail_digest=f"m{number}", recipient_id=delivered, trust=trust, **report
            )
        )


def test_a_complaint_is_about_the_server_that_took_the_mail(store):
    from tests.keeping import queued

    (who,) = queued(store, "ann@a.example")
    add_line(store)
    sent = add_line(store, Outcome.SENT, at=400, host="mx.big.example", transport="ip2")
    with store.write() as tx:
        tx.execute(schema.attempt.update().values(recipient_id=who))
    for number, more in enumerate(({}, {"trust": "claimed"}, {"road": "dsn"})):
        complaint(store, who, number=number, **more)
    complaint(store, None, number=9)
    with store.read() as tx:
        (one,) = sightings.complaints_of(tx)
        assert sightings.complaints_of(tx, after=one.id) == []
        assert [found.id for found in sightings.complaints_of(tx, ids=[one.id])] == [one.id]
    assert one.delivery.id == sent
    told = sightings.seen_of_complaint(one, named)
    assert (told.is_complaint, told.provider, told.ip) == (True, "mx.big.example|a.example", "ip2")
    assert told.time == NOW.timestamp() + 3600


def test_a_verdict_is_read_as_it_was_at_a_moment(store):
    number = add_line(store)
    changes = [(1, 935, 901), (5, 901, 902)]
    with store.write() as tx:
        for days, old, new in changes:
            row = {"attempt_id": number, "time": NOW + timedelta(days=days), "old_action": "retry"}
            tx.execute(schema.rejudgement.insert().values(old_bounce_code=old, new_bounce_code=new, **row))
        tx.execute(schema.attempt.update().values(bounce_code=902))

    def code(days):
        with store.read() as tx:
            return sightings.lines_of(tx, [number], as_of=NOW + timedelta(days=days))[number].code

    assert [code(days) for days in (0, 2, 6)] == [935, 901, 902]


@given(st.lists(st.integers(1, 10**9), unique=True))
def test_ids_come_back_in_their_order(ids):
    assert steering.read_ids(steering.ids_text(ids)) == tuple(ids)


def test_neighbours_stand_as_one():
    assert steering.ids_text([5, 6, 7, 9, 3]) == "5-7,9,3"
    assert steering.ids_text([]) == ""


def test_what_is_missing_below_the_top_is_asked_for_again_until_its_time_is_over(store):
    reader = sightings.Reader()

    def look(now):
        with store.read() as tx:
            found = reader.look(tx, most=10, now=now)
        reader.took(found, now=now)
        return [line.id for line in found.lines]

    add_line(store, number=3)
    assert look(0) == [3]
    assert reader.gaps == {}  # what was before the first look is no gap
    add_line(store, number=7)
    assert look(1) == [7]
    assert sorted(reader.gaps) == [4, 5, 6]
    add_line(store, number=5)
    assert look(30) == [5]
    assert sorted(reader.gaps) == [4, 6]
    add_line(store, number=6)
    assert look(100) == []
    assert rows(store, schema.attempt, "id") == [3, 5, 6, 7]
