"""Automatic replies by their fields and by responders of the wild; people, tickets, newsletters and notices beside them."""

from pathlib import Path

import pytest

from omicard_relay.bounce import MailReader, MailReading
from omicard_relay.mail import MailKind
from omicard_relay.tables import load_policies
from omicard_relay.tables.responders import FILE_NAME, Responders
from tests.mailreading import read_mail


def read(fields: str, body: str, sender: str = "Ann <ann@example.com>") -> MailReading:
    raw = f"From: {sender}\nTo: b+token@bounces.sender.example\nContent-Type: text/plain; charset=utf-8\n{fields}\n\n{body}\n"
    return read_mail(raw.encode())


PLAIN = "Nothing to be read here."
AWAY = "I am out of the office until Monday."

AUTOMATIC = {
    "rfc3834": ("Subject: Spring\nAuto-Submitted: auto-replied", PLAIN),
    "sieve": ("Subject: Auto: Spring\nAuto-Submitted: auto-replied (vacation)\nX-Sieve: Pigeon 1", PLAIN),
    "generated-vacation": ("Subject: Spring\nAuto-Submitted: auto-generated (vacation)", PLAIN),
    "exchange-oof": (
        "Subject: Spring\nX-MS-Exchange-Message-Class: IPM.Note.Rules.OofTemplate.Microsoft\nX-Auto-Response-Suppress: All",
        PLAIN,
    ),
    "exchange-rule": ("Subject: Re: Spring\nX-Message-Class: IPM.Note.Rules.ReplyTemplate.Microsoft", PLAIN),
    "exchange-loop": (
        "Subject: RE: Spring\nX-MS-Exchange-Inbox-Rules-Loop: ann@example.com\nIn-Reply-To: <s@sender.example>",
        PLAIN,
    ),
    "exchange-agent": ("Subject: Spring\nX-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent", PLAIN),
    "gmail": ("Subject: Re: Spring\nX-Autoreply: yes\nPrecedence: bulk", PLAIN),
    "precedence": ("Subject: Re: Spring\nPrecedence: auto_reply", PLAIN),
    "vacation-program": ("Subject: Re: Spring\nX-Mailer: vacation 1.2.7", PLAIN),
    "vacation-1": ("Subject: away from my mail\nPrecedence: bulk", PLAIN),
    "cpanel": ("Subject: Re: Spring\nX-Autorespond: Spring\nPrecedence: auto_reply", PLAIN),
    "lotus": (
        "Subject: Ann Lee is out of the office (returning 20 March).\nAuto-Submitted: auto-generated\nX-Mailer: Lotus Notes 8",
        PLAIN,
    ),
    "zimbra": ("Subject: Re: Spring\nAuto-Submitted: auto-replied (zimbra; vacation)\nPrecedence: bulk", PLAIN),
    "qq": ("Subject: 自动回复:Spring", "这是来自QQ邮箱的自动回复邮件。"),
    "163": ("Subject: 自动回复:Spring\nPrecedence: bulk", "您好，来信已收到。"),
    "docomo": ("Subject: 【自動応答】Spring", "ただいま電波の届かない所におります。"),
    "answer-with-null-path": ("Return-Path: <>\nSubject: Re: Spring", AWAY),
    "answer-generated": ("Subject: AW: Spring\nAuto-Submitted: auto-generated", "Ich bin bis zum 3. Mai im Urlaub."),
    "suppressed": ("Subject: Spring\nX-Auto-Response-Suppress: All", AWAY),
    "tag-before": ("Subject: [EXTERNAL] Automatic reply: Spring", PLAIN),
    "spam-tag-before": ("Subject: ***SPAM*** Automatic reply: Spring", PLAIN),
    "encoded-subject": ("Subject: =?utf-8?B?6Ieq5YuV5Zue6KaGOiBTcHJpbmc=?=", PLAIN),
    "big5-subject": ("Subject: =?big5?B?pvqwyqZezts6IFNwcmluZw==?=\nAuto-Submitted: auto-generated", "我休假中"),
    "words-alone": ("Subject: Spring", "This is an automated response. We have received your message."),
    "words-alone-zh": ("Subject: Spring", "此為自動回覆，請勿直接回信。"),
    "words-alone-ja": ("Subject: Spring", "本メールは自動返信です。"),
    "left-null-path": ("Return-Path: <>\nSubject: Spring", "Ann no longer works here."),
    "closed-answer": (
        "Subject: Spring\nAuto-Submitted: auto-generated\nIn-Reply-To: <s@sender.example>",
        "This mailbox is no longer monitored.",
    ),
    "otrs": (
        "Subject: RE: [Ticket#4711] Spring\nX-OTRS-Loop: yes\nPrecedence: bulk",
        "Ticket has been created, number 4711.",
    ),
    "rt": (
        "Subject: [help.example #4711] AutoReply: Spring\nRT-Ticket: help.example #4711\nPrecedence: bulk",
        "This message has been automatically generated in response to the creation of a trouble ticket.",
    ),
    "zendesk": (
        "Subject: [Request received] Spring\nAuto-Submitted: auto-generated\nX-Mailer: Zendesk Mailer",
        "Your request (4711) has been received and is being reviewed.",
    ),
    "freshdesk": ("Subject: Ticket Received - Spring\nAuto-Submitted: auto-generated", "We received your ticket."),
    "jira": (
        "Subject: HELP-11 Spring\nX-JIRA-FingerPrint: 0a\nAuto-Submitted: auto-generated",
        "This is an automated response. Your request has been registered.",
    ),
    "osticket": (
        "Subject: Support Ticket Opened [#471100]\nX-Mailer: osTicket Mailer",
        "A request for support was created.",
    ),
    "acknowledged": ("Subject: Spring\nAuto-Submitted: auto-generated", "Thank you for contacting us."),
    "challenge-tmda": (
        "Subject: Please confirm your message\nX-Delivery-Agent: TMDA/1.0",
        "Reply to this message to confirm.",
    ),
    "challenge-boxbe": ("Subject: Spring (Action Required)", "Your message is being held until you verify."),
    "challenge-earthlink": ("Subject: Spring spamBlocker", "One-time verification needed"),
    "challenge-uol": ("Subject: AntiSpam UOL » Spring", "Clique aqui."),
    "moderated": (
        "Subject: Your message to Staff awaits moderator approval\nX-List-Administrivia: yes\nPrecedence: bulk\nList-Id: <s.x>",
        "Is being held until the list moderator can review it for approval.",
    ),
}


@pytest.mark.parametrize("name", AUTOMATIC)
def test_automatic_reply(name: str) -> None:
    assert read(*AUTOMATIC[name]).kind is MailKind.AUTOREPLY


PEOPLE = {
    "on-holiday": ("Subject: Spring", "I am on holiday until Monday, but please send me the receipt."),
    "on-holiday-answer": (
        "Subject: Re: Spring\nIn-Reply-To: <s@sender.example>",
        "I'm out of the office until Monday. Call me.",
    ),
    "on-holiday-zh-tw": ("Subject: 回覆: Spring", "我這週休假，但請先寄收據給我。"),
    "on-holiday-zh-cn": ("Subject: 答复: Spring", "我这周休假，请先把收据发给我。"),
    "on-holiday-ja": ("Subject: Re: Spring", "来週は休暇ですが、領収書を送ってください。"),
    "on-holiday-ko": ("Subject: Re: Spring", "다음 주에 휴가입니다. 영수증을 보내 주세요."),
    "on-holiday-de": ("Subject: AW: Spring", "Ich bin nächste Woche im Urlaub, schicken Sie mir bitte die Quittung."),
    "on-holiday-fr": ("Subject: RE: Spring", "Je suis en vacances la semaine prochaine, envoyez-moi le reçu."),
    "on-holiday-es": ("Subject: RE: Spring", "Estoy de vacaciones, pero envíenme el recibo."),
    "on-holiday-pt": ("Subject: RES: Spring", "Estou de férias, mas enviem o recibo."),
    "on-holiday-it": ("Subject: R: Spring", "Sono in ferie, ma mandatemi la ricevuta."),
    "on-holiday-nl": ("Subject: Antw: Spring", "Ik ben op vakantie, maar stuur me het bonnetje."),
    "on-holiday-ru": ("Subject: Re: Spring", "Я в отпуске, но пришлите мне квитанцию."),
    "subject-out-of-office": ("Subject: Out of office next week, please send the receipt", "Thanks, Ann"),
    "answers-answer": ("Subject: RE: Automatic reply: Spring\nX-Mailer: Pen 3", "Who is this?"),
    "answers-answer-tagged": ("Subject: [EXT] Re: Automatic reply: Spring", "Who is this?"),
    "answers-answer-numbered": ("Subject: Re[2]: Automatic reply: Spring", "Who is this?"),
    "answers-answer-pt": ("Subject: RES: Resposta automática: Spring", "Quem é?"),
    "answers-answer-it": ("Subject: R: Risposta automatica: Spring", "Chi è?"),
    "forwards-answer": ("Subject: Fwd: Automatic reply: Spring", "See below.\n\n> This is an automated response."),
    "quotes": (
        "Subject: Re: Spring",
        "Yes.\n\nOn Monday news@sender.example wrote:\n> This is an automated response.\n",
    ),
    "quotes-outlook": (
        "Subject: RE: Spring\nAuto-Submitted: no\nReturn-Path: <ann@example.com>",
        "Yes please.\n\nFrom: news@sender.example\nSent: Monday\nTo: Ann\nSubject: x\n\nThis is an automated response.",
    ),
    "about-responders": ("Subject: Spring", "The vacation program of my server answered you, sorry."),
    "field-says-no": ("Subject: Spring\nX-Autoreply: No\nAuto-Submitted: no", AWAY),
    "thanks": ("Subject: Re: Spring", "Thank you for your message. Seven, please."),
    "moved-by-hand": ("Subject: Re: Spring", "My new address is ann@new.example, please use it."),
    "left-by-hand": ("Subject: Spring", "Bob has left the company. Please send it to me."),
    "list": ("Subject: Automatic reply: Spring\nList-Id: <l.lists.example>", AWAY),
    "list-precedence": ("Subject: Spring\nPrecedence: list\nList-Post: <mailto:l@lists.example>", AWAY),
}


@pytest.mark.parametrize("name", PEOPLE)
def test_person_is_no_automatic_reply(name: str) -> None:
    found = read(*PEOPLE[name])
    assert (found.kind, found.evidence) == (MailKind.NOT_A_BOUNCE, ())


NOTICES = {
    "newsletter": (
        "Subject: Holiday\nPrecedence: bulk\nList-Unsubscribe: <https://x.example/u>",
        "I am on vacation! Out of the office?",
    ),
    "own-newsletter-back": (
        "Subject: Spring\nPrecedence: bulk\nList-Unsubscribe: <mailto:u@sender.example>",
        "Thank you for writing.",
    ),
    "order": (
        "Subject: Your order\nAuto-Submitted: auto-generated",
        "Your order is on its way. This mailbox is not monitored.",
    ),
    "order-footer": (
        "Subject: Your order\nAuto-Submitted: auto-generated",
        "Shipped.\nThis address is no longer monitored.",
    ),
    "ticket-by-hand": (
        "Subject: Re: [help.example #4711] Spring\nRT-Ticket: help.example #4711\nPrecedence: bulk",
        "Thank you for contacting us. The refund of seven was paid today. Regards, Bob",
    ),
    "zendesk-by-hand": (
        "Subject: Re: Spring\nX-Mailer: Zendesk Mailer\nAuto-Submitted: auto-generated\nX-Auto-Response-Suppress: All",
        "Thanks for your e-mail. I looked into it, and the answer is seven. Regards, Bob",
    ),
    "jira-comment": (
        "Subject: [JIRA] (HELP-11) Spring\nX-JIRA-FingerPrint: 0a\nAuto-Submitted: auto-generated",
        "Bob commented: I am out of the office, please take over.",
    ),
    "calendar": ("Subject: Accepted: Spring", "Ann accepted."),
}


@pytest.mark.parametrize("name", NOTICES)
def test_notice_of_another_machine_is_no_automatic_reply(name: str) -> None:
    assert read(*NOTICES[name]).kind is MailKind.NOT_A_BOUNCE


def test_vacation_of_a_system_address_names_who_is_away() -> None:
    fields = "Subject: Automatic reply: Spring\nX-Autoreply-From: ann@example.com\nAuto-Submitted: auto-replied"
    (found,) = read(fields, AWAY, sender="Mail Delivery <postmaster@example.com>").evidence
    assert found.recipient == "ann@example.com"


def test_words_of_the_quoted_mail_are_not_kept() -> None:
    body = f"{AWAY}\n\nFrom: news@sender.example\nSent: Monday\nTo: Ann\nSubject: Spring\n\nBuy now."
    (found,) = read("Subject: Automatic reply: Spring", body).evidence
    assert found.reply is not None
    assert AWAY in found.reply.text
    assert "Buy now" not in found.reply.text


def test_answered_mail_is_named() -> None:
    fields = "Subject: Automatic reply: Spring\nReferences: <a@x.example> <spring-1@sender.example>"
    assert read(fields, AWAY).evidence[0].message_id == "<spring-1@sender.example>"


@pytest.mark.parametrize(
    "kind_of_line", ["a" * 70_000, "From:" * 20_000, "From: x\n" * 8_000, "(at" * 20_000, "＠" * 60_000]
)
def test_hostile_text_is_read(kind_of_line: str) -> None:
    assert read("Subject: Automatic reply: Spring", kind_of_line).kind is MailKind.AUTOREPLY


def test_words_of_a_site_are_known(tmp_path: Path) -> None:
    (tmp_path / "formats").mkdir()
    (tmp_path / "formats" / FILE_NAME).write_text(
        '[[responder]]\nid = "ours"\nlanguage = "en"\nmeans = "absent"\nwhere = "subject-start"\nsure = true\n'
        'words = ["gone fishing"]\nsource = "a test"\nexamples = ["Gone fishing"]\n',
        encoding="utf-8",
    )
    raw = b"From: ann@example.com\nSubject: Gone fishing: Spring\n\nSee you.\n"
    policies = load_policies(tmp_path)
    assert MailReader(policies.forms, policies.responders).read(raw).kind is MailKind.AUTOREPLY
    assert read_mail(raw).kind is MailKind.NOT_A_BOUNCE


def test_without_a_table_fields_alone_count() -> None:
    reader = MailReader(responders=Responders())
    assert (
        reader.read(b"From: ann@example.com\nSubject: Spring\nAuto-Submitted: auto-replied\n\nx\n").kind
        is MailKind.AUTOREPLY
    )
    assert reader.read(b"From: ann@example.com\nSubject: Automatic reply: Spring\n\nx\n").kind is MailKind.NOT_A_BOUNCE
