"""Bounces through pipe(8): by the running service, without it, kept while the store is locked, and under kill -9."""

import pwd
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from integration.bounces import doubled_or_lost, foreign_ports, queued_mails, returning, stored_whole
from lab.campaign import Campaign
from lab.domains import Fate
from lab.line import Line
from lab.namespace import mount_short
from lab.submit import submit
from lab.waiting import assert_settles, fates, wait_until

_CHECKOUT = Path(__file__).resolve().parents[2]
_USER = "nobody"
_LMTP_PORT = 10027
#: After how many stored bounces the service is killed, and how many more come home before it is started anew.
_KILLS = ((20, 0), (60, 8), (110, 0), (150, 8), (200, 0))
_RECIPIENTS = 300


def test_bounces_come_home_through_the_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_campaign: Callable[..., Campaign]
) -> None:
    later = (Fate.RETURNED_LATER, Fate.ANSWERED_LATER)
    whole = small_campaign(1)
    soft = [one for one in whole.recipients if one.fate in later]
    parts = [replace(whole, name=f"part-{n}", recipients=tuple(soft[n::3])) for n in range(3)]
    with _line(tmp_path, monkeypatch) as line:
        # With the service: each process hands its mail over by the socket.
        submit(parts[0], line.submission())
        assert_settles(line, parts[0])
        assert "event=bounce " in line.service_log("ingest").read_text()

        # Without it each process stores by itself.
        line.stop_service("ingest")
        submit(parts[1], line.submission())
        _wait_for_later(line, parts[1])

        # A store that is locked: exit status 75, Postfix keeps the bounces and brings them again.
        submit(parts[2], line.submission())
        lock = sqlite3.connect(line.folder / "data" / "relay.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        wait_until(lambda: _log_has(line, "status=deferred (temporary failure"), "Postfix keeps a bounce")
        lock.execute("ROLLBACK")
        lock.close()
        _wait_for_later(line, parts[2])
        log = line.postfix.log.read_text(errors="replace")
        assert "Command died" not in log
        assert "relay=omi-bounce" in log


def test_a_killed_service_loses_and_doubles_no_bounce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = returning("pipe", _RECIPIENTS)
    with _line(tmp_path, monkeypatch) as line:
        client = threading.Thread(target=submit, args=(campaign, line.submission()))
        client.start()
        for count, alone in _KILLS:
            _wait_for_stored(line, count)
            assert foreign_ports(line.pid("ingest"), _LMTP_PORT) == set()
            line.kill_service("ingest")
            if alone:
                # Each process stores by itself meanwhile.
                _wait_for_stored(line, stored_whole(line).total() + alone)
            line.start_service("ingest")
        client.join(200)
        assert_settles(line, campaign)
        wait_until(lambda: not line.postfix.queue(), "Postfix's queue is empty", seconds=150)
        assert doubled_or_lost(line) == []
        delivered = [one for one in line.internet.books().later_mails() if one.delivered]
        # Ours and what the receivers sent: the ingester has brought none.
        assert queued_mails(line) == _RECIPIENTS + len(delivered)
        log = line.postfix.log.read_text(errors="replace")
        assert "Command died" not in log
        assert "went away before it answered" in log, "no kill was felt by a client: this scenario proves nothing"


def _wait_for_stored(line: Line, count: int) -> None:
    wait_until(lambda: stored_whole(line).total() >= count, f"{count} bounces are stored", seconds=120)


def _wait_for_later(line: Line, part: Campaign) -> None:
    wanted = len(part.recipients)
    wait_until(
        lambda: sum(one.later_code is not None for one in fates(line, part)) == wanted,
        "all bounces are home",
        seconds=120,
    )


def _log_has(line: Line, text: str) -> bool:
    return text in line.postfix.log.read_text(errors="replace")


def _line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A line whose ingester and pipe run as a user without rights, from places that this user can reach."""
    tmp_path.chmod(0o755)
    checkout, folder = mount_short(_CHECKOUT), mount_short(tmp_path)
    packages = Path(next(path for path in sys.path if path.endswith("site-packages")))
    short_packages = mount_short(packages)
    python = "/usr/bin/python3"
    code = (
        f"import sys; sys.path[:0] = [{str(checkout)!r}, {str(short_packages)!r}]; import omicard_relay.services.ingest"
    )
    account = pwd.getpwnam(_USER)
    probe = subprocess.run([python, "-c", code], user=account.pw_uid, capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"{_USER} cannot run {python} with our packages: {probe.stderr.strip().splitlines()[-1]}")
    monkeypatch.setenv("PYTHONPATH", f"{checkout}:{short_packages}")
    # Where the user has a home, this is below it: compiled rules, without which each process takes seconds.
    cache = folder / "cache"
    cache.mkdir()
    shutil.chown(cache, _USER)
    monkeypatch.setenv("OMICARD_RELAY_CACHE", str(cache))
    return Line(
        folder,
        bounces="bounce-pipe",
        ingest_user=_USER,
        ingest_python=(python,),
        postfix_settings={
            "export_environment": f"TZ LANG PYTHONPATH={checkout}:{short_packages} OMICARD_RELAY_CACHE={cache}"
        },
    )
