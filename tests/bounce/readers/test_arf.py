"""Complaints: RFC 5965 and its types, Outlook.com, X-ARF, unsubscribe requests; redacted recipients; reports of no mail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce import MailReading
from omicard_relay.mail import MailKind
from omicard_relay.services.judging import judge_of
from omicard_relay.tables import load_policies
from tests.mailreading import read_mail

RETURNED = "From: News <news@sender.example>\nMessage-ID: <spring-1@sender.example>\nSubject: Spring\n"


def report(
    fields: str, returned: str = "To: Ann <ann@isp.example>\n", words: str = "A complaint.", head: str = ""
) -> MailReading:
    raw = (
        f"From: <fbl@isp.example>\nTo: abuse@sender.example\nSubject: complaint about message\n{head}MIME-Version: 1.0\n"
        'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
        f"--b\nContent-Type: text/plain\n\n{words}\n\n--b\nContent-Type: message/feedback-report\n\n{fields}\n"
        f"--b\nContent-Type: message/rfc822\n\n{RETURNED}{returned}\nhello\n\n--b--\n"
    )
    return read_mail(raw.encode())


def recipients(found: MailReading) -> list[str]:
    assert found.kind is MailKind.ARF
    return [item.recipient for item in found.evidence]


ABUSE = "Feedback-Type: abuse\nUser-Agent: Isp/1\nVersion: 1\n"


@pytest.mark.parametrize(
    ("told", "feedback_type", "code"),
    [
        ("abuse", "abuse", 913),
        ("Abuse", "abuse", 913),
        ("fraud", "fraud", 913),
        ("opt-out", "opt-out", 926),
        ("opt-out-list", "opt-out-list", 926),
        ("auth-failure", "auth-failure", 933),
        ("virus", "virus", 930),
        ("not-spam", "not-spam", None),
        ("not spam", "not-spam", None),
        ("other", "other", 900),
    ],
)
def test_type_and_code(told: str, feedback_type: str, code: int | None) -> None:
    (found,) = report(f"Feedback-Type: {told}\nUser-Agent: Isp/1\nVersion: 1\n", words="For your records.").evidence
    assert found.feedback_type == feedback_type
    verdict = judge_of(load_policies()).judge(found)
    assert (verdict and int(verdict.bounce_code)) == code


@pytest.mark.parametrize(
    ("fields", "returned", "expected"),
    [
        ("Original-Rcpt-To: <ann@isp.example>\n", "To: other@isp.example\n", ["ann@isp.example"]),
        (
            "Original-Rcpt-To: ann@isp.example\nOriginal-Rcpt-To: bob@isp.example\n",
            "",
            ["ann@isp.example", "bob@isp.example"],
        ),
        ("Removal-Recipient: ann@isp.example\n", "", ["ann@isp.example"]),
        ("", "To: Ann <ann@isp.example>\nX-Original-To: shared@host.example\n", ["ann@isp.example"]),
        (
            "Original-Rcpt-To: redacted@isp.example\n",
            "To: redacted@isp.example\nX-Original-To: ann@isp.example\n",
            ["ann@isp.example"],
        ),
        ("", "To: undisclosed-recipients:;\nDelivered-To: ann@isp.example\n", ["ann@isp.example"]),
        ("", "To: a@x.example, b@x.example\nEnvelope-To: ann@isp.example\n", ["ann@isp.example"]),
        ("", "Received: from x by y with ESMTP id 7 for <ann@isp.example>; Tue, 3 Mar 2026\n", ["ann@isp.example"]),
        ("Original-Mail-From: <news-return-12-ann=isp.example@sender.example>\n", "", ["ann@isp.example"]),
        (
            "Original-Mail-From: news-bounces+ann=isp.example@sender.example\n",
            "To: xxxxx@isp.example\n",
            ["ann@isp.example"],
        ),
        ("", "Return-Path: <bounce-ann=isp.example@sender.example>\nTo: *****@isp.example\n", ["ann@isp.example"]),
        ("", "X-HmXmrOriginalRecipient: ann@isp.example\nTo: x@y.example\n", ["ann@isp.example"]),
    ],
)
def test_recipient_is_found(fields: str, returned: str, expected: list[str]) -> None:
    assert recipients(report(ABUSE + fields, returned)) == expected


@pytest.mark.parametrize(
    ("fields", "returned"),
    [
        ("", "To: undisclosed-recipients:;\n"),
        ("Original-Rcpt-To: <redacted>\n", "To: redacted@redacted.example\n"),
        ("Original-Mail-From: <SRS0=a1b2=XY=other.example=carl@forwarder.example>\n", ""),
        ("Original-Mail-From: <prvs=1234567890=news@sender.example>\n", ""),
        ("Original-Mail-From: <b+0123456789abcdef@bounces.sender.example>\n", ""),
        ("", "List-Unsubscribe: <mailto:leave+0123abc@sender.example>\n"),
        ("Original-Rcpt-To: 0123456789abcdef0123456789abcdef@isp.example\n", ""),
    ],
    ids=["undisclosed", "redacted", "srs", "batv", "signed", "unsubscribe-token", "digest"],
)
def test_hidden_recipient_is_not_guessed(fields: str, returned: str) -> None:
    found = report(ABUSE + fields, returned)
    assert recipients(found) == [""]
    assert found.notes == ("the report names no recipient",)


def test_reverse_path_is_noted_for_the_token() -> None:
    (found,) = report(ABUSE + "Original-Mail-From: <b+token@bounces.sender.example>\n", "").evidence
    assert found.notes == ("reverse-path b+token@bounces.sender.example",)
    assert found.message_id == "<spring-1@sender.example>"


def test_report_part_called_text_is_read() -> None:
    raw = (
        'From: fbl@isp.example\nContent-Type: multipart/report; report-type=feedback-report; boundary="b"\n\n'
        "--b\nContent-Type: text/plain\n\nA complaint.\n--b\nContent-Type: text/plain\n\nFeedback-Type: fraud\nVersion: 1\n"
        f"Original-Rcpt-To: ann@isp.example\n--b\nContent-Type: message/rfc822\n\n{RETURNED}\nhello\n--b--\n"
    )
    found = read_mail(raw.encode())
    assert recipients(found) == ["ann@isp.example"]
    assert found.evidence[0].feedback_type == "fraud"


def test_junk_report_of_outlook_has_no_report_part() -> None:
    raw = (
        'From: staff@outlook.example\nSubject: complaint about message\nContent-Type: multipart/mixed; boundary="b"\n\n'
        f"--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: ann@outlook.example\n{RETURNED}\nhello\n--b--\n"
    )
    assert recipients(read_mail(raw.encode())) == ["ann@outlook.example"]


def xarf(kind: str) -> MailReading:
    raw = (
        "From: r@blocklist.example\nTo: abuse@sender.example\nSubject: abuse report about 192.0.2.1\nX-XARF: PLAIN\n"
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\nA report.\n'
        f"--b\nContent-Type: text/plain; name=report.txt\n\n---\nReported-From: r@blocklist.example\nCategory: abuse\n"
        f"Report-Type: {kind}\nSource-Type: ip-address\nSource: 192.0.2.1\nDate: Tue, 03 Mar 2026 01:02:03 +0000\n"
        f"--b\nContent-Type: message/rfc822\n\n{RETURNED}To: ann@isp.example\n\nhello\n--b--\n"
    )
    return read_mail(raw.encode())


def test_x_arf_about_a_mail_is_a_complaint() -> None:
    found = xarf("spam")
    assert recipients(found) == ["ann@isp.example"]
    assert found.evidence[0].feedback_type == "abuse"


def test_x_arf_about_an_attack_is_none() -> None:
    found = xarf("login-attack")
    assert (found.kind, found.evidence) == (MailKind.OTHER, ())


@pytest.mark.parametrize(
    "raw",
    [
        "From: ann@isp.example\nSubject: unsubscribe\nAuto-Submitted: auto-generated\n\nPlease.\n",
        "From: ann@isp.example\nSubject: Unsubscribe from 4711\nX-Apple-Unsubscribe: true\n\nSent to unsubscribe.\n",
        "From: ann@isp.example\nSubject: unsubscribe:4711\n\nThis message was automatically generated by Gmail.\n",
    ],
    ids=["auto-submitted", "apple", "gmail"],
)
def test_unsubscribe_request_of_a_mail_program(raw: str) -> None:
    found = read_mail(raw.encode())
    assert recipients(found) == ["ann@isp.example"]
    assert found.evidence[0].feedback_type == "opt-out"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("From: ann@isp.example\nSubject: unsubscribe\n\nPlease.\n", MailKind.NOT_A_BOUNCE),
        (
            "From: ann@isp.example\nSubject: How do I unsubscribe?\nAuto-Submitted: no\n\nTell me.\n",
            MailKind.NOT_A_BOUNCE,
        ),
        (
            "From: dmarc@isp.example\nSubject: Report domain: sender.example Submitter: isp.example Report-ID: 4711\n"
            "Content-Type: application/gzip; name=x.xml.gz\nContent-Transfer-Encoding: base64\n\nH4sIAAAA\n",
            MailKind.OTHER,
        ),
        (
            "From: tls@isp.example\nSubject: Report Domain: sender.example Submitter: isp.example Report-ID: <4711>\n"
            'Content-Type: multipart/report; report-type="tlsrpt"; boundary="b"\n\n--b\nContent-Type: text/plain\n\nx\n--b--\n',
            MailKind.OTHER,
        ),
        ("From: bob@isp.example\nSubject: Report domain names by Friday\n\nPlease.\n", MailKind.NOT_A_BOUNCE),
        (
            "From: bob@isp.example\nSubject: Re: Complaint\n\n> Feedback-Type: abuse\n> Version: 1\n",
            MailKind.NOT_A_BOUNCE,
        ),
    ],
    ids=["person", "person-asks", "dmarc", "tls", "person-domains", "quoted-report"],
)
def test_no_complaint(raw: str, kind: MailKind) -> None:
    found = read_mail(raw.encode())
    assert (found.kind, found.evidence) == (kind, ())


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_fields_never_raise(fields: str, returned: str) -> None:
    assert report(ABUSE + fields.replace("--b", ""), returned.replace("--b", "")).kind is MailKind.ARF


@pytest.mark.parametrize(
    "path",
    ["-bounces+" * 5_000, "a-return-1-" * 5_000 + "=", "x=" * 20_000, "bounce-" + "1" * 50_000],
    ids=["a", "b", "c", "d"],
)
def test_hostile_reverse_path_is_read(path: str) -> None:
    assert report(f"{ABUSE}Original-Mail-From: <{path}@x.example>\n").kind is MailKind.ARF
