"""Snippets into real configuration folders and out again: what is changed, what is refused, what is put back."""

import grp
import json
import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from omicard_relay.services.attach import Applied
from omicard_relay.services.attachrecord import our_folder, read_record
from omicard_relay.services.postconf import Postconf, PostfixError, open_postconf
from omicard_relay.tables.settings import RelaySettings, ReturnPathSettings, Settings
from tests.attaching import (
    ALL,
    both,
    bring,
    configuration,
    needs_postfix,
    no_waiting,
    take,
)

pytestmark = [
    needs_postfix,
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's configuration is changed as root"),
]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with no_waiting():
        yield


@pytest.fixture
def folder() -> Iterator[Path]:
    with configuration() as made:
        yield made


def test_second_install_changes_nothing(folder: Path) -> None:
    assert bring(folder, *ALL).changes
    before, backups = both(folder), sorted(our_folder(folder).iterdir())
    assert bring(folder, *ALL) == Applied(changes=())
    assert both(folder) == before
    assert sorted(our_folder(folder).iterdir()) == backups


def test_dry_run_touches_nothing(folder: Path) -> None:
    before = both(folder)
    planned = bring(folder, *ALL, dry_run=True)
    assert both(folder) == before
    assert not our_folder(folder).exists()
    assert planned.changes == bring(folder, *ALL).changes


def test_remove_puts_every_byte_back(folder: Path) -> None:
    with (folder / "main.cf").open("a") as file:
        file.write("transport_maps = inline:{a.test=smtp:[x]},\n  # in between\n    inline:{b.test=smtp:[y]}\n")
    before = both(folder)
    bring(folder, *ALL)
    take(folder)
    assert both(folder) == before
    assert {path.name.split("-")[0] for path in our_folder(folder).iterdir()} == {"backup"}
    assert read_record(folder).snippets == ()


def test_every_byte_comes_back_after_two_installations_too(folder: Path) -> None:
    before = both(folder)
    bring(folder, "reinject")
    bring(folder, "bounce-pipe")
    take(folder, "bounce-pipe")
    take(folder)
    assert both(folder) == before


def test_remove_leaves_and_names_what_somebody_changed_since(folder: Path) -> None:
    bring(folder, *ALL)
    postconf = open_postconf(folder)
    postconf.set_main(
        {
            "content_filter": "other:[127.0.0.1]:1",
            "transport_maps": "static:x, " + postconf.explicit()["transport_maps"],
        }
    )
    postconf.set_services({"omi/unix": "omi unix - - n - 99 smtp"})
    left = take(folder).left
    assert {change.name for change in left} == {"content_filter", "omi/unix"}
    found = open_postconf(folder)
    assert found.explicit()["content_filter"] == "other:[127.0.0.1]:1"
    assert found.explicit()["transport_maps"] == "static:x"
    assert found.services()["omi/unix"] == "omi unix - - n - 99 smtp"
    assert "omi-bounce/unix" not in found.services()


def test_changed_settings_move_what_is_ours(folder: Path) -> None:
    bring(folder, *ALL)
    moved = Settings(
        relay=RelaySettings(port=2525, next_port=2526), return_path=ReturnPathSettings(domain="b2.example.com")
    )
    bring(folder, *ALL, settings=moved)
    found = open_postconf(folder)
    assert found.explicit()["content_filter"] == "omi:[127.0.0.1]:2525"
    assert found.explicit()["relay_domains"] == "b2.example.com"
    assert "127.0.0.1:2526/inet" in found.services()
    assert "127.0.0.1:10026/inet" not in found.services()
    assert "b2" in (our_folder(folder) / "bounce-pipe.regexp").read_text()
    assert bring(folder, *ALL, settings=moved).changes == ()
    (folder / "main.cf").write_text((folder / "main.cf").read_text() + "# edited\n")
    take(folder)
    assert "content_filter" not in open_postconf(folder).explicit()
    assert not {"127.0.0.1:2526/inet", "omi/unix", "omi-bounce/unix"} & open_postconf(folder).services().keys()


def test_what_others_need_is_not_removed(folder: Path) -> None:
    bring(folder, "content-filter")
    with pytest.raises(PostfixError, match="needs `reinject`"):
        take(folder, "reinject")
    take(folder, "content-filter")
    take(folder, "reinject")


def test_second_way_for_bounces_is_refused_while_the_first_is_in(folder: Path) -> None:
    bring(folder, "bounce-pipe")
    with pytest.raises(PostfixError, match="remove --with bounce-pipe"):
        bring(folder, "bounce-lmtp")


def test_pipe_user_must_be_one_that_postfix_takes(folder: Path) -> None:
    for user, words in (("no-such-user", "no user `no-such-user`"), ("root", "as `root`"), ("postfix", "as `postfix`")):
        with pytest.raises(PostfixError, match=words):
            bring(folder, "bounce-pipe", user=user)
    assert not our_folder(folder).exists()


def test_pipe_user_may_not_have_the_group_of_postfix(folder: Path) -> None:
    """pipe(8) would end at its start, and every bounce would wait."""
    group = grp.getgrnam("postdrop").gr_gid
    entry = pwd.struct_passwd(("friend", "x", 12345, group, "", "/", "/bin/false"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pwd, "getpwnam", lambda name: entry)
        with pytest.raises(PostfixError, match=r"as `friend`.* group"):
            bring(folder, "bounce-pipe", user="friend")


def test_symbolic_link_is_refused(folder: Path) -> None:
    """postconf would put a plain file in its place, and the real one would go stale."""
    real = folder.parent / "real.cf"
    (folder / "main.cf").rename(real)
    (folder / "main.cf").symlink_to(real)
    with pytest.raises(PostfixError, match="symbolic link"):
        bring(folder, "reinject")
    assert (folder / "main.cf").is_symlink()
    assert not our_folder(folder).exists()


def test_backup_that_cannot_be_put_back_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Postconf, "set_main", fail)
    monkeypatch.setattr("omicard_relay.services.attachrecord.restore_configuration", fail)
    with pytest.raises(PostfixError, match=r"No space left on device.*backup-20261124T120000Z"):
        bring(folder, *ALL)


def test_refused_by_postfix_check_everything_is_put_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = both(folder)
    answers = iter([(True, ()), (False, ("fatal: bad thing",))])
    monkeypatch.setattr(Postconf, "verify", lambda self: next(answers))
    with pytest.raises(PostfixError, match="fatal: bad thing"):
        bring(folder, *ALL)
    assert both(folder) == before
    assert not our_folder(folder).exists()


@pytest.mark.parametrize("step", ["set_services", "set_main"])
def test_failure_in_the_middle_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    bring(folder, "reinject")
    before, files = both(folder), {path.name for path in our_folder(folder).iterdir()}
    record = (our_folder(folder) / "installed.json").read_text()

    def fail(self: Postconf, values: Mapping[str, str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Postconf, step, fail)
    with pytest.raises(KeyboardInterrupt):
        bring(folder, *ALL)
    assert both(folder) == before
    assert {path.name for path in our_folder(folder).iterdir()} == files
    assert (our_folder(folder) / "installed.json").read_text() == record


def test_killed_in_the_middle_can_be_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is there before the first change; a kill leaves no chance to put anything back."""
    before = both(folder)
    monkeypatch.setattr(Postconf, "set_main", lambda self, values: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr("omicard_relay.services.attach.restore_backup", lambda folder, backup: None)
    with pytest.raises(KeyboardInterrupt):
        bring(folder, *ALL)
    monkeypatch.undo()
    assert both(folder) != before
    take(folder)
    assert both(folder) == before


def test_removal_killed_in_the_middle_can_be_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(folder, *ALL)
    (folder / "main.cf").write_text((folder / "main.cf").read_text() + "# edited\n")
    monkeypatch.setattr(Postconf, "drop_services", lambda self, names: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr("omicard_relay.services.attach.restore_backup", lambda folder, backup: None)
    with pytest.raises(KeyboardInterrupt):
        take(folder)
    monkeypatch.undo()
    assert "omi/unix" in open_postconf(folder).services()
    assert take(folder).left == ()
    assert not {"127.0.0.1:10026/inet", "omi/unix", "omi-bounce/unix"} & open_postconf(folder).services().keys()
    assert read_record(folder).snippets == ()


def test_configuration_that_is_broken_already_is_not_touched(folder: Path) -> None:
    (folder / "main.cf").write_text((folder / "main.cf").read_text() + "queue_directory = /no/such/folder\n")
    before = both(folder)
    with pytest.raises(PostfixError, match="as it stands"):
        bring(folder, "reinject")
    assert both(folder) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', "\x00\xff", '{"changes": [{}]}'])
def test_broken_record_stops_with_its_name(folder: Path, text: str) -> None:
    our_folder(folder).mkdir()
    (our_folder(folder) / "installed.json").write_text(text, "latin-1")
    with pytest.raises(PostfixError, match=r"installed\.json"):
        bring(folder, "reinject")


def test_record_says_what_stood_before(folder: Path) -> None:
    open_postconf(folder).set_main({"relay_domains": "r.test"})
    bring(folder, "bounce-pipe")
    record = json.loads((our_folder(folder) / "installed.json").read_text())
    change = next(change for change in record["changes"] if change["name"] == "relay_domains")
    assert (change["before"], change["after"]) == ("r.test", "r.test, bounce.example.com")
    backup = our_folder(folder) / "backup-20261124T120000Z"
    assert "relay_domains = r.test\n" in (backup / "main.cf").read_text()


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("b@bounce.example.com", "omi-bounce:"),
        ("B+Token-x@Bounce.Example.COM", "omi-bounce:"),
        ("bb@bounce.example.com", "error:5.1.1"),
        ("b+x@sub.bounce.example.com", "error:5.1.1"),
        ("b+x@otherbounce.example.com", None),
        ("someone@example.com", None),
    ],
)
def test_postfix_reads_the_table_of_addresses_so(folder: Path, address: str, answer: str | None) -> None:
    bring(folder, "bounce-pipe")
    found = open_postconf(folder).lookup(f"regexp:{our_folder(folder)}/bounce-pipe.regexp", address)
    assert (found or "").startswith(answer or "") if answer else found is None
