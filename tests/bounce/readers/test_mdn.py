"""Disposition notifications: a receipt is no bounce, a robot's refusal is one; with and without their parts."""

import pytest

from omicard_relay.bounce import MailReading
from omicard_relay.mail import MailKind
from tests.mailreading import read_mail


def receipt(
    disposition: str, more: str = "", subject: str = "Read: Spring", words: str = "Your mail was seen."
) -> MailReading:
    raw = (
        f"From: Ann <ann@isp.example>\nTo: b+t@bounces.sender.example\nSubject: {subject}\n"
        'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"\n\n'
        f"--b\nContent-Type: text/plain\n\n{words}\n--b\nContent-Type: message/disposition-notification\n\n"
        f"Reporting-UA: pc.isp.example; Pen 3\nFinal-Recipient: rfc822;ann@isp.example\n"
        f"Original-Message-ID: <spring-1@sender.example>\nDisposition: {disposition}\n{more}\n--b--\n"
    )
    return read_mail(raw.encode())


@pytest.mark.parametrize(
    "disposition",
    [
        "manual-action/MDN-sent-manually; displayed",
        "automatic-action/MDN-sent-automatically; displayed",
        "automatic-action/MDN-sent-automatically; deleted",
        "manual-action/MDN-sent-automatically; deleted",
        "automatic-action/MDN-sent-automatically; processed",
        "automatic-action/MDN-sent-automatically; dispatched",
        "manual-action/MDN-sent-manually; denied",
        "MANUAL-ACTION / mdn-sent-manually ;  Displayed",
        "",
    ],
)
def test_receipt_is_no_bounce(disposition: str) -> None:
    found = receipt(disposition)
    assert (found.kind, found.evidence) == (MailKind.NOT_A_BOUNCE, ())
    assert found.notes[0].startswith("disposition notification: ")


@pytest.mark.parametrize(
    "disposition",
    [
        "automatic-action/MDN-sent-automatically; failed",
        "automatic-action/MDN-sent-automatically; deleted/error",
        "automatic-action/MDN-sent-automatically; processed/failure",
    ],
)
def test_refusal_by_a_robot_is_a_failure(disposition: str) -> None:
    found = receipt(disposition, "Error: the mail holds a virus\n", words="We threw it away.")
    assert found.kind is MailKind.DSN
    (evidence,) = found.evidence
    assert (evidence.recipient, evidence.message_id) == ("ann@isp.example", "<spring-1@sender.example>")
    assert evidence.reply is not None
    assert "holds a virus" in evidence.reply.text


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("Not read: Spring", "Your message was deleted without being read on Monday."),
        ("Read: Spring", "Your message was read on Monday."),
        ("Gelesen: Spring", "Ihre Nachricht wurde am Montag gelesen."),
        ("已讀取: Spring", "您的郵件已於週一讀取。"),
        ("開封済み: Spring", "メッセージは開封されました。"),
    ],
    ids=["deleted", "read", "de", "zh-TW", "ja"],
)
def test_flat_receipt_is_no_bounce(subject: str, words: str) -> None:
    raw = f"From: Ann <ann@isp.example>\nSubject: {subject}\nContent-Type: text/plain; charset=utf-8\n\n{words}\n"
    assert read_mail(raw.encode()).kind is MailKind.NOT_A_BOUNCE


def test_notification_without_its_part_is_no_bounce() -> None:
    head = b"From: a@isp.example\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n"
    assert read_mail(head + b"--b\n\nx\n--b--\n").kind is MailKind.NOT_A_BOUNCE
