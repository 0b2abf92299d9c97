"""The site's own rule file: changes are judged first, written whole, and two writers at once lose nothing."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from omicard_relay.mail import TableError
from omicard_relay.services import rulefiles
from omicard_relay.services.rulefiles import prepare_add, prepare_remove, read_layers, save, site_lock, write_whole
from omicard_relay.tables import Rule, Strength, load_policies
from tests.ruling import Site, rule_text, ship, site_in, small_set

MOON = Rule(
    id="own-moon", bounce_code=938, strength=Strength.TEXT, phrases=("high moon",), source="x", examples=("450 high moon",)
)  # fmt: skip


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = small_set(tmp_path / "shipped")
    ship(folder, monkeypatch.setattr)
    return folder


@pytest.fixture
def site(tmp_path: Path, shipped: Path) -> Site:
    return site_in(tmp_path / "site")


def test_a_rule_is_added_to_a_folder_that_is_made(site: Site) -> None:
    with site_lock(site.policies):
        change = prepare_add(site.policies, MOON)
        assert (change.findings, change.flips, change.taken_over) == ((), (), None)
        assert not site.own.exists()
        save(change)
    assert load_policies(site.policies).rules_by_id["own-moon"] == MOON


def test_the_rest_of_the_file_stays_octet_for_octet(site: Site) -> None:
    before = "\ufeff# mine\r\n" + rule_text("own-sun", phrases=["sun shine"], examples=["450 sun shine"]).replace(
        "\n", "\r\n"
    )
    site.write(before)
    save(prepare_add(site.policies, MOON))
    assert site.own.read_bytes().startswith(before.encode())
    change = prepare_remove(site.policies, "own-moon")
    assert change is not None
    save(change)
    assert site.own.read_bytes().rstrip() == before.encode().rstrip()


def test_a_rule_in_another_file_of_the_site_is_replaced_there(site: Site) -> None:
    path = site.write("# by hand\n" + rule_text(), "hand.toml")
    change = prepare_add(site.policies, MOON)
    assert change.path == path
    save(change)
    assert path.read_text("utf-8").startswith("# by hand\n")
    assert not site.own.exists()
    assert load_policies(site.policies).rules_by_id["own-moon"] == MOON


def test_what_a_rule_would_do_to_others_is_told(site: Site) -> None:
    greedy = Rule(
        id="own-greedy", bounce_code=938, strength=Strength.TOKEN, phrases=("no such",), examples=("550 no such",)
    )
    change = prepare_add(site.policies, greedy)
    assert [(flip.after.rule.id, flip.breaks) for flip in change.flips] == [
        ("base-full", False),
        ("base-unknown", True),
    ]


def test_removing_brings_the_shipped_rule_back(site: Site) -> None:
    site.write(rule_text("base-full", bounce_code=904, phrases=["mailbox is full"], examples=["552 mailbox is full"]))
    change = prepare_remove(site.policies, "base-full")
    assert change is not None
    assert change.taken_over is not None
    assert change.taken_over.layer.label == "shipped"
    save(change)
    assert load_policies(site.policies).rules_by_id["base-full"].bounce_code == 901


def test_only_the_sites_own_rules_can_be_removed(site: Site) -> None:
    site.policies.mkdir(parents=True)
    assert prepare_remove(site.policies, "base-full") is None


def test_a_broken_file_stops_the_change(site: Site) -> None:
    site.write("[[rule]]\nid = 3\n", "bad.toml")
    with pytest.raises(TableError, match=r"bad\.toml"):
        prepare_add(site.policies, MOON)


def test_a_full_disk_leaves_the_old_file_and_no_draft(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path = site.write("# old\n")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rulefiles.os, "fsync", full)
    with pytest.raises(TableError, match="No space left"):
        write_whole(path, "# new\n")
    assert path.read_text() == "# old\n"
    assert os.listdir(path.parent) == ["own.toml"]


def test_a_link_stays_a_link(site: Site, tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    real.write_text("# old\n")
    site.own.parent.mkdir(parents=True)
    site.own.symlink_to(real)
    write_whole(site.own, "# new\n")
    assert site.own.is_symlink()
    assert real.read_text() == "# new\n"


def test_a_file_keeps_its_permissions(site: Site) -> None:
    path = site.write("# old\n")
    path.chmod(0o664)
    write_whole(path, "# new\n")
    assert path.stat().st_mode & 0o777 == 0o664


def test_the_lock_keeps_a_second_writer_out_until_it_is_given_back(site: Site) -> None:
    with site_lock(site.policies), (site.policies / ".lock").open() as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (site.policies / ".lock").open() as second:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_adds_at_once_lose_none(site: Site, shipped: Path) -> None:
    words = ["moon", "star", "comet", "cloud", "storm", "river"]
    started = [
        site.start(shipped, "add", "--code", "938", "--id", f"own-{word}", "--example", f"450 the {word} is very low")
        for word in words
    ]
    for one in started:
        _, told = one.communicate()
        assert one.returncode == 0, told
    assert {f"own-{word}" for word in words} <= set(load_policies(site.policies).rules_by_id)


def test_a_kill_while_adding_leaves_a_file_that_loads(site: Site, shipped: Path) -> None:
    """Killed at every system call in turn that has to do with the file, by a trap in the functions that make them."""
    site.write(rule_text())
    before = site.own.read_bytes()
    outcomes = set()
    for victim in ("open", "fchmod", "fsync", "replace"):
        child = os.fork()
        if child == 0:
            setattr(rulefiles.os, victim, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
            write_whole(site.own, rule_text("own-new"))
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        outcomes.add(site.own.read_bytes())
        read_layers(site.policies)
    assert outcomes == {before}
