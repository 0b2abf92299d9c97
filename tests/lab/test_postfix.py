"""The private Postfix's files and errors; that it runs is proven in test_in_namespace.py."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lab import postfix
from lab.postfix import PrivatePostfix, installed
from lab.postfix_config import SmtpdService, main_cf, master_cf
from omicard_relay.mail import RelayError


def test_the_callers_settings_win_and_the_path_is_filled_in(tmp_path: Path) -> None:
    text = main_cf(tmp_path, {"queue_run_delay": "9s", "transport_maps": "lmdb:{root}/steer"})
    settings = dict(line.split(" = ", 1) for line in text.splitlines())
    assert settings["queue_run_delay"] == "9s"
    assert settings["transport_maps"] == f"lmdb:{tmp_path}/steer"
    assert settings["queue_directory"] == f"{tmp_path}/spool"
    assert "{" not in text


def test_no_service_runs_in_a_chroot_and_options_keep_their_white_space(tmp_path: Path) -> None:
    listen = [SmtpdService(address="127.0.0.1:10026", options={"content_filter": "omi:[127.0.0.1]:10025", "x": "a, b"})]
    text = master_cf(tmp_path, listen, ["omi unix - - n - 10 smtp\n  -o smtp_send_xforward_command=yes"])
    services = [line.split() for line in text.splitlines() if not line.startswith(" ")]
    assert {fields[4] for fields in services} == {"n"}
    assert (
        "127.0.0.1:10026 inet n - n - - smtpd\n  -o { content_filter = omi:[127.0.0.1]:10025 }\n  -o { x = a, b }\n"
        in text
    )
    assert text.endswith("omi unix - - n - 10 smtp\n  -o smtp_send_xforward_command=yes\n")


def test_without_postfix_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postfix, "_search_path", lambda: "/nonexistent")
    with pytest.raises(RelayError, match="apt-get install postfix"):
        PrivatePostfix(tmp_path, hostname="x.test").start()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("checkout", "not reachable for the user postfix", id="closed folder"),
        pytest.param("/".join(["deep" * 10] * 3), "longer than", id="path too long for a socket"),
    ],
)
def test_an_unsuited_folder_is_a_clear_error_outside_the_namespace(tmp_path: Path, name: str, reason: str) -> None:
    if os.geteuid() != 0 or not installed():
        pytest.skip("This check needs root and Postfix.")
    tmp_path.chmod(0o700)
    with pytest.raises(RelayError, match=reason):
        PrivatePostfix(tmp_path / name, hostname="x.test").start()


def test_every_setting_is_one_that_postfix_knows(tmp_path: Path) -> None:
    if not installed():
        pytest.skip("Postfix is not installed: apt-get install postfix.")
    known = subprocess.run(["postconf", "-d"], capture_output=True, text=True, check=True).stdout
    names = {line.split(" =")[0] for line in known.splitlines()}
    ours = {match.group(1) for match in re.finditer(r"^(\w+) = ", main_cf(tmp_path, {}), re.MULTILINE)}
    assert ours <= names
