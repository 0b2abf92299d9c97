"""From a proven failure to a known bounce: which codes, how many, how long, and whom never."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Attempt, ListEntry, ListName, Outcome, Reply, Verdict
from omicard_relay.services import suppression
from omicard_relay.services.suppression import consider, lift, settle_all, settle_quietly
from omicard_relay.store import attempts, bounces, lists, schema
from omicard_relay.store.due import close_due, find_due
from omicard_relay.tables.suppress import SuppressRule
from tests.keeping import NOW, hand_over, queued, rows, submit

DAY = timedelta(days=1)
RULES = {
    901: SuppressRule(code=901, after=3, days=14, for_days=90, source="x"),
    902: SuppressRule(code=902, after=1, days=1, for_days=365, source="x"),
}


def fail(store, code, *, at=NOW, address="ann@a.example", now=None, rules=RULES, domain="shop.example", kind=None):
    """Another mail to this address was returned; gives the new entry's id."""
    name = f"m{at.timestamp()}"
    (ours,) = queued(store, address, name=name, queue_id=name, sender=f"{name}@{domain}")
    verdict = Verdict(bounce_code=code, rule_id="a-rule", confidence=1.0, words="no such\x1b[2J user")
    line = Attempt(
        time=at,
        queue_id=name,
        recipient=address,
        outcome=Outcome.BOUNCED,
        enhanced_status="",
        reply=Reply(text="x", innermost="x"),
        line_digest=name,
    )
    with store.write() as tx:
        tx.execute(schema.submission.update().where(schema.submission.c.id == name).values(kind=kind))
        attempts.record_attempt(tx, line, verdict, None)
        how = {"source": "log 4Q", "happened": at, "now": now or at, "recipient_id": ours}
        return consider(tx, address, verdict, rules, **how)


def entry(store, number):
    with store.read() as tx:
        return next(e for e in lists.history(tx, ["ann@a.example"]) if e.entry_id == number)


def test_an_entry_says_why_on_what_proof_and_until_when(store):
    found = entry(store, fail(store, 902))
    assert (found.list_name, found.value, found.scope) == (ListName.KNOWN_BOUNCE, "ann@a.example", "all")
    assert found.reason == "902 by a-rule: no such\x1b[2J user"
    assert (found.source, found.bounce_code, found.created_by) == ("log 4Q", 902, "suppress.toml")
    assert (found.created, found.expires) == (NOW, NOW + 365 * DAY)


def test_as_many_failures_as_the_rule_wants_within_its_days(store):
    assert fail(store, 901) is None
    assert fail(store, 901, at=NOW + DAY) is None
    assert fail(store, 901, at=NOW + 2 * DAY) is not None


def test_an_entry_that_holds_is_not_made_again_and_a_new_one_follows_an_expired_one(store):
    assert fail(store, 902) is not None
    assert fail(store, 902, at=NOW + DAY) is None
    assert fail(store, 902, at=NOW + 366 * DAY) is not None


def test_other_codes_do_not_add_up(store):
    for number in range(2):
        fail(store, 901, at=NOW + number * DAY)
    assert fail(store, 913, at=NOW + 2 * DAY) is None


def test_a_code_without_a_rule_and_no_verdict_at_all_do_nothing(store):
    assert fail(store, 902, rules={}) is None
    with store.write() as tx:
        assert consider(tx, "ann@a.example", None, RULES, source="x", happened=NOW, now=NOW) is None


def test_the_days_are_counted_from_the_failure_not_from_the_reading(store):
    assert fail(store, 902, now=NOW + 30 * DAY) is not None


def test_what_would_have_ended_by_now_is_not_begun(store):
    assert fail(store, 902, now=NOW + 365 * DAY) is None


@pytest.mark.parametrize("scope", ["all", "sender:a.example", "sender:shop.example"])
def test_only_a_whitelist_entry_for_all_keeps_an_address_off(store, scope):
    """One for a single sender wins when that sender's mail is scrubbed; `a.example` is the recipient's domain, no sender."""
    white = ListEntry(
        list_name=ListName.WHITELIST, value="@a.example", reason="x", source="by hand", scope=scope, created=NOW
    )
    with store.write() as tx:
        lists.add_entry(tx, white)
    assert (fail(store, 902) is None) is (scope == "all")


@pytest.mark.parametrize("address", ["@a.example", "postmaster", "ann@"])
def test_what_is_no_whole_address_is_never_listed(store, address):
    assert fail(store, 902, address=address) is None


# ------------------------------------------------------------------ how long, how far apart, for whom


def rule(code=901, **more):
    return {code: SuppressRule(**{"code": code, "after": 1, "days": 14, "for_days": 90, "source": "x", **more})}


def test_each_entry_that_ran_out_makes_the_next_one_hold_twice_as_long(store):
    at, days = NOW, []
    for _ in range(5):
        made = entry(store, fail(store, 901, at=at, rules=rule()))
        days.append((made.expires - at).days)
        at = made.expires + DAY
    assert days == [90, 180, 360, 720, 730]


def test_an_entry_that_was_taken_off_makes_nothing_longer(store):
    with_change = fail(store, 901, rules=rule())
    with store.write() as tx:
        lists.remove_entry(tx, with_change, who="ann", now=NOW + DAY)
    made = entry(store, fail(store, 901, at=NOW + 100 * DAY, rules=rule()))
    assert (made.expires - made.created).days == 90


@pytest.mark.parametrize(("hours", "is_listed"), [((0, 23), False), ((0, 24), True), ((0, 1, 23, 25), True)])
def test_a_second_look_up_must_fail_a_day_later(store, hours, is_listed):
    rules = rule(905, after=2, apart_hours=24)
    made = [fail(store, 905, at=NOW + timedelta(hours=hour), rules=rules) for hour in hours]
    assert (made[-1] is not None) is is_listed
    assert set(made[:-1]) == {None}


@pytest.mark.parametrize(
    ("scope", "wanted"), [("all", "all"), ("sender", "sender:shop.example"), ("kind", "kind:marketing")]
)
def test_an_entry_holds_for_whom_the_rule_says(store, scope, wanted):
    made = entry(store, fail(store, 902, rules=rule(902, scope=scope), kind="marketing"))
    assert made.scope == wanted


@pytest.mark.parametrize(
    ("scope", "other"),
    [("sender", {"domain": "x.shop.example"}), ("sender", {"domain": "shopXexample"}), ("kind", {"kind": "alert"})],
)
def test_within_a_scope_its_own_failures_count_alone(store, scope, other):
    rules = rule(901, after=2, scope=scope)
    ours = {"kind": "marketing", "domain": "shop_example"} if "X" in str(other) else {"kind": "marketing"}
    assert fail(store, 901, rules=rules, **ours) is None
    assert fail(store, 901, at=NOW + DAY, rules=rules, **{**ours, **other}) is None
    assert fail(store, 901, at=NOW + 2 * DAY, rules=rules, **ours) is not None


def test_without_a_kind_a_rule_for_kinds_does_nothing(store):
    assert fail(store, 902, rules=rule(902, scope="kind")) is None


def test_a_whitelist_entry_of_the_same_scope_keeps_an_address_off(store):
    white = ListEntry(
        list_name=ListName.WHITELIST, value="ann@a.example", reason="x", source="x", scope="kind:marketing", created=NOW
    )
    with store.write() as tx:
        lists.add_entry(tx, white)
    assert fail(store, 902, rules=rule(902, scope="kind"), kind="marketing") is None
    assert fail(store, 902, at=NOW + DAY, rules=rule(902, scope="kind"), kind="alert") is not None


def test_a_failure_of_a_whitelisted_address_is_counted_and_logged(store, caplog):
    white = ListEntry(list_name=ListName.WHITELIST, value="ann@a.example", reason="x", source="x", created=NOW)
    with store.write() as tx:
        lists.add_entry(tx, white)
    for number in range(2):
        assert fail(store, 902, at=NOW + number * DAY) is None
    with store.read() as tx:
        assert bounces.counters(tx) == {"suppress.whitelisted": 2}
    told = [record.getMessage() for record in caplog.records]
    assert told == ["event=suppress-whitelisted address=ann@a.example code=902 proof=log 4Q note=nothing-changed"] * 2


# ------------------------------------------------------------------ a later delivery

SOFT = rule(901, lifted_by_delivery=True) | rule(902)


def deliver(store, *, at, rules=SOFT, now=None):
    with store.write() as tx:
        return lift(tx, "Ann@a.example", rules, source="log 4QOK", happened=at, now=now or at)


def holding(store, now):
    with store.read() as tx:
        return [e.entry_id for e in lists.entries(tx, None, now=now)]


def test_a_later_delivery_lifts_a_soft_entry_and_that_can_be_undone(store):
    made = fail(store, 901, rules=SOFT)
    (change,) = deliver(store, at=NOW + DAY)
    assert holding(store, NOW + DAY) == []
    (told,) = rows(store, schema.list_change)[1:]
    assert (told.who, told.what, told.entry_id) == ("suppress.toml", "remove", made)
    assert told.note == "delivered 2026-11-25 08:00Z: log 4QOK"
    with store.write() as tx:
        lists.undo_change(tx, change, who="ann", now=NOW + 2 * DAY)
    assert holding(store, NOW + 2 * DAY) == [made]


STAYS = {
    "a hard one": (902, NOW + DAY, SOFT),
    "an earlier delivery": (901, NOW - DAY, SOFT),
    "a delivery at the same moment": (901, NOW, SOFT),
    "a rule that does not lift": (901, NOW + DAY, rule(901)),
    "no rule any more": (901, NOW + DAY, {}),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_stays_after_a_delivery(store, case):
    code, at, rules = STAYS[case]
    made = fail(store, code, rules=rule(code))
    assert deliver(store, at=at, rules=rules, now=NOW + DAY) == []
    assert holding(store, NOW + DAY) == [made]


@pytest.mark.parametrize(
    ("by", "name", "value"),
    [
        ("ann", ListName.KNOWN_BOUNCE, "ann@a.example"),
        ("suppress.toml", ListName.UNSUBSCRIBED, "ann@a.example"),
        ("suppress.toml", ListName.KNOWN_BOUNCE, "@a.example"),
    ],
)
def test_a_delivery_lifts_the_policys_own_known_bounces_alone(store, by, name, value):
    by_hand = ListEntry(
        list_name=name, value=value, reason="x", source="x", bounce_code=901, created=NOW, created_by=by
    )
    with store.write() as tx:
        lists.add_entry(tx, by_hand)
    assert deliver(store, at=NOW + DAY) == []


@pytest.mark.parametrize(
    ("after", "hour", "is_lifted"),
    [(3, -1, False), (3, 1, True), (3, 25, True), (2, 1, False), (2, 25, True), (1, 25, False), (1, 49, True)],
)
def test_a_delivery_that_is_told_late_lifts_where_too_few_failures_came_after_it(store, after, hour, is_lifted):
    """Of the failures of three days those that it came before are counted anew."""
    rules = rule(901, after=after, lifted_by_delivery=True)
    made = [fail(store, 901, at=NOW + day * DAY, rules=rules) for day in range(3)]
    if after == 1:  # the failures behind the first were of the entry that held already: the newest one is the entry's
        with store.write() as tx:
            tx.execute(schema.list_entry.update().values(happened=NOW + 2 * DAY))
    assert [one for one in made if one] == holding(store, NOW + 3 * DAY)
    changes = deliver(store, at=NOW + timedelta(hours=hour), rules=rules, now=NOW + 3 * DAY)
    assert bool(changes) is is_lifted
    assert bool(holding(store, NOW + 3 * DAY)) is not is_lifted


# ------------------------------------------------------------------ what had to wait


def owe(store, *addresses, code=902):
    """Failures that the log told before the relay knew the queue id: nobody has looked at them yet."""
    ids = submit(store, *addresses)
    verdict = Verdict(bounce_code=code, rule_id="a-rule", confidence=1.0, words="no such user")
    with store.write() as tx:
        for address in addresses:
            line = Attempt(
                time=NOW,
                queue_id="4QAAAAA1",
                recipient=address,
                outcome=Outcome.BOUNCED,
                enhanced_status="",
                reply=Reply(text="x", innermost="x"),
                line_digest=address,
            )
            attempts.record_attempt(tx, line, verdict, None)
    hand_over(store, ids, "4QAAAAA1")


def people(count):
    return [f"a{number:04d}@a.example" for number in range(count)]


def test_what_waits_is_settled_until_nothing_is_due(store):
    owe(store, *people(430))
    assert settle_all(store, RULES, now=NOW, seconds=600) == 430
    assert rows(store, schema.suppression_due) == []
    assert len(rows(store, schema.list_entry)) == 430
    assert settle_all(store, RULES, now=NOW) == 0


def test_settling_ends_at_its_time_or_when_it_is_told_and_goes_on_the_next_time(store):
    owe(store, *people(160))
    assert settle_all(store, RULES, now=NOW, seconds=0.0) == 50
    assert settle_all(store, RULES, now=NOW, is_stopped=lambda: True) == 50
    assert settle_all(store, RULES, now=NOW, seconds=600) == 60


def test_where_nothing_is_due_no_write_is_begun(store, monkeypatch):
    monkeypatch.setattr(store, "write", lambda: pytest.fail("a write"))
    assert settle_all(store, RULES, now=NOW) == 0


def test_what_another_process_is_looking_at_is_not_looked_at_twice(store):
    """Two that have found the same row: the second one finds it gone."""
    owe(store, "ann@a.example")
    with store.write() as tx:
        (due,) = find_due(tx, now=NOW)
        assert close_due(tx, due)
        assert not close_due(tx, due)


def test_a_fault_of_ours_holds_nothing_up_and_is_counted_and_tried_a_day_later(store, monkeypatch, caplog):
    owe(store, *people(3))
    look = suppression.look_at

    def failing(tx, due, rules, *, now):
        if due.address == "a0001@a.example":
            raise ZeroDivisionError
        look(tx, due, rules, now=now)

    monkeypatch.setattr(suppression, "look_at", failing)
    assert settle_all(store, RULES, now=NOW) == 3
    assert len(rows(store, schema.list_entry)) == 2
    with store.read() as tx:
        assert bounces.counters(tx) == {"suppress.failed": 1}
    assert "event=suppress-bug address=a0001@a.example" in caplog.text
    monkeypatch.undo()
    assert settle_all(store, RULES, now=NOW + DAY - timedelta(seconds=1)) == 0
    assert settle_all(store, RULES, now=NOW + DAY) == 1
    assert len(rows(store, schema.list_entry)) == 3


def test_a_process_of_the_pipe_settles_some_and_never_fails_by_it(store, monkeypatch, caplog):
    owe(store, *people(2))
    settle_quietly(store, RULES, now=NOW)
    assert len(rows(store, schema.list_entry)) == 2
    monkeypatch.setattr(suppression, "find_due", lambda *_, **__: 1 / 0)
    settle_quietly(store, RULES, now=NOW)
    assert "event=suppress-waits" in caplog.text


# ------------------------------------------------------------------ a log that is read late


@pytest.mark.parametrize(
    ("late", "is_listed"), [(0, False), (6, False), (7, True), (12, True), (20, True), (34, True), (35, False)]
)
def test_failures_count_together_only_within_the_rules_days_however_late_one_is_told(store, late, is_listed):
    """Days 20 and 21 are known when the line of another day is read; the rule wants three in 14 days."""
    fail(store, 901, at=NOW + 20 * DAY)
    fail(store, 901, at=NOW + 21 * DAY)
    at = NOW + late * DAY + timedelta(hours=1 if late == 20 else 0)
    assert (fail(store, 901, at=at, now=NOW + 36 * DAY) is not None) is is_listed


def test_a_late_line_of_a_failure_before_a_delivery_makes_no_entry_of_the_failures_after_it(store):
    """The entry for those was taken off by a person: an old line must not bring it back."""
    made = fail(store, 902, at=NOW + 20 * DAY)
    with store.write() as tx:
        lists.remove_entry(tx, made, who="ann", now=NOW + 21 * DAY)
    queued(store, "ann@a.example", name="delivered", queue_id="4QOK")
    sent = Attempt(
        time=NOW + 10 * DAY,
        queue_id="4QOK",
        recipient="ann@a.example",
        outcome=Outcome.SENT,
        enhanced_status="2.0.0",
        reply=Reply(text="250 ok", innermost="250 ok"),
        line_digest="delivered",
    )
    with store.write() as tx:
        attempts.record_attempt(tx, sent, None, None)
    assert fail(store, 902, now=NOW + 22 * DAY) is None


@pytest.mark.parametrize("address", ["< @a.example>", "<\t@a.example>"])
def test_no_spelling_of_an_address_lists_a_whole_domain(store, address):
    assert fail(store, 902, address=address) is None
