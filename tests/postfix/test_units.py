"""The systemd units: they parse, they start services that exist, and they do not give up."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from omicard_relay.services.running import SERVICES
from omicard_relay.tables.toml import shipped

UNITS = sorted(shipped("postfix", "systemd").glob("*.service"))


def read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text("utf-8"))
    return parser


def test_there_is_one_unit_for_each_service() -> None:
    starts = [read(unit)["Service"]["ExecStart"].split() for unit in UNITS]
    assert {tuple(words[-2:]) for words in starts} == {("serve", name) for name in SERVICES}
    assert len(UNITS) == len(SERVICES)
    assert {words[0] for words in starts} == {"/opt/omicard-relay/bin/omicard-relay"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_restarts_for_ever_as_its_own_user(unit: Path) -> None:
    parsed = read(unit)
    service = parsed["Service"]
    assert service["Restart"] == "always"
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["User"] == service["StateDirectory"] == "omicard-relay"
    assert service["NoNewPrivileges"] == "yes"
    assert parsed["Unit"]["Wants"] == "postfix.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/omicard-relay/bin/omicard-relay", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
