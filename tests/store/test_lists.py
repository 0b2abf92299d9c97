"""The lists: what holds for whom, and that every change is written down and can be taken back."""

from datetime import timedelta

import pytest

from omicard_relay.mail import ListEntry, ListName, StoreError
from omicard_relay.store import lists, schema
from tests.keeping import NOW, a_store, rows

BLACK, WHITE, KNOWN = ListName.BLACKLIST, ListName.WHITELIST, ListName.KNOWN_BOUNCE
LATER = NOW + timedelta(days=1)


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def put(store, value="ann@a.example", name=BLACK, *, note="", **more):
    entry = ListEntry(
        list_name=name,
        value=value,
        **{"reason": "asked", "source": "by hand", "created": NOW, "created_by": "op", **more},
    )
    with store.write() as tx:
        return lists.add_entry(tx, entry, note=note)


def ask(store, address="ann@a.example", *, sender="shop.example", campaign=None, now=NOW):
    with store.read() as tx:
        found = lists.covering_entries(tx, address, sender_domain=sender, campaign=campaign, now=now)
    return {name: entry.value for name, entry in found.items()}


def held(store, name=None, *, now=NOW, **more):
    with store.read() as tx:
        return [entry.value for entry in lists.entries(tx, name, now=now, **more)]


def remove(store, entry_id, now=NOW):
    with store.write() as tx:
        return lists.remove_entry(tx, entry_id, who="op", now=now, note="why")


def undo(store, change, now=NOW):
    with store.write() as tx:
        return lists.undo_change(tx, change, who="op", now=now)


def test_an_entry_comes_back_as_it_was_put(store):
    entry_id, is_new = put(store, scope="campaign:spring", bounce_code=902, expires=LATER, name=KNOWN)
    assert is_new
    with store.read() as tx:
        (entry,) = lists.entries(tx, KNOWN, now=NOW)
    assert entry == ListEntry(
        list_name=KNOWN,
        value="ann@a.example",
        reason="asked",
        source="by hand",
        scope="campaign:spring",
        bounce_code=902,
        created=NOW,
        created_by="op",
        expires=LATER,
        entry_id=entry_id,
    )


@pytest.mark.parametrize(
    ("listed", "address", "is_covered"),
    [
        ("ann@a.example", "Ann@A.Example", True),
        ("<ANN@a.example>", "ann@a.example", True),
        ("@a.example", "ann@a.example", True),
        ("a.example", "ann@a.example", True),
        ("@a.example", "ann@sub.a.example", False),
        ("ann@a.example", "bob@a.example", False),
        ("@nn", "ann", False),
    ],
)
def test_an_address_is_covered_by_itself_or_by_its_domain(store, listed, address, is_covered):
    put(store, listed)
    assert (BLACK in ask(store, address)) is is_covered


def test_the_address_itself_comes_before_its_domain(store):
    put(store, "@a.example")
    put(store, "ann@a.example")
    assert ask(store) == {BLACK: "ann@a.example"}


def test_each_list_answers_for_itself(store):
    put(store)
    put(store, "@a.example", WHITE)
    assert ask(store) == {BLACK: "ann@a.example", WHITE: "@a.example"}


@pytest.mark.parametrize(
    ("scope", "sender", "campaign", "is_covered"),
    [
        ("all", "other.example", None, True),
        ("sender:Shop.example", "shop.example", None, True),
        ("sender:shop.example", "other.example", None, False),
        ("campaign:spring", "shop.example", "spring", True),
        ("campaign:spring", "shop.example", "autumn", False),
        ("campaign:spring", "shop.example", None, False),
    ],
)
def test_a_scope_says_for_whose_mail(store, scope, sender, campaign, is_covered):
    put(store, scope=scope)
    assert bool(ask(store, sender=sender, campaign=campaign)) is is_covered


def test_a_narrow_entry_of_the_address_does_not_hide_a_wide_one_of_its_domain(store):
    put(store, scope="campaign:spring")
    put(store, "@a.example")
    assert ask(store) == {BLACK: "@a.example"}


def test_an_entry_ends_by_itself(store):
    put(store, expires=LATER)
    assert ask(store, now=LATER - timedelta(seconds=1))
    assert not ask(store, now=LATER)
    assert held(store, now=LATER) == []


def test_an_equal_entry_is_kept_as_it_is_and_one_of_another_scope_is_another(store):
    first, _ = put(store)
    assert put(store, "ANN@a.example", reason="again") == (first, False)
    assert put(store, scope="sender:shop.example")[1]
    assert put(store, name=KNOWN)[1]
    assert rows(store, schema.list_entry, "reason") == ["asked"] * 3
    assert len(rows(store, schema.list_change)) == 3


@pytest.mark.parametrize(
    ("held_by", "ends", "name", "is_new"),
    [
        (lists.BY_POLICY, LATER, KNOWN, True),
        (lists.BY_POLICY, None, KNOWN, False),
        ("op", LATER, KNOWN, False),
        (lists.BY_POLICY, LATER, ListName.UNSUBSCRIBED, False),
    ],
    ids=["one that ends", "one that never ends", "a person's", "another list"],
)
def test_a_person_takes_the_place_of_what_the_policy_would_end_or_lift(store, held_by, ends, name, is_new):
    first, _ = put(store, name=name, created_by=held_by, expires=ends)
    entry_id, was_new = put(store, name=name, reason="by phone")
    assert was_new is is_new
    with store.read() as tx:
        (holds,) = lists.entries(tx, name, now=NOW)
    assert (holds.entry_id, holds.reason) == ((entry_id, "by phone") if is_new else (first, "asked"))
    assert [change[0] for change in rows(store, schema.list_change, "what", "who")] == (
        ["add", "remove", "add"] if is_new else ["add"]
    )


@pytest.mark.parametrize("created_by", [lists.BY_POLICY, "op"])
def test_an_export_that_is_taken_in_again_leaves_the_policys_entry_as_it_is(store, created_by):
    first, _ = put(store, name=KNOWN, created_by=lists.BY_POLICY, expires=LATER)
    assert put(store, name=KNOWN, created_by=created_by, expires=LATER) == (first, False)


def test_an_expired_entry_does_not_stand_in_the_way_of_a_new_one(store):
    put(store, expires=LATER)
    assert put(store, created=LATER)[1]


def test_a_removed_entry_holds_no_more_but_stays_in_the_history(store):
    entry_id, _ = put(store)
    remove(store, entry_id, LATER)
    assert not ask(store)
    assert held(store) == []
    with store.read() as tx:
        (entry,) = lists.history(tx, ["Ann@a.example"])
    assert entry.removed == LATER


def test_what_does_not_hold_cannot_be_removed(store):
    entry_id, _ = put(store)
    remove(store, entry_id)
    for number in (entry_id, 999):
        with pytest.raises(StoreError, match=f"no list entry {number} that holds"):
            remove(store, number)


def test_every_change_can_be_taken_back_and_the_taking_back_too(store):
    entry_id, _ = put(store)
    (added,) = rows(store, schema.list_change, "id")
    assert undo(store, added).value == "ann@a.example"
    assert not ask(store)
    undone = rows(store, schema.list_change, "id")[-1]
    undo(store, undone)
    assert ask(store)
    removed = remove(store, entry_id)
    undo(store, removed)
    assert ask(store)
    assert rows(store, schema.list_change, "what") == ["add", "remove", "add", "remove", "add"]
    assert rows(store, schema.list_change, "note")[1] == f"undo of change {added}"


def test_a_change_is_taken_back_once(store):
    put(store)
    (added,) = rows(store, schema.list_change, "id")
    undo(store, added)
    with pytest.raises(StoreError, match=f"change {added} is undone already"):
        undo(store, added)
    with pytest.raises(StoreError, match="no change 999"):
        undo(store, 999)


def test_a_removal_is_not_taken_back_beside_an_equal_entry(store):
    entry_id, _ = put(store)
    removed = remove(store, entry_id)
    put(store)
    with pytest.raises(StoreError, match=r"ann@a\.example is on blacklist again already"):
        undo(store, removed)
    assert held(store) == ["ann@a.example"]


def test_an_entry_that_has_run_out_meanwhile_is_not_brought_back(store):
    """It would hold nothing, and whoever asked for it would think that it did."""
    entry_id, _ = put(store, expires=LATER)
    removed = remove(store, entry_id)
    with pytest.raises(StoreError, match=r"of ann@a\.example ran out at 2026-11-25 08:00Z and would hold nothing"):
        undo(store, removed, now=LATER)
    assert rows(store, schema.list_change, "what") == ["add", "remove"]
    undo(store, removed, now=LATER - timedelta(seconds=1))
    assert held(store) == ["ann@a.example"]


def test_changes_are_told_newest_first_with_their_entry(store):
    put(store, note="by phone")
    entry_id, _ = put(store, "bob@a.example", WHITE, reason="a friend")
    remove(store, entry_id)
    with store.read() as tx:
        told = [(c.what, c.who, c.note, c.list_name, c.value, c.reason) for c in lists.changes(tx)]
        of_one = lists.changes(tx, value="BOB@a.example")
        assert len(lists.changes(tx, limit=1)) == 1
    assert told == [
        ("remove", "op", "why", WHITE, "bob@a.example", "a friend"),
        ("add", "op", "", WHITE, "bob@a.example", "a friend"),
        ("add", "op", "by phone", BLACK, "ann@a.example", "asked"),
    ]
    assert len(of_one) == 2


def test_entries_are_told_by_value_of_one_list_or_of_all(store):
    for value, name in (("cat@a.example", BLACK), ("ann@a.example", WHITE), ("bob@a.example", BLACK)):
        put(store, value, name)
    assert held(store) == ["ann@a.example", "bob@a.example", "cat@a.example"]
    assert held(store, BLACK) == ["bob@a.example", "cat@a.example"]
    assert held(store, BLACK, limit=1) == ["bob@a.example"]
    assert held(store, None, value="CAT@a.example") == ["cat@a.example"]
