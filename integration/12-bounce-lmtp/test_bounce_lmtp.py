"""Bounces over LMTP under kill -9 and under a flood of forged ones: each stored once, the lists untouched, nothing answered."""

import smtplib
import threading
from collections.abc import Callable
from dataclasses import replace

from integration.bounces import doubled_or_lost, foreign_ports, queued_mails, returning, stored_whole
from lab.line import BOUNCE_DOMAIN, Line
from lab.submit import submit
from lab.waiting import assert_settles, wait_until
from omicard_relay.store import bounces

_RECIPIENTS, _FORGED, _FORGERS = 800, 1200, 4
#: After how many stored bounces the ingester is killed.
_KILLS = (20, 120, 250, 400, 550)
_LMTP_PORT = 10027
_HOME = ("127.0.2.1", 25)
_FORGERY = """\
From: Mail Delivery System <MAILER-DAEMON@far.test>
To: <b@{domain}>
Subject: Undelivered mail returned
Message-ID: <forged-{number}@far.test>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; far.test

Final-Recipient: rfc822;{victim}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--x--
"""
_PERSON = "From: Ann <ann@far.test>\nTo: <b@{domain}>\nSubject: Re: Spring\nMessage-ID: <ann@far.test>\n\nThank you!\n"


def test_nothing_is_lost_doubled_or_answered(make_line: Callable[..., Line]) -> None:
    line = make_line(extra_configuration={"ingest": "unproven_per_minute = 100"})
    campaign = returning("lmtp", _RECIPIENTS)
    client = threading.Thread(target=submit, args=(campaign, replace(line.submission(), tries=60)))
    forgers = [threading.Thread(target=_forge, args=(number,)) for number in range(_FORGERS)]
    for thread in (client, *forgers):
        thread.start()
    ports = set[int]()
    for count in _KILLS:

        def has_come(count: int = count) -> bool:
            ports.update(foreign_ports(line.pid("ingest"), _LMTP_PORT))
            return stored_whole(line).total() >= count

        wait_until(has_come, f"{count} bounces are stored", seconds=120)
        line.kill_service("ingest")
        line.start_service("ingest")
    _say("ann@far.test", _PERSON.format(domain=BOUNCE_DOMAIN))
    for thread in (client, *forgers):
        thread.join(200)
    assert_settles(line, campaign)
    wait_until(lambda: not line.postfix.queue(), "Postfix's queue is empty", seconds=150)
    assert doubled_or_lost(line) == []
    assert ports == set()

    log = line.postfix.log.read_text(errors="replace").splitlines()
    felt = [one for one in log if "/lmtp[" in one and "status=deferred" in one and "to=<b+" in one]
    assert felt, "no kill was felt by a bounce: this scenario proves nothing"

    # Ours, what the receivers sent, the forged ones, and Ann's: nobody else has brought a mail.
    delivered = [one for one in line.internet.books().later_mails() if one.delivered]
    assert queued_mails(line) == _RECIPIENTS + len(delivered) + _FORGED + 1

    store = line.store()
    with store.read() as tx:
        counted = bounces.counters(tx)
    store.close()
    # A kill between commit and answer brings a mail again, and a new process may count it again.
    assert counted["bounce.flood"] >= _FORGED // 2
    assert counted["bounce.unproven"] < _FORGED // 2
    assert "event=bounce-flood" in line.service_log("ingest").read_text()
    assert counted["bounce.not-a-bounce"] == 1
    listed = line.omicard("suppress", "list", "--jsonl")
    assert "victim" not in listed
    assert "lmtp0@later.test" in listed


def _forge(number: int) -> None:
    """A quarter of the forged bounces, each of its own text, over one connection."""
    with smtplib.SMTP(*_HOME) as client:
        for each in range(number, _FORGED, _FORGERS):
            text = _FORGERY.format(domain=BOUNCE_DOMAIN, number=each, victim=f"victim{each}@good.test")
            client.sendmail("", [f"b@{BOUNCE_DOMAIN}"], text)


def _say(sender: str, text: str) -> None:
    with smtplib.SMTP(*_HOME) as client:
        client.sendmail(sender, [f"b@{BOUNCE_DOMAIN}"], text)
