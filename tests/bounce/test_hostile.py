"""Fuzzing: octets, MIME structure, charsets, folding, RFC 2047 and RFC 2231 in any mixture; no crash, and linear time.

Linear is shown by doubling: what a mail of twice the size costs, in processor time. The least of several runs is taken, and
the bound is generous (a quadratic step would quadruple), so that a busy machine does not fail the test.
"""

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omicard_relay.bounce import MailReader
from omicard_relay.bounce.mime import split_mail
from omicard_relay.mail import MailKind
from tests.mailreading import read_mail

GENERAL = MailReader().read

CHARSETS = [
    "utf-8",
    "big5",
    "gb2312",
    "iso-2022-jp",
    "euc-kr",
    "koi8-r",
    "utf-7",
    "utf-16",
    "hz-gb-2312",
    "x-nothing",
    "idna",
    "",
    '"',
    "a b",
]
ENCODINGS = ["7bit", "8bit", "base64", "quoted-printable", "binary", "x-uuencode", "", "BASE64 (comment)"]
TYPES = [
    "text/plain",
    "text/html",
    "message/delivery-status",
    "message/global-delivery-status",
    "message/feedback-report",
    "message/disposition-notification",
    "message/rfc822",
    "text/rfc822-headers",
    "multipart/report; report-type=delivery-status; boundary=b",
    "multipart/report; report-type=delivery-status; boundary=c",
    "multipart/alternative; boundary=b",
    'multipart/mixed; boundary="b',
    "multipart/mixed",
    "multipart/mixed; boundary*0=b; boundary*1=c",
    "multipart/mixed; boundary*=utf-8''%62",
    "message/rfc822; charset=utf-8",
    "/",
    "",
]
LINES = [
    b"Final-Recipient: rfc822; ann@example.com",
    b"Original-Recipient: utf-8; \\x{110000}\\x{D800}@example.com",
    b"Action: failed",
    b"Status: 5.1.1",
    b"Diagnostic-Code: smtp; 550-5.1.1 no\n 550 5.1.1 such user",
    b"Diagnostic-Code: =?utf-8?b?5bC==?=",
    b"<ann@example.com>: host mx.example.com[192.0.2.1] said: 550 no (in reply to RCPT TO command)",
    b"  ann@example.com\n    (generated from bob@example.com)",
    b">>> RCPT TO:<ann@example.com>\n<<< 550 5.1.1 unknown",
    b"----- Original message -----",
    b"From: a@b.example\nTo: c@d.example\nSubject: x",
    b"Recipient | Reason",
    "收件者：ann@example.com\n原因：信箱已滿".encode("big5"),
    "宛先: ann@example.com".encode("iso2022_jp"),
    b"\x1b$B\x1b(B\x1b$",
    b"\xff\xfe\x00\xd8",
    b"+2AA-",
    b"&#55296; &#x110000; &#0;",
    b"=?utf-8*en?q?=41?= =?big5?b?pKQ=?=",
    b"\t\t folded\n\x0b\x0c",
    b"--b",
    b"--b--",
    b"--c",
    b"",
    b"\r",
    b"Content-Type: multipart/mixed; boundary=b",
    b"{\"notificationType\": \"Bounce\", \"mail\": {}}",
]  # fmt: skip


FOLDS = [
    b" ",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b":",
    b"a",
    b"Content-Type",
    b"=?utf-8?q?",
    b"?=",
    b";",
    b'"',
    b"*0*=",
    b"\\",
]


def part(content_type: str, charset: str, encoding: str, lines: list[bytes]) -> bytes:
    head = f"--b\nContent-Type: {content_type}; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"
    return head.encode() + b"\n".join(lines) + b"\n"


PARTS = st.builds(
    part,
    st.sampled_from(TYPES),
    st.sampled_from(CHARSETS),
    st.sampled_from(ENCODINGS),
    st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=20)), max_size=8),
)
SUBJECTS = st.sampled_from(
    ["Undelivered Mail Returned to Sender", "failure notice", "=?utf-8?b?6YCA5L+h?=", "Re: x", "=?", "=?x?q?=00?=", ""]
)
SENDERS = st.sampled_from(
    ["MAILER-DAEMON", "<>", "Mail Delivery System <>", "ann@example.com", '"', "@", "postmaster@x.example"]
)


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(SENDERS, SUBJECTS, st.sampled_from(TYPES), st.lists(PARTS, max_size=6), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_any_structure_is_read(sender: str, subject: str, content_type: str, parts: list[bytes], ends: bytes) -> None:
    head = f"Return-Path: <>\nFrom: {sender}\nTo: us@shop.example\nSubject: {subject}\nContent-Type: {content_type}\n\n"
    raw = (head.encode() + b"".join(parts)).replace(b"\n", ends)
    for read in (read_mail, GENERAL):
        found = read(raw)
        assert found.kind in MailKind
        # What is read is text that can be stored and sent on: no lone surrogate.
        for evidence in found.evidence:
            evidence.recipient.encode()
            evidence.original_recipient.encode()
            assert all(reply.innermost.encode() is not None for reply in evidence.replies)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=40)), max_size=30), st.sampled_from(CHARSETS))
def test_any_flat_report_is_read(lines: list[bytes], charset: str) -> None:
    head = f"From: MAILER-DAEMON\nSubject: Undelivered\nContent-Type: text/plain; charset={charset}\n\n".encode()
    for evidence in GENERAL(head + b"\n".join(lines)).evidence:
        evidence.recipient.encode()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(FOLDS), max_size=80))
def test_any_folding_is_read(pieces: list[bytes]) -> None:
    GENERAL(b"Subject: x\nContent-Type: text/plain" + b"".join(pieces) + b"\n\nbody")


def flat(body: bytes) -> bytes:
    return b"From: MAILER-DAEMON\nTo: us@shop.example\nSubject: Undelivered Mail\n\n" + body


def dsn(fields: bytes) -> bytes:
    return (
        b"From: MAILER-DAEMON\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nfailed\n"
        b"--b\nContent-Type: message/delivery-status\n\n" + fields + b"\n--b--\n"
    )


#: Each makes a mail of about `size` octets that some step might read again and again.
GROWING: dict[str, Callable[[int], bytes]] = {
    "addresses": lambda size: flat(b"a@b.example, " * (size // 13)),
    "naming-lines": lambda size: flat(b"<ann@example.com>\n" * (size // 18)),
    "different-names": lambda size: flat(b"".join(b"<a%06d@example.com>: no\n" % n for n in range(size // 26))),
    "prose-names": lambda size: flat(b"".join(b"we wrote about a%06d@example.com today\n" % n for n in range(size // 42))),
    "labels": lambda size: flat(b"Recipient: " * (size // 11)),
    "label-words": lambda size: flat(b"recipient address mailbox user to " * (size // 34)),
    "dots": lambda size: flat(b"To " + b"." * size + b": a@b.example"),
    "spaces-before-address": lambda size: flat(b" " * size + b"a@b.example"),
    "brackets": lambda size: flat(b"(<[" * (size // 3)),
    "transcript": lambda size: flat(b">>> RCPT TO:<a@b.example>\n<<< 550 no\n" * (size // 39)),
    "rules": lambda size: flat(b"----- original message \n" * (size // 24)),
    "headers-in-text": lambda size: flat(b"From: a@b.example\nx\n" * (size // 20)),
    "header-run-in-text": lambda size: flat(b"x\n" + b"Subject: 550 x\nFrom: a@b.example\n\n" * (size // 34)),
    "origins": lambda size: flat(b"(expanded from " * (size // 15)),
    "forwarded": lambda size: flat(b"a@b.example was forwarded to " * (size // 29)),
    "in-reply-to": lambda size: dsn(b"Final-Recipient: rfc822; a@b.example\n") + flat(b"(in reply to RCPT " * (size // 18)),
    "verp": lambda size: flat(b"a-b=c+d=e@" * (size // 10)),
    "cells": lambda size: flat(b"").replace(b"\n\n", b"\nContent-Type: text/html\n\n") + b"<td>a@b.example" * (size // 15),
    "open-tags": lambda size: flat(b"").replace(b"\n\n", b"\nContent-Type: text/html\n\n") + b"<a href='" * (size // 9),
    "fields": lambda size: dsn(b"Diagnostic-Code: smtp; 550 x\n" * (size // 29)),
    "prose-fields": lambda size: dsn(b"Diagnostic-Code: x\n" + b"Reason: x\n" * (size // 10)),
    "unfolded": lambda size: dsn(b"Diagnostic-Code: x\n" + b"more words\n" * (size // 11)),
    "dashes": lambda size: dsn(b"a-" * (size // 2)),
    "groups": lambda size: dsn(b"Final-Recipient: rfc822; a@b.example\nAction: failed\n\n" * (size // 54)),
    "head-names": lambda size: b"a" * size + b"\n\nx",
    "head-folds": lambda size: b"Subject: x\n" + b" y\n" * (size // 3) + b"\nx",
    "head-junk": lambda size: b"Subject: x\n" + b"y\n" * (size // 2) + b"\nx",
    "parameters": lambda size: b"Content-Type: a/b" + b"; x=\"y" * (size // 6) + b"\n\nx",
    "white-lines": lambda size: b"Subject: x\n" + b" " * size + b"\n\nx",
    "delimiters": lambda size: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\n" * (size // 5),
    "almost-delimiters": lambda size: b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--bb\n" * (size // 5),
    "lost-boundary": lambda size: b"Content-Type: multipart/mixed\n\n" + b"--x\n" * (size // 4),
    "reports-in-reports": lambda size: dsn(b"Final-Recipient: rfc822; us@shop.example\n").replace(
        b"--b--\n", (b"--b\nContent-Type: message/rfc822\n\n" + dsn(b"")) * (size // 220)
    ),
    "one-word-after-another": lambda size: b"Subject: " + b"=?big5?b?pKQ=?= " * (size // 17) + b"\n\nx",
    "eight-bit": lambda size: flat("收件者信箱已滿".encode("big5") * (size // 14)),
    "escapes": lambda size: flat(b"\x1b$B" * (size // 3)),
}  # fmt: skip


def seconds(raw: bytes) -> float:
    """The least processor time of a few readings."""
    best = 9e9
    for _ in range(3):
        begin = time.process_time()
        GENERAL(raw)
        best = min(best, time.process_time() - begin)
    return best


@pytest.mark.parametrize("name", GROWING)
def test_time_grows_with_size_and_no_faster(name: str) -> None:
    make = GROWING[name]
    once, twice = seconds(make(60_000)), seconds(make(120_000))
    # Below some milliseconds the clock tells nothing; a quadratic step over 120,000 octets takes seconds.
    assert twice < max(3.2 * once, 0.05), f"{once:.4f} s, then {twice:.4f} s"


def test_parts_inside_a_returned_mail_are_not_split() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=c\n\n" + b"--c\n\nx\n" * 50_000
    raw = b"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n" + inner + b"--b--\n"
    assert len(split_mail(raw)[0]) == 2
