"""Releases in the store: numbers are taken once and never changed, whoever writes at the same time."""

import threading
from datetime import timedelta

import pytest

from omicard_relay.mail import StoreError
from omicard_relay.store import releases, schema
from omicard_relay.store.releases import ReleaseKind
from tests.keeping import NOW, a_store, rows

FILES = {"rules/own.toml": "# 中文\r\n[[rule]]\n", "codes.toml": ""}


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path) as store:
        yield store


def add(tx, after, **more):
    values = {
        "created": NOW,
        "author": "ann",
        "note": "why",
        "kind": ReleaseKind.PUBLISH,
        "digest": "d" * 64,
        "shipped_digest": "s" * 64,
        "files": FILES,
    }
    return releases.add_release(tx, after=after, **{**values, **more})


def test_before_the_first_release_there_is_none(store):
    with store.read() as tx:
        assert releases.newest_number(tx) is None
        assert releases.find_release(tx, 1) is None
        assert releases.releases(tx) == []


def test_a_release_comes_back_as_it_was_written(store):
    with store.write() as tx:
        first = add(tx, None)
        second = add(
            tx, 1, kind=ReleaseKind.ROLLBACK, rollback_of=0, files={}, note="", created=NOW + timedelta(hours=1)
        )
    with store.read() as tx:
        assert releases.newest_number(tx) == 2
        assert releases.find_release(tx, 1) == first
        assert releases.releases(tx) == [first, second]
    assert (first.number, dict(first.files)) == (1, FILES)
    assert (second.kind, second.rollback_of, second.files) == ("rollback", 0, {})


def test_who_has_not_seen_the_newest_writes_nothing(store):
    with store.write() as tx:
        add(tx, None)
    with store.write() as tx:
        add(tx, 1)
    with pytest.raises(StoreError, match="Release 2 of the rules came into force meanwhile"), store.write() as tx:
        add(tx, 1)
    with store.read() as tx:
        assert [one.number for one in releases.releases(tx)] == [1, 2]


def test_of_many_at_once_one_wins_and_no_number_is_lost(store):
    together, told = threading.Barrier(8), []

    def publish(author):
        together.wait()
        try:
            with store.write() as tx:
                told.append(add(tx, None, author=author).author)
        except StoreError as error:
            told.append(str(error))

    threads = [threading.Thread(target=publish, args=(f"a{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [one for one in told if one.startswith("a")]
    assert len(winners) == 1
    assert sum("came into force meanwhile" in one for one in told) == 7
    assert rows(store, schema.rule_release, "number", "author") == [(1, winners[0])]


def test_the_key_decides_where_writers_do_not_wait(store, monkeypatch):
    """As on a database whose transactions run side by side: both have seen the same newest."""
    with store.write() as tx:
        add(tx, None)
    monkeypatch.setattr(releases, "newest_number", lambda tx: None)
    with pytest.raises(StoreError, match="Release 1 of the rules came into force meanwhile"), store.write() as tx:
        add(tx, None, author="bob")
    assert rows(store, schema.rule_release, "author") == ["ann"]
