"""The systemd units: they parse, they start services that exist, and they do not give up."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from omicard_relay.services.running import SERVICES
from omicard_relay.tables.toml import shipped

TIDYING = shipped("postfix", "systemd", "omicard-relay-steer-expire.service")
TIMER = TIDYING.with_suffix(".timer")
UNITS = [unit for unit in sorted(shipped("postfix", "systemd").glob("*.service")) if unit != TIDYING]


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


def test_steering_can_wake_mails_and_is_started_anew_when_it_hangs() -> None:
    service = read(shipped("postfix", "systemd", "omicard-relay-steer.service"))["Service"]
    assert service["SupplementaryGroups"] == "postdrop"
    assert (service["Type"], service["WatchdogSec"]) == ("notify", "30s")


def test_what_has_run_out_goes_every_minute_without_the_service() -> None:
    unit, timer = read(TIDYING), read(TIMER)
    assert unit["Service"]["ExecStart"].split()[1:] == ["steer", "expire", "--quiet"]
    assert unit["Service"]["Type"] == "oneshot"
    assert unit["Service"]["User"] == "omicard-relay"
    assert not {"Requires", "Wants", "BindsTo", "PartOf"} & set(unit["Unit"])
    assert timer["Timer"]["OnUnitActiveSec"] == "1min"
    assert timer["Install"]["WantedBy"] == "timers.target"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in (*UNITS, TIDYING, TIMER):
        text = unit.read_text("utf-8").replace("/opt/omicard-relay/bin/omicard-relay", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = [str(tmp_path / unit.name) for unit in (*UNITS, TIDYING, TIMER)]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
