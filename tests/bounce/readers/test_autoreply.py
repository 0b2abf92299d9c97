"""Automatic replies told from people, in the languages that we read; announced new addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.readers.moved import new_address as announced
from omicard_relay.mail import MailKind
from omicard_relay.tables.responders import load_responders
from tests.mailreading import read_mail

BASE = "From: Ann <ann@example.com>\nTo: news@sender.example\nContent-Type: text/plain; charset=utf-8\n"


RESPONDERS = load_responders()


def new_address(text: str, *, known: frozenset[str]) -> str | None:
    return announced(text, known=known, responders=RESPONDERS)


def kind(fields: str, body: str = "Hello.") -> MailKind:
    return read_mail(f"{BASE}{fields}\n\n{body}\n".encode()).kind


@pytest.mark.parametrize(
    "subject",
    [
        "Automatic reply: Spring",
        "Out of Office: Spring",
        "AUTO: Ann is out of the office (returning 20 March)",
        "[Auto-Reply] Spring",
        "自動回覆: Spring",
        "自动回复: Spring",
        "不在辦公室: Spring",
        "自動返信: Spring",
        "不在通知",
        "자동 회신: Spring",
        "부재중: Spring",
        "Automatische Antwort: Spring",
        "Abwesenheitsnotiz: Spring",
        "Réponse automatique : Spring",
        "Respuesta automática: Spring",
        "Fuera de la oficina: Spring",
        "Resposta automática: Spring",
        "Risposta automatica: Spring",
        "Fuori ufficio: Spring",
        "Automatisch antwoord: Spring",
        "Автоматический ответ: Spring",
        "Автоответ: Spring",
    ],
)
def test_subject_names_it(subject: str) -> None:
    assert kind(f"Subject: {subject}") is MailKind.AUTOREPLY


@pytest.mark.parametrize(
    "field",
    [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: Auto-Replied (vacation); owner=ann",
        "X-Autoreply: yes",
        "Precedence: auto_reply",
        "X-Autorespond: Spring",
        "X-Message-Class: IPM.Note.Rules.OofTemplate.Microsoft",
    ],
)
def test_field_names_it(field: str) -> None:
    assert kind(f"Subject: Spring\n{field}") is MailKind.AUTOREPLY


@pytest.mark.parametrize("field", ["Precedence: bulk", "Return-Path: <>", "Auto-Submitted: auto-generated"])
@pytest.mark.parametrize(
    "body",
    [
        "I am out of the office until Monday.",
        "我休假中，請改洽同事。",
        "Ich bin im Urlaub.",
        "現在休暇をいただいております。",
    ],
    ids=["en", "zh-TW", "de", "ja"],
)
def test_weak_mark_together_with_an_absent_persons_words(field: str, body: str) -> None:
    assert kind(f"Subject: Spring\n{field}", body) is MailKind.AUTOREPLY


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ("Subject: Spring", "I am out of the office until Monday."),
        ("Subject: Re: Automatic reply: Spring", "Let us talk."),
        ("Subject: 回覆: 自動回覆: Spring", "好的"),
        ("Subject: Spring\nX-Autoreply: no", "Hello."),
        ("Subject: Spring\nAuto-Submitted: no", "Hello."),
        ("Subject: Spring\nPrecedence: bulk", "> I am out of the office until Monday."),
        ("Subject: Spring\nPrecedence: bulk", "Our newsletter."),
        ("Subject: Automatic reply: Spring\nList-Id: <l.lists.example>", "I am out of the office."),
        ("Subject: Your order\nAuto-Submitted: auto-generated", "Your order is on its way."),
    ],
    ids=["person", "answer", "answer-zh", "field-no", "submitted-no", "quoted", "newsletter", "list", "notification"],
)
def test_counter_examples(fields: str, body: str) -> None:
    assert kind(fields, body) is MailKind.NOT_A_BOUNCE


KNOWN = frozenset({"ann@old.example", "news@sender.example"})


@pytest.mark.parametrize(
    "text",
    [
        "My new address is ann@new.example.",
        "Please note my new e-mail: ann@new.example",
        "My email address has changed to ann@new.example",
        "I can now be reached at <ann@new.example>.",
        "I no longer use ann@old.example. Please write to ann@new.example instead.",
        "Ann has left the company. Please contact ann@new.example.",
        "This mailbox is no longer monitored. Kindly use ann@new.example",
        "我的新信箱是 ann@new.example",
        "此信箱已停用，請改寄 ann@new.example",
        "我的新邮箱是ann@new.example",
        "メールアドレスを変更しました。新しいアドレスは ann@new.example です。",
        "새 이메일 주소: ann@new.example",
        "Meine neue E-Mail-Adresse lautet ann@new.example",
        "Ma nouvelle adresse est ann@new.example",
        "Mi nueva dirección es ann@new.example",
        "Meu novo endereço é ann@new.example",
        "Il mio nuovo indirizzo è ann@new.example",
        "Mijn nieuwe e-mailadres is ann@new.example",
        "Мой новый адрес: ann@new.example",
    ],
)
def test_new_address_is_found(text: str) -> None:
    assert new_address(text, known=KNOWN) == "ann@new.example"


@pytest.mark.parametrize(
    "text",
    [
        "I am away until Monday. Please contact bob@example.com.",
        "I no longer use ann@old.example.",
        "My new address is news@sender.example",
        "While I am away, please write to bob@example.com; I am back on Monday.",
        "Bob no longer works in sales until May; during my absence please contact bob@example.com",
        "Ask bob@example.com",
        "",
    ],
    ids=["stand-in", "old-one", "our-own", "stand-in-2", "absence-wins", "no-words", "empty"],
)
def test_no_new_address(text: str) -> None:
    assert new_address(text, known=KNOWN) is None


@given(st.text(max_size=300))
def test_any_text_never_raises(text: str) -> None:
    new_address(text + " ann@new.example " + text, known=KNOWN)
