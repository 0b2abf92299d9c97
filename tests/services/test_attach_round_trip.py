"""In and out again: configurations as sites have them come back byte for byte, and value for value after an edit.

Nobody but us wrote in between: both files come back byte for byte, with mode and owner. Somebody did: postconf(1) takes our
values out one by one, which keeps comments and other entries, but writes the entries that it touches in its own layout.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from smtplib import SMTP

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omicard_relay.services.attach import install, remove
from omicard_relay.services.attachcheck import State, check
from omicard_relay.services.attachrecord import our_folder
from omicard_relay.services.postconf import Postconf, open_postconf
from omicard_relay.tables.settings import RelaySettings, Settings
from omicard_relay.tables.snippets import Deployment, with_required
from tests.attaching import (
    LIGHT,
    MAIN,
    NOW,
    SETTINGS,
    configuration,
    free_port,
    needs_postfix,
    no_waiting,
    postfix,
    wait_for,
)

pytestmark = [
    needs_postfix,
    pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's configuration is changed as root"),
]


@dataclass(frozen=True)
class Shape:
    """What a site has in main.cf (after the private folders) and as master.cf; whether it takes --replace."""

    main: str
    master: str
    replace: bool = False


DEBIAN_MAIN = """\
# See the commented version of this file for more.

# Debian specific: the first line of that file is the name.
#myorigin = /etc/mailname

smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
#delay_warning_time = 4h
readme_directory = no

# TLS parameters
smtpd_tls_security_level=may
smtp_tls_CApath=/etc/ssl/certs
smtp_tls_security_level=may
smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache

smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = mail.example.org
mydestination = $myhostname, mail.example.org, localhost.example.org, , localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
"""
DEBIAN_MASTER = """\
#
# service type  private unpriv  chroot  wakeup  maxproc command + args
# ==========================================================================
smtp      inet  n       -       y       -       -       smtpd
#smtp      inet  n       -       y       -       1       postscreen
#submission inet n       -       y       -       -       smtpd
#  -o syslog_name=postfix/submission
#  -o smtpd_tls_security_level=encrypt
#     Instead of complex restrictions here, name them in main.cf.
#  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
pickup    unix  n       -       y       60      1       pickup
cleanup   unix  n       -       y       -       0       cleanup
qmgr      unix  n       -       n       300     1       qmgr
#qmgr     unix  n       -       n       300     1       oqmgr
rewrite   unix  -       -       y       -       -       trivial-rewrite
bounce    unix  -       -       y       -       0       bounce
defer     unix  -       -       y       -       0       bounce
trace     unix  -       -       y       -       0       bounce
proxymap  unix  -       -       n       -       -       proxymap
error     unix  -       -       y       -       -       error
retry     unix  -       -       y       -       -       error
anvil     unix  -       -       y       -       1       anvil
smtp      unix  -       -       y       -       -       smtp
relay     unix  -       -       y       -       -       smtp
        -o syslog_name=postfix/$service_name
#       -o smtp_helo_timeout=5 -o smtp_connect_timeout=5
postlog   unix-dgram n  -       n       -       1       postlogd
#
# maildrop. See its documentation for details.
#
maildrop  unix  -       n       n       -       -       pipe
  flags=DRXhu user=vmail argv=/usr/bin/maildrop -d ${recipient}
uucp      unix  -       n       n       -       -       pipe
  flags=Fqhu user=uucp argv=uux -r -n -z -a$sender - $nexthop!rmail ($recipient)
"""
SHAPES = {
    "Debian as installed": Shape(DEBIAN_MAIN, DEBIAN_MASTER),
    "own content filter": Shape(
        "content_filter = smtp-amavis:[127.0.0.1]:10024\nreceive_override_options=no_address_mappings\n",
        DEBIAN_MASTER
        + "smtp-amavis unix - - n - 2 smtp\n  -o smtp_data_done_timeout=1200\n# the way back\n"
        + "127.0.0.1:10029 inet n - n - - smtpd\n\t-o content_filter=\n\t-o { mynetworks = 127.0.0.0/8, [::1] }\n",
        replace=True,
    ),
    "several transport maps": Shape(
        "transport_maps = inline:{a.test=smtp:[x]},\n# the second\n    $more_maps\n\tregexp:{{/@b/ smtp:[y]}}\n"
        "more_maps = static:\nenable_long_queue_ids = yes\n",
        DEBIAN_MASTER,
    ),
    "relay domains in tables": Shape(
        "relay_domains = texthash:$config_directory/domains,\n  r.test !s.test\n"
        "relay_recipient_maps = inline:{ {ann@r.test = x} }\ntransport_maps =\n",
        DEBIAN_MASTER,
    ),
    "services written by hand": Shape(
        "",
        "smtp\tinet\tn\t-\ty\t-\t-\tsmtpd\n\t-o { smtpd_banner = $myhostname  says hello }\n  # between its options\n"
        "\t-o smtpd_tls_security_level=none\n\n\n   # an indented comment\nsmtp unix - - n - - smtp -o syslog_name=out\n"
        "#omi unix - - n - 1 smtp\nbounce unix - - n - 0 bounce\nrewrite unix - - n - - trivial-rewrite\n"
        "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\npostlog unix-dgram n - n - 1 postlogd",
    ),
    "a value set twice, no newline at the end": Shape(
        "relay_domains = old.test\nrelay_domains = r.test\ncontent_filter =\nmyorigin = x.test", DEBIAN_MASTER
    ),
}
WAYS = (("content-filter", "bounce-pipe"), ("content-filter", "bounce-lmtp"))


@contextmanager
def folder_of(shape: Shape) -> Iterator[Path]:
    with configuration() as folder:
        # What a private instance needs comes first; main.cf takes the last value of a name.
        private = [line for line in MAIN.splitlines() if "{root}" in line or "directory" in line]
        text = "compatibility_level = 3.6\n" + "\n".join(private).format(root=folder.parent) + "\n"
        (folder / "main.cf").write_text(text + shape.main)
        (folder / "master.cf").write_text(shape.master)
        (folder / "domains").write_text("t.test x\n")
        yield folder


def bring(folder: Path, names: tuple[str, ...], *, replace: bool = False) -> None:
    deployment = Deployment(folder=our_folder(folder), user="nobody", command=("/bin/true",), light=LIGHT)
    snippets = with_required(names, SETTINGS, deployment)
    install(open_postconf(folder), snippets, deployment, now=NOW, replace_foreign=replace, dry_run=False)


def take(folder: Path, *names: str) -> None:
    assert remove(open_postconf(folder), names, now=NOW, dry_run=False).left == ()


def files(folder: Path) -> list[tuple[bytes, int, int, int]]:
    """Bytes, mode and owner of both."""
    found = []
    for path in (folder / "main.cf", folder / "master.cf"):
        is_now = path.stat()
        found.append((path.read_bytes(), stat.S_IMODE(is_now.st_mode), is_now.st_uid, is_now.st_gid))
    return found


def values(folder: Path) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Every parameter, every service, and every comment."""
    text = (folder / "main.cf").read_text() + "\n" + (folder / "master.cf").read_text()
    comments = sorted(line for line in text.splitlines() if line.lstrip().startswith("#"))
    postconf = open_postconf(folder)
    return postconf.explicit(), postconf.services(), comments


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with no_waiting():
        yield


@pytest.mark.parametrize("names", WAYS, ids=lambda names: names[-1])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_untouched_configuration_comes_back_byte_for_byte(shape: Shape, names: tuple[str, ...]) -> None:
    with folder_of(shape) as folder:
        (folder / "main.cf").chmod(0o640)
        os.chown(folder / "master.cf", 0, 65534)
        before = files(folder)
        bring(folder, names, replace=shape.replace)
        assert [row[1:] for row in files(folder)] == [row[1:] for row in before]
        take(folder)
        assert files(folder) == before


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_edited_configuration_comes_back_value_for_value(shape: Shape) -> None:
    with folder_of(shape) as folder:
        before = values(folder)
        bring(folder, WAYS[0], replace=shape.replace)
        for name in ("main.cf", "master.cf"):
            with (folder / name).open("a") as file:
                file.write("\n# edited since\n")
        open_postconf(folder).set_main({"delay_warning_time": "4h"})
        take(folder)
        parameters, services, comments = values(folder)
        assert parameters.pop("delay_warning_time") == "4h"
        assert (parameters, services) == before[:2]
        assert comments == sorted([*before[2], "# edited since", "# edited since"])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_what_is_installed_holds_and_keeps_the_rest(shape: Shape) -> None:
    with folder_of(shape) as folder:
        before = values(folder)
        bring(folder, WAYS[0], replace=shape.replace)
        deployment = Deployment(folder=our_folder(folder), user="nobody", command=("/bin/true",), light=LIGHT)
        found = check(open_postconf(folder), with_required(WAYS[0], SETTINGS, deployment), SETTINGS)
        bad = {finding.about for finding in found if finding.state not in (State.OK, State.NOTE)}
        assert bad == {"listening-relay", "listening-reinject"}
        assert open_postconf(folder).verify()[0]
        after = values(folder)
        assert before[1].items() <= after[1].items()
        assert set(after[0]) - set(before[0]) <= {
            *("content_filter", "receive_override_options", "enable_long_queue_ids", "relay_domains"),
            *("transport_maps", "omi_destination_concurrency_limit", "omi-bounce_destination_recipient_limit"),
        }
        for name in ("transport_maps", "relay_domains", "relay_recipient_maps"):
            assert before[0].get(name, "") in after[0].get(name, "")


def test_chroot_of_debian_sees_our_tables() -> None:
    """Debian runs smtpd(8) and trivial-rewrite(8) in a chroot: a bounce still finds its program, a guess is refused."""
    port = free_port()
    master = DEBIAN_MASTER.replace("smtp      inet", f"127.0.0.1:{port} inet", 1)
    with folder_of(Shape(DEBIAN_MAIN + "smtpd_tls_security_level = none\n", master)) as folder:
        back = free_port()
        settings_now = Settings(relay=RelaySettings(next_port=back), return_path=SETTINGS.return_path)
        deployment = Deployment(folder=our_folder(folder), user="nobody", command=("/bin/true",), light=LIGHT)
        snippets = with_required(("reinject", "bounce-pipe"), settings_now, deployment)
        install(open_postconf(folder), snippets, deployment, now=NOW, replace_foreign=False, dry_run=False)
        assert postfix(folder, "check").returncode == 0
        started = postfix(folder, "start")
        try:
            assert started.returncode == 0, started.stderr
            log = folder.parent / "log/maillog"
            wait_for(lambda: log.exists() and "daemon started" in log.read_text(), "Postfix")
            with SMTP("127.0.0.1", port, timeout=20) as smtp:
                smtp.ehlo("far.test")
                smtp.mail("")
                assert smtp.rcpt("guess@bounce.example.com")[0] // 100 == 5
                assert smtp.rcpt("b+x@bounce.example.com")[0] == 250
                smtp.data("Subject: x\r\n\r\nx\r\n")
            with SMTP("127.0.0.1", back, timeout=20) as smtp:
                assert smtp.noop()[0] == 250
            wait_for(lambda: "status=" in log.read_text(), "a delivery")
            line = next(line for line in log.read_text().splitlines() if "status=" in line)
            assert "relay=omi-bounce" in line
            assert "status=sent" in line
        finally:
            postfix(folder, "stop")


def _list(items: list[str]) -> st.SearchStrategy[str]:
    """A list as people lay it out: commas, blanks, lines, comments between."""
    between = st.sampled_from([", ", " ", ",", ",\n  ", "\n\t", ",\n# why\n  "])
    return st.tuples(st.lists(st.sampled_from(items), unique=True, max_size=4), between).map(
        lambda drawn: drawn[1].join(drawn[0])
    )


LISTS = {
    "transport_maps": ["inline:{ a.test=smtp:[x], b.test=smtp: }", "static:", "$more", "regexp:{{/x y/ z:}}"],
    "relay_domains": ["r.test", "$mydestination", "!s.test", "texthash:$config_directory/domains"],
    "relay_recipient_maps": ["inline:{ann@r.test=x}", "static:x"],
    "receive_override_options": ["no_milters", "no_address_mappings", "no_header_body_checks"],
}
CONFIGURATIONS = st.fixed_dictionaries({}, optional={name: _list(items) for name, items in LISTS.items()})
STEPS = st.lists(
    st.sampled_from(["reinject", "content-filter", "bounce-pipe", "-content-filter", "-bounce-pipe", "edit"]),
    max_size=5,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lists=CONFIGURATIONS, steps=STEPS)
def test_any_way_in_leads_out_again(lists: dict[str, str], steps: list[str]) -> None:
    """Snippets come and go in any order, somebody edits in between: in the end everything is what it was."""
    lines = "".join(f"{name} = {value}\n" for name, value in lists.items()) + "more = static:\n"
    with pytest.MonkeyPatch.context() as patch, folder_of(Shape(lines, DEBIAN_MASTER)) as folder:
        # It would take most of the time, and the tests above have it.
        patch.setattr(Postconf, "verify", lambda self: (True, ()))
        before, bytes_before = values(folder), files(folder)
        for step in steps:
            if step == "edit":
                with (folder / "main.cf").open("a") as file:
                    file.write("# edited\n")
            elif step.startswith("-"):
                take(folder, step[1:])
            else:
                bring(folder, (step,))
        take(folder)
        if "edit" in steps:
            parameters, services, comments = values(folder)
            assert (parameters, services) == before[:2]
            assert comments == sorted([*before[2], *["# edited"] * steps.count("edit")])
        else:
            assert files(folder) == bytes_before
