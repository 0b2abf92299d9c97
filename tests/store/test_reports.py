"""What people ask: the figures add up to what was submitted, and one recipient's whole story is found by any name."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Attempt, Evidence, Outcome, Reply, Road, Stage, Submission, Trust, Verdict, Way
from omicard_relay.store import attempts, bounces, reports, schema, submissions
from tests.keeping import NOW, a_store, queued, submit

TOKEN = "b+aaaaaaaaaa@bounces.example"
DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def attempt(store, outcome, code=None, *, address="ann@a.example", at=0, queue_id="4QAAAAA1", is_attempt=True, **more):
    line = Attempt(
        time=NOW + timedelta(seconds=at),
        queue_id=queue_id,
        recipient=address,
        outcome=outcome,
        enhanced_status="",
        reply=Reply(text=f"said {at}", innermost="", stage=Stage.RCPT),
        is_attempt=is_attempt,
        line_digest=f"{outcome}{at}{address}{queue_id}",
        **{"relay_host": "mx.a.example", "relay_ip": "192.0.2.1", "relay_port": 25, **more},
    )
    with store.write() as tx:
        verdict = Verdict(bounce_code=code, rule_id="r", confidence=1.0) if code else None
        attempts.record_attempt(tx, line, verdict, None)


def drop(store, address, *, campaign=None, name="d1"):
    mail = Submission(submission_id=name, digest=name, received=NOW, way=Way.DIRECT, campaign=campaign)
    with store.write() as tx:
        submissions.add_submission(tx, mail)
        submissions.add_dropped(
            tx, mail, address, own_row=None, step="blacklist", reason="asked", bounce_code=926, now=NOW
        )


def bounce(store, recipient=TOKEN, *, action="failed", trust=Trust.PROVEN, at=3600):
    now = NOW + timedelta(seconds=at)
    what = Evidence(road=Road.DSN, recipient="ann@a.example", dsn_action=action, remote_mta="mx.a.example")
    mail = bounces.BounceMail(
        raw=b"%d" % at,
        size=1,
        kind="dsn",
        sender="",
        envelope_recipient=recipient,
        message_id=None,
        trust=trust,
        trust_reason="",
    )
    with store.write() as tx:
        digest, _ = bounces.record_mail(tx, mail, now=now)
        owner = bounces.find_owner(tx, what, bounces.find_signed(tx, recipient))
        verdict = Verdict(bounce_code=901, rule_id="r", confidence=1.0)
        bounces.add_report(tx, digest, 0, what, verdict, None, owner=owner, trust=trust, now=now)


@pytest.fixture
def full(store):
    """Six recipients of a campaign, each with another fate, and one of no campaign."""
    names = ("ann", "bob", "cat", "dan", "eve")
    tokens = tuple(f"b+{name}@bounces.example" for name in names)
    ids = queued(store, *(f"{name}@a.example" for name in names), campaign="spring", reverse_paths=tokens)
    attempt(store, Outcome.SENT, address="ann@a.example")
    attempt(store, Outcome.SENT, address="bob@a.example")
    bounce(store, tokens[1])
    attempt(store, Outcome.DEFERRED, 935, address="cat@a.example")
    attempt(store, Outcome.BOUNCED, 902, address="dan@a.example")
    drop(store, "fay@a.example", campaign="spring")
    queued(store, "gus@a.example", name="s2", queue_id="4QAAAAA2", received=NOW - 9 * DAY)
    return ids


def figures(store, **more):
    with store.read() as tx:
        return {(one.section, one.key): one.count for one in reports.summary(tx, **more)}


SPRING = {
    ("state", "delivered"): 2,
    ("state", "resting"): 1,
    ("state", "returned"): 1,
    ("state", "queued"): 1,
    ("state", "dropped"): 1,
    ("dropped", "blacklist"): 1,
    ("returned", "902"): 1,
    ("resting", "935"): 1,
    ("later", "901"): 1,
}


def test_the_figures_of_a_campaign_add_up_to_its_recipients(store, full):
    assert figures(store, campaign="spring") == SPRING
    assert figures(store, campaign="none") == {}


def test_the_figures_since_a_moment_leave_older_mail_out(store, full):
    assert figures(store, since=NOW - DAY) == SPRING
    assert figures(store)[("state", "queued")] == 2


def test_campaigns_come_newest_first(store, full):
    queued(store, "ann@a.example", name="s3", queue_id="4QAAAAA3", campaign="autumn", received=NOW + DAY)
    with store.read() as tx:
        assert reports.campaigns(tx) == [("autumn", 1), ("spring", 6)]


def test_every_recipient_is_told_with_its_fate(store, full):
    with store.read() as tx:
        told = [(s.address[:3], s.state, s.bounce_code, s.later_code) for s in reports.fates(tx, campaign="spring")]
        assert len(reports.fates(tx)) == 7
        assert len(reports.fates(tx, since=NOW - DAY)) == 6
    assert told == [
        ("ann", "delivered", None, None),
        ("bob", "delivered", None, 901),
        ("cat", "resting", 935, None),
        ("dan", "returned", 902, None),
        ("eve", "queued", None, None),
        ("fay", "dropped", 926, None),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "ANN@a.example",
        "<ann@a.example>",
        "4QAAAAA1",
        " 4QAAAAA1 ",
        "4QFIRST1",
        "4QNOTICE",
        "s1",
        "<s1@shop.example>",
        "s1@shop.example",
        TOKEN,
        TOKEN.upper(),
    ],
)
def test_a_recipient_is_found_by_every_name_that_it_has(store, text):
    queued(store, "ann@a.example", reverse_paths=(TOKEN,))
    queued(store, "bob@a.example", name="s2", queue_id="4QAAAAA2")
    with store.write() as tx:
        tx.execute(schema.submission.update().where(schema.submission.c.id == "s1").values(first_queue_id="4QFIRST1"))
        attempts.record_queue(tx, "4QNOTICE", time=NOW, notice_of="4QAAAAA1")
        attempts.record_queue(tx, "4QOTHER1", time=NOW, notice_of="4QAAAAA2")
        assert [s.address for s in reports.find_subjects(tx, text)] == ["ann@a.example"]
        assert reports.find_subjects(tx, "nothing") == []


def test_the_newest_come_first_and_only_so_many(store):
    for number in range(5):
        queued(store, "ann@a.example", name=f"s{number}", queue_id=f"4QAAAAA{number}")
    with store.read() as tx:
        assert [s.submission_id for s in reports.find_subjects(tx, "ann@a.example", limit=3)] == ["s4", "s3", "s2"]


def test_the_story_of_a_recipient_is_told_in_order_of_time(store):
    queued(store, "ann@a.example", "bob@a.example", reverse_paths=(TOKEN, "b+x@y.example"))
    bounce(store)
    bounce(store, action="delayed", trust=Trust.CLAIMED, at=4000)
    attempt(store, Outcome.DEFERRED, 935, at=10)
    attempt(store, Outcome.SENT, at=30, relay_host="mail[private/lmtp]", relay_ip=None, relay_port=None)
    attempt(store, Outcome.DEFERRED, 910, at=20, is_attempt=False, relay_host=None, relay_ip=None, relay_port=None)
    attempt(store, Outcome.BOUNCED, 902, at=5, address="bob@a.example")
    with store.read() as tx:
        (subject,) = reports.find_subjects(tx, "ann@a.example")
        told = reports.timeline(tx, subject)
    assert [(e.what, e.outcome, e.number, e.bounce_code, e.host, e.trust) for e in told] == [
        ("attempt", "deferred", 1, 935, "mx.a.example[192.0.2.1]:25", None),
        ("rest", "deferred", None, 910, None, None),
        ("attempt", "sent", 2, None, "mail[private/lmtp]", None),
        ("bounce", "failed", None, 901, "mx.a.example", "proven"),
        ("bounce", "delayed", None, 901, "mx.a.example", "claimed"),
    ]


def test_an_echo_is_told_as_one(store):
    ids = submit(store, "ann@a.example", reverse_paths=(TOKEN,))
    what = Evidence(road=Road.DSN, recipient="ann@a.example", dsn_action="failed", queue_id="4QAAAAA1")
    mail = bounces.BounceMail(
        raw=b"",
        size=0,
        kind="dsn",
        sender="",
        envelope_recipient=TOKEN,
        message_id=None,
        trust="proven",
        trust_reason="",
    )
    with store.write() as tx:
        submissions.mark_handed_over(tx, ids, "4QAAAAA1", now=NOW)
        digest, _ = bounces.record_mail(tx, mail, now=NOW)
        owner = bounces.find_owner(tx, what, bounces.find_signed(tx, TOKEN))
        bounces.add_report(tx, digest, 0, what, None, None, owner=owner, trust=Trust.PROVEN, now=NOW)
        (subject,) = reports.find_subjects(tx, "ann@a.example")
        assert [e.what for e in reports.timeline(tx, subject)] == ["echo"]


def test_lines_of_mail_past_the_relay_are_told_apart(store):
    queued(store, "ann@a.example")
    attempt(store, Outcome.SENT)
    attempt(store, Outcome.BOUNCED, 902, queue_id="4QFOREIGN", at=1)
    attempt(store, Outcome.SENT, queue_id="4QFOREIGN", at=2)
    with store.read() as tx:
        told = reports.unjoined(tx, "<Ann@a.example>")
        assert len(reports.unjoined(tx, "ann@a.example", limit=1)) == 1
    assert [(line["outcome"], line["bounce_code"]) for line in told] == [("sent", None), ("bounced", 902)]
