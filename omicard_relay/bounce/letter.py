"""`Letter`: a mail opened once, with the marks by which the readers choose (RFC 5322, RFC 3834 §5, RFC 6522).

Everything is computed when first asked for and kept, so that ten readers cost little more than one.
Not here: what a mail is (readers/).
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from omicard_relay.bounce.headers import Head, parse_date, parse_head
from omicard_relay.bounce.mime import Part, split_mail
from omicard_relay.bounce.text import first_address, html_to_text, split_returned

__all__ = ["TEXT_LIMIT", "Letter", "open_letter"]

#: Characters of readable text: a report's own words come first, and every reader works on this much.
TEXT_LIMIT = 65_536

_DAEMONS = frozenset(
    {
        "mailer-daemon",
        "mailerdaemon",
        "mail-daemon",
        "maildaemon",
        "mdaemon",
        "postmaster",
        "bounce",
        "bounces",
        "mailer",
    }
)
_DAEMON_NAME = re.compile(
    r"mail(?:er)?[ -]{0,2}(?:delivery|daemon)|delivery (?:sub)?system|postmaster|system administrator", re.I
)
_FAILURE = re.compile(
    r"undeliver|delivery (?:status|failure|failed|notification|report|problem|error|has failed|delayed|delay\b)|failure notice"
    r"|returned mail|mail delivery|delivery.{0,20}(?:fail|unsuccess)|non[ -]?delivery|could ?n[o']t be delivered"
    r"|(?:mail|message|e-mail).{0,30}(?:not delivered|undelivered|returned|failure|failed|bounced)"
    r"|warning: (?:could not send|message)|delayed mail|mail system error|unzustellbar|nicht zu(?:ge)?stell|zustellung fehl"
    r"|non remis|échec de|remise impossible|no se (?:pudo|ha podido|puede) entregar|no entregado|no se entreg"
    r"|mancato recapito|non recapitat|impossibile recapitare|não entregue|falha na entrega|onbestelbaar|niet bezorgd"
    r"|не доставлен|недоставлен|не удалось доставить|niedostarcz|nie dostarczono"
    r"|無法(?:傳遞|傳送|送達|投遞|寄送)|退信|未送達|傳送狀態通知|郵件傳遞失敗|未(?:能)?送达|无法(?:投递|传递|送达)|投递失败|退回"
    r"|配信不[能可]|配信できません|送信できません|配信エラー|不達|전송 실패|배달되지|배달 실패|반송",
    re.I,
)
#: Subjects that mail systems give, whole or as a beginning; a flat report from an ordinary-looking address is known by them.
_SYSTEM_SUBJECT = re.compile(
    r"\s{0,5}(?:undelivered mail returned to sender|failure notice\s{0,5}$|returned mail:"
    r"|mail delivery (?:failed|failure|error)"
    r"|delivery status notification|delivery (?:failure|failed)\s{0,5}(?:$|:|\()"
    r"|undeliver(?:able|ed)(?: mail| message)?\s{0,5}(?:$|:)"
    r"|系統退信|系统退信)",
    re.I,
)
#: Fields of mail programs that people use.
_PROGRAM_FIELDS = ("user-agent", "x-mailer", "in-reply-to", "x-originating-ip")


@dataclass(frozen=True)
class Letter:
    """An opened mail. `parts[0]` is the whole; `notes` say what was not read."""

    raw: bytes
    parts: tuple[Part, ...]
    notes: tuple[str, ...]

    @property
    def head(self) -> Head:
        """The mail's own header."""
        return self.parts[0].head

    @cached_property
    def leaves(self) -> tuple[Part, ...]:
        """The mail's own parts, without what stands inside an embedded message; the whole body when nothing could be split."""
        own = tuple(part for part in self.parts[1:] if part.level == 0)
        return own or (self.parts[0],)

    @cached_property
    def report_type(self) -> str:
        """The report-type of a multipart/report in lower case (RFC 6522 §3); "" for any other mail."""
        if self.head.content_type != "multipart/report":
            return ""
        return self.head.parameters.get("report-type", "").lower()

    @cached_property
    def subject(self) -> str:
        return self.head.get("subject")

    @cached_property
    def sender(self) -> str:
        """The From address, else the Sender address; "" when neither can be read."""
        return first_address(self.head.get("from")) or first_address(self.head.get("sender"))

    @cached_property
    def message_id(self) -> str | None:
        return self.head.get("message-id").strip() or None

    @cached_property
    def time(self) -> datetime | None:
        """The Date field as aware UTC."""
        return parse_date(self.head.get("date"))

    @cached_property
    def auto_submitted(self) -> str:
        """RFC 3834 §5: `no`, `auto-generated`, `auto-replied`, … without parameters; "" when there is no such field."""
        return re.split(r"[;\s(]", self.head.get("auto-submitted").strip().lower(), maxsplit=1)[0]

    @cached_property
    def null_reverse_path(self) -> bool:
        return any(value.strip() == "<>" for value in self.head.all("return-path"))

    @cached_property
    def from_daemon(self) -> bool:
        """Whether the From field names a mail system and no person."""
        local = self.sender.partition("@")[0].lower()
        if not self.sender and self.head.get("from").rstrip().endswith("<>"):
            return True
        return local in _DAEMONS or _DAEMON_NAME.search(self.head.get("from")[:500]) is not None

    @cached_property
    def from_list(self) -> bool:
        """Whether a mailing list passed it on (RFC 2369, RFC 2919)."""
        return bool(self.head.get("list-id") or self.head.get("list-post"))

    @cached_property
    def tells_failure(self) -> bool:
        """Whether the subject speaks of a delivery that failed, in the languages that we know."""
        return _FAILURE.search(self.subject[:500]) is not None

    @cached_property
    def looks_like_report(self) -> bool:
        """Whether a mail system wrote it, by its own marks: what no reader knows is then `other`, not a person's mail."""
        if self.head.content_type == "multipart/report" or self.head.get("x-failed-recipients"):
            return True
        if self.from_list or self.is_answer:
            return False
        if self.from_daemon:
            return True
        if self.tells_failure and (self.null_reverse_path or self.auto_submitted.startswith("auto-")):
            return True
        by_program = any(self.head.get(name) for name in _PROGRAM_FIELDS)
        return not by_program and _SYSTEM_SUBJECT.match(self.subject[:300]) is not None

    @cached_property
    def is_answer(self) -> bool:
        """Whether the subject says that a person answered or passed it on (`Re:`, `Fwd:`, `回覆:`)."""
        return (
            re.match(r"\s*(?:re|aw|sv|fwd?|wg|tr|rv|antw|回覆|回复|答复|轉寄|转发)\s?[:：]", self.subject, re.I)
            is not None
        )

    @cached_property
    def text(self) -> str:
        """The readable text: the plain parts, else the HTML ones as lines; at most TEXT_LIMIT characters."""
        shown = [part for part in self.leaves if "attachment" not in part.head.get("content-disposition").lower()]
        plain = "\n".join(part.text[:TEXT_LIMIT] for part in shown if part.content_type == "text/plain")
        if len(plain.split()) > 2:
            return plain[:TEXT_LIMIT]
        rich = "\n".join(
            html_to_text(part.text[: TEXT_LIMIT * 2]) for part in shown if part.content_type == "text/html"
        )
        if rich.split():
            return rich[:TEXT_LIMIT]
        return (plain if plain.strip() or len(self.parts) > 1 else self.parts[0].text)[:TEXT_LIMIT]

    @cached_property
    def own_words(self) -> str:
        """The readable text down to where the returned mail begins."""
        return split_returned(self.text)[0]

    @cached_property
    def returned(self) -> Head:
        """The header of the mail that came back: an embedded message, its headers alone, or what follows below the text."""
        for part in self.parts[1:]:
            if part.is_message and part.level == 1:
                return part.head
            if part.level == 0 and part.content_type in ("text/rfc822-headers", "message/global-headers"):
                return parse_head(part.text.lstrip().encode("utf-8", "replace"))
        below = split_returned(self.text)[1].lstrip()
        return parse_head(below.partition("\n\n")[0].encode("utf-8", "replace")) if below else Head()

    @cached_property
    def returned_id(self) -> str | None:
        """The Message-ID of the mail that came back."""
        return self.returned.get("message-id").strip() or None


def open_letter(raw: bytes) -> Letter:
    """The opened mail; never raises, whatever the bytes."""
    parts, notes = split_mail(raw)
    return Letter(raw, parts, notes)
