"""What changes from mail to mail taken out of a reply, so that replies of one template become equal or nearly so.

Addresses, links, IP addresses, dates, host names, ids and numbers become `<address>`, `<link>`, ... The codes at the
start are cut off (the caller has them from mail/reading.py). Scripts without blanks are cut into single characters, so
that a sentence has a length there, too. Every expression is bounded, and the text is cut to `TEXT_LIMIT` characters.
Not masked: marks that a provider prints for a cause (`TSS04`, `S3150`, `error 17`, `#5.7.1`), and names in plain words,
which only the comparison of many replies can tell from causes (classify/templates.py).
"""

import re

from omicard_relay.classify.wording import ADDRESS

__all__ = ["CODES_AT_START", "GLUE", "MASK", "TEXT_LIMIT", "is_constant", "joined", "mask"]

#: Longer texts are read up to here: what tells a template stands in the first sentences.
TEXT_LIMIT = 1200
#: Stands before a token that follows the one before it without a blank.
GLUE = "\u2060"
#: What a token is that changes within a template.
MASK = "<*>"

CODES_AT_START = re.compile(r"^\W{0,3}[245]\d\d(?:[ \-#:(\[]{0,3}[245]\.\d{1,3}\.\d{1,3}[)\]]?)?(?![\d.])[\s:-]*")
_STATUS_AT_START = re.compile(r"^[\s#(\[]{0,3}[245]\.\d{1,3}\.\d{1,3}[)\]]?(?![\d.])[\s:-]*")

_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_ZONE = r"(?: ?(?:[+-]\d{2}:?\d{2}|z\b|utc|gmt))?(?: \([a-z]{2,5}\))?"
_DATES = re.compile(
    rf"(?:\b{_DAY},? )?\b(?:\d{{1,2}}[ /-]{_MONTH}[ /-]\d{{2,4}}|{_MONTH} {{1,2}}\d{{1,2}},? \d{{4}})(?:[ :t]{_CLOCK}{_ZONE})?"
    rf"|\b{_DAY} {_MONTH} {{1,2}}\d{{1,2}} {_CLOCK}(?: \d{{4}})?"
    rf"|(?<!\d)\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}(?:[ t]{_CLOCK}{_ZONE})?(?!\d)"
    rf"|(?<!\d)\d{{4}}年\d{{1,2}}月\d{{1,2}}日(?: ?{_CLOCK})?"
    rf"|(?<![\d:]){_CLOCK}(?![\d:])",
    re.IGNORECASE,
)
# Most replies have neither, and these are found out eight times faster.
_MAYBE_DATE = re.compile(r"\d:\d\d|(?:19|20)\d\d")
_MAYBE_IP = re.compile(r"\d\.\d|:[0-9A-Fa-f]{0,4}:")
_LINK = re.compile(r"\bhttps?://[!-~]{1,1000}", re.IGNORECASE)
_IP = re.compile(
    r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]*\d)(?:/\d{1,2})?"
    r"|(?<![\w:])::[01](?![\w:])|(?<![0-9a-f:])[0-9a-f]{1,4}(?::{1,2}[0-9a-f]{1,4}){2,7}(?![0-9a-f:])",
    re.IGNORECASE,
)
_STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?![\d.]*\d)")
_HOST = re.compile(
    r"(?<![\w.-])(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.){1,8}(?:[a-z]{2,24}|xn--[a-z0-9-]{1,59})(?![\w-])", re.I
)
# A word with a digit in it, perhaps with dots, dashes and underscores inside.
_WORD = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z_.=+/-]{0,300}[0-9])[A-Za-z0-9](?:(?:[A-Za-z0-9_.=+/-]|(?<=\d),(?=\d)){0,300}[A-Za-z0-9=])?"
)
# `TSS04`, `S3150`, `RP-001`, `BL000010`, `IB603a`; but eight hexadecimal digits are an id.
_MARK = re.compile(r"(?![0-9A-F]{8,9}$)(?=.{2,9}$)[A-Z]{1,4}-?\d{1,6}[a-z]?|[A-Z]{1,3}\d{1,3}[A-Z]{1,4}")
# As the wording shows an id that the judge takes no notice of.
_KNOWN_ID = re.compile(r"(?<![A-Za-z0-9])id0(?![A-Za-z0-9])")
_NUMBER = re.compile(r"\d+(?:[.,]\d+){0,3}")
#: After these, a short number names a cause.
_NUMBERED = re.compile(
    r"(?:code|error|err|reason|rule|policy|type|class|status|代碼|代码|錯誤|错误|エラー|コード|오류)[ :=#-]{0,3}$",
    re.IGNORECASE,
)
_NUMBERED_DIGITS = 4
_ID_LENGTH = 8

#: Han, kana, Thai, Lao, Khmer, Burmese: written without blanks between words.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PIECES = re.compile(rf"<[a-z*]{{1,8}}>|[{_UNSPACED}]|[^{_UNSPACED}<]+|<")
_PARTED = re.compile(rf"<[a-z*]{{1,8}}>|[{_UNSPACED}]")
_MASKED = re.compile(r"<[a-z*]{1,8}>")


def mask(text: str) -> tuple[str, ...]:
    """The tokens of a reply's words (`wording_of(...).shown`) without the codes at the start, in their own case."""
    line = text[:TEXT_LIMIT]
    line = _STATUS_AT_START.sub("", CODES_AT_START.sub("", line))
    line = _LINK.sub("<link>", line)
    line = line.replace(ADDRESS, "<address>")
    if _MAYBE_DATE.search(line):
        line = _DATES.sub("<date>", line)
    if _MAYBE_IP.search(line):
        line = _IP.sub("<ip>", line)
    line = _HOST.sub("<host>", line)
    line = _WORD.sub(_masked_word, line)
    return tuple(_tokens(line))


def is_constant(token: str) -> bool:
    """Whether a token of a template stands in each of its replies as it is."""
    return not _MASKED.fullmatch(token.removeprefix(GLUE))


def joined(tokens: tuple[str, ...]) -> str:
    """The tokens as one line again."""
    return " ".join(tokens).replace(f" {GLUE}", "").removeprefix(GLUE)


def _masked_word(found: re.Match[str]) -> str:
    """A word with a digit in it."""
    word = found.group()
    if _KNOWN_ID.search(word):
        return "<id>"
    if _STATUS.fullmatch(word) or _MARK.fullmatch(word):
        return word
    if word.isdigit() and len(word) <= _NUMBERED_DIGITS:
        start = found.start()
        if _NUMBERED.search(found.string[max(0, start - 12) : start]):
            return word
    if _NUMBER.fullmatch(word):
        return "<number>"
    if len(word) >= _ID_LENGTH and any(char.isalpha() for char in word) and not _is_compound(word):
        return "<id>"
    return _NUMBER.sub("<number>", word)


def _is_compound(word: str) -> bool:
    """Whether it is words and numbers side by side (`max-size=300`), not one id."""
    parts = re.split(r"[_.=+/-]", word)
    return (
        len(parts) > 1
        and all(part.isdigit() or part.isalpha() for part in parts)
        and any(len(p) > 2 and p.isalpha() for p in parts)
        and sum(p.isdigit() for p in parts) == 1
    )


def _tokens(line: str) -> list[str]:
    tokens: list[str] = []
    for word in line.split():
        if not _PARTED.search(word):
            tokens.append(word)
            continue
        pieces = _PIECES.findall(word)
        tokens.append(pieces[0])
        tokens.extend(GLUE + piece for piece in pieces[1:])
    return tokens
