"""What the ingester writes: each mail once, whose it is, what it does to a recipient, and how failures are counted."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Attempt, Decision, Evidence, Outcome, Reply, Road, Trust, Verdict
from omicard_relay.store import attempts, bounces, schema
from omicard_relay.store.failures import failure_times
from tests.keeping import NOW, a_store, content_of, hand_over, queued, rows, submit

TOKEN, OTHER = "b+aaaaaaaaaa@bounces.example", "b+bbbbbbbbbb@bounces.example"
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def keep(store, raw=b"a mail", recipient=TOKEN, *, trust=Trust.PROVEN, now=NOW):
    mail = bounces.BounceMail(
        raw=raw,
        size=len(raw),
        kind="dsn",
        sender="",
        envelope_recipient=recipient,
        message_id="<1@there.example>",
        trust=trust,
        trust_reason="so",
        notes=("one", "two"),
    )
    with store.write() as tx:
        return bounces.record_mail(tx, mail, now=now)


def evidence(recipient="ann@a.example", *, road=Road.DSN, action="failed", queue_id=None, text="550 gone", **more):
    return Evidence(
        road=road,
        recipient=recipient,
        dsn_action=action,
        queue_id=queue_id,
        replies=(Reply(text="outer", innermost="outer"), Reply(text=text, innermost=text, reply_code=550)),
        **more,
    )


def report(store, what, *, code=902, recipient=TOKEN, trust=Trust.PROVEN, raw=None, number=0, now=NOW):
    """One statement of a mail of its own, with the owner that is found for it."""
    digest, _ = keep(store, raw or repr(what).encode(), recipient, trust=trust, now=now)
    verdict = Verdict(bounce_code=code, rule_id="r", confidence=1.0) if code else None
    with store.write() as tx:
        owner = bounces.find_owner(tx, what, bounces.find_signed(tx, recipient))
        decision = Decision(action="return", reasons=("so",))
        bounces.add_report(tx, digest, number, what, verdict, decision, owner=owner, trust=trust, now=now)
    return owner


def later(store):
    return rows(store, schema.recipient, "later_code", "later_kind")


def signed(store, *addresses, name="s1", tokens=(TOKEN, OTHER), queue_id="4QAAAAA1"):
    ids = submit(store, *addresses, name=name, reverse_paths=tokens[: len(addresses)])
    if queue_id:
        hand_over(store, ids, queue_id)
    return ids


# ------------------------------------------------------------------ mails


def test_a_mail_is_kept_whole(store):
    digest, is_new = keep(store, b"From: <>\r\n\r\n\x00\xff")
    (kept,) = rows(store, schema.bounce_mail)
    with store.read() as tx:
        content = content_of(tx, digest)
    assert is_new
    assert kept.digest == digest
    assert content == b"From: <>\r\n\r\n\x00\xff"
    assert (kept.times_seen, kept.received, kept.last_seen, kept.notes) == (1, NOW, NOW, "one; two")


def test_the_same_mail_again_is_only_counted(store):
    first = keep(store)
    for day in range(1, 4):
        assert keep(store, recipient=TOKEN.upper(), now=NOW + day * DAY) == (first[0], False)
    (kept,) = rows(store, schema.bounce_mail)
    assert (kept.times_seen, kept.received, kept.last_seen) == (4, NOW, NOW + 3 * DAY)


@pytest.mark.parametrize(("raw", "recipient"), [(b"another", TOKEN), (b"a mail", OTHER)])
def test_other_content_or_another_recipient_is_another_mail(store, raw, recipient):
    keep(store)
    assert keep(store, raw, recipient)[1]
    assert len(rows(store, schema.bounce_mail)) == 2


def test_counters_are_raised(store):
    with store.write() as tx:
        for by in (1, 1, 5):
            bounces.count(tx, "b", by)
        bounces.count(tx, "a")
        assert bounces.counters(tx) == {"a": 1, "b": 7}


# ------------------------------------------------------------------ whose it is


def found(store, what, recipient):
    with store.read() as tx:
        owner = bounces.find_owner(tx, what, bounces.find_signed(tx, recipient))
    return owner and (owner.address, owner.found_by)


def test_an_owner_is_found_by_the_reverse_path_it_came_to(store):
    signed(store, "Ann@a.example", "bob@a.example")
    assert found(store, evidence(""), f"<{TOKEN.upper()}>") == ("Ann@a.example", "reverse-path")
    assert found(store, evidence("bob@a.example"), TOKEN) == ("Ann@a.example", "reverse-path")


def test_a_reverse_path_that_is_the_senders_own_names_nobody(store):
    queued(store, "ann@a.example")
    assert found(store, evidence(""), "news@shop.example") is None


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        pytest.param({"queue_id": "4QAAAAA1"}, ("ann@a.example", "queue-id"), id="queue-id"),
        pytest.param({"message_id": "<s1@shop.example>"}, ("ann@a.example", "message-id"), id="message-id"),
        pytest.param({"queue_id": "4QZZZZZ9"}, None, id="foreign-queue-id"),
        pytest.param({"message_id": "<other@x>"}, None, id="foreign-message-id"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_without_a_token_the_mail_and_the_address_must_both_be_named(store, more, wanted):
    queued(store, "ann@a.example", "bob@a.example")
    assert found(store, evidence("ANN@a.example", **more), "news@shop.example") == wanted
    assert found(store, evidence("cat@a.example", **more), "news@shop.example") is None
    assert found(store, evidence("", **more), "news@shop.example") is None
    forwarded = evidence("x@elsewhere.example", original_recipient="ann@a.example", **more)
    assert found(store, forwarded, "news@shop.example") == wanted


# ------------------------------------------------------------------ what it does


def test_a_proven_failure_is_told_to_its_recipient(store):
    signed(store, "ann@a.example", "bob@a.example")
    report(store, evidence(time=NOW - DAY))
    assert later(store) == [(902, "dsn"), (None, None)]
    (kept,) = rows(store, schema.bounce_report)
    assert (kept.reply, kept.reply_code, kept.time, kept.is_echo) == ("outer\n550 gone", 550, NOW - DAY, False)
    assert (kept.trust, kept.bounce_code, kept.recipient_id) == ("proven", 902, 1)


SILENT = {
    "claimed": ({}, {"trust": Trust.CLAIMED}),
    "echo of our own Postfix": ({"queue_id": "4QAAAAA1"}, {}),
    "still trying": ({"action": "delayed"}, {"code": 928}),
    "no failure": ({"action": "delivered"}, {"code": None}),
}


@pytest.mark.parametrize("case", SILENT)
def test_what_changes_nothing_is_written_down_all_the_same(store, case):
    what, more = SILENT[case]
    signed(store, "ann@a.example")
    report(store, evidence(**what), **more)
    assert later(store) == [(None, None)]
    assert len(rows(store, schema.bounce_report)) == 1
    assert rows(store, schema.bounce_report, "is_echo") == [case.startswith("echo")]


def test_a_remote_postfix_names_a_queue_id_too_and_is_no_echo(store):
    signed(store, "ann@a.example")
    report(store, evidence(queue_id="4QREMOTE"))
    assert later(store) == [(902, "dsn")]


@pytest.mark.parametrize(("told", "wanted"), [("4QAAAAA1", (None, None)), ("4QREMOTE", (902, "dsn"))])
def test_a_report_that_comes_before_the_queue_id_is_known_is_judged_when_it_is(store, told, wanted):
    ids = signed(store, "ann@a.example", queue_id=None)
    report(store, evidence(queue_id=told))
    assert later(store) == [(None, None)]
    hand_over(store, ids, "4QAAAAA1")
    assert later(store) == [wanted]


@pytest.mark.parametrize("vacation_first", [True, False])
def test_an_automatic_answer_never_hides_a_failure(store, vacation_first):
    signed(store, "ann@a.example")
    reports = [(evidence(road=Road.AUTOREPLY, action=None), 906), (evidence(), 902)]
    for what, code in reports if vacation_first else reversed(reports):
        report(store, what, code=code)
    assert later(store) == [(902, "dsn")]


# ------------------------------------------------------------------ counting failures


def attempt(store, outcome, code=None, *, at=NOW, queue_id="4QAAAAA1", address="ann@a.example"):
    line = Attempt(
        time=at,
        queue_id=queue_id,
        recipient=address,
        outcome=outcome,
        enhanced_status="",
        reply=Reply(text="x", innermost="x"),
        line_digest=f"{outcome}{at}{queue_id}{address}",
    )
    with store.write() as tx:
        verdict = Verdict(bounce_code=code, rule_id="r", confidence=1.0) if code else None
        attempts.record_attempt(tx, line, verdict, None)


def failures(store, code=901, *, address="ann@a.example", since=NOW - 14 * DAY):
    with store.read() as tx:
        return len(failure_times(tx, address, code, since=since))


def mails(store, number):
    for one in range(1, number + 1):
        queued(store, "ann@a.example", name=f"m{one}", queue_id=f"4QMMMMM{one}", sender=f"s{one}@shop.example")


def test_each_mail_that_was_returned_counts_once(store):
    mails(store, 3)
    for one in (1, 2, 3):
        attempt(store, Outcome.DEFERRED, 901, queue_id=f"4QMMMMM{one}", at=NOW - DAY)
    assert failures(store) == 0
    attempt(store, Outcome.BOUNCED, 901, queue_id="4QMMMMM1")
    attempt(store, Outcome.BOUNCED, 901, queue_id="4QMMMMM1", at=NOW + DAY)
    attempt(store, Outcome.EXPIRED, 901, queue_id="4QMMMMM2")
    attempt(store, Outcome.BOUNCED, 902, queue_id="4QMMMMM3")
    assert failures(store) == 2
    assert failures(store, 902) == 1
    assert failures(store, address="bob@a.example") == 0


def test_only_failures_since_then_and_since_the_last_delivery_count(store):
    mails(store, 4)
    attempt(store, Outcome.BOUNCED, 901, queue_id="4QMMMMM1", at=NOW - 20 * DAY)
    attempt(store, Outcome.BOUNCED, 901, queue_id="4QMMMMM2", at=NOW - 5 * DAY)
    assert failures(store) == 1
    attempt(store, Outcome.SENT, queue_id="4QMMMMM3", at=NOW - 4 * DAY)
    assert failures(store) == 0
    attempt(store, Outcome.BOUNCED, 901, queue_id="4QMMMMM4", at=NOW - 3 * DAY)
    assert failures(store) == 1


def test_a_delivery_that_came_back_later_was_none(store):
    for one in (1, 2, 3):
        token = f"b+{one}@bounces.example"
        signed(store, "ann@a.example", name=f"m{one}", tokens=(token,), queue_id=f"4QMMMMM{one}")
        at = NOW + one * DAY
        attempt(store, Outcome.SENT, queue_id=f"4QMMMMM{one}", at=at)
        report(store, evidence(time=NOW + 999 * DAY), code=901, recipient=token, now=at + timedelta(hours=1))
        assert failures(store) == one


def test_several_reports_of_one_mail_count_once(store):
    signed(store, "ann@a.example")
    for number in range(5):
        report(store, evidence(), code=901, raw=b"%d" % number)
    assert failures(store) == 1


def test_foreign_dates_neither_hide_nor_keep_a_failure(store):
    signed(store, "ann@a.example", "bob@a.example")
    report(store, evidence(time=NOW - 9999 * DAY), code=901)
    assert failures(store) == 1
    report(store, evidence("bob@a.example", time=NOW + 9999 * DAY), code=901, recipient=OTHER, now=NOW - 20 * DAY)
    assert failures(store, address="bob@a.example") == 0


def test_claims_and_echoes_do_not_count(store):
    signed(store, "ann@a.example")
    report(store, evidence(), code=901, trust=Trust.CLAIMED)
    report(store, evidence(queue_id="4QAAAAA1"), code=901)
    assert failures(store) == 0


def test_lines_of_mail_that_is_not_ours_do_not_count(store):
    attempt(store, Outcome.BOUNCED, 901, queue_id="4QFOREIGN")
    assert failures(store) == 0
