"""Newsletters about bounces and spam in a bounce's clothes, beside real reports that look like them."""

import pytest

from omicard_relay.mail import MailKind
from tests.mailreading import read_mail

TOLD = "When you see 550 5.1.1 user unknown for ann@far.example, the mail could not be delivered."


def kind(head: str, body: str) -> MailKind:
    return read_mail(
        f"{head}\nTo: b+t@bounces.sender.example\nContent-Type: text/plain; charset=utf-8\n\n{body}\n".encode()
    ).kind


@pytest.mark.parametrize(
    "head",
    [
        "From: Weekly <news@weekly.example>\nSubject: Undeliverable mail: why it happens\nList-Unsubscribe: <https://weekly.example/u>",
        "From: Weekly <news@weekly.example>\nSubject: Mail delivery failed? Five tips\nReturn-Path: <b-7@weekly.example>",
        "From: Weekly <news@weekly.example>\nSubject: All about bounces\nList-Id: <w.weekly.example>",
        "From: Ann <ann@far.example>\nSubject: Undelivered Mail Returned to Sender\nUser-Agent: Pen 3",
        "From: Ann <ann@far.example>\nSubject: Fwd: Undelivered Mail Returned to Sender",
    ],
    ids=["unsubscribe", "return-path", "list", "person", "forwarded"],
)
def test_who_speaks_of_bounces_is_none(head: str) -> None:
    assert kind(head, TOLD) is MailKind.NOT_A_BOUNCE


@pytest.mark.parametrize(
    ("head", "body", "expected"),
    [
        (
            "From: Mail Admin <admin@evil.example>\nSubject: Undelivered mail: click here to release 5 messages",
            "Your messages to ann@far.example could not be delivered.",
            MailKind.NOT_A_BOUNCE,
        ),
        (
            "From: Postmaster <postmaster@evil.example>\nSubject: Mail delivery failed",
            "5 pending messages for ann@far.example could not be delivered. Click here to retrieve them.",
            MailKind.NOT_A_BOUNCE,
        ),
        (
            "From: Mail Delivery System <x@evil.example>\nSubject: Undelivered Mail Returned to Sender\nReturn-Path: <>",
            "Verify your mailbox ann@far.example now or mail cannot be delivered: https://evil.example/login",
            MailKind.NOT_A_BOUNCE,
        ),
        (
            "From: postmaster@evil.example\nSubject: 郵件傳遞失敗通知",
            "您有 5 封待處理郵件無法送達 ann@far.example，請點擊此處取回。",
            MailKind.NOT_A_BOUNCE,
        ),
        (
            "From: postmaster@evil.example\nSubject: 邮件投递失败",
            "您有 5 封待处理邮件，请点击此处取回。ann@far.example 无法送达",
            MailKind.NOT_A_BOUNCE,
        ),
    ],
    ids=["person-like", "postmaster", "daemon", "zh-TW", "zh-CN"],
)
def test_lure_is_no_bounce(head: str, body: str, expected: MailKind) -> None:
    assert kind(head, body) is expected


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (
            "From: System Administrator <postmaster@corp.example>\nSubject: Your mailbox is almost full",
            "It is at 95% of its quota.",
        ),
        ("From: postmaster@corp.example\nSubject: 信箱容量即將額滿通知", "您的信箱已使用 95%。"),
        (
            "From: MailScanner <postmaster@corp.example>\nSubject: Warning: viruses detected",
            "A message from bob@x.example held EICAR.",
        ),
    ],
    ids=["quota", "quota-zh", "scanner"],
)
def test_notice_of_a_system_is_other(head: str, body: str) -> None:
    assert kind(head, body) is MailKind.OTHER


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (
            "From: MAILER-DAEMON@far.example\nSubject: failure notice",
            "I was not able to deliver your message.\n\n<ann@far.example>:\nnobody",
        ),
        (
            "From: postmaster@far.example\nSubject: Undeliverable: Spring",
            "ann@far.example could not be found. Click here for details.",
        ),
        (
            "From: postmaster@far.example\nSubject: Undeliverable: Spring",
            "<ann@far.example>: 550 5.7.1 blocked; click here to release: https://far.example/x",
        ),
        ("From: x@far.example\nSubject: Undelivered Mail Returned to Sender", "<ann@far.example>: 550 5.1.1 nobody"),
    ],
    ids=["qmail", "details", "reply-code", "flat"],
)
def test_real_report_stays_one(head: str, body: str) -> None:
    assert kind(head, body) is MailKind.DSN


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (
            "Return-Path: <it@lure.example>",
            "4 messages were kept back (5.2.2). Release messages now: https://lure.example/r",
        ),
        ("Return-Path: <>", "Click here to restore 4 messages that failed (5.2.2): https://lure.example/r"),
        ("Return-Path: <it@lure.example>", "请点击下面的按钮激活您的账户，否则邮箱会被关闭。 https://lure.example/r"),
        ("Return-Path: <it@lure.example>", "Klicken Sie hier, um die Nachrichten freizugeben: https://lure.example/r"),
    ],
    ids=["ordinary-path", "null-path", "chinese", "german"],
)
def test_lure_that_quotes_a_code_and_names_nobody_is_none(head: str, body: str) -> None:
    assert kind(f"{head}\nFrom: Mail Delivery <postmaster@lure.example>\nSubject: Undelivered mail", body) is (
        MailKind.NOT_A_BOUNCE
    )


def test_lure_with_the_subject_of_a_known_form_is_none() -> None:
    head = "Return-Path: <it@lure.example>\nFrom: Office <it@lure.example>\nSubject: 退信提醒"
    assert kind(head, "邮件投递失败。请点击链接验证帐户。https://lure.example/r") is MailKind.NOT_A_BOUNCE


def test_lure_that_names_a_recipient_and_a_reply_is_a_report() -> None:
    head = "Return-Path: <gate@far.example>\nFrom: postmaster@far.example\nSubject: Undeliverable: Spring"
    assert kind(head, "ann@far.example: 550 5.7.1 held; click here to release") is MailKind.DSN


def test_goods_that_are_only_named_in_the_text_are_no_bounce() -> None:
    mail = (
        b"Return-Path: <hello@carrier.example>\r\nFrom: Carrier <hello@carrier.example>\r\nTo: news@shop.example\r\n"
        b"Auto-Submitted: auto-generated\r\nSubject: Delivery failed\r\n\r\n"
        b"Your package 771 was undeliverable: nobody at home. Write to desk@carrier.example.\r\n"
    )
    assert read_mail(mail).kind is MailKind.NOT_A_BOUNCE
