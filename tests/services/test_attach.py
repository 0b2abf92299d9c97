"""Snippets into real configuration folders and out again, and at last into a Postfix that runs."""

import grp
import json
import os
import pwd
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from smtplib import SMTP

import pytest

from omicard_relay.services.attach import Applied, install, remove
from omicard_relay.services.attachcheck import Finding, State, check
from omicard_relay.services.attachrecord import our_folder, read_record
from omicard_relay.services.postconf import Postconf, PostfixError, open_postconf
from omicard_relay.tables.settings import IngestSettings, RelaySettings, ReturnPathSettings, Settings
from omicard_relay.tables.snippets import Deployment, with_required
from tests.attaching import configuration, free_port, needs_postfix, no_waiting, postfix, wait_for

pytestmark = [
    needs_postfix,
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's configuration is changed as root"),
]

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
SETTINGS = Settings(return_path=ReturnPathSettings(domain="bounce.example.com"))
ALL = ("reinject", "content-filter", "bounce-pipe")


def bring(
    folder: Path,
    *names: str,
    settings: Settings = SETTINGS,
    command: tuple[str, ...] = ("/bin/true",),
    replace_foreign: bool = False,
    dry_run: bool = False,
    user: str = "nobody",
) -> Applied:
    deployment = Deployment(folder=our_folder(folder), user=user, command=command)
    return install(
        open_postconf(folder),
        with_required(names, settings, deployment),
        deployment,
        now=NOW,
        replace_foreign=replace_foreign,
        dry_run=dry_run,
    )


def take(folder: Path, *names: str) -> Applied:
    return remove(open_postconf(folder), names, now=NOW, dry_run=False)


def look(folder: Path, *names: str, settings: Settings = SETTINGS) -> dict[str, Finding]:
    deployment = Deployment(folder=our_folder(folder), user="nobody", command=("/bin/true",))
    findings = check(open_postconf(folder), with_required(names, settings, deployment), settings)
    return {finding.about: finding for finding in findings}


def both(folder: Path) -> tuple[str, str]:
    return (folder / "main.cf").read_text(), (folder / "master.cf").read_text()


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


def test_lists_keep_what_stands_there(folder: Path) -> None:
    with (folder / "main.cf").open("a") as file:
        file.write(
            "transport_maps = inline:{a.test=smtp:[x]}, $more\nmore = static:smtp\nrelay_domains = $mynetworks, r.test\n"
            "relay_recipient_maps = inline:{a@r.test=x}\nreceive_override_options = no_milters\n"
        )
    bring(folder, *ALL)
    found = open_postconf(folder).explicit()
    table = f"regexp:{our_folder(folder)}/bounce-pipe.regexp"
    assert found["transport_maps"] == f"{table}, inline:{{a.test=smtp:[x]}}, $more"
    assert found["relay_domains"] == "$mynetworks, r.test, bounce.example.com"
    assert found["relay_recipient_maps"] == f"inline:{{a@r.test=x}}, {table}"
    assert found["receive_override_options"] == "no_milters, no_address_mappings"


def test_empty_relay_recipient_maps_stays_empty(folder: Path) -> None:
    """One entry would make Postfix refuse every recipient of the site's other relay_domains."""
    (folder / "main.cf").write_text((folder / "main.cf").read_text() + "relay_domains = r.test\n")
    bring(folder, "bounce-pipe")
    assert "relay_recipient_maps" not in open_postconf(folder).explicit()


def test_default_relay_domains_of_an_old_compatibility_level_is_kept(folder: Path) -> None:
    text = (folder / "main.cf").read_text()
    text = text.replace("compatibility_level = 3.6", "compatibility_level = 1")
    (folder / "main.cf").write_text(text.replace("mydestination =", "mydestination = local.test"))
    bring(folder, "bounce-pipe")
    assert open_postconf(folder).effective("relay_domains") == "local.test, bounce.example.com"
    assert look(folder, "bounce-pipe")["main.cf relay_domains"].state is State.OK
    (folder / "main.cf").write_text((folder / "main.cf").read_text() + "# edited\n")
    take(folder)
    assert "relay_domains" not in open_postconf(folder).explicit()


FOREIGN = {
    "another content filter": ("content_filter = amavis:[127.0.0.1]:10024\n", "", "content-filter", "content_filter"),
    "a service of our name": ("", "omi unix - - n - 3 smtp\n", "content-filter", "omi/unix"),
    "a listener on our port": ("", "127.0.0.1:10026 inet n - n - 9 smtpd\n", "reinject", "10026/inet"),
    "a listener on our port everywhere": ("", "10026 inet n - n - 9 smtpd\n", "reinject", "10026/inet"),
    "a listener on the port of the relay": (
        "",
        "10025 inet n - n - - smtpd\n",
        "content-filter",
        "where our own service",
    ),
    "a listener on the port of the ingester": (
        "",
        "127.0.0.1:10027 inet n - n - - x\n",
        "bounce-lmtp",
        "where our own",
    ),
    "a limit of our name": ("omi_destination_concurrency_limit = 2\n", "", "content-filter", "concurrency_limit"),
    "short queue ids by wish": ("enable_long_queue_ids = no\n", "", "reinject", "enable_long_queue_ids"),
    "the domain is local": ("mydestination = Bounce.example.com\n", "", "bounce-pipe", "mydestination"),
    "the domain is virtual": ("virtual_mailbox_domains = bounce.example.com\n", "", "bounce-lmtp", "virtual_mailbox"),
}


@pytest.mark.parametrize(("main", "master", "name", "words"), FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_somebody_elses_is_named_and_left(main: str, master: str, name: str, words: str) -> None:
    with configuration(master=master) as folder:
        text = (folder / "main.cf").read_text().replace("mydestination =\n", "") + main
        (folder / "main.cf").write_text(text + ("" if "mydestination" in main else "mydestination =\n"))
        before = both(folder)
        with pytest.raises(PostfixError, match=words):
            bring(folder, name)
        assert both(folder) == before
        assert not our_folder(folder).exists()


def test_replace_takes_the_place_and_remove_gives_it_back() -> None:
    with configuration(main="content_filter = amavis:[127.0.0.1]:10024\n") as folder:
        before = both(folder)
        bring(folder, "content-filter", replace_foreign=True)
        assert open_postconf(folder).explicit()["content_filter"] == "omi:[127.0.0.1]:10025"
        (folder / "main.cf").write_text((folder / "main.cf").read_text() + "# edited by hand\n")
        take(folder)
        assert open_postconf(folder).explicit()["content_filter"] == "amavis:[127.0.0.1]:10024"
        assert (folder / "main.cf").read_text() == before[0] + "# edited by hand\n"


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


def test_file_that_is_still_in_use_is_not_deleted(folder: Path) -> None:
    """Postfix would defer every mail for a table that is gone."""
    bring(folder, "bounce-pipe")
    table = our_folder(folder) / "bounce-pipe.regexp"
    open_postconf(folder).set_main({"sender_canonical_maps": f"regexp:{table}"})
    left = take(folder).left
    assert [change.name for change in left] == ["bounce-pipe.regexp"]
    assert table.exists()


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


def test_check_tells_missing_from_differs(folder: Path) -> None:
    found = look(folder, *ALL)
    assert found["main.cf content_filter"].state is State.MISSING
    assert found["master.cf omi/unix"].state is State.MISSING
    bring(folder, *ALL)
    found = look(folder, *ALL)
    bad = {about for about, finding in found.items() if finding.state not in (State.OK, State.NOTE)}
    assert bad == {"listening-relay", "listening-reinject"}
    postconf = open_postconf(folder)
    postconf.set_main({"content_filter": "x:y"})
    entry = postconf.services()["127.0.0.1:10026/inet"]
    entry = entry.replace("smtpd_authorized_xforward_hosts=127.0.0.0/8", "smtpd_authorized_xforward_hosts=")
    postconf.set_services({"127.0.0.1:10026/inet": entry})
    (our_folder(folder) / "omicard-bounce").chmod(0o644)
    found = look(folder, *ALL)
    assert (found["main.cf content_filter"].state, found["main.cf content_filter"].found) == (State.DIFFERS, "x:y")
    assert found["master.cf 127.0.0.1:10026/inet"].state is State.DIFFERS
    assert found["xforward"].state is State.WRONG
    assert found[str(our_folder(folder) / "omicard-bounce")].state is State.DIFFERS
    assert found["pipe-starts"].state is State.WRONG


@pytest.mark.parametrize(
    ("command", "state"),
    [(("/bin/true",), State.OK), (("/bin/false",), State.WRONG), (("/no/such/python", "-m", "x"), State.WRONG)],
    ids=["starts", "fails", "missing"],
)
def test_check_starts_the_pipe_as_its_user(folder: Path, command: tuple[str, ...], state: State) -> None:
    bring(folder, "bounce-pipe", command=command)
    assert look(folder, "bounce-pipe")["pipe-starts"].state is state


@pytest.mark.parametrize(("mode", "state"), [(0o644, State.OK), (0o600, State.WRONG)], ids=["readable", "root only"])
def test_check_reads_the_configuration_as_the_pipes_user(folder: Path, mode: int, state: State) -> None:
    """What it cannot read makes every bounce wait, until it comes back to nobody."""
    configuration_file = folder.parent / "relay.toml"
    configuration_file.touch(mode=mode)
    bring(folder, "bounce-pipe", command=("/bin/true", "--config", str(configuration_file)))
    found = look(folder, "bounce-pipe")["pipe-config"]
    assert (found.state, found.wanted) == (state, f"nobody: {configuration_file}")


def test_check_finds_a_table_that_takes_our_bounces(folder: Path) -> None:
    bring(folder, "bounce-pipe")
    assert look(folder, "bounce-pipe")["route"].state is State.OK
    postconf = open_postconf(folder)
    postconf.set_main({"transport_maps": "static:smtp:[thief], " + postconf.explicit()["transport_maps"]})
    found = look(folder, "bounce-pipe")["route"]
    assert (found.state, found.found) == (State.WRONG, "smtp:[thief]")


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


class Instance:
    """A running private Postfix with everything installed, a stand-in for the relay, and programs for the pipe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.parent / "log/maillog"
        self.out = folder.parent / "out"
        self.out.mkdir()
        self.out.chmod(0o777)
        self.relay = _Listening(("127.0.0.1", 0), _Talk)
        self.public, self.back = free_port(), free_port()
        self.settings = Settings(
            relay=RelaySettings(port=self.relay.server_address[1], next_port=self.back),
            return_path=SETTINGS.return_path,
        )
        threading.Thread(target=self.relay.serve_forever, daemon=True).start()

    def logged(self, *words: str) -> str:
        """The first log line with all the words, waited for."""

        def find() -> str | None:
            lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
            return next((line for line in lines if all(word in line for word in words)), None)

        wait_for(find, f"a log line with {words}")
        return find() or ""

    def program(self, text: str) -> None:
        """What the pipe's command does from now on."""
        path = self.folder.parent / "program"
        path.with_suffix(".new").write_text("#!/bin/sh\n" + text)
        path.with_suffix(".new").chmod(0o755)
        path.with_suffix(".new").replace(path)


class _Talk(socketserver.StreamRequestHandler):
    """As much SMTP as Postfix's client speaks to a filter; `talk` keeps its commands."""

    def handle(self) -> None:
        self.wfile.write(b"220 relay.test ESMTP\r\n")
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            self.server.talk.append((self.client_address[0], line))
            match line.split()[0].upper():
                case "EHLO" | "LHLO":
                    self.wfile.write(
                        b"250-relay.test\r\n250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n250 DSN\r\n"
                    )
                case "DATA":
                    self.wfile.write(b"354 go on\r\n")
                    while self.rfile.readline() != b".\r\n":
                        pass
                    self.wfile.write(b"250 2.0.0 taken\r\n")
                case "QUIT":
                    self.wfile.write(b"221 bye\r\n")
                    return
                case _:
                    self.wfile.write(b"250 2.0.0 fine\r\n")


class _Listening(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.talk: list[tuple[str, str]] = []


class _Listening6(_Listening):
    address_family = socket.AF_INET6


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    with configuration() as folder:
        instance = Instance(folder)
        open_postconf(folder).set_services(
            {f"127.0.0.1:{instance.public}/inet": f"127.0.0.1:{instance.public} inet n - n - - smtpd"}
        )
        instance.program("exit 75\n")
        applied = bring(folder, *ALL, settings=instance.settings, command=(str(folder.parent / "program"),))
        assert applied.warnings == ()
        assert postfix(folder, "check").returncode == 0
        started = postfix(folder, "start")
        assert started.returncode == 0, started.stderr
        try:
            for port in (instance.public, instance.back):
                wait_for(lambda port=port: _answers(port), f"Postfix on port {port}")
            yield instance
        finally:
            postfix(folder, "stop")
            instance.relay.shutdown()
            instance.relay.server_close()


def _answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


MAIL = "From: a@site.test\r\nSubject: x\r\nMessage-ID: <{id}@site.test>\r\n\r\nx\r\n"


def test_mail_taken_in_goes_through_the_filter_with_its_queue_id(running: Instance) -> None:
    with SMTP("127.0.0.1", running.public) as smtp:
        smtp.sendmail("a@site.test", ["ann@far.test"], MAIL.format(id="filter"))
    line = running.logged("postfix/smtp[", "to=<ann@far.test>", "status=sent")
    assert f"relay=127.0.0.1[127.0.0.1]:{running.settings.relay.port}" in line
    queue_id = line.split("]: ")[1].split(":")[0]
    said = " ".join(command for _, command in running.relay.talk if command.startswith("XFORWARD"))
    assert f"IDENT={queue_id}" in said
    # A long queue id: it is not used again.
    assert len(queue_id) > 11
    assert {address for address, _ in running.relay.talk} == {"127.0.0.1"}


def test_listener_offers_what_the_relay_needs(running: Instance) -> None:
    with SMTP("127.0.0.1", running.back) as smtp:
        smtp.ehlo("relay.test")
        for name in ("xforward", "dsn", "pipelining", "8bitmime", "smtputf8", "enhancedstatuscodes"):
            assert smtp.has_extn(name), name
        assert not smtp.has_extn("starttls")
        code, _ = smtp.docmd("XFORWARD", "IDENT=4abc NAME=client.test")
        assert code == 250


def test_bounce_that_comes_back_from_the_relay_reaches_the_program(running: Instance) -> None:
    running.program(f'printf "%s\\n" "$@" > {running.out}/args; cat > {running.out}/mail\n')
    with SMTP("127.0.0.1", running.back) as smtp:
        smtp.sendmail("", ["b+Token@bounce.example.com"], MAIL.format(id="bounce"))
    line = running.logged("postfix/pipe[", "to=<b+Token@bounce.example.com>", "status=sent")
    queue_id = line.split("]: ")[1].split(":")[0]
    assert (running.out / "args").read_text().splitlines() == [
        "bounce",
        "ingest",
        "--sender=",
        "--recipient=b+Token@bounce.example.com",
        f"--queue-id={queue_id}",
    ]
    assert "Return-Path: <>\n" in (running.out / "mail").read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [("nasty", "echo '5.1.1 nasty'; exit 1\n"), ("traceback", "exec python3 -c 1/0\n"), ("killed", "kill -9 $$\n")],
    ids=["prints 5.1.1", "Python traceback", "killed"],
)
def test_bounce_is_kept_whatever_the_program_does(running: Instance, name: str, text: str) -> None:
    running.program(text)
    with SMTP("127.0.0.1", running.back) as smtp:
        smtp.sendmail("", [f"b+{name}@bounce.example.com"], MAIL.format(id=name))
    line = running.logged("postfix/pipe[", f"to=<b+{name}@bounce.example.com>", "status=")
    assert "dsn=4.3.0, status=deferred" in line
    assert "omicard-bounce: exit" in line


def test_other_addresses_of_the_bounce_domain_are_refused_at_rcpt(running: Instance) -> None:
    with SMTP("127.0.0.1", running.public) as smtp:
        smtp.ehlo("far.test")
        smtp.mail("")
        code, text = smtp.rcpt("guess@bounce.example.com")
        assert code // 100 == 5
        assert b"5.1.1" in text
        assert smtp.rcpt("b+x@bounce.example.com")[0] == 250


def test_check_is_content_with_the_running_instance(running: Instance) -> None:
    running.program("exit 0\n")
    deployment = Deployment(
        folder=our_folder(running.folder), user="nobody", command=(str(running.folder.parent / "program"),)
    )
    snippets = with_required(ALL, running.settings, deployment)
    findings = check(open_postconf(running.folder), snippets, running.settings)
    assert [finding for finding in findings if finding.state not in (State.OK, State.NOTE)] == []


def test_log_has_no_complaint_about_our_configuration(running: Instance) -> None:
    with SMTP("127.0.0.1", running.public) as smtp:
        smtp.sendmail("a@site.test", ["last@far.test"], MAIL.format(id="last"))
    running.logged("to=<last@far.test>", "status=sent")
    complaints = [line for line in running.log.read_text().splitlines() if "warning:" in line or "fatal:" in line]
    assert complaints == []


@pytest.mark.parametrize(("family", "host"), [("IPv4", "127.0.0.1"), ("IPv6", "::1")])
def test_bounces_over_lmtp_and_the_filter_on_either_family(family: str, host: str) -> None:
    """The other way home, on a Postfix with a public address alone in inet_interfaces, on both loopback addresses."""
    server = _Listening6 if family == "IPv6" else _Listening
    try:
        relay, ingest = server((host, 0), _Talk), server((host, 0), _Talk)
    except OSError:
        pytest.skip(f"this machine has no {family} loopback")
    for each in (relay, ingest):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    settings = Settings(
        relay=RelaySettings(host=host, port=relay.server_address[1], next_host=host, next_port=free_port()),
        ingest=IngestSettings(host=host, port=ingest.server_address[1]),
        return_path=SETTINGS.return_path,
    )
    with configuration(main="smtp_bind_address = 127.0.0.2\nlmtp_bind_address = 127.0.0.2\n") as folder:
        text = (folder / "main.cf").read_text()
        (folder / "main.cf").write_text(text.replace("inet_interfaces = 127.0.0.1", "inet_interfaces = loopback-only"))
        bring(folder, "content-filter", "bounce-lmtp", settings=settings)
        log = folder.parent / "log/maillog"
        assert postfix(folder, "start").returncode == 0
        try:
            wait_for(lambda: _answers(settings.relay.next_port, host), "the listener")
            with SMTP(host, settings.relay.next_port) as smtp:
                smtp.sendmail("", ["b+Token@bounce.example.com"], MAIL.format(id="lmtp"))
            wait_for(lambda: "status=sent" in log.read_text(), "the bounce to be taken")
            submitted = subprocess.run(
                ["/usr/sbin/sendmail", "-C", str(folder), "-f", "a@site.test", "ann@far.test"],
                input=MAIL.format(id="sendmail").encode(),
                capture_output=True,
                check=False,
                timeout=30,
            )
            assert submitted.returncode == 0, submitted.stderr
            wait_for(lambda: log.read_text().count("status=sent") == 2, "the submission to be filtered")
        finally:
            postfix(folder, "stop")
            for each in (relay, ingest):
                each.shutdown()
                each.server_close()
    assert any(line.startswith("LHLO") for _, line in ingest.talk)
    assert any(line.startswith("RCPT TO:<b+Token@bounce.example.com>") for _, line in ingest.talk)
    assert any(line.startswith("RCPT TO:<ann@far.test>") for _, line in relay.talk)
    assert {address for address, _ in (*relay.talk, *ingest.talk)} == {host}


def test_postconf_knows_every_parameter_of_ours(folder: Path) -> None:
    bring(folder, "reinject", "content-filter", "bounce-lmtp")
    done = subprocess.run(
        ["/usr/sbin/postconf", "-c", str(folder), "-n"], capture_output=True, text=True, check=False, timeout=30
    )
    assert "unused parameter" not in done.stderr
