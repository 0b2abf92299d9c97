"""What the snippets change: lists are joined, and what is somebody else's is named and left."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from omicard_relay.services.attachcheck import State
from omicard_relay.services.attachrecord import our_folder
from omicard_relay.services.postconf import PostfixError, open_postconf
from tests.attaching import (
    ALL,
    both,
    bring,
    configuration,
    look,
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


def test_file_that_is_still_in_use_is_not_deleted(folder: Path) -> None:
    """Postfix would defer every mail for a table that is gone."""
    bring(folder, "bounce-pipe")
    table = our_folder(folder) / "bounce-pipe.regexp"
    open_postconf(folder).set_main({"sender_canonical_maps": f"regexp:{table}"})
    left = take(folder).left
    assert [change.name for change in left] == ["bounce-pipe.regexp"]
    assert table.exists()


def test_postconf_knows_every_parameter_of_ours(folder: Path) -> None:
    bring(folder, "reinject", "content-filter", "bounce-lmtp")
    done = subprocess.run(
        ["/usr/sbin/postconf", "-c", str(folder), "-n"], capture_output=True, text=True, check=False, timeout=30
    )
    assert "unused parameter" not in done.stderr
