"""RFC 3464 and RFC 6533 as the standard and the wild write them: recipients, diagnostics, actions, structure."""

import base64

import pytest

from omicard_relay.bounce import MailReader
from omicard_relay.mail import Evidence, MailKind, Stage
from omicard_relay.services.judging import judge_of
from omicard_relay.tables import load_policies

READ = MailReader().read
JUDGE = judge_of(load_policies())

HEAD = """\
Return-Path: <>
From: MAILER-DAEMON@mx1.harbour.example
To: bounce@news.shop.example
Subject: Delivery Status Notification
Date: Tue, 3 Mar 2026 09:12:44 +0000
Message-ID: <report@mx1.harbour.example>
"""
MESSAGE = "Reporting-MTA: dns; mx1.harbour.example\nArrival-Date: Tue, 3 Mar 2026 09:00:00 +0000\n\n"
RETURNED = "From: news@shop.example\nTo: {to}\nMessage-ID: <spring.7@shop.example>\n\nHello.\n"


def report(
    *recipients: str,
    text: str = "Your mail could not be delivered.\n",
    to: str = "ruth.hall@harbour.example",
    kind: str = "multipart/report; report-type=delivery-status",
    status_type: str = "message/delivery-status",
    message: str = MESSAGE,
) -> bytes:
    """A report with one group of fields a recipient; \\ufffd-free UTF-8."""
    return (
        HEAD
        + f'Content-Type: {kind}; boundary="b1"\n\n--b1\nContent-Type: text/plain; charset=utf-8\n\n{text}\n'
        + f"--b1\nContent-Type: {status_type}\n\n{message}"
        + "\n".join(group.rstrip("\n") + "\n" for group in recipients)
        + f"\n--b1\nContent-Type: message/rfc822\n\n{RETURNED.format(to=to)}\n--b1--\n"
    ).encode()


def group(final: str, *more: str, action: str = "failed", status: str = "5.1.1") -> str:
    return "\n".join([f"Final-Recipient: {final}", f"Action: {action}", f"Status: {status}", *more]) + "\n"


def only(raw: bytes) -> Evidence:
    found = READ(raw)
    assert found.kind is MailKind.DSN
    (evidence,) = found.evidence
    return evidence


@pytest.mark.parametrize(
    ("field", "recipient"),
    [
        ("rfc822; ruth.hall@harbour.example", "ruth.hall@harbour.example"),
        ("RFC822;<ruth.hall@harbour.example>", "ruth.hall@harbour.example"),
        ("ruth.hall@harbour.example", "ruth.hall@harbour.example"),
        ("rfc822; ruth+2Bnews@harbour.example", "ruth+news@harbour.example"),
        ("rfc822; ruth+40home@harbour.example", "ruth+40home@harbour.example"),
        ("utf-8; \\x{6E2C}\\x{8A66}@harbour.example", "測試@harbour.example"),
        ("utf-8; 測試@例子.example", "測試@例子.example"),
        ("rfc822; ruth.hall@harbour.example (Ruth Hall)", "ruth.hall@harbour.example"),
        ("smtp; ruth.hall@harbour.example", "ruth.hall@harbour.example"),
        ("unknown; ruth.hall@harbour.example", "ruth.hall@harbour.example"),
        ("rfc822;\n ruth.hall@harbour.example", "ruth.hall@harbour.example"),
    ],
    ids=["plain", "brackets", "no-type", "xtext", "detail-not-xtext", "escapes", "utf-8", "comment", "smtp", "unknown",
         "folded"],
)  # fmt: skip
def test_final_recipient_however_it_is_typed(field: str, recipient: str) -> None:
    assert only(report(group(field))).recipient == recipient


DIRECTORY = "/O=HARBOUR/OU=FIRST GROUP/CN=RECIPIENTS/CN=RHALL"


@pytest.mark.parametrize(
    ("groups", "text", "to"),
    [
        (group("x400; /S=Hall/C=GB/", "X-Actual-Recipient: rfc822; ruth.hall@harbour.example"), "", "x@y.example"),
        (group(f"EX: {DIRECTORY}", "X-Display-Name: Ruth Hall <ruth.hall@harbour.example>"), "", "x@y.example"),
        (group(f"unknown; {DIRECTORY}", "Diagnostic-Code: smtp; 550 <ruth.hall@harbour.example> unknown"), "", "x@y.example"),
        (group("rfc822; IMCEAEX-_O=HARBOUR_CN=RHALL@harbour.example", "Original-Recipient: rfc822; ruth.hall@harbour.example"),
         "", "x@y.example"),
        (group("x400; /S=Hall/"), "<ruth.hall@harbour.example>: no such mailbox here\n", "x@y.example, z@y.example"),
        (group(f"EX: {DIRECTORY}"), "Your mail failed.\n", '"Ruth" <ruth.hall@harbour.example>'),
        (group("rfc822; |/usr/bin/vacation ruth"), "Your mail failed.\n", "news-ruth.hall=harbour.example@lists.shop.example"),
    ],
    ids=["actual-recipient", "display-name", "diagnostic", "encapsulated", "text", "returned-mail", "returned-verp"],
)  # fmt: skip
def test_recipient_that_is_no_mailbox_is_found_elsewhere(groups: str, text: str, to: str) -> None:
    assert only(report(groups, text=text or "Failed.\n", to=to)).recipient == "ruth.hall@harbour.example"


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (group("rfc822; ruth@inner.example", "Original-Recipient: rfc822; ruth.hall@harbour.example"), ""),
        (group("rfc822; ruth@inner.example", "X-Original-Recipient: ruth.hall@harbour.example"), ""),
        (group("rfc822; ruth@inner.example"), "<ruth@inner.example> (expanded from <ruth.hall@harbour.example>): 5\n"),
        (group("rfc822; ruth@inner.example"), "<ruth@inner.example>\n    (expanded from: <ruth.hall@harbour.example>)\n"),
        (group("rfc822; ruth@inner.example"), "  ruth@inner.example\n    (generated from ruth.hall@harbour.example)\n"),
        (group("rfc822; ruth@inner.example"), "ruth.hall@harbour.example was forwarded to ruth@inner.example.\n"),
        (group("rfc822; ruth@inner.example"), "Original recipient: ruth.hall@harbour.example\nThe mailbox is full.\n"),
    ],
    ids=["field", "x-field", "postfix", "sendmail", "exim", "sentence", "label"],
)  # fmt: skip
def test_original_recipient_is_kept_apart(groups: str, text: str) -> None:
    evidence = only(report(groups, text=text or "Failed.\n"))
    assert (evidence.recipient, evidence.original_recipient) == ("ruth@inner.example", "ruth.hall@harbour.example")


def test_encoded_word_as_mailbox_is_kept_and_its_name_is_the_original() -> None:
    evidence = only(report(group("rfc822; =?utf-8?b?5ris6Kmm?=@harbour.example")))
    assert evidence.recipient == "=?utf-8?b?5ris6Kmm?=@harbour.example"
    assert evidence.original_recipient == "測試@harbour.example"


@pytest.mark.parametrize(
    ("field", "innermost"),
    [
        ("Diagnostic-Code: smtp; 550 5.1.1 no such user", "550 5.1.1 no such user"),
        ("Diagnostic-Code: smtp;550-5.1.1 no such\n 550 5.1.1 user", "550 5.1.1 no such user"),
        ("Diagnostic-Code: smtp; 550-5.1.1 no such\n550 5.1.1 user", "550 5.1.1 no such user"),
        ("Diagnostic-Code: X-Postfix; unknown user: ruth", "unknown user: ruth"),
        ("Diagnostic-Code: x-unix; user unknown", "user unknown"),
        ("Diagnostic-Code: X-Notes; User not listed in public Book", "User not listed in public Book"),
        ("Diagnostic-Code: 550 5.1.1 user unknown; try again", "550 5.1.1 user unknown; try again"),
        ("Diagnostic-Code: smtp; =?utf-8?b?NTUwIDUuMS4xIOafpeeEoeatpOS6ug==?=", "550 5.1.1 查無此人"),
        ("X-Supplementary-Info: < #5.1.1 smtp;550 5.1.1 no such user>", "550 5.1.1 no such user"),
        ("Diagnostic-Code: smtp; Error: 550 5.1.1\nReason: no such user", "no such user"),
    ],
    ids=["plain", "folded", "not-folded", "postfix", "unix", "notes", "semicolon", "encoded", "supplementary", "prose-below"],
)  # fmt: skip
def test_diagnostic_of_each_type(field: str, innermost: str) -> None:
    reply = only(report(group("rfc822; ruth.hall@harbour.example", field))).reply
    assert reply is not None
    assert innermost in reply.innermost


def test_diagnostic_in_a_local_charset() -> None:
    raw = report(group("rfc822; ruth.hall@harbour.example", "Diagnostic-Code: smtp; 550 5.1.1 查無此使用者的信件"))
    reply = only(raw.decode().encode("big5")).reply
    assert reply is not None
    assert "查無此使用者" in reply.innermost


def test_empty_diagnostic_leaves_the_word_to_the_text() -> None:
    raw = report(
        group("rfc822; ruth.hall@harbour.example", "Diagnostic-Code: X-Postfix;"),
        text="<ruth.hall@harbour.example>: mailbox is over its quota\n",
    )
    reply = only(raw).reply
    assert reply is not None
    assert "over its quota" in reply.innermost


def test_stage_and_host_come_from_the_text() -> None:
    raw = report(
        group("rfc822; ruth.hall@harbour.example", "Diagnostic-Code: smtp; 550 5.1.1 no such user"),
        text="<ruth.hall@harbour.example>: host mx9.inner.example[192.0.2.9] said: 550 5.1.1\n"
        "    no such user (in reply to\n    RCPT TO command)\n",
    )
    reply = only(raw).reply
    assert reply is not None
    assert (reply.stage, reply.host, reply.ip) == (Stage.RCPT, "mx9.inner.example", "192.0.2.9")


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
def test_delivery_without_failure_has_no_verdict(action: str) -> None:
    evidence = only(report(group("rfc822; ruth.hall@harbour.example", action=action, status="2.0.0")))
    assert evidence.dsn_action == action
    assert JUDGE.judge(evidence) is None


def test_status_of_success_without_an_action_is_a_delivery() -> None:
    evidence = only(report("Final-Recipient: rfc822; ruth.hall@harbour.example\nStatus: 2.1.5\n"))
    assert evidence.dsn_action == "delivered"
    assert JUDGE.judge(evidence) is None


@pytest.mark.parametrize(
    ("written", "action"), [("Failed", "failed"), ("failure (bad)", "failed"), ("delay", "delayed")]
)
def test_action_in_words_of_the_wild(written: str, action: str) -> None:
    assert only(report(group("rfc822; ruth.hall@harbour.example", action=written))).dsn_action == action


def test_each_recipient_has_its_own_action() -> None:
    found = READ(
        report(
            group("rfc822; ruth.hall@harbour.example", "Diagnostic-Code: smtp; 550 no such user"),
            group("rfc822; tom.reed@meadow.example", action="delivered", status="2.0.0"),
            group("rfc822; ann.lake@meadow.example", action="delayed", status="4.2.2"),
        )
    )
    assert [(item.recipient, item.dsn_action) for item in found.evidence] == [
        ("ruth.hall@harbour.example", "failed"),
        ("tom.reed@meadow.example", "delivered"),
        ("ann.lake@meadow.example", "delayed"),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/report",
        "multipart/mixed",
        'multipart/report; report-type="feedback"',
        "multipart/related",
        "Multipart/Report",
    ],
)
def test_report_type_may_be_missing_or_wrong(kind: str) -> None:
    raw = report(group("rfc822; ruth.hall@harbour.example", "Diagnostic-Code: smtp; 550 no such user"), kind=kind)
    assert only(raw).recipient == "ruth.hall@harbour.example"


@pytest.mark.parametrize(
    "status_type",
    [
        "message/global-delivery-status",
        "message/delivery-status; charset=utf-8",
        "text/plain; name=status.txt",
        "MESSAGE/DELIVERY-STATUS",
    ],
)
def test_status_part_of_each_media_type(status_type: str) -> None:
    raw = report(
        group("utf-8; 測試@harbour.example", "Diagnostic-Code: smtp; 550 no such user"), status_type=status_type
    )
    assert only(raw).recipient == "測試@harbour.example"


def test_several_status_parts() -> None:
    one = group("rfc822; ruth.hall@harbour.example", "Diagnostic-Code: smtp; 550 no such user")
    two = group("rfc822; tom.reed@meadow.example", "Diagnostic-Code: smtp; 552 full")
    raw = report(one + f"\n--b1\nContent-Type: message/delivery-status\n\n{MESSAGE}{two}")
    assert [item.recipient for item in READ(raw).evidence] == ["ruth.hall@harbour.example", "tom.reed@meadow.example"]


@pytest.mark.parametrize("kind", ["multipart/report; report-type=delivery-status", "multipart/report; boundary=other"])
def test_boundary_that_the_header_lost_is_guessed(kind: str) -> None:
    raw = report(group("rfc822; ruth.hall@harbour.example", "Diagnostic-Code: smtp; 550 no such user"), kind=kind)
    found = READ(raw.replace(b'; boundary="b1"', b"", 1))
    assert [item.recipient for item in found.evidence] == ["ruth.hall@harbour.example"]
    assert "the boundary was guessed" in found.notes


def test_status_fields_in_the_body_of_a_flat_mail() -> None:
    raw = (
        HEAD + "Content-Type: text/plain\n\nYour mail failed.\n\n" + MESSAGE + group("rfc822; ruth.hall@harbour.example",
                                                                                  "Diagnostic-Code: smtp; 550 no such user")
    ).encode()  # fmt: skip
    assert only(raw).recipient == "ruth.hall@harbour.example"


def test_returned_message_in_base64_names_the_message_id() -> None:
    raw = report(group("rfc822; ruth.hall@harbour.example"))
    inner = RETURNED.format(to="ruth.hall@harbour.example").encode()
    coded = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(inner)
    raw = raw.replace(b"Content-Type: message/rfc822\n\n" + inner, coded)
    assert only(raw).message_id == "<spring.7@shop.example>"


INNER = """\
From: MAILER-DAEMON@mx9.inner.example
To: bounce@news.shop.example
Subject: Undelivered Mail Returned to Sender
Message-ID: <inner@mx9.inner.example>
Content-Type: multipart/report; report-type=delivery-status; boundary=b2

--b2

failed
--b2
Content-Type: message/delivery-status

Reporting-MTA: dns; mx9.inner.example

Final-Recipient: rfc822; ruth.hall@harbour.example
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 mailbox full

--b2--
"""


def nested(outer: str) -> bytes:
    raw = report(group(outer, "Diagnostic-Code: smtp; 554 5.0.0 could not hand it on")).decode()
    return raw.replace(RETURNED.format(to="ruth.hall@harbour.example"), INNER).encode()


def test_report_that_could_not_be_handed_on_gives_way_to_the_one_inside() -> None:
    evidence = only(nested("rfc822; bounce@news.shop.example"))
    assert evidence.recipient == "ruth.hall@harbour.example"
    assert evidence.reply is not None
    assert evidence.reply.innermost == "552 5.2.2 mailbox full"


def test_innermost_words_of_a_report_about_the_same_recipient_decide() -> None:
    evidence = only(nested("rfc822; ruth.hall@harbour.example"))
    assert [reply.innermost for reply in evidence.replies] == [
        "554 5.0.0 could not hand it on",
        "552 5.2.2 mailbox full",
    ]


def test_report_about_somebody_else_stands() -> None:
    assert only(nested("rfc822; tom.reed@meadow.example")).recipient == "tom.reed@meadow.example"


def test_forward_that_the_returned_mail_tells() -> None:
    raw = (
        b"From: MAILER-DAEMON@mail.example\nTo: b@news.example\nSubject: Failure\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b1\n\n--b1\n"
        b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mail.example\n\n"
        b"Final-Recipient: rfc822; ann@home.example\nAction: failed\nStatus: 5.1.1\n"
        b"Diagnostic-Code: smtp; 550 5.1.1 nobody of that name\n\n--b1\nContent-Type: message/rfc822\n\n"
        b"X-Forwarded-To: ann@home.example\nX-Forwarded-For: ann@work.example ann@home.example\n"
        b"From: news@news.example\nTo: ann@work.example\n\nSpring\n--b1--\n"
    )
    found = only(raw)
    assert (found.recipient, found.original_recipient) == ("ann@home.example", "ann@work.example")


@pytest.mark.parametrize(
    "diagnostic", ["smtp; 554 5.0.0 Delivery failed", "smtp; 550 failed", "x-unknown; see transcript"]
)
def test_diagnostic_that_says_nothing_gives_way_to_the_text(diagnostic: str) -> None:
    raw = (
        b"From: MAILER-DAEMON@mail.example\nTo: b@news.example\nSubject: Failure\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b1\n\n--b1\n"
        b"Content-Type: text/plain\n\n<ann@far.example>: 552 5.2.2 no room for her letters\n\n--b1\n"
        b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mail.example\n\n"
        b"Final-Recipient: rfc822; ann@far.example\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: "
        + diagnostic.encode()
        + b"\n\n--b1--\n"
    )
    reply = only(raw).reply
    assert reply is not None
    assert "no room for her letters" in reply.innermost


def test_program_behind_an_alias_has_the_words_of_its_shell() -> None:
    raw = (
        b"From: MAILER-DAEMON@mail.example\nTo: b@news.example\nSubject: Failure\nMIME-Version: 1.0\n"
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=b1\n\n--b1\n"
        b'Content-Type: text/plain\n\n"|/opt/bin/sorter ann"\n    (reason: Service unavailable)\n'
        b"    (expanded from: <ann@mail.example>)\n<bob@mail.example>\n    (reason: 550 5.1.1 User unknown)\n\n"
        b"   ----- Transcript of session follows -----\nsh: sorter not available for sendmail programs\n\n--b1\n"
        b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mail.example\n\n"
        b"Final-Recipient: RFC822; ann@mail.example\nX-Actual-Recipient: X-Unix; |/opt/bin/sorter ann\n"
        b"Action: failed\nStatus: 5.0.0\n\n"
        b"Final-Recipient: RFC822; bob@mail.example\nAction: failed\nStatus: 5.1.1\n"
        b"Diagnostic-Code: X-Unix; 550 5.1.1 User unknown\n\n--b1--\n"
    )
    ann, bob = MailReader().read(raw).evidence
    assert ann.reply is not None
    assert ann.reply.innermost == "sh: sorter not available for sendmail programs"
    assert bob.reply is not None
    assert "User unknown" in bob.reply.innermost


def test_bare_refusal_is_told_in_full_by_the_text() -> None:
    group = (
        "Final-Recipient: rfc822; ruth.hall@harbour.example\nAction: failed\nStatus: 5.7.1\n"
        "Diagnostic-Code: smtp; 550 5.7.1 Mail refused, see https://help.harbour.example/550"
    )
    text = "Your mail to ruth.hall@harbour.example was stopped: virus found in the attachment.\n"
    item = READ(report(group, text=text)).evidence[0]
    assert item.replies[0].reply_code == 550
    verdict = JUDGE.judge(item)
    assert verdict is not None
    assert verdict.bounce_code == 930


def test_origin_of_a_pipe_is_not_that_of_the_recipient_above() -> None:
    groups = [
        "Final-Recipient: RFC822; ruth@sea.example\nAction: failed\nStatus: 5.3.5\nDiagnostic-Code: SMTP; 553 5.3.5 error",
        "Final-Recipient: RFC822; desk@harbour.example\nX-Actual-Recipient: X-Unix; |/opt/sort\nAction: failed\nStatus: 5.3.0",
    ]
    text = (
        "   ----- The following addresses had permanent fatal errors -----\n<ruth@sea.example>\n"
        '    (reason: 553 5.3.5 error)\n"|/opt/sort"\n    (expanded from: <desk@harbour.example>)\n'
    )
    found = READ(report(*groups, text=text))
    assert [one.original_recipient for one in found.evidence] == ["", ""]
