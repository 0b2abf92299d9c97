"""What a bounce mail proves: its token, the token of the mail that it returns, our own Postfix's log; and nothing else."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omicard_relay.mail import ListEntry, ListName
from omicard_relay.services.follow import Follower
from omicard_relay.services.ingest import Ingester
from omicard_relay.store import attempts, bounces, lists, schema
from omicard_relay.store.attempts import Place
from omicard_relay.tables.settings import ReturnPathSettings, Settings
from tests.ingesting import FORGER, SIGNER, token
from tests.keeping import FULL, NOW, UNKNOWN, active, delivery, hand_over, log_line, rows, submit
from tests.mails import arf, dsn, vacation

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
#: Our mail, and the notice about it.
MAIL, NOTICE = "4QAAAAA1", "4QNNNNN1"
NEWS = "news@shop.example"


@pytest.fixture
def take(store, book, clock):
    ingester = Ingester(store, book, SIGNER, 1_000_000, clock=clock)

    def take(raw, recipient=None, sender=""):
        return ingester.take(raw, sender=sender, recipient=recipient or token())

    return take


@pytest.fixture
def follow(store, book, clock):
    follower = Follower(Settings(return_path=ReturnPathSettings(domain="bounces.example")), store, book)

    def follow(*lines, read=None):
        """`read`: the log has been read to its end at this moment."""
        place = Place(path="log", inode=1, head_digest="", head_length=0, offset=1, read=read) if read else None
        follower.take([line.rstrip(b"\n") for line in lines], place, now=clock.now)

    return follow


def ours(store, *addresses, name="s1", queue_id=MAIL, signed=True, **more):
    """A mail of ours; with `queue_id` None the relay has not heard it yet."""
    paths = tuple(map(token, addresses)) if signed else ()
    ids = submit(store, *addresses, name=name, reverse_paths=paths, **more)
    if queue_id:
        hand_over(store, ids, queue_id)
    return ids


def held(store, name=ListName.KNOWN_BOUNCE, now=NOW + DAY):
    with store.read() as tx:
        return [(e.value, e.bounce_code) for e in lists.entries(tx, name, now=now)]


def counted(store):
    with store.read() as tx:
        return bounces.counters(tx)


def take_off(store, who="ann"):
    """A person takes all known bounces off again."""
    with store.write() as tx:
        for entry in list(lists.entries(tx, None, now=NOW + DAY)):
            lists.remove_entry(tx, entry.entry_id, who=who, now=NOW)


def later(store):
    return rows(store, schema.recipient, "later_code", "later_kind")


# ------------------------------------------------------------------ forwards


def test_a_failing_forward_counts_for_the_address_on_our_list_as_920(store, take, clock):
    for number in range(2):
        path = token(nonce=b"%05d" % number)
        ids = submit(store, "ann@a.example", name=f"s{number}", reverse_paths=(path,))
        hand_over(store, ids, f"4QAAAAA{number}")
        assert held(store) == []
        clock.now = NOW + number * SECOND
        take(dsn("smith@elsewhere.example", number=number), path)
    assert held(store) == [("ann@a.example", 920)]
    told = rows(store, schema.bounce_report, "address", "original_address", "bounce_code", "rule_id")
    assert told == [("smith@elsewhere.example", "ann@a.example", 920, "forward-failed")] * 2


def test_a_rewritten_domain_is_no_forward(store, take):
    ours(store, "ann@a.example")
    take(dsn("ann@mail.elsewhere.example"))
    assert held(store) == [("ann@a.example", 902)]


def test_our_message_id_names_the_only_recipient_of_a_mail_and_proves_nothing(store, take):
    ours(store, "ann@a.example", signed=False)
    take(dsn("smith@elsewhere.example", message_id="<s1@shop.example>"), "news@shop.example")
    told = rows(store, schema.bounce_report, "recipient_id", "original_address", "bounce_code", "trust")
    assert told == [(1, "ann@a.example", 920, "claimed")]
    assert held(store) == []


def test_a_message_id_of_a_mail_to_several_names_nobody_else(store, take):
    ours(store, "ann@a.example", "bob@a.example", signed=False)
    take(dsn("smith@elsewhere.example", message_id="<s1@shop.example>"), "news@shop.example")
    assert rows(store, schema.bounce_report, "recipient_id") == [None]


# ------------------------------------------------------------------ the same failure again

REPLAYS = {
    "as it is": lambda raw, n: raw,
    "other trace lines": lambda raw, n: b"Received: from x%d ([192.0.2.%d]) by y; now\r\n" % (n, n) + raw,
    "other line ends": lambda raw, n: raw.replace(b"\r\n", b"\n") + b"\n" * n,
    "other words": lambda raw, n: raw.replace(b"Your words", b"Your %d words" % n),
    "another Message-ID": lambda raw, n: raw.replace(b"notice-1@", b"notice-%d@" % n),
    "another date of it all": lambda raw, n: b"Date: Tue, %02d Nov 2026 08:00:00 +0000\r\n" % (n + 1) + raw,
}


@pytest.mark.parametrize("case", REPLAYS)
def test_a_bounce_that_comes_again_makes_no_second_failure(store, take, clock, case):
    ours(store, "ann@a.example")
    full = dsn("ann@a.example", words="552 5.2.2 mailbox full", status="5.2.2")
    for number in range(20):
        clock.now = NOW + number * DAY / 2  # three failures in fourteen days would suppress
        path = token() if number % 2 else token().upper()
        take(REPLAYS[case](full, number), path, sender=f"x{number}@there.example" if number % 3 else "")
    assert held(store, now=NOW + 30 * DAY) == []
    assert set(rows(store, schema.bounce_report, "trust")) == {"proven"}


@pytest.mark.parametrize("case", REPLAYS)
def test_a_bounce_that_comes_again_does_not_make_an_entry_anew_that_a_person_took_off(store, take, clock, case):
    ours(store, "ann@a.example")
    take(dsn("ann@a.example"))
    assert held(store) == [("ann@a.example", 902)]
    take_off(store)
    for number in range(5):
        clock.now = NOW + number * SECOND
        take(REPLAYS[case](dsn("ann@a.example"), number))
    assert held(store) == []
    assert len(rows(store, schema.list_change)) == 2


def test_of_what_never_ends_to_come_to_one_token_some_is_kept_and_the_rest_counted(store, take):
    """So that neither the disk nor the time for one mail grows with it; what a person writes is kept all the same."""
    ours(store, "ann@a.example", "bob@a.example")
    for number in range(110):
        take(dsn("ann@a.example", number=number))
    assert len(rows(store, schema.bounce_mail)) == len(rows(store, schema.bounce_report)) == 100
    assert counted(store) == {"bounce.dsn": 100, "bounce.again": 10}
    take(b"From: ann@a.example\r\nSubject: hello\r\n\r\nThank you for your letter.\r\n")
    take(dsn("bob@a.example"), token("bob@a.example"))
    assert len(rows(store, schema.bounce_mail)) == 102
    assert held(store) == [("ann@a.example", 902), ("bob@a.example", 902)]


def test_line_ends_make_no_other_mail(store, take):
    ours(store, "ann@a.example")
    take(dsn("ann@a.example"))
    take(dsn("ann@a.example").replace(b"\r\n", b"\n"), token().upper())
    assert rows(store, schema.bounce_mail, "times_seen") == [2]


def test_the_failure_of_another_mail_makes_an_entry_anew(store, take):
    ours(store, "ann@a.example")
    take(dsn("ann@a.example"))
    take_off(store)
    path = token(nonce=b"54321")
    hand_over(store, submit(store, "ann@a.example", name="s2", reverse_paths=(path,)), "4QAAAAA2")
    take(dsn("ann@a.example", number=2), path)
    assert held(store) == [("ann@a.example", 902)]


def test_a_line_and_a_bounce_of_one_mail_are_one_failure(store, take, follow):
    for number in range(2):
        path, queue_id = token(nonce=b"%05d" % number), f"4QAAAAA{number}"
        hand_over(store, submit(store, "ann@a.example", name=f"s{number}", reverse_paths=(path,)), queue_id)
        follow(delivery("ann@a.example", "bounced", FULL, queue_id=queue_id, at=number))
        take(dsn("ann@a.example", words="552 5.2.2 mailbox full", status="5.2.2", number=number), path)
    assert held(store) == []  # three mails would suppress


# ------------------------------------------------------------------ before the queue id is known


@pytest.mark.parametrize("told", ["4QREMOTE", MAIL])
def test_what_comes_before_the_queue_id_is_known_acts_once_it_is(store, take, follow, told):
    """A report of another Postfix acts; one of our own only when its log tells no end."""
    ids = ours(store, "ann@a.example", queue_id=None)
    take(dsn("ann@a.example", queue_id=told))
    follow()
    assert held(store) == []
    hand_over(store, ids, MAIL)
    follow()
    assert bool(held(store)) is (told == "4QREMOTE")
    follow(read=NOW + SECOND)
    assert held(store) == [("ann@a.example", 902)]
    take_off(store)
    for _ in range(3):
        follow(read=NOW + 2 * SECOND)
    assert held(store) == []
    assert rows(store, schema.suppression_due) == []


def test_a_line_that_was_read_before_the_relay_knew_the_queue_id_acts_once(store, follow):
    ids = ours(store, "ann@a.example", queue_id=None)
    follow(delivery("ann@a.example", "bounced", UNKNOWN))
    assert held(store) == []
    hand_over(store, ids, MAIL)
    follow()
    assert held(store) == [("ann@a.example", 902)]
    take_off(store)
    follow()
    assert held(store) == []


def test_a_queue_id_that_never_becomes_known_is_waited_for_a_day(store, take, follow, clock):
    ours(store, "ann@a.example", queue_id=None)
    take(dsn("ann@a.example", queue_id=MAIL))
    clock.now = NOW + DAY - SECOND
    follow(read=clock.now)
    assert held(store) == []
    clock.now = NOW + DAY + SECOND
    follow()
    assert held(store, now=NOW + 2 * DAY) == [("ann@a.example", 902)]
    assert later(store) == [(902, "dsn")]


# ------------------------------------------------------------------ our own Postfix

TRACE = b"Received: by relay.shop.example (Postfix)\r\n\tid %s; Tue, 24 Nov 2026 08:00:00 +0000 (UTC)\r\n"
SAYS_SO = log_line(f"sender non-delivery notification: {NOTICE}", program="bounce", at=1)
HOME = NEWS  # an unsigned sender's own address, which Postfix gives to the ingester


def notice(*addresses, queue_id=MAIL, own=NOTICE, **more):
    """What bounce(8) of our own Postfix sends."""
    return TRACE % own.encode() + dsn(*addresses, queue_id=queue_id, reporting="relay.shop.example", **more)


STEPS = {
    "mail": lambda store, take, follow, ids: take(notice("ann@a.example"), HOME),
    "log": lambda store, take, follow, ids: follow(SAYS_SO),
    "relay": lambda store, take, follow, ids: hand_over(store, ids, MAIL),
}
ORDERS = [("mail", "log", "relay"), ("log", "mail", "relay"), ("relay", "mail", "log"), ("relay", "log", "mail")]
ORDERS += [("mail", "relay", "log"), ("log", "relay", "mail")]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_notice_of_our_own_postfix_proves_itself_in_any_order(store, take, follow, order):
    """The log did not tell of the delivery itself: it was rotated away."""
    ids = ours(store, "ann@a.example", "bob@a.example", queue_id=None, signed=False)
    for step in order:
        assert held(store) == []
        STEPS[step](store, take, follow, ids)
    assert rows(store, schema.bounce_mail, "trust", "trust_reason") == [
        ("proven", f"our own Postfix made it: its log names {NOTICE} as the notice about {MAIL}")
    ]
    assert rows(store, schema.bounce_report, "trust", "recipient_id") == [("proven", ids[0])]
    assert held(store) == []  # perhaps the log is about to tell
    follow(read=NOW + SECOND)
    assert held(store) == [("ann@a.example", 902)]
    assert later(store) == [(902, "dsn"), (None, None)]


@pytest.mark.parametrize(
    "order", [("mail", "log", "line"), ("line", "log", "mail"), ("log", "mail", "line")], ids="-".join
)
def test_where_the_log_has_told_it_the_notice_is_an_echo(store, take, follow, order):
    ours(store, "ann@a.example", signed=False)
    for step in order:
        if step == "line":
            follow(delivery("ann@a.example", "bounced", FULL))
        else:
            STEPS[step](store, take, follow, [])
    follow(read=NOW + SECOND)
    assert rows(store, schema.bounce_report, "trust", "is_echo") == [("proven", True)]
    assert later(store) == [(None, None)]
    assert rows(store, schema.suppression_due) == []
    assert held(store) == []


def test_a_line_that_comes_after_its_notice_acted_makes_no_second_entry(store, take, follow):
    ours(store, "ann@a.example", signed=False)
    follow(SAYS_SO)
    take(notice("ann@a.example"), HOME)
    follow(read=NOW + SECOND)
    assert held(store) == [("ann@a.example", 902)]
    take_off(store)
    follow(delivery("ann@a.example", "bounced", UNKNOWN))
    assert held(store) == []
    assert rows(store, schema.bounce_report, "is_echo") == [True]


def test_a_notice_with_a_token_is_proven_by_that(store, take, follow):
    ours(store, "ann@a.example")
    take(notice("ann@a.example"))
    follow(SAYS_SO, read=NOW + SECOND)
    assert rows(store, schema.bounce_mail, "trust_reason") == ["the signed reverse-path verifies"]
    assert held(store) == [("ann@a.example", 902)]


FOREIGN = {
    "from outside, with our line below": lambda: (
        b"Received: from x by relay.shop.example id 4QZZZZZ1; now\r\n" + notice("ann@a.example")
    ),
    "a queue id that is no notice": lambda: notice("ann@a.example", own="4QZZZZZ1"),
    "a notice about another mail": lambda: notice("ann@a.example", queue_id="4QOTHER1"),
    "somebody who is not in that mail": lambda: notice("cat@a.example"),
    "no queue id in the report": lambda: notice("ann@a.example", queue_id=""),
    "no trace line": lambda: dsn("ann@a.example", queue_id=MAIL),
    "no report": lambda: TRACE % NOTICE.encode() + vacation(),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_not_our_own_postfixs_proves_nothing(store, take, follow, case):
    ours(store, "ann@a.example", "bob@a.example", signed=False)
    ours(store, "eve@a.example", name="s2", queue_id="4QOTHER1", signed=False)
    follow(SAYS_SO, active(NEWS))
    take(FOREIGN[case](), HOME)
    follow(SAYS_SO.replace(b"notification", b"notification"), read=NOW + DAY)
    assert held(store) == []
    assert set(rows(store, schema.bounce_report, "trust")) == {"claimed"}
    assert rows(store, schema.bounce_mail, "trust") == ["claimed"]


def test_of_a_notice_about_several_only_ours_are_proven(store, take, follow):
    ours(store, "ann@a.example", "bob@a.example", signed=False)
    follow(SAYS_SO)
    take(notice("ann@a.example", "cat@a.example", "bob@a.example"), HOME)
    follow(read=NOW + SECOND)
    assert held(store) == [("ann@a.example", 902), ("bob@a.example", 902)]
    assert rows(store, schema.bounce_report, "trust") == ["proven", "claimed", "proven"]


# ------------------------------------------------------------------ complaints


def complaint(kind="abuse", path="", **more):
    raw = arf(**more).replace(b"Feedback-Type: abuse", b"Feedback-Type: " + kind.encode())
    return raw.replace(b"User-Agent:", b"Original-Mail-From: <%s>\r\nUser-Agent:" % path.encode()) if path else raw


BY_MAIL = (
    b"From: Ann <ann@a.example>\r\nTo: b+token@bounces.example\r\nSubject: unsubscribe\r\n"
    b"Auto-Submitted: auto-generated\r\nMessage-ID: <u@a.example>\r\n\r\n"
)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(complaint(), id="abuse"),
        pytest.param(complaint("opt-out"), id="opt-out"),
        pytest.param(complaint("opt-out-list"), id="opt-out-list"),
        pytest.param(BY_MAIL, id="by mail"),
    ],
)
def test_a_proven_complaint_unsubscribes_from_marketing_once(store, take, raw):
    ours(store, "ann@a.example")
    take(raw)
    with store.read() as tx:
        (entry,) = lists.entries(tx, ListName.UNSUBSCRIBED, now=NOW)
    assert (entry.value, entry.scope, entry.created_by) == ("ann@a.example", "kind:marketing", "suppress.toml")
    assert entry.source == f"bounce {rows(store, schema.bounce_mail, 'digest')[0][:16]}"
    assert held(store) == []
    (change,) = rows(store, schema.list_change)
    with store.write() as tx:
        lists.undo_change(tx, change.id, who="ann", now=NOW)
    take(raw + b"\r\nagain\r\n")
    assert held(store, ListName.UNSUBSCRIBED) == []


@pytest.mark.parametrize("kind", ["auth-failure", "not-spam", "fraud", "virus", "other"])
def test_other_reports_unsubscribe_nobody(store, take, kind):
    ours(store, "ann@a.example")
    take(complaint(kind))
    assert rows(store, schema.list_entry) == []


def test_a_complaint_proves_itself_by_the_mail_that_it_returns(store, take):
    """It came to the address of a feedback loop, and carries our signed reverse-path."""
    ours(store, "ann@a.example")
    take(complaint(path=token()), "fbl@shop.example")
    assert held(store, ListName.UNSUBSCRIBED) == [("ann@a.example", None)]
    assert rows(store, schema.bounce_mail, "trust_reason") == ["the signed reverse-path of the returned mail verifies"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(token(signer=FORGER), id="another key"),
        pytest.param(token(age=31), id="too old"),
        pytest.param(token().replace("b+a", "b+b"), id="another key id"),
        pytest.param("news@shop.example", id="none"),
    ],
)
def test_a_complaint_that_is_only_claimed_is_counted(store, take, path):
    ours(store, "ann@a.example")
    take(complaint(path=path), "fbl@shop.example")
    assert rows(store, schema.list_entry) == []
    assert counted(store)["complaint.claimed"] == 1


def test_a_dsn_does_not_prove_itself_by_what_it_returns(store, take):
    """Where a server copies our reverse-path is not told by the standard."""
    ours(store, "ann@a.example")
    take(dsn("ann@a.example").replace(b"Subject: Spring", f"Return-Path: <{token()}>".encode()), "x@shop.example")
    assert held(store) == []


def test_a_complaint_about_a_whitelisted_address_is_heard(store, take):
    ours(store, "ann@a.example")
    white = ListEntry(list_name=ListName.WHITELIST, value="ann@a.example", reason="x", source="x", created=NOW)
    with store.write() as tx:
        lists.add_entry(tx, white)
    take(complaint())
    assert held(store, ListName.UNSUBSCRIBED) == [("ann@a.example", None)]


def test_a_new_address_is_offered_in_the_entry_and_never_used(store, take):
    ours(store, "ann@a.example")
    take(vacation(text="I have left this address for good. My new address is ann@new.example"))
    with store.read() as tx:
        (entry,) = lists.entries(tx, None, now=NOW)
    assert entry.bounce_code == 908
    assert "the new address offered is ann@new.example" in entry.reason


# ------------------------------------------------------------------ nobody can lie to us

_PATHS = st.sampled_from(
    [
        token(signer=FORGER),
        token(age=31),
        token(age=400),
        token(age=-9),
        token().replace("@bounces.example", "@other.example"),
        token()[:-20] + "x" + token()[-19:],
        "b@bounces.example",
        "news@shop.example",
        "",
        "\x00",
    ]
)
_NAMES = st.sampled_from(["ann@a.example", "bob@a.example", "cat@x.example", "smith@elsewhere.example", ""])
_IDS = st.sampled_from([MAIL, NOTICE, "4QOTHER1", ""])
_MAILS = st.one_of(
    st.builds(
        lambda name, action, status, queue_id, own, number: (
            (TRACE % own.encode() if own else b"")
            + dsn(name, action=action, status=status, queue_id=queue_id, message_id="<s1@shop.example>", number=number)
        ),
        _NAMES,
        st.sampled_from(["failed", "delayed", "delivered"]),
        st.sampled_from(["5.1.1", "5.2.2", "5.1.6", "4.4.1"]),
        _IDS,
        st.sampled_from(["4QZZZZZ1", MAIL, ""]),
        st.integers(0, 9),
    ),
    st.builds(
        lambda kind, path, name: complaint(kind, path, recipient=name),
        st.sampled_from(["abuse", "opt-out"]),
        _PATHS,
        _NAMES,
    ),
    st.builds(lambda name: vacation(name, "My new address is x@new.example"), _NAMES),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_MAILS, _PATHS), max_size=8))
def test_no_sequence_of_claims_ever_changes_a_list(store, take, follow, clock, sent):
    """One store for all sequences: what an earlier one has claimed helps a later one as little."""
    if not rows(store, schema.recipient):
        ours(store, "ann@a.example", "bob@a.example")
        standing = ListEntry(
            list_name=ListName.KNOWN_BOUNCE, value="cat@x.example", reason="x", source="x", created=NOW
        )
        with store.write() as tx:
            lists.add_entry(tx, standing)
    before = rows(store, schema.list_entry), rows(store, schema.list_change), later(store)
    told = _claimed(store)
    for raw, path in sent:
        take(raw, path or "<>")
    clock.now = NOW + 2 * DAY
    follow(SAYS_SO, read=NOW + DAY)
    clock.now = NOW
    assert (rows(store, schema.list_entry), rows(store, schema.list_change), later(store)) == before
    assert rows(store, schema.suppression_due) == []
    assert _claimed(store) == told + len(sent)


def _claimed(store):
    names = ("bounce.unproven", "bounce.forged", "bounce.too-old", "bounce.again")
    return sum(counted(store).get(name, 0) for name in names)


# ------------------------------------------------------------------ a later delivery


def test_a_delivery_that_the_log_tells_lifts_what_a_bounce_had_proven(store, take, follow, clock):
    for number in range(3):
        path = token(nonce=b"%05d" % number)
        hand_over(store, submit(store, "ann@a.example", name=f"s{number}", reverse_paths=(path,)), f"4QAAAAA{number}")
        take(dsn("ann@a.example", words="552 5.2.2 mailbox full", status="5.2.2", number=number), path)
    assert held(store) == [("ann@a.example", 901)]
    ours(store, "ann@a.example", name="s9", queue_id="4QAAAAA9", signed=False)
    clock.now = NOW + DAY
    follow(delivery("ann@a.example", "sent", "250 ok", queue_id="4QAAAAA9", at=60))
    assert held(store) == []
    (change,) = [row for row in rows(store, schema.list_change) if row.what == "remove"]
    assert (change.who, change.note) == ("suppress.toml", "delivered 2026-11-24 08:01Z: log 4QAAAAA9")
    with store.write() as tx:
        lists.undo_change(tx, change.id, who="ann", now=NOW)
    assert held(store) == [("ann@a.example", 901)]


def test_a_delivery_that_is_joined_late_lifts_as_well(store, take, follow):
    ours(store, "ann@a.example", name="s1")
    with store.write() as tx:
        soft = ListEntry(
            list_name=ListName.KNOWN_BOUNCE,
            value="ann@a.example",
            reason="x",
            source="x",
            bounce_code=901,
            created=NOW,
            created_by="suppress.toml",
        )
        lists.add_entry(tx, soft)
    ids = ours(store, "ann@a.example", name="s9", queue_id=None, signed=False)
    follow(delivery("ann@a.example", "sent", "250 ok", queue_id="4QAAAAA9", at=60))
    assert held(store) == [("ann@a.example", 901)]
    hand_over(store, ids, "4QAAAAA9")
    follow()
    assert held(store) == []


def test_a_kill_between_the_proof_and_its_effect_leaves_the_effect_due(store, book, take, follow, monkeypatch):
    """What waits is in the store, not in a process."""
    ids = ours(store, "ann@a.example", queue_id=None)
    take(dsn("ann@a.example", queue_id="4QREMOTE"))
    hand_over(store, ids, MAIL)
    assert len(rows(store, schema.suppression_due)) == 1
    fresh = Follower(Settings(), store, book)
    with store.write() as tx:
        assert attempts.find_place(tx, "log") is None
    fresh.take([], None, now=NOW)
    assert held(store) == [("ann@a.example", 902)]
