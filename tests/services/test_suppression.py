"""From a proven failure to a known bounce: which codes, how many, how long, and whom never."""

from datetime import timedelta

import pytest

from omicard_relay.mail import Attempt, ListEntry, ListName, Outcome, Reply, Verdict
from omicard_relay.services.suppression import consider
from omicard_relay.store import attempts, lists
from omicard_relay.tables.suppress import SuppressRule
from tests.keeping import NOW, a_store, queued

DAY = timedelta(days=1)
RULES = {
    901: SuppressRule(code=901, after=3, days=14, for_days=90, source="x"),
    902: SuppressRule(code=902, after=1, days=1, for_days=365, source="x"),
}


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def fail(store, code, *, at=NOW, address="ann@a.example", now=None, rules=RULES):
    """Another mail to this address was returned; gives the new entry's id."""
    name = f"m{at.timestamp()}"
    queued(store, address, name=name, queue_id=name, sender=f"{name}@shop.example")
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
        attempts.record_attempt(tx, line, verdict, None)
        return consider(tx, address, verdict, rules, source="log 4Q", happened=at, now=now or at)


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
