"""Publishing and going back: what was checked is what is in force, and the working folder is only written when asked to."""

import os
import threading
from datetime import timedelta

import pytest

from omicard_relay.mail import RelayError, StoreError, TableError
from omicard_relay.services import publishing
from omicard_relay.services.publishing import (
    change_between,
    check_out,
    failing_examples,
    publish,
    read_draft,
    roll_back,
)
from omicard_relay.services.released import write_layer
from omicard_relay.services.rulebook import load_rules, newest_release, open_rulebook
from omicard_relay.store import releases
from omicard_relay.tables.active import load_active, release_folder, released_number
from omicard_relay.tables.settings import Settings
from tests.keeping import NOW, a_store
from tests.releasing import rule, ship, write_rules


@pytest.fixture
def settings(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path / "program")
    return Settings(data_dir=str(tmp_path / "data"))


@pytest.fixture
def store(settings, tmp_path):
    with a_store(tmp_path / "data") as store:
        yield store


@pytest.fixture
def site(tmp_path):
    return tmp_path / "data" / "policies"


def put(settings, store, after, note=""):
    return publish(settings, store, read_draft(settings), after=after, author="ann", note=note, now=NOW)


def back(settings, store, number):
    return roll_back(settings, store, number, author="bob", note="", now=NOW)


def code(settings):
    found = load_active(settings).rules_by_id.get("site")
    return found.bounce_code if found else None


@pytest.fixture
def three(settings, store, site):
    for number, wanted in enumerate((921, 922, 923)):
        write_rules(site, rule("site", wanted, "zq17"))
        put(settings, store, number or None)
    return settings


def test_the_working_folder_becomes_the_next_release(three, store):
    newest = newest_release(store)
    assert (newest.number, newest.author, newest.kind) == (3, "ann", "publish")
    assert (released_number(three), code(three)) == (3, 923)


def test_editing_goes_on_without_touching_what_is_in_force(three, site):
    write_rules(site, "half a ru")
    assert code(three) == 923
    with pytest.raises(TableError, match=r"data/policies/rules/own\.toml: is not valid TOML"):
        read_draft(three)


def test_what_is_published_is_what_was_read(settings, store, site):
    write_rules(site, rule("site", 921, "zq17"))
    draft = read_draft(settings)
    write_rules(site, rule("site", 930, "zq17"))
    publish(settings, store, draft, after=None, author="ann", note="", now=NOW)
    assert code(settings) == 921


def test_a_folder_that_is_not_there_is_an_empty_draft(settings, site):
    draft = read_draft(settings)
    assert (draft.files, draft.rules.policies.rules_by_id.keys()) == (
        {},
        {"base-unknown", "base-full", "base-refused"},
    )
    assert not site.exists()


def test_an_older_release_comes_back_as_a_new_one(three, store):
    outcome = back(three, store, 1)
    assert (outcome.release.number, outcome.release.kind, outcome.release.rollback_of) == (4, "rollback", 1)
    assert (released_number(three), code(three)) == (4, 921)
    assert outcome.release.digest == publishing.get_release(store, 1).digest


def test_going_back_to_the_shipped_tables_leaves_nothing_of_the_site(three, store, site):
    outcome = back(three, store, releases.SHIPPED)
    assert (outcome.release.rollback_of, outcome.release.files) == (0, {})
    assert code(three) is None
    assert "zq17" in (site / "rules" / "own.toml").read_text()
    assert open_rulebook(three, store).current.release == 4


def test_going_back_before_the_first_release_takes_the_working_folder_out_of_force(settings, store, site):
    write_rules(site, rule("site", 921, "zq17"))
    assert code(settings) == 921
    assert back(settings, store, 0).release.number == 1
    assert code(settings) is None


@pytest.mark.parametrize("what", ["newest-does-not-load", "copy-gone", "current-broken"])
def test_going_back_works_whatever_is_broken(three, store, what):
    if what == "newest-does-not-load":
        files = {"rules/own.toml": "no toml"}
        with store.write() as tx:
            releases.add_release(
                tx,
                after=3,
                created=NOW,
                author="",
                note="",
                kind=releases.ReleaseKind.PUBLISH,
                digest="x",
                shipped_digest="",
                files=files,
            )
    elif what == "copy-gone":
        os.rename(release_folder(three, 3), release_folder(three, 33))
    else:
        (release_folder(three, 3).parent / "current").write_bytes(b"\xff\x00")
    back(three, store, 2)
    assert code(three) == 922


def test_going_back_to_what_is_in_force_only_mends_the_copy(three, store):
    os.rename(release_folder(three, 3), release_folder(three, 33))
    outcome = back(three, store, 3)
    assert (outcome.is_new, outcome.release.number) == (False, 3)
    assert code(three) == 923


def test_a_release_that_is_not_there_is_told(three, store):
    with pytest.raises(RelayError, match="There is no release 9; `omicard-relay rules history`"):
        back(three, store, 9)


def test_a_release_that_this_program_does_not_load_is_not_gone_back_to(settings, store):
    with store.write() as tx:
        releases.add_release(
            tx,
            after=None,
            created=NOW,
            author="",
            note="",
            kind=releases.ReleaseKind.PUBLISH,
            digest="x",
            shipped_digest="",
            files={"rules/own.toml": "new_key = 1"},
        )
    back(settings, store, 0)
    with pytest.raises(TableError, match=r"release 1/rules/own\.toml"):
        back(settings, store, 1)
    assert newest_release(store).number == 2


def test_of_two_that_publish_at_once_one_wins(settings, store, site):
    write_rules(site, rule("site", 921, "zq17"))
    draft, together, told = read_draft(settings), threading.Barrier(2), []

    def run(author):
        together.wait()
        try:
            told.append(publish(settings, store, draft, after=None, author=author, note="", now=NOW).release.number)
        except StoreError as error:
            told.append(str(error))

    threads = [threading.Thread(target=run, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, told))[0] == "1"
    assert sum("came into force meanwhile" in str(one) for one in told) == 1


def test_a_disk_without_room_is_told_and_the_store_has_the_release(settings, store, site, monkeypatch):
    def full(settings, release):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "copy_here", full)
    write_rules(site, rule("site", 921, "zq17"))
    outcome = put(settings, store, None)
    assert "No space left" in outcome.not_copied
    assert newest_release(store).number == 1


def test_a_checkout_keeps_what_was_there(three, store, site):
    (site / "notes.txt").write_text("mine")
    write_rules(site, rule("other", 930, "zq19"), name="other.toml")
    backup = check_out(three, publishing.get_release(store, 1).files, NOW)
    assert sorted(path.name for path in site.iterdir() if path.name != ".lock") == ["notes.txt", "rules"]
    assert os.listdir(site / "rules") == ["own.toml"]
    assert read_draft(three).digest == publishing.get_release(store, 1).digest
    assert sorted(os.listdir(backup / "rules")) == ["other.toml", "own.toml"]
    assert "923" in (backup / "rules" / "own.toml").read_text()
    assert code(three) == 923


def link_pack(site, name, text):
    """A pack as `rules import` puts it."""
    write_layer(
        site / ".packs" / f"{name}-1", {"pack.json": f'{{"of": "{text}"}}', "rules/pack.toml": rule(name, 921, text)}
    )
    (site / "packs").mkdir(exist_ok=True)
    (site / "packs" / name).unlink(missing_ok=True)
    (site / "packs" / name).symlink_to(f"../.packs/{name}-1")


def test_a_checkout_brings_packs_back_as_links(three, store, site):
    link_pack(site, "moon", "zq21")
    link_pack(site, "star", "zq22")
    put(three, store, 3)
    files = publishing.get_release(store, 4).files
    assert "packs/moon/pack.json" in files
    (site / "packs" / "moon").unlink()
    link_pack(site, "star", "zq23")
    link_pack(site, "sun", "zq24")
    kept = (site / ".packs" / "star-1" / "rules" / "pack.toml").read_text()
    check_out(three, files, NOW)
    assert read_draft(three).files == files
    assert sorted(path.name for path in (site / "packs").iterdir()) == ["moon", "star"]
    assert all(path.is_symlink() for path in (site / "packs").iterdir())
    assert (site / ".packs" / "star-1" / "rules" / "pack.toml").read_text() == kept, (
        "an imported folder was written into"
    )
    check_out(three, publishing.get_release(store, 1).files, NOW + timedelta(seconds=1))
    assert list((site / "packs").iterdir()) == []


def test_a_checkout_writes_a_pack_that_was_put_there_by_hand(three, store, site):
    write_layer(site / "packs" / "moon", {"rules/pack.toml": rule("moon", 921, "zq21")})
    put(three, store, 3)
    write_layer(site / "packs" / "moon", {"rules/pack.toml": rule("moon", 922, "zq21")})
    files = publishing.get_release(store, 4).files
    check_out(three, files, NOW)
    assert read_draft(three).files == files
    assert not (site / "packs" / "moon").is_symlink()


def test_line_ends_are_released_as_they_are(settings, store, site):
    write_rules(site, rule("site", 921, "zq17"))
    octets = (site / "rules" / "own.toml").read_bytes().replace(b"\n", b"\r\n")
    (site / "rules" / "own.toml").write_bytes(octets)
    put(settings, store, None)
    assert (release_folder(settings, 1) / "rules" / "own.toml").read_bytes() == octets


def test_a_checkout_into_nothing_needs_no_backup(three, store, site):
    (site / "rules" / "own.toml").unlink()
    assert check_out(three, publishing.get_release(store, 2).files, NOW) is None
    assert "922" in (site / "rules" / "own.toml").read_text()


def test_only_examples_that_the_draft_breaks_are_its_fault(settings):
    base = rule("a", 921, "zq17") + rule("b", 930, "zq18", example="550 nothing of it")
    before = load_rules({"rules/own.toml": base}, "before")
    same, failing_before = failing_examples(before, before)
    assert (same, failing_before) == ([], 1)
    breaking = (
        base + rule("c", 937, "zq17 and more", example="550 zq17 and more") + rule("d", 936, "x zq17 y", example="zq")
    )
    broken, _ = failing_examples(load_rules({"rules/own.toml": breaking}, "draft"), before)
    assert [one.rule.id for one in broken] == ["d"]


def test_the_change_between_releases_is_told_by_rule():
    before = {"rules/own.toml": rule("a", 921, "zq17") + rule("b", 921, "zq18"), "suppress.toml": ""}
    after = {"rules/x.toml": rule("a", 922, "zq17") + rule("c", 921, "zq18"), "suppress.toml": "# new"}
    change = change_between(before, after)
    assert (change.added, change.removed, change.changed, change.files) == (("c",), ("b",), ("a",), ("suppress.toml",))
    assert change_between(after, after) == publishing.Change()
