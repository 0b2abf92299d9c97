"""Copies of releases on the disk: whole or not there, written anew when they are not what they should be."""

import os
import threading

import pytest

from omicard_relay.mail import TableError
from omicard_relay.services import released
from omicard_relay.services.released import copy_here, is_here, write_layer
from omicard_relay.store.releases import Release, ReleaseKind
from omicard_relay.tables.active import layer_digest, layer_files, load_active, release_folder, released_number
from omicard_relay.tables.settings import Settings
from tests.keeping import NOW
from tests.releasing import rule, ship


@pytest.fixture
def settings(monkeypatch, tmp_path):
    ship(monkeypatch, tmp_path / "program")
    (tmp_path / "data").mkdir()
    return Settings(data_dir=str(tmp_path / "data"))


def release(number, *rules, files=None):
    files = files if files is not None else {"rules/own.toml": "\n".join(rules)}
    return Release(
        number=number,
        created=NOW,
        author="ann",
        note="",
        kind=ReleaseKind.PUBLISH,
        digest=layer_digest(files),
        shipped_digest="",
        files=files,
    )


ONE, TWO = release(1, rule("site", 921, "zq")), release(2, rule("site", 922, "zq"))


def names(settings):
    return sorted(name for name in os.listdir(settings.data_path("released")) if name != ".lock")


def code(settings):
    return load_active(settings).rules_by_id["site"].bounce_code


def test_a_copy_is_what_everything_on_this_machine_reads(settings):
    assert not is_here(settings, 1)
    copy_here(settings, ONE)
    assert is_here(settings, 1)
    assert (released_number(settings), code(settings)) == (1, 921)
    copy_here(settings, TWO)
    assert (released_number(settings), code(settings)) == (2, 922)
    assert layer_files(release_folder(settings, 1)) == ONE.files


def test_going_back_in_number_follows_the_store(settings):
    """Where the database was restored from a backup."""
    copy_here(settings, TWO)
    copy_here(settings, ONE)
    assert (released_number(settings), code(settings)) == (1, 921)


@pytest.mark.parametrize("what", ["edited", "a-file-more", "gone", "no-number", "a-dead-half"])
def test_a_copy_that_is_not_what_it_should_be_is_written_anew(settings, what):
    copy_here(settings, ONE)
    folder = release_folder(settings, 1)
    if what == "edited":
        (folder / "rules" / "own.toml").write_text(rule("site", 930, "zq"))
    elif what == "a-file-more":
        (folder / "rules" / "more.toml").write_text(rule("more", 930, "zq"))
    elif what == "gone":
        (folder / "rules" / "own.toml").unlink()
        (folder / "rules").rmdir()
        folder.rmdir()
        assert not is_here(settings, 1)
    elif what == "no-number":
        (folder.parent / "current").write_text("one")
        assert not is_here(settings, 1)
    else:
        (folder.parent / ".2-dead").mkdir()
    copy_here(settings, ONE)
    assert code(settings) == 921
    assert layer_files(folder) == ONE.files


def test_line_ends_and_foreign_letters_come_back_as_they_were(settings):
    files = {"rules/own.toml": "# 中文\r\n# é\n", "suppress.toml": "", "packs/x/pack.json": "{}"}
    copy_here(settings, release(1, files=files))
    folder = release_folder(settings, 1)
    assert {name: (folder / name).read_bytes().decode() for name in files} == files


@pytest.mark.parametrize("name", ["../out.toml", "/tmp/out.toml", "rules/../../out.toml"])
def test_no_file_leads_out_of_the_folder(tmp_path, name):
    with pytest.raises(TableError, match="no path inside"):
        write_layer(tmp_path / "in", {name: "x"})
    assert list(tmp_path.rglob("*.toml")) == []


def test_many_processes_at_once_end_in_one_whole_copy(settings):
    together, faults = threading.Barrier(8), []

    def copy():
        together.wait()
        try:
            copy_here(settings, TWO)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=copy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert names(settings) == ["2", "current"]
    assert code(settings) == 922


def test_a_disk_that_is_full_leaves_what_was_in_force(settings, monkeypatch):
    copy_here(settings, ONE)

    def full(folder, files):
        (folder / "half.toml").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(released, "write_layer", full)
    with pytest.raises(OSError, match="No space left"):
        copy_here(settings, TWO)
    assert (released_number(settings), code(settings)) == (1, 921)
    assert names(settings) == ["1", "current"]


def test_a_link_in_the_place_of_the_copies_is_not_followed(settings, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.makedirs(settings.data_dir, exist_ok=True)
    os.symlink(elsewhere, settings.data_path("released"))
    with pytest.raises(OSError, match="is a link"):
        copy_here(settings, ONE)
    assert list(elsewhere.iterdir()) == []


def test_what_root_writes_belongs_to_the_owner_of_the_data(settings, monkeypatch):
    given = {}
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def chown(path, user, group, *, follow_symlinks):
        assert not follow_symlinks
        given.setdefault(os.path.basename(path), (user, group))

    def fchown(handle, user, group):
        given.setdefault(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")), (user, group))

    monkeypatch.setattr(os, "chown", chown)
    monkeypatch.setattr(os, "fchown", fchown)
    copy_here(settings, ONE)
    owner = os.stat(settings.data_dir)
    assert {"released", "own.toml", "rules"} <= set(given)
    assert any(name.startswith(".current-") for name in given)
    assert set(given.values()) == {(owner.st_uid, owner.st_gid)}
