"""What is remembered of imports: places by source, files by name, and which mails are there."""

import pytest

from omicard_relay.store import imports
from omicard_relay.store.imports import ImportPlace
from tests.keeping import NOW, a_store


@pytest.fixture
def tx(tmp_path):
    with a_store(tmp_path) as store, store.write() as tx:
        yield tx


def test_a_place_is_moved_and_belongs_to_its_source(tx):
    assert imports.find_place(tx, "/a") is None
    for offset in (5, 2**40):
        imports.move_place(tx, "/a", ImportPlace(identity="x", offset=offset), now=NOW)
        assert imports.find_place(tx, "/a") == ImportPlace(identity="x", offset=offset)
    assert imports.find_place(tx, "/b") is None


def test_files_are_known_by_source_and_name_with_their_newest_mark(tx):
    imports.add_done(tx, "/a", {"1": "", "2": "old"})
    imports.add_done(tx, "/a", {"2": "new", "3": ""})
    imports.add_done(tx, "/a", {})
    assert imports.which_done(tx, "/a", ["1", "2", "4"]) == {"1": "", "2": "new"}
    assert imports.which_done(tx, "/b", ["1"]) == {}


def test_nothing_is_known_of_mails_that_never_came(tx):
    assert imports.known_digests(tx, ["a", "b"]) == set()
    assert imports.known_digests(tx, []) == set()
