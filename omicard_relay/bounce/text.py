"""Readable text of a mail: HTML to lines, what is quoted, where the returned mail begins, addresses, the words about one.

Everything here walks the text once, forwards; texts are at most TEXT_LIMIT characters (letter.py cuts them).
Not here: what the words mean (readers/, classify/).
"""

import html
import re
from collections.abc import Iterator
from typing import NamedTuple

from omicard_relay.bounce.says import Says

__all__ = [
    "Found",
    "addresses_in",
    "first_address",
    "has_words",
    "html_to_text",
    "spaced",
    "split_returned",
    "unquoted",
    "words_about",
]

#: A paragraph about one recipient; the longest replies that servers give are near 2,000 characters.
WORDS_LIMIT = 4_000
#: Lines naming one recipient that are looked at; a report names each once or twice.
_NAMING_LINES = 20
#: RFC 5321 §4.5.3.1 has 64 and 255 octets; signed reverse-paths of the wild have longer local parts.
LOCAL_LIMIT, DOMAIN_LIMIT = 128, 255

_SKIPPED = (("<!--", "-->"), ("<style", "</style"), ("<script", "</script"), ("<head", "</head"))
_CELL = "\x1f"
_CELLS = re.compile(r"<\s{0,5}/?\s{0,5}t[dh]\b[^<>]{0,2000}>", re.I)
_BREAKS = re.compile(
    r"<\s{0,5}/?\s{0,5}(?:br|p|div|tr|li|h[1-6]|table|blockquote|pre|hr|dt|dd|dl|ul|ol|section|article)\b[^<>]{0,2000}>",
    re.I,
)
_TAG = re.compile(r"<[/!?]?[A-Za-z][^<>]{0,5000}>")
_QUOTE_START = re.compile(
    r"\s{0,10}(?:-{2,}\s?(?:original message|ursprüngliche nachricht|message d'origine|mensaje original"
    r"|mensagem original"
    r"|messaggio originale|oorspronkelijk bericht|исходное сообщение|原始郵件|原始邮件|元のメッセージ|원본 메시지)"
    r"|(?:on|am|le|el|em|il|op|в)\s.{3,200}\s(?:wrote|schrieb|a écrit|escribió|escreveu|ha scritto|schreef"
    r"|пиш\w{1,6})(?:\s.{0,80})?\s?[:：]?\s{0,5}$"
    r"|_{20,}\s{0,5}$)",
    re.I,
)
_RETURNED_START = re.compile(
    r"\W{0,40}(?:.{0,60}\b(?:below this line is a copy of|this is a copy of (?:your|the) (?:message|mail)"
    r"|copy of (?:the|your) (?:original )?message"
    r"|original message (?:follows|headers?|text)|message headers? follow|unsent message (?:below|follows)"
    r"|undelivered message (?:follows|is)|returned message (?:follows|below)|message text follows"
    r"|returned (?:message )?content"
    r"|the (?:header|text|body|first \d+ lines?) of (?:the|your) (?:original )?message|original message"
    r"|message header)\b)",
    re.I,
)
_FOLLOWS = re.compile(
    r"\W{0,20}(?:(?:the |your )?(?:original|returned|unsent|undelivered|rejected) (?:message"
    r"|mail)(?: headers?| text)?(?: follows?)?"
    r"|message headers? follows?)\W{0,20}$",
    re.I,
)
_HEADER_LINE = re.compile(
    r"(?:Received|Return-Path|Message-ID|From|To|Date|Subject|MIME-Version|DKIM-Signature"
    r"|X-[A-Za-z-]{1,40}):\s",
    re.I,
)
_HEADER_BEGINS = frozenset("RrMmFfTtDdSsXx")
# Most reports return the mail in a part of its own: a look at the whole text tells that no line need be looked at. Plain
# words and no more: what a pattern may begin and end with makes it ten times as slow.
_MAY_SAY = Says(
    r"below this line is|copy of (?:the|your)|(?:original|returned|unsent|undelivered|rejected) (?:message|mail)"
    r"|message headers? follow|message text follows|message header|returned content"
    r"|(?:header|text|body|lines?) of (?:the|your)"
)
_FIRST_FIELDS = ("\nfrom:", "\nreceived:", "\nreturn-path:", "\nmessage-id:")
_LOCAL_STOP = frozenset(' \t\n\r<>()[]{},;:"\\|@“”「」『』（），；：、。')
# `rcpt=ann@example.com` names ann; `news-ann=example.com@…` is one address.
_KEYED = re.compile(r"(?:rcpt|rcpt_?to|recipient|to|e?mail|user|addr|address|orig_to|for)=", re.I)
#: The same for a text in ASCII, which is most of them: what stands before an `@`, and the domain behind it.
_ASCII_ADDRESS = re.compile(r'("[^"]{1,126}"|[^ \t\n\r<>()\[\]{},;:"\\|@]{1,128})@(?=([A-Za-z0-9._-]{1,255}))')
#: Fields that a returned header has and a summary has not.
_TRACE_FIELDS = frozenset({"received", "return-path", "message-id", "mime-version", "dkim-signature", "content-type"})
_SUMMARY_LINES = 12
_SPEAKS = re.compile(
    r"^(?:[^\n]{0,60}[:：] ?)?(?:[45]\d\d[ -](?:[45]\.\d{1,3}\.\d{1,3})?|[45]\.\d{1,3}\.\d{1,3} )[ #<\w]", re.M
)
_UNDERSCORED = re.compile(r"_[45](?:\d\d|\.\d\.\d{1,3})_[A-Za-z0-9.<]{1,60}_")
_WORD_RUN = re.compile(r"[^\W\d_]{2}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2}")


class Found(NamedTuple):
    """An address in a text and where it stands."""

    address: str
    start: int
    end: int


def html_to_text(source: str) -> str:
    """The words of an HTML text, one line a block; `<ann@example.com>` left unescaped by the writer stays."""
    text = source
    for start, end in _SKIPPED:
        text = _without(text, start, end)
    text = text.replace("\n", " ").replace(_CELL, " ")
    text = _BREAKS.sub("\n", text)
    text = _TAG.sub(_tag_text, _CELLS.sub(_CELL, text))
    return "\n".join(_row(line) for line in html.unescape(text).replace("\xa0", " ").split("\n"))


def _row(line: str) -> str:
    """White space folded; the cells of a table's row with a bar between them, as people draw tables in plain text."""
    if _CELL not in line:
        return " ".join(line.split())
    return " | ".join(cell for part in line.split(_CELL) if (cell := " ".join(part.split())))


def addresses_in(text: str) -> Iterator[Found]:
    """Every `local@domain.tld` of the text, in order; each `@` is looked at once, with bounded reach to both sides."""
    at = text.find("@")
    if at >= 0 and text.isascii():
        # What stands far before the first `@` is not searched.
        for match in _ASCII_ADDRESS.finditer(text, max(0, at - LOCAL_LIMIT)):
            local = match.group(1)
            name, domain = local.lstrip(".'*=`") if local[0] in ".'*=`" else local, match.group(2).rstrip(".-_")
            if "=" in name and (key := _KEYED.match(name)):
                name = name[key.end() :]
            if name and "." in domain.strip(".") and name[:2] != "//":
                end = match.end()
                yield Found(f"{name}@{domain}", end - 1 - len(name), end + len(domain))
        return
    while at >= 0:
        start = at
        if at and text[at - 1] == '"':
            quote = text.rfind('"', max(0, at - LOCAL_LIMIT), at - 1)
            start = quote if quote >= 0 else at
        else:
            # Chinese and Japanese put no space before an address: `我的信箱是ann@example.com` names ann.
            ascii_only = at > 0 and not _is_ideograph(text[at - 1])
            floor = max(0, at - LOCAL_LIMIT)
            while start > floor and text[start - 1] not in _LOCAL_STOP:
                if ascii_only and _is_ideograph(text[start - 1]):
                    break
                start -= 1
            while start < at and text[start] in ".'*=`":
                start += 1
        end, ceiling = at + 1, min(len(text), at + 1 + DOMAIN_LIMIT)
        ascii_only = end < len(text) and not _is_ideograph(text[end])
        while end < ceiling and (text[end].isalnum() or text[end] in ".-_"):
            if ascii_only and _is_ideograph(text[end]):
                break
            end += 1
        domain = text[at + 1 : end].rstrip(".-_")
        if start < at and "." in domain.strip("."):
            yield Found(text[start : at + 1] + domain, start, at + 1 + len(domain))
        at = text.find("@", max(end, at + 1))


def first_address(value: str) -> str:
    """The address of a header field: what stands in angle brackets, else the first one; "" when there is none."""
    opened = value.rfind("<")
    if opened >= 0:
        inner = value[opened + 1 :].partition(">")[0].strip()
        if "@" in inner and " " not in inner:
            return inner
    return next((found.address for found in addresses_in(value)), "")


def has_words(text: str) -> bool:
    """Whether a reply says anything beside its codes: two letters in a row, or two ideographs."""
    return _WORD_RUN.search(text) is not None


def spaced(text: str) -> str:
    """The words with spaces where a gateway wrote `_` in their place: `said:_550_5.1.1_no_such_user`."""
    if "_4" not in text and "_5" not in text:
        return text
    lines = text.split("\n")
    return "\n".join(
        line.replace("_", " ") if " " not in line.strip() and _UNDERSCORED.search(line) else line for line in lines
    )


def unquoted(text: str) -> str:
    """The text without lines that quote (`>`, `|`), and cut where a quoted mail begins."""
    kept: list[str] = []
    for line in text.split("\n"):
        if _QUOTE_START.match(line[:300]):
            break
        if not line.lstrip().startswith((">", "|")):
            kept.append(line)
    return "\n".join(kept)


def split_returned(text: str) -> tuple[str, str]:
    """(the report's own words, the returned mail): cut at a ruled line that says so, or where header fields begin."""
    low = text.lower()
    by_words, by_header = _MAY_SAY(low), any(field in low for field in _FIRST_FIELDS)
    if not by_words and not by_header:
        return text, ""
    lines = text.split("\n")
    lows = low.split("\n") if by_words else lines
    for number, line in enumerate(lines):
        if not number:
            continue
        if by_words and ("message" in lows[number] or "mail" in lows[number] or "content" in lows[number]):
            said = line.strip(" |+\t")
            ruled = said[:3] in ("---", "===", "***", "___")
            if (
                (ruled or said.endswith(":")) and _RETURNED_START.match(said[:200]) and "receive" not in lows[number]
            ) or (len(said) < 60 and _FOLLOWS.match(said)):
                return "\n".join(lines[:number]), "\n".join(lines[number + 1 :])
        if by_header and line[:1] in _HEADER_BEGINS and _HEADER_LINE.match(line) and _header_run(lines, number):
            if _is_summary(lines, number):
                continue
            return "\n".join(lines[:number]), "\n".join(lines[number:])
    return text, ""


def words_about(text: str, recipient: str) -> str:
    """The paragraph of a report that speaks of a recipient: from the line that names it to the next blank line.

    Where the naming line stands alone (`ann@example.com:` or `<ann@example.com>`), the paragraph below it belongs to it.
    "" when the text does not name the recipient.
    """
    key = recipient.lower()
    if not key:
        return ""
    lines = text.split("\n")
    best = ""
    named = 0
    for number, line in enumerate(lines):
        if key not in line.lower():
            continue
        named += 1
        if named > _NAMING_LINES:
            break
        taken = _paragraph(lines, number)
        rest = taken.lower().replace(key, "")
        if has_words(rest):
            best = max(best, taken, key=_tells)
            if _tells(best):
                break
    return best[:WORDS_LIMIT]


def _is_ideograph(letter: str) -> bool:
    """Whether a letter is of a script that writes without spaces (Han, kana, Hangul and beyond)."""
    return letter >= "\u2e80"


def _tells(paragraph: str) -> int:
    """How much a paragraph looks like a server's words: it carries a reply code or an enhanced status code."""
    return len(re.findall(r"\b[45]\d\d\b|\b[45]\.\d\.\d{1,3}\b", paragraph[:WORDS_LIMIT]))


def _paragraph(lines: list[str], number: int) -> str:
    taken = [lines[number]]
    for line in lines[number + 1 : number + 40]:
        if not line.strip():
            if len(taken) == 1 and not has_words(re.sub(r"\S*@\S*", "", taken[0])):
                continue
            break
        if len(taken) > 1 and line.lstrip().startswith("<") and "@" in line and ">:" in line:
            break
        taken.append(line)
    return "\n".join(part.strip() for part in taken)


def _header_run(lines: list[str], number: int) -> bool:
    """Whether three header fields follow one another here, one of them Received, Message-ID or From."""
    fields = [line for line in lines[number : number + 12] if line[:1] not in (" ", "\t", "")][:3]
    names = [line.partition(":")[0].lower() for line in fields if re.match(r"[A-Za-z][A-Za-z0-9-]{1,60}:", line)]
    return len(names) >= 3 and any(name in ("received", "message-id", "from", "return-path") for name in names)


def _is_summary(lines: list[str], number: int) -> bool:
    """Whether these few fields only say of which mail a report speaks (From, To, Subject), and its own words go on below."""
    region = lines[number : number + 2 * _SUMMARY_LINES]
    for line in region:
        if not line.strip():
            break
        if line.partition(":")[0].strip().lower() in _TRACE_FIELDS:
            return False
    if _SPEAKS.search("\n".join(region)) is not None:
        return True
    # A mail that is returned goes on; a notice ends soon behind the fields.
    rest = [line for line in lines[number : number + 4 * _SUMMARY_LINES] if line.strip()]
    return len(rest) <= _SUMMARY_LINES and not any(
        line.partition(":")[0].strip().lower() in _TRACE_FIELDS for line in rest
    )


def _without(text: str, start: str, end: str) -> str:
    """The text without everything between two marks; an open end takes the rest away."""
    low = text.lower()
    kept, at = [], 0
    while (begin := low.find(start, at)) >= 0:
        kept.append(text[at:begin])
        close = low.find(end, begin)
        if close < 0:
            return "".join(kept)
        at = low.find(">", close)
        at = len(text) if at < 0 else at + 1
    kept.append(text[at:])
    return "".join(kept)


def _tag_text(match: re.Match[str]) -> str:
    tag = match.group()
    return tag if "@" in tag and " " not in tag and "=" not in tag else ""
