"""The whole line, submitted to directly: store and books agree; signatures hold; report and explain tell it."""

import json
from collections import Counter
from collections.abc import Callable

import dkim

from lab.campaign import Campaign
from lab.line import Line
from lab.submit import submit
from lab.waiting import assert_settles


def test_store_and_books_agree_row_by_row(make_line: Callable[..., Line], campaign: Campaign) -> None:
    line = make_line(store_mails=True)
    line.fill_lists(campaign)
    told = submit(campaign, line.submission())
    subjects = assert_settles(line, campaign)

    # What the client was told fits: a 5xx for whom the policy refuses, a 250 for all others.
    refused = {one.planned.drop_reason for one in told if not one.accepted}
    assert refused == {"syntax", "blacklist"}
    assert all(one.tries == 1 for one in told)

    _check_signatures(line)
    _check_report(line, campaign, len(subjects))
    _check_explain(line, campaign)


def _check_signatures(line: Line) -> None:
    records = {name: text for name, _, text in line._records()}

    def lookup(name: bytes, timeout: float = 5) -> bytes:
        return records[name.decode().rstrip(".")].encode()

    mails = [entry for entry in line.internet.books().accepted() if entry.path and entry.receiver == "good"]
    assert len(mails) > 300
    for entry in mails[::10]:
        content = open(entry.path, "rb").read()  # noqa: SIM115
        verifier = dkim.DKIM(content)
        signatures = [value for name, value in verifier.headers if name.lower() == b"dkim-signature"]
        assert len(signatures) == 2, entry.path
        assert all(dkim.DKIM(content).verify(idx=index, dnsfunc=lookup) for index in range(2)), entry.path
    forged = content.replace(b"Subject: Autumn", b"Subject: Spring")
    assert forged != content
    assert not any(dkim.DKIM(forged).verify(idx=index, dnsfunc=lookup) for index in range(2))


def _check_report(line: Line, campaign: Campaign, recipients: int) -> None:
    rows = [json.loads(row) for row in line.omicard("report", "--campaign", campaign.name, "--jsonl").splitlines()]
    total = Counter({row["key"]: row["count"] for row in rows if row["section"] == "state"})
    assert sum(total.values()) == recipients == len(campaign.recipients)
    dropped = {row["key"]: row["count"] for row in rows if row["section"] == "dropped"}
    assert dropped == Counter(one.drop_reason for one in campaign.recipients if one.drop_reason)
    assert "902" in line.omicard("report")


def _check_explain(line: Line, campaign: Campaign) -> None:
    examples = {(one.domain, one.fate, one.drop_reason): one for one in campaign.recipients}
    for (domain, fate, drop_reason), one in examples.items():
        if drop_reason == "duplicate":
            continue
        text = line.omicard("explain", one.address)
        if drop_reason:
            assert drop_reason in text, text
        elif fate != "delivered":
            assert str(one.bounce_code) in text, (domain, text)
