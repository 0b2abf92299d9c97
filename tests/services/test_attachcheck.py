"""What `check` finds in a real configuration folder, and the facts that no value shows."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from omicard_relay.services.attachcheck import State
from omicard_relay.services.attachrecord import our_folder
from omicard_relay.services.postconf import open_postconf
from tests.attaching import (
    ALL,
    bring,
    configuration,
    look,
    needs_postfix,
    no_waiting,
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


@pytest.mark.parametrize(
    ("light", "state"),
    [(("/bin/true",), State.OK), (("/bin/false",), State.WRONG), (("/no/such/python", "-I", "x"), State.WRONG)],
    ids=["starts", "fails", "missing"],
)
def test_check_starts_the_light_client_as_the_pipes_user(folder: Path, light: tuple[str, ...], state: State) -> None:
    bring(folder, "bounce-pipe", light=light)
    found = look(folder, "bounce-pipe")
    assert (found["pipe-client"].state, found["pipe-starts"].state) == (state, State.OK)


def test_check_knows_an_entry_from_before_the_light_client(folder: Path) -> None:
    """It goes on working; that a newer one can be installed is told."""
    bring(folder, "bounce-pipe")
    postconf, wrapper = open_postconf(folder), our_folder(folder) / "omicard-bounce"
    older = (
        f"omi-bounce unix - n n - 5 pipe flags=Rq user=nobody null_sender= argv={wrapper} /bin/true bounce ingest "
        "--sender=${sender} --recipient=${recipient} --queue-id=${queue_id}"
    )
    postconf.set_services({"omi-bounce/unix": older})
    found = look(folder, "bounce-pipe")
    assert found["pipe-starts"].state is State.OK
    assert found["master.cf omi-bounce/unix"].state is State.DIFFERS
    assert "pipe-client" not in found
    bring(folder, "bounce-pipe", replace_foreign=True)
    assert look(folder, "bounce-pipe")["master.cf omi-bounce/unix"].state is State.OK


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
