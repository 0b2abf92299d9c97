"""Mails that speak of failure and are no bounces: none of them may become one, with or without the forms."""

import pytest

from omicard_relay.bounce import MailReader
from omicard_relay.mail import MailKind
from tests.mailreading import read_mail

#: (From, Subject, further fields, body)
MAILS = {
    "parcel": (
        "Harbour Post <noreply@post.example>",
        "Delivery failed: your parcel 8841",
        "",
        "We tried to deliver your parcel and could not find you at home.\nCall 555 1234 or write to help@post.example.\n",
    ),
    "parcel-undeliverable": (
        "noreply@courier.example",
        "Undeliverable",
        "",
        "Your parcel could not be delivered because the address was not found.\n",
    ),
    "person-asks": (
        "Ruth Hall <ruth.hall@harbour.example>",
        "Undelivered mail",
        "User-Agent: Mailer 1.0\n",
        "Hi, I got 'user unknown' when I wrote to tom.reed@meadow.example yesterday. Do you know why?\nRuth\n",
    ),
    "person-answers": (
        "Ruth Hall <ruth.hall@harbour.example>",
        "Re: Spring offers",
        "In-Reply-To: <spring.7@shop.example>\n",
        "The link does not work: error 550. My new order could not be sent.\n> Dear customer\n",
    ),
    "person-forwards": (
        "Ruth Hall <ruth.hall@harbour.example>",
        "Fwd: Undelivered Mail Returned to Sender",
        "",
        "What is this?\n\n> <tom.reed@meadow.example>: host mx said: 550 5.1.1 user unknown\n",
    ),
    "newsletter": (
        "Mail Weekly <editor@weekly.example>",
        "Mail delivery failures and how to read them",
        "List-Unsubscribe: <https://weekly.example/u>\nList-Id: <weekly.weekly.example>\n",
        "A 550 5.1.1 user unknown means that the mailbox does not exist, for instance ann@example.com: user unknown.\n",
    ),
    "shop-payment": (
        "Shop <billing@shop.example>",
        "Payment failed",
        "",
        "Your card was rejected. The payment to ruth.hall@harbour.example could not be completed.\n",
    ),
    "password": (
        "Security <no-reply@bank.example>",
        "Failed sign-in",
        "Auto-Submitted: auto-generated\n",
        "A sign-in to ruth.hall@harbour.example failed. If this was you, do nothing.\n",
    ),
    "ticket": (
        "Support <support@harbour.example>",
        "[#4711] Mail not delivered",
        "",
        "Thank you for your message. We will look into the failed delivery to tom.reed@meadow.example soon.\n",
    ),
    "chinese-shop": (
        "客服中心 <service@shop.example>",
        "=?utf-8?b?5a6F6YWN5aSx5pWX6YCa55+l?=",
        "",
        "您的包裹無法送達，請與我們聯絡 service@shop.example。\n",
    ),
    "monitoring": (
        "Monitor <monitor@harbour.example>",
        "mx1: smtp check failed",
        "Auto-Submitted: auto-generated\n",
        "CRITICAL: connect to mx1.harbour.example port 25: Connection refused\n",
    ),
    "calendar": (
        "Ruth Hall <ruth.hall@harbour.example>",
        "Declined: meeting",
        "Auto-Submitted: auto-generated\n",
        "Ruth Hall has declined. The room is full and rejected the request.\n",
    ),
    "dmarc-aggregate": (
        "noreply-dmarc@mail.example",
        "Report Domain: shop.example Submitter: mail.example Report-ID: <1>",
        "",
        "This is a DMARC aggregate report; 3 messages failed.\n",
    ),
    "empty": ("ruth.hall@harbour.example", "", "", ""),
}


def raw_of(name: str) -> bytes:
    sender, subject, fields, body = MAILS[name]
    return (
        f"Return-Path: <x@mail.example>\nFrom: {sender}\nTo: bounce@news.shop.example\nSubject: {subject}\n{fields}"
        f"Content-Type: text/plain; charset=utf-8\n\n{body}"
    ).encode()


@pytest.mark.parametrize("name", MAILS)
def test_mail_that_only_speaks_of_failure(name: str) -> None:
    for read in (read_mail, MailReader().read):
        found = read(raw_of(name))
        assert found.kind not in (MailKind.DSN, MailKind.ARF), found
