"""Postfix away and back again: clients are told to wait, at once, and nothing is lost or doubled."""

import smtplib
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from lab.campaign import Campaign
from lab.line import SENDER_DOMAIN, Line
from lab.submit import Told, submit
from lab.waiting import assert_settles, wait_until


def test_clients_wait_while_postfix_is_away(
    make_line: Callable[..., Line], small_campaign: Callable[..., Campaign]
) -> None:
    campaign = small_campaign(4)
    line = make_line()
    line.fill_lists(campaign)
    told: list[Told] = []
    results: list[list[Told]] = []
    how = replace(line.submission(), tries=60)
    client = threading.Thread(target=lambda: results.append(submit(campaign, how, on_told=told.append)))
    client.start()
    wait_until(lambda: len(told) >= 40, "the first recipients are submitted")
    line.postfix.stop()
    code, seconds = _one_mail(how.port)
    assert 400 <= code < 500
    assert seconds < 10
    line.postfix.start()
    client.join(200)
    assert results
    assert_settles(line, campaign)


def _one_mail(port: int) -> tuple[int, float]:
    """The reply to one mail while Postfix is away, and how long it took."""
    begun = time.monotonic()
    with smtplib.SMTP("127.0.0.1", port, local_hostname="probe.lab.test", timeout=30) as probe:
        try:
            probe.sendmail(f"news@{SENDER_DOMAIN}", ["probe@elsewhere.test"], b"Subject: probe\r\n\r\nprobe\r\n")
        except smtplib.SMTPDataError as error:
            return error.smtp_code, time.monotonic() - begun
    return 250, time.monotonic() - begun
