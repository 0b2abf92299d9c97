"""`Letter`: a mail opened once, with the marks by which the readers choose (RFC 5322, RFC 3834 §5, RFC 6522).

Everything is computed when first asked for and kept, so that ten readers cost little more than one.
Not here: what a mail is (readers/).
"""

import re
from datetime import datetime

from omicard_relay.bounce.headers import Head, parse_date, parse_head
from omicard_relay.bounce.lazily import once
from omicard_relay.bounce.mime import Part, head_of, split_mail
from omicard_relay.bounce.says import Says
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
_DAEMON_NAME = Says(r"mail(?:er)?[ -]{0,2}(?:delivery|daemon)|delivery (?:sub)?system|postmaster|system administrator")
_FAILURE = Says(
    r"undeliver|delivery (?:status|failure|failed|notification|report|problem|error|has failed|delayed|delay\b)|failure notice"
    r"|returned mail|mail delivery|delivery.{0,20}(?:fail|unsuccess)|non[ -]?delivery"
    r"|(?:could|can|was|were|did|do|has|is) ?n[o'’]t (?:be(?:en)? )?deliver"
    r"|(?:mail|message|e-mail).{0,30}(?:not delivered|undelivered|returned|failure|failed|bounced)"
    r"|warning: (?:could not send|message)|delayed mail|mail system error|unzustellbar|nicht zu(?:ge)?stell|zustellung fehl"
    r"|non remis|échec de|remise impossible|no se (?:pudo|ha podido|puede) entregar|no entregado|no se entreg"
    r"|mancato recapito|non recapitat|impossibile recapitare|não entregue|falha na entrega|onbestelbaar|niet bezorgd"
    r"|не доставлен|недоставлен|не удалось доставить|niedostarcz|nie dostarczono"
    r"|無法(?:傳遞|傳送|送達|投遞|寄送)|退信|未送達|傳送狀態通知|郵件傳遞失敗|未(?:能)?送达|无法(?:投递|传递|送达)|投递失败|退回"
    r"|配信不[能可]|配信できません|送信できません|配信エラー|不達|전송 실패|배달되지|배달 실패|반송",
)
#: Subjects that mail systems give, whole or as a beginning; a flat report from an ordinary-looking address is known by them.
_SYSTEM_SUBJECT = re.compile(
    r"\s{0,5}(?:undelivered mail returned to sender|failure notice\s{0,5}$|returned mail:"
    r"|mail delivery (?:failed|failure|error)|error sending message \["
    r"|delivery status notification|delivery (?:failure|failed)\s{0,5}(?:$|:|\()"
    r"|undeliver(?:able|ed)(?: mail| message)?\s{0,5}(?:$|:)"
    r"|系統退信|系统退信)",
    re.I,
)
_ANSWER = re.compile(r"\s*(?:re|aw|sv|fwd?|wg|tr|rv|antw|回覆|回复|答复|轉寄|转发)\s?[:：]", re.I)
_AUTO_WORD = re.compile(r"[a-z0-9-]*")
#: Fields of mail programs that people use.
_PROGRAM_FIELDS = ("user-agent", "x-mailer", "in-reply-to", "x-originating-ip")


class Letter:
    """An opened mail. `parts[0]` is the whole, `head` its own header; `notes` say what was not read. Never changes."""

    def __init__(self, raw: bytes, parts: tuple[Part, ...], notes: tuple[str, ...]) -> None:
        self.raw = raw
        self.parts = parts
        self.notes = notes
        self.head: Head = parts[0].head

    @once
    def leaves(self) -> tuple[Part, ...]:
        """The mail's own parts without embedded messages; the whole body when nothing could be split."""
        return tuple(part for part in self.parts[1:] if not part.is_message) or (self.parts[0],)

    @once
    def part_types(self) -> frozenset[str]:
        """The media types of its own parts: the mark of every standard form."""
        return frozenset(part.content_type for part in self.leaves)

    @once
    def report_type(self) -> str:
        """The report-type of a multipart/report in lower case (RFC 6522 §3); "" for any other mail."""
        if self.head.content_type != "multipart/report":
            return ""
        return self.head.parameters.get("report-type", "").lower()

    @once
    def subject(self) -> str:
        return self.head.get("subject")

    @once
    def sender(self) -> str:
        """The From address, else the Sender address; "" when neither can be read."""
        return first_address(self.head.get("from")) or first_address(self.head.get("sender"))

    @once
    def message_id(self) -> str | None:
        return self.head.get("message-id").strip() or None

    @once
    def time(self) -> datetime | None:
        """The Date field as aware UTC."""
        return parse_date(self.head.get("date"))

    @once
    def auto_submitted(self) -> str:
        """RFC 3834 §5: `no`, `auto-generated`, `auto-replied`, … without parameters; "" when there is no such field."""
        found = _AUTO_WORD.match(self.head.get("auto-submitted").lower())
        return found.group() if found else ""

    @once
    def null_reverse_path(self) -> bool:
        return any(value.strip() == "<>" for value in self.head.all("return-path"))

    @once
    def from_daemon(self) -> bool:
        """Whether the From field names a mail system and no person."""
        local = self.sender.partition("@")[0].lower()
        if not self.sender and self.head.get("from").rstrip().endswith("<>"):
            return True
        return local in _DAEMONS or _DAEMON_NAME(self.head.get("from")[:500])

    @once
    def from_list(self) -> bool:
        """Whether a mailing list passed it on (RFC 2369, RFC 2919)."""
        return bool(self.head.get("list-id") or self.head.get("list-post"))

    @once
    def tells_failure(self) -> bool:
        """Whether the subject speaks of a delivery that failed, in the languages that we know."""
        return _FAILURE(self.subject[:500])

    @once
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

    @once
    def is_answer(self) -> bool:
        """Whether the subject says that a person answered or passed it on (`Re:`, `Fwd:`, `回覆:`)."""
        return _ANSWER.match(self.subject) is not None

    @once
    def text(self) -> str:
        """The readable text: the plain parts, else the HTML ones as lines; at most TEXT_LIMIT characters."""
        plain = "\n".join([_cut(part.text) for part in self.leaves if _is_shown(part, "text/plain")])
        if len(plain.split(None, 3)) > 2:
            return _cut(plain)
        rich = "\n".join(
            html_to_text(part.text[: TEXT_LIMIT * 2]) for part in self.leaves if _is_shown(part, "text/html")
        )
        if rich.split():
            return _cut(rich)
        return _cut(plain if plain.strip() or len(self.parts) > 1 else self.parts[0].text)

    @once
    def own_words(self) -> str:
        """The readable text down to where the returned mail begins."""
        return self._halves[0]

    @once
    def _halves(self) -> tuple[str, str]:
        return split_returned(self.text)

    @once
    def returned(self) -> Head:
        """The header of the mail that came back: an embedded message, its headers alone, or what follows below the text."""
        for part in self.parts[1:]:
            if part.is_message:
                return head_of(part.message)
            if part.content_type in ("text/rfc822-headers", "message/global-headers"):
                return parse_head(part.text.lstrip().encode("utf-8", "replace"))
        below = self._halves[1].lstrip()
        return parse_head(below.partition("\n\n")[0].encode("utf-8", "replace")) if below else Head()

    @once
    def returned_id(self) -> str | None:
        """The Message-ID of the mail that came back."""
        return self.returned.get("message-id").strip() or None


def _cut(text: str) -> str:
    """At most TEXT_LIMIT characters; cut at the end of a line, as half an address is another one."""
    if len(text) <= TEXT_LIMIT:
        return text
    return text[: text.rfind("\n", 0, TEXT_LIMIT) + 1 or TEXT_LIMIT]


def _is_shown(part: Part, content_type: str) -> bool:
    return part.content_type == content_type and "attachment" not in part.head.get("content-disposition").lower()


def open_letter(raw: bytes) -> Letter:
    """The opened mail; never raises, whatever the bytes."""
    parts, notes = split_mail(raw)
    return Letter(raw, parts, notes)
