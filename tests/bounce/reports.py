"""Reports in wordings of no particular mail system, written for these tests: each with what must be read of it.

The sender of all is news@shop.example with the return path bounce@news.shop.example; recipients are at names ending in
.example. `Case.words` must stand in the deciding reply.
"""

import base64
import quopri
from dataclasses import dataclass

__all__ = ["CASES", "Case"]

RETURNED = """\
Return-Path: <bounce@news.shop.example>
Received: from out1.shop.example by mx1.harbour.example; Tue, 3 Mar 2026 09:00:00 +0000
From: Shop <news@shop.example>
To: {to}
Subject: Spring offers
Message-ID: <spring.{number}@shop.example>

Write to help@shop.example or unsubscribe@shop.example if you have questions.
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One mail and what it says; `code` is the bounce code that the shipped rules give."""

    name: str
    body: str
    recipients: tuple[str, ...]
    words: tuple[str, ...] = ()
    code: int | None = None
    originals: tuple[str, ...] = ()
    subject: str = "Undeliverable mail"
    sender: str = "Mail Delivery System <MAILER-DAEMON@mx1.harbour.example>"
    html: bool = False
    charset: str = "utf-8"
    declared: str | None = None
    encoding: str = "8bit"
    returned: str = ""
    action: str = "failed"

    def raw(self) -> bytes:
        """The mail's octets."""
        kind = "text/html" if self.html else "text/plain"
        declared = self.charset if self.declared is None else self.declared
        content = kind + (f"; charset={declared}" if declared else "")
        head = (
            f"Return-Path: <>\nFrom: {self.sender}\nTo: bounce@news.shop.example\nSubject: {self.subject}\n"
            f"Date: Tue, 3 Mar 2026 09:12:44 +0000\nMessage-ID: <report@mx1.harbour.example>\nMIME-Version: 1.0\n"
        ).encode()
        text = self.body.encode(self.charset)
        if self.encoding == "base64":
            text = base64.encodebytes(text)
        elif self.encoding == "quoted-printable":
            text = quopri.encodestring(text)
        part = f"Content-Type: {content}\nContent-Transfer-Encoding: {self.encoding}\n\n".encode() + text
        if not self.returned:
            return head + part
        back = RETURNED.format(to=self.returned, number=7).encode()
        return (
            head
            + b'Content-Type: multipart/mixed; boundary="=b"\n\n--=b\n'
            + part
            + b"\n--=b\nContent-Type: message/rfc822\n\n"
            + back
            + b"\n--=b--\n"
        )


CASES: tuple[Case, ...] = (
    Case(
        name="label-recipient-error",
        body=(
            "The following delivery did not succeed.\n\n"
            "Recipient: ruth.hall@harbour.example\n"
            "Error: 550 5.1.1 no mailbox of that name\n\n"
            "Server: mx1"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("no mailbox of that name",),
        code=902,
    ),
    Case(
        name="label-dots",
        body=(
            "Delivery report\n\n"
            "Recipient ........: <ruth.hall@harbour.example>\n"
            "Reason ...........: mailbox is over its quota\n"
            "Attempts .........: 3"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("over its quota",),
        code=901,
    ),
    Case(
        name="label-chinese",
        subject="=?utf-8?b?6YO15Lu254Sh5rOV6YCB6YGU?=",
        body=(
            "您的郵件無法送達。\n\n"
            "收件者：ruth.hall@harbour.example\n"
            "原因：使用者信箱已滿\n\n"
            "如有疑問請洽 service@harbour.example"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("信箱已滿",),
        code=901,
    ),
    Case(
        name="label-chinese-own-line",
        subject="=?utf-8?b?6YCA5L+h6YCa55+l?=",
        body=(
            "此為系統自動發出之退信通知\n\n"
            "收件人\n"
            "ruth.hall@harbour.example\n\n"
            "錯誤訊息\n"
            "550 5.1.1 查無此帳號\n\n"
            "請勿直接回覆"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("查無此帳號",),
        code=902,
    ),
    Case(
        name="label-simplified-table",
        subject="=?utf-8?b?6YCA5L+h?=",
        body=(
            "您发送的邮件被退回：\n\n"
            "| 收件人 | ruth.hall@harbour.example |\n"
            "| 退信原因 | 收件人邮箱不存在 |\n"
            "| 时间 | 2026-03-03 |"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("邮箱不存在",),
        code=902,
    ),
    Case(
        name="label-japanese",
        subject="=?utf-8?b?6YWN5L+h44Ko44Op44O8?=",
        body=(
            "メールを配信できませんでした。\n\n"
            "宛先: ruth.hall@harbour.example\n"
            "エラー内容: 550 5.1.1 ユーザーが見つかりません\n\n"
            "管理者 postmaster@harbour.example"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("ユーザーが見つかりません",),
        code=902,
    ),
    Case(
        name="japanese-iso-2022-jp-undeclared",
        subject="=?utf-8?b?6YWN5L+h44Ko44Op44O8?=",
        body=(
            "次の宛先へのメールは配信できませんでした。\n\n"
            "<ruth.hall@harbour.example>\n"
            "理由: 552 5.2.2 メールボックスの容量を超えています\n"
        ),
        charset="iso2022_jp",
        declared="",
        encoding="7bit",
        recipients=("ruth.hall@harbour.example",),
        words=("容量を超えています",),
        code=901,
    ),
    Case(
        name="label-korean",
        subject="=?utf-8?b?67CY7Iah?=",
        body=(
            "메일을 전달하지 못했습니다.\n\n수신자: ruth.hall@harbour.example\n사유: 550 5.1.1 존재하지 않는 사용자\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("존재하지 않는 사용자",),
        code=902,
    ),
    Case(
        name="label-german",
        subject="Unzustellbare Nachricht",
        body=(
            "Ihre Nachricht konnte nicht zugestellt werden.\n\n"
            "Empfänger: ruth.hall@harbour.example\n"
            "Grund: Das Postfach ist voll.\n\n"
            "Mit freundlichen Grüßen"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("Postfach ist voll",),
        code=901,
    ),
    Case(
        name="label-french-windows-1252",
        subject="=?windows-1252?q?Message_non_remis?=",
        body=(
            "Votre message n'a pas pu être remis.\n\n"
            "Destinataire : ruth.hall@harbour.example\n"
            "Motif : 550 5.1.1 utilisateur inconnu à cette adresse\n"
        ),
        charset="windows-1252",
        recipients=("ruth.hall@harbour.example",),
        words=("utilisateur inconnu",),
        code=902,
    ),
    Case(
        name="label-spanish",
        subject="No se pudo entregar el mensaje",
        body=(
            "Su mensaje no se pudo entregar.\n\n"
            "Destinatario: ruth.hall@harbour.example\n"
            "Motivo: 550 5.1.1 el usuario no existe\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("el usuario no existe",),
        code=902,
    ),
    Case(
        name="label-italian",
        subject="Mancato recapito",
        body=(
            "Il messaggio non è stato recapitato.\n\n"
            "Destinatario: ruth.hall@harbour.example\n"
            "Errore: 552 5.2.2 casella piena\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("casella piena",),
        code=901,
    ),
    Case(
        name="label-portuguese-sentence",
        subject="Falha na entrega",
        body="A sua mensagem para ruth.hall@harbour.example não foi entregue.\nMotivo: caixa postal cheia\n",
        recipients=("ruth.hall@harbour.example",),
        words=("caixa postal cheia",),
    ),
    Case(
        name="label-russian-koi8",
        subject="=?utf-8?b?0KHQvtC+0LHRidC10L3QuNC1INC90LUg0LTQvtGB0YLQsNCy0LvQtdC90L4=?=",
        body=(
            "Сообщение не доставлено.\n\n"
            "Получатель: ruth.hall@harbour.example\n"
            "Причина: 550 5.1.1 пользователь не найден\n"
        ),
        charset="koi8-r",
        recipients=("ruth.hall@harbour.example",),
        words=("пользователь не найден",),
        code=902,
    ),
    Case(
        name="label-dutch",
        subject="Onbestelbaar bericht",
        body=(
            "Uw bericht kon niet worden bezorgd.\n\n"
            "Ontvanger: ruth.hall@harbour.example\n"
            "Reden: 550 5.1.1 gebruiker onbekend\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("gebruiker onbekend",),
    ),
    Case(
        name="label-polish",
        subject="Nie dostarczono wiadomosci",
        body=(
            "Wiadomość nie została dostarczona.\n\n"
            "Odbiorca: ruth.hall@harbour.example\n"
            "Powód: 550 5.1.1 nie ma takiego użytkownika\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("nie ma takiego",),
    ),
    Case(
        name="table-ascii",
        body=(
            "These deliveries failed:\n\n"
            "Recipient                    | Reason\n"
            "-----------------------------+------------------------------\n"
            "ruth.hall@harbour.example    | 550 5.1.1 unknown user\n"
            "tom.reed@meadow.example      | 552 5.2.2 mailbox full\n"
        ),
        recipients=("ruth.hall@harbour.example", "tom.reed@meadow.example"),
        words=("unknown user", "mailbox full"),
    ),
    Case(
        name="table-columns-reason-first",
        body=(
            "Could not deliver:\n\n"
            "Reason                          Recipient\n"
            "550 5.1.1 unknown user          ruth.hall@harbour.example\n"
            "552 5.2.2 mailbox full          tom.reed@meadow.example\n"
        ),
        recipients=("ruth.hall@harbour.example", "tom.reed@meadow.example"),
        words=("unknown user", "mailbox full"),
    ),
    Case(
        name="html-table",
        html=True,
        body=(
            "<html><head><title>x@y.example</title><style>a{b:c}</style></head><body><h1>Your mail was not "
            "delivered</h1>"
            "<table><tr><th>Recipient</th><th>Reason</th></tr><tr><td>ruth.hall@harbour.example</td>"
            "<td>550 5.1.1 unknown user</td></tr><tr><td>tom.reed@meadow.example</td><td>552 5.2.2 mailbox "
            "full</td></tr>"
            "</table><p>Contact <a href='mailto:help@harbour.example'>help@harbour.example</a></p></body></html>"
        ),
        recipients=("ruth.hall@harbour.example", "tom.reed@meadow.example"),
        words=("unknown user", "mailbox full"),
    ),
    Case(
        name="html-prose",
        html=True,
        body=(
            "<p>We are sorry, but your message to <b>ruth.hall@harbour.example</b> could not be delivered.</p>"
            "<p>The server answered:</p><blockquote>550 5.7.1 Message rejected as spam</blockquote>"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("rejected as spam",),
        code=913,
    ),
    Case(
        name="html-base64-definition-list",
        html=True,
        encoding="base64",
        body=(
            "<div>Delivery failed</div><dl><dt>Recipient</dt><dd>ruth.hall@harbour.example</dd>"
            "<dt>Reason</dt><dd>550 5.2.1 mailbox disabled</dd></dl>"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("mailbox disabled",),
        code=912,
    ),
    Case(
        name="html-entities-and-links",
        html=True,
        body=(
            "<p>Delivery to the following address failed permanently:</p>"
            '<p>&lt;<a href="mailto:ruth.hall@harbour.example">ruth.hall&#64;harbour.example</a>&gt;</p>'
            "<p>Remote server said:&nbsp;<code>550&nbsp;5.1.1 no&nbsp;such&nbsp;user</code></p>"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("no such user",),
        code=902,
    ),
    Case(
        name="bullets",
        body=(
            "I could not deliver your message to these people:\n\n"
            " * ruth.hall@harbour.example - user does not exist\n"
            " * tom.reed@meadow.example - over quota\n"
        ),
        recipients=("ruth.hall@harbour.example", "tom.reed@meadow.example"),
        words=("user does not exist", "over quota"),
    ),
    Case(
        name="numbered",
        body=(
            "Failed recipients:\n\n"
            "1. ruth.hall@harbour.example: 550 5.1.1 user unknown\n"
            "2. tom.reed@meadow.example: 552 5.2.2 mailbox full\n"
        ),
        recipients=("ruth.hall@harbour.example", "tom.reed@meadow.example"),
        words=("user unknown", "mailbox full"),
    ),
    Case(
        name="sentence-passive",
        body=(
            "Your message addressed to ruth.hall@harbour.example could not be delivered because the account "
            "has been closed.\n\n"
            "Regards,\n"
            "the mail team at support@harbour.example"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("account has been closed",),
        code=912,
    ),
    Case(
        name="sentence-two-lines",
        body=(
            "Sorry. The mail system of harbour.example was unable to deliver to\n"
            "ruth.hall@harbour.example: there is nobody here by that name.\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("nobody here by that name",),
    ),
    Case(
        name="quoted-name-and-address",
        body=(
            "The following recipient(s) could not be reached:\n\n"
            "      'Ruth Hall' (ruth.hall@harbour.example) on 3/3/2026 9:12 AM\n"
            "            The e-mail account does not exist at the organization this message was sent to.\n"
            "            <mx1.harbour.example #5.1.1>\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("account does not exist",),
        code=902,
    ),
    Case(
        name="name-then-address-in-brackets",
        body=(
            "Delivery has failed to these recipients:\n\n"
            "Ruth Hall<mailto:ruth.hall@harbour.example>\n"
            "The mailbox is full and can't accept messages now.\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("mailbox is full",),
        code=901,
    ),
    Case(
        name="expanded-from",
        body=(
            "<ruth@inner.example> (expanded from <ruth.hall@harbour.example>): user unknown. Command "
            "output: no such user\n"
        ),
        recipients=("ruth@inner.example",),
        originals=("ruth.hall@harbour.example",),
        words=("user unknown",),
    ),
    Case(
        name="ultimately-generated-from",
        body=(
            "A message that you sent could not be delivered to one or more of its recipients.\n\n"
            "  ruth@inner.example\n    (ultimately generated from ruth.hall@harbour.example)\n"
            "    mailbox is full: retry timeout exceeded\n"
        ),
        recipients=("ruth@inner.example",),
        originals=("ruth.hall@harbour.example",),
        words=("mailbox is full",),
    ),
    Case(
        name="was-forwarded-to",
        body=(
            "Your message to ruth.hall@harbour.example was forwarded to ruth@inner.example, which "
            "failed:\n\n"
            "550 5.1.1 ruth@inner.example unknown\n"
        ),
        recipients=("ruth@inner.example",),
        originals=("ruth.hall@harbour.example",),
        words=("unknown",),
    ),
    Case(
        name="verp-in-returned-to",
        body="The user that you wrote to has no account with us any more.\n\n550 5.1.1 no such account\n",
        returned="news-ruth.hall=harbour.example@lists.shop.example",
        recipients=("ruth.hall@harbour.example",),
        words=("no such account",),
        code=902,
    ),
    Case(
        name="recipient-only-in-returned-to",
        body="Your message could not be delivered. The mailbox is full.\n",
        returned='"Ruth Hall" <ruth.hall@harbour.example>',
        recipients=("ruth.hall@harbour.example",),
        words=("mailbox is full",),
        code=901,
    ),
    Case(
        name="addresses-of-footer-are-none",
        body=(
            "Mail to ruth.hall@harbour.example was refused:\n\n554 5.7.1 rejected by content filter\n\n"
            "For help write to postmaster@harbour.example or abuse@harbour.example.\n"
        ),
        returned="ruth.hall@harbour.example",
        recipients=("ruth.hall@harbour.example",),
        words=("content filter",),
        code=918,
    ),
    Case(
        name="our-sender-named-first",
        body=(
            "A mail from bounce@news.shop.example (news@shop.example) could not be delivered.\n\n"
            "Recipient address: ruth.hall@harbour.example\nServer response: 550 5.7.1 Sender rejected\n"
        ),
        returned="ruth.hall@harbour.example",
        recipients=("ruth.hall@harbour.example",),
        words=("Sender rejected",),
        code=919,
    ),
    Case(
        name="quoted-header-in-text",
        body=(
            "Your message was not delivered.\n\n"
            "From: news@shop.example\n"
            "To: ruth.hall@harbour.example\n"
            "Subject: Spring offers\n\n"
            "Reason: 550 5.1.1 user unknown\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("user unknown",),
        code=902,
    ),
    Case(
        name="bounce-inside-a-bounce",
        body=(
            "Your message could not be delivered to ruth.hall@harbour.example.\n\nThe gateway reported:\n"
            "  The following message was undeliverable: host mx9.inner.example[192.0.2.9] said: 452 4.2.2 "
            "mailbox full (in reply to RCPT TO command)\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("452 4.2.2 mailbox full",),
        code=901,
    ),
    Case(
        name="big5-as-latin1",
        subject="=?utf-8?b?6YCA5L+h6YCa55+l?=",
        body=(
            "您寄出的郵件無法送達下列收件人：\n\n"
            "ruth.hall@harbour.example\n\n"
            "原因：收件人信箱已滿，主機無法接受您的信件。\n"
        ),
        charset="big5",
        declared="iso-8859-1",
        recipients=("ruth.hall@harbour.example",),
        words=("信箱已滿",),
        code=901,
    ),
    Case(
        name="gb-in-quoted-printable",
        subject="=?utf-8?b?6YCA5L+h?=",
        body=(
            "您的邮件无法投递到以下收件人：\n\n"
            "ruth.hall@harbour.example\n\n"
            "原因：收件人邮箱不存在，请检查您的收件人地址。\n"
        ),
        charset="gb18030",
        declared="",
        encoding="quoted-printable",
        recipients=("ruth.hall@harbour.example",),
        words=("邮箱不存在",),
        code=902,
    ),
    Case(
        name="utf8-declared-as-ascii",
        body="<ruth.hall@harbour.example>: Das Postfach „Ruth“ ist voll\n",
        declared="us-ascii",
        recipients=("ruth.hall@harbour.example",),
        words=("ist voll",),
    ),
    Case(
        name="double-encoded-utf8",
        subject="Unzustellbar",
        body="Empfänger: ruth.hall@harbour.example\nFehler: 550 5.1.1 Benutzer unbekannt für müller\n".encode().decode(
            "latin-1"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("Benutzer unbekannt",),
    ),
    Case(
        name="cut-in-the-middle",
        body=(
            "This is the mail system.\n\n"
            "<ruth.hall@harbour.example>: host mx1.harbour.example[192.0.2.1] said: 550 5.1.1 no such us"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("550 5.1.1 no such us",),
    ),
    Case(
        name="code-before-address",
        body="Transcript of session follows.\n\n550 5.1.1 <ruth.hall@harbour.example> user unknown\n",
        recipients=("ruth.hall@harbour.example",),
        words=("user unknown",),
        code=902,
    ),
    Case(
        name="session-log",
        body=(
            "Delivery failed. Session:\n\n"
            ">>> RCPT TO:<ruth.hall@harbour.example>\n"
            "<<< 550 5.1.1 unknown mailbox\n"
            ">>> QUIT\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("550 5.1.1 unknown mailbox",),
        code=902,
    ),
    Case(
        name="server-message-apart",
        body=(
            "We could not deliver your mail to:\n\n    ruth.hall@harbour.example\n\n"
            "Message from the remote server:\n\n"
            "    554 5.7.1 Service unavailable; client host [192.0.2.77] blocked using list.example\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("blocked using list.example",),
    ),
    Case(
        name="smtp-colon-prefix",
        body=(
            "Unable to deliver message to the following address(es).\n\n"
            "SMTP:ruth.hall@harbour.example\n"
            "550 mailbox not found\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("mailbox not found",),
        code=902,
    ),
    Case(
        name="delay",
        subject="Delivery delayed",
        body=(
            "Your message to ruth.hall@harbour.example has been delayed. We will keep trying for 3 more "
            "days. Last answer: 451 4.7.1 please try again later\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("try again later",),
        action="delayed",
    ),
    Case(
        name="two-addresses-one-reason",
        body=(
            "Both of these were refused because the domain does not exist:\n\n"
            "ruth.hall@harbour.example\n"
            "tom.reed@harbour.example\n"
        ),
        recipients=("ruth.hall@harbour.example", "tom.reed@harbour.example"),
    ),
    Case(
        name="to-arrow",
        body=(
            "Delivery log\n\n"
            "09:12:44 bounce@news.shop.example -> ruth.hall@harbour.example failed: 550 5.1.1 no such "
            "mailbox\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("no such mailbox",),
        code=902,
    ),
    Case(
        name="key-equals-value",
        body="delivery status: failed\nrcpt=ruth.hall@harbour.example\nreply=552 5.2.2 quota exceeded\n",
        recipients=("ruth.hall@harbour.example",),
        words=("quota exceeded",),
        code=901,
    ),
    Case(
        name="unicode-address",
        body="<測試@例子.example>: 550 5.1.1 no such mailbox\n",
        recipients=("測試@例子.example",),
        words=("no such mailbox",),
    ),
    Case(
        name="plus-and-apostrophe",
        body="<o'hara+news@harbour.example>: 550 5.1.1 no such mailbox\n",
        recipients=("o'hara+news@harbour.example",),
        words=("no such mailbox",),
    ),
    Case(
        name="reason-above-address",
        body="User unknown\n\n    ruth.hall@harbour.example\n\nThe original message is attached.\n",
        returned="ruth.hall@harbour.example",
        recipients=("ruth.hall@harbour.example",),
        words=("User unknown",),
        code=902,
    ),
    Case(
        name="json-in-text",
        body=(
            'Delivery failed: {"recipient": "ruth.hall@harbour.example", "status": "bounced", "reason": '
            '"550 5.1.1 user unknown"}\n'
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("user unknown",),
    ),
    Case(
        name="message-name-list",
        body=(
            "Message 1aBcDe: not delivered\n"
            "To <ruth.hall@harbour.example>\n"
            "Result: connection to mx1.harbour.example timed out\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("timed out",),
    ),
    Case(
        name="subject-names-recipient",
        subject="Undeliverable: mail to ruth.hall@harbour.example",
        body="The mailbox that you wrote to is full. Your mail has not been delivered.\n",
        recipients=("ruth.hall@harbour.example",),
        words=("is full",),
    ),
    Case(
        name="postmaster-is-the-recipient",
        body="<postmaster@harbour.example>: 550 5.1.1 nobody reads this\n",
        returned="postmaster@harbour.example",
        recipients=("postmaster@harbour.example",),
        words=("nobody reads this",),
    ),
    Case(
        name="space-in-brackets",
        body="Could not deliver to < ruth.hall@harbour.example > : 550 user not found\n",
        recipients=("ruth.hall@harbour.example",),
        words=("user not found",),
    ),
    Case(
        name="mixed-language",
        subject="=?utf-8?b?6YO15Lu25YKz6YCB5aSx5pWX?= / Delivery failure",
        body=(
            "郵件傳送失敗 Delivery failure\n\n"
            "收件者 Recipient : ruth.hall@harbour.example\n"
            "失敗原因 Reason : 550 5.1.1 查無此使用者 User unknown\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("User unknown",),
        code=902,
    ),
    Case(
        name="thai-label",
        subject="Delivery failure",
        body=(
            "ไม่สามารถส่งข้อความได้ (delivery failed)\n\nผู้รับ: ruth.hall@harbour.example\nสาเหตุ: 550 5.1.1 user unknown\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("user unknown",),
    ),
    Case(
        name="arabic-label",
        subject="Delivery failure",
        body=(
            "تعذر تسليم الرسالة (delivery failed)\n\n"
            "المستلم: ruth.hall@harbour.example\n"
            "السبب: 550 5.1.1 user unknown\n"
        ),
        recipients=("ruth.hall@harbour.example",),
        words=("user unknown",),
    ),
    Case(
        name="long-preamble",
        body="Dear sender,\n\n"
        + "this mail was made by a machine and nobody reads answers to it.\n" * 40
        + "\nDelivery failed for:\nruth.hall@harbour.example (550 5.2.2 mailbox full)\n",
        recipients=("ruth.hall@harbour.example",),
        words=("mailbox full",),
        code=901,
    ),
    Case(
        name="semicolon-list",
        body="Failed recipients: ruth.hall@harbour.example; tom.reed@harbour.example\nReason: host unknown\n",
        recipients=("ruth.hall@harbour.example", "tom.reed@harbour.example"),
    ),
)
