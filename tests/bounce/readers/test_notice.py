"""Notices in a system's own words, in many languages; beside them what people, responders and lures write."""

import pytest

from omicard_relay.bounce.result import MailReading
from omicard_relay.mail import MailKind
from tests.mailreading import read_mail

NULL = "Return-Path: <>\nFrom: Mail Gateway <mailgw@far.example>\n"
PERSON = "Return-Path: <ann@far.example>\nFrom: Ann <ann@far.example>\n"


def read(head: str, subject: str, body: str) -> MailReading:
    return read_mail(
        f"{head}To: b+t@bounces.shop.example\nSubject: {subject}\nContent-Type: text/plain; charset=utf-8\n\n{body}\n".encode()
    )


FAILED = {
    "en": "Your e-mail to ann@far.example was not accepted because her account has expired.",
    "zh-TW": "您寄給 ann@far.example 的信件因帳號停用並未寄達。",
    "zh-CN": "您发给 ann@far.example 的邮件因账号停用未能送达。",
    "ja": "ann@far.example 宛のメールは、アカウントの失効によりお届けできませんでした。",
    "ko": "ann@far.example 에게 보내신 메일은 차단되었습니다.",
    "de": "Ihre Nachricht an ann@far.example wurde nicht angenommen, das Konto ist abgelaufen.",
    "fr": "Votre courriel pour ann@far.example n'a pas pu être distribué.",
    "es": "Su correo para ann@far.example fue rechazado.",
    "pt": "Sua mensagem para ann@far.example não foi entregue.",
    "it": "Il suo messaggio per ann@far.example non è stato consegnato.",
    "nl": "Uw bericht aan ann@far.example is niet bezorgd.",
    "ru": "Письмо для ann@far.example не принято.",
    "pl": "Twoja wiadomość do ann@far.example nie została doręczona.",
}


@pytest.mark.parametrize("body", FAILED.values(), ids=FAILED.keys())
def test_notice_names_its_recipient_in_each_language(body: str) -> None:
    found = read(NULL, "News", body)
    assert (found.kind, [one.recipient for one in found.evidence]) == (MailKind.DSN, ["ann@far.example"])


@pytest.mark.parametrize("body", FAILED.values(), ids=FAILED.keys())
def test_person_who_says_the_same_writes_no_notice(body: str) -> None:
    assert read(PERSON, "Re: News", body).kind is MailKind.NOT_A_BOUNCE


@pytest.mark.parametrize(
    ("head", "subject", "body", "kind"),
    [
        (
            NULL,
            "Your parcel",
            "Your parcel for ann@far.example could not be delivered to the door.",
            MailKind.NOT_A_BOUNCE,
        ),
        (NULL, "Quarantine digest", "Two mails wait.", MailKind.OTHER),
        (
            "Return-Path: <>\nAuto-Submitted: auto-replied\nFrom: Ann <ann@far.example>\n",
            "Away",
            "I am out of the office. Your message has not been delivered to anybody else.",
            MailKind.AUTOREPLY,
        ),
        (
            "Return-Path: <>\nFrom: Ann <ann@far.example>\n",
            "Held mail",
            "Please click below to confirm that you are human. Your message was not delivered to ann@far.example.",
            MailKind.AUTOREPLY,
        ),
    ],
    ids=["parcel", "digest", "own-responder", "challenge"],
)
def test_what_only_looks_like_a_notice(head: str, subject: str, body: str, kind: MailKind) -> None:
    assert read(head, subject, body).kind is kind


def test_system_answering_that_an_account_expired_tells_a_failure() -> None:
    head = "Return-Path: <>\nAuto-Submitted: auto-replied\nFrom: Mail <noreply@far.example>\n"
    found = read(
        head, "Account expired", "Your message has not been delivered: the account of ann@far.example has expired."
    )
    assert (found.kind, found.evidence[0].dsn_action) == (MailKind.DSN, "failed")


def test_handed_over_is_no_failure() -> None:
    found = read(NULL, "Report", "Your message was delivered to the server of ann@far.example.")
    assert [one.dsn_action for one in found.evidence] == ["delivered"]


def test_list_manager_refuses_for_its_list() -> None:
    head = "Return-Path: <staff-bounces@far.example>\nFrom: staff-owner@far.example\nList-Id: <staff.far.example>\n"
    body = "You are not allowed to post to this mailing list, and your message has\nbeen automatically rejected."
    found = read(head, "News", body)
    assert (found.kind, [one.recipient for one in found.evidence]) == (MailKind.DSN, ["staff@far.example"])


def test_what_a_list_passes_on_is_no_report() -> None:
    head = "From: ann@far.example\nList-Id: <staff.far.example>\nPrecedence: list\n"
    assert (
        read(head, "News", "You are not allowed to post to this mailing list, it says.").kind is MailKind.NOT_A_BOUNCE
    )


def test_script_may_keep_the_subject_and_name_other_addresses_for_contact() -> None:
    head = "Return-Path: <robot@far.example>\nFrom: Robot <robot@far.example>\nPrecedence: bulk\n"
    body = (
        "Ihre E-Mail an ann.lee@far.example konnte nicht zugestellt werden.\n\n"
        "Adressen unserer Häuser: nord@far.example, sued@far.example"
    )
    found = read(head, "Re: Ihre Bestellung", body)
    assert (found.kind, [one.recipient for one in found.evidence]) == (MailKind.DSN, ["ann.lee@far.example"])


def test_person_who_answers_is_none() -> None:
    found = read(
        PERSON + "Precedence: bulk\n", "Re: News", "Ihre E-Mail an bob.lee@far.example wurde nicht zugestellt."
    )
    assert found.kind is MailKind.NOT_A_BOUNCE
