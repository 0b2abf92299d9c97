"""The failure notice, as a mail program and a bounce reader see it."""

from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest

from omicard_relay.services.relay.notice import HEADER_LIMIT, Failure, failure_notice
from omicard_relay.services.relay.parameters import MailCommand, RcptCommand

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
CONTENT = b"Subject: h\xe9llo\r\nX: y\r\n\r\nthe body\r\n"


def notice(content=CONTENT, *, ret=None, **recipient):
    octets = failure_notice(
        MailCommand(reverse_path="news@shop.test", ret=ret, envid="Ab+2BC"),
        [
            Failure(
                recipient=RcptCommand(**{"forward_path": "bob@a.test", **recipient}),
                reply="550 5.1.1 <bob@a.test>: no \x1bsuch user",
            )
        ],
        content,
        hostname="relay.test",
        next_host="127.0.0.1",
        submission_id="abc",
        token="0123",
        received=NOW,
        now=NOW,
    )
    assert octets.count(b"\n") == octets.count(b"\r\n")
    return message_from_bytes(octets, policy=policy.default)


def test_it_is_a_delivery_status_report():
    message = notice(orcpt="rfc822;Bob+2Bx@a.test")

    assert (message.get_content_type(), message["Auto-Submitted"]) == ("multipart/report", "auto-replied")
    assert (message.get_param("report-type"), message["To"]) == ("delivery-status", "news@shop.test")
    text, status, original = message.iter_parts()
    assert "bob@a.test" in text.get_content()
    mail, recipient = status.get_payload()
    assert (mail["Reporting-MTA"], mail["Original-Envelope-Id"]) == ("dns; relay.test", "Ab+C")
    assert (recipient["Final-Recipient"], recipient["Action"], recipient["Status"]) == (
        "rfc822; bob@a.test",
        "failed",
        "5.1.1",
    )
    assert recipient["Original-Recipient"] == "rfc822; Bob+x@a.test"
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 <bob@a.test>: no \\x1bsuch user"
    assert original.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("ret", "size", "full"),
    [("FULL", 10, True), ("full", 10, True), ("FULL", 300_000, False), ("HDRS", 10, False), (None, 10, False)],
    ids=["full", "lower-case", "full-but-big", "headers", "nothing-said"],
)
def test_what_is_returned(ret, size, full):
    body = b"b" * 50 + b"\r\n"
    octets = notice(b"Subject: x\r\n\r\n" + body * (size // 10), ret=ret).as_bytes()

    assert (body.strip() in octets) is full
    assert b"Subject: x" in octets


def test_a_header_without_end_is_cut():
    octets = notice(b"A: " + b"x" * 60 + b"\r\n" + b" y\r\n" * 100_000).as_bytes()

    assert len(octets) < HEADER_LIMIT * 2


def test_a_utf_8_recipient_is_written_as_rfc_6533_wants_it():
    _, status, _ = notice(forward_path="王@a.test").iter_parts()

    assert status.get_payload()[1]["Final-Recipient"] == "utf-8; \\x{738B}@a.test"
