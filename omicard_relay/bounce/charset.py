"""Bytes -> text, whatever charset they claim: RFC 2045 encodings, RFC 2047 words, RFC 2231 parameters.

Never raises: a wrong or unknown charset costs replacement characters, never the mail. Charset names of the wild are read
as the superset that really is sent (gb2312 as gb18030, shift_jis as cp932, iso-8859-1 as windows-1252).
Known limits: an undeclared 8-bit text that is no UTF-8 is guessed between Big5, GB 18030, EUC-KR, Shift_JIS, EUC-JP,
KOI8-R, windows-1251 and windows-1252 by its commonest characters; other charsets without a name come out as windows-1252.
"""

import base64
import binascii
import quopri
import re
from urllib.parse import unquote_to_bytes

__all__ = ["decode_bytes", "decode_transfer", "decode_words"]

#: What is sent under a name is often the vendor's superset; and some names are known to no library.
_REALLY = {
    "ansi_x3.4-1968": "ascii",
    "ascii": "windows-1252",
    "big5": "cp950",
    "big-5": "cp950",
    "cn-big5": "cp950",
    "x-x-big5": "cp950",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-8859-1": "windows-1252",
    "iso-8859-8-i": "iso-8859-8",
    "latin1": "windows-1252",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "us-ascii": "windows-1252",
    "unicode-1-1-utf-7": "utf-7",
    "utf8mb4": "utf-8",
}
#: Python codecs that are no charset of a mail, or that need more than linear time on hostile input.
_REFUSED = frozenset({"idna", "mbcs", "oem", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})
#: Guesses for undeclared 8-bit text, each with characters so common that ordinary text shows several of them.
_GUESSES = (
    ("cp950", re.compile("[的是一不有信件您人件我在無法收郵請為已至主機本此寄]")),
    ("gb18030", re.compile("[的是一不有信件您人邮我在无法收请为已至主机本此寄]")),
    ("cp949", re.compile("[이다는을를의에가지하고메일수신자없습니]")),
)
#: Charsets under whose name the other one's octets are sent; each takes nearly all octets of the other.
_MISTAKEN = {"cp950": "gb18030", "gb18030": "cp950"}
#: Japanese shows in its syllables alone; other double-octet texts are not even valid under these names.
_JAPANESE = ("cp932", "euc_jp")
_KANA = re.compile("[ぁ-ん]")
#: Cyrillic, one octet a letter: small letters are capitals under the other name, so the commonest small ones decide.
_CYRILLIC = ("koi8-r", "windows-1251")
_COMMON_CYRILLIC = re.compile("[оеаинтсрвлкмдпуя]")
#: A few octets may be anything; and Chinese has no spaces between words.
_CYRILLIC_OCTETS, _LONGEST_WORD = 24, 30
#: Western texts have letters beyond ASCII one at a time, Cyrillic ones whole words.
_LONG_RUN = re.compile(rb"[\x80-\xff]{4,}")
_GUESS_OCTETS = 4096
_SURROGATE = re.compile("[\ud800-\udfff]")
_SEVEN_BIT_OCTETS = bytes(range(0x80))
# Between `?` no other `?` may stand, so that a run is read once and time stays linear.
_WORD = re.compile(r"=\?([A-Za-z0-9_.:+-]{1,40})(?:\*[A-Za-z-]{1,20})?\?([bBqQ])\?([^?]*)\?=")


def decode_bytes(raw: bytes, charset: str = "") -> str:
    """The text of `raw` under `charset` (as declared, any case); UTF-8 wins wherever the bytes are valid UTF-8."""
    name = charset.strip().strip("\"'").lower()
    if b"\x1b$" in raw[:_GUESS_OCTETS] and not name.startswith("iso-2022"):
        # 7-bit Japanese in a part that declares nothing, or ASCII: valid UTF-8, but of no use as such.
        name = "iso-2022-jp"
    if not name.startswith(("iso-2022", "utf-16", "utf-32", "utf-7", "hz", "unicode")):
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    if name.startswith("iso-2022") and b"\x1b" not in raw and not raw.isascii():
        # Octets of Shift_JIS or EUC-JP under the name of the 7-bit Japanese.
        name = ""
    name = _REALLY.get(name, name)
    if name in _MISTAKEN and not raw.isascii():
        name = _mended(name, raw)
    if name in ("", "windows-1252", "utf-8", "utf8", "unknown-8bit", "x-unknown", "8bit", "binary"):
        name = "utf-8" if name in ("utf-8", "utf8") and not _is_mislabelled(raw) else _guessed(raw)
    if name.replace("-", "_") in _REFUSED:
        name = "windows-1252"
    try:
        # UTF-7 can spell half a character, which no other text can hold.
        return _SURROGATE.sub("\ufffd", raw.decode(name, "replace"))
    except (LookupError, UnicodeError, ValueError):
        return raw.decode(_guessed(raw), "replace")


def decode_transfer(raw: bytes, encoding: str) -> bytes:
    """The octets behind a Content-Transfer-Encoding (RFC 2045 §6); what cannot be decoded is skipped."""
    name = encoding.strip().lower()
    if name == "quoted-printable":
        return quopri.decodestring(raw)
    if name == "base64":
        return _base64(raw)
    return raw


def decode_words(text: str) -> str:
    """A header value with its RFC 2047 words decoded; neighbours of one charset are joined before (split characters)."""
    if "=?" not in text:
        return text
    out: list[str] = []
    pending, charset, end = b"", "", 0
    for match in _WORD.finditer(text):
        between = text[end : match.start()]
        end = match.end()
        octets = _word_octets(match.group(2), match.group(3))
        if pending and not between.strip() and charset == match.group(1).lower():
            pending += octets
            continue
        out.append(decode_bytes(pending, charset))
        if between.strip() or not pending:
            out.append(between)
        pending, charset = octets, match.group(1).lower()
    out.append(decode_bytes(pending, charset))
    out.append(text[end:])
    return "".join(out)


def decode_parameter(value: str) -> str:
    """An RFC 2231 §4 extended value, `charset'language'percent-encoded`."""
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    return decode_bytes(unquote_to_bytes(encoded), charset) if quote else value


def _word_octets(form: str, body: str) -> bytes:
    raw = body.encode("utf-8", "replace")
    return _base64(raw) if form in "bB" else quopri.decodestring(raw, header=True)


def _base64(raw: bytes) -> bytes:
    """The decoded octets, also of texts that were joined after their padding; a cut end loses at most its last group."""
    return b"".join(_base64_run(run) for run in raw.translate(None, b" \t\r\n").split(b"=") if run)


def _base64_run(run: bytes) -> bytes:
    whole = run[:-1] if len(run) % 4 == 1 else run
    try:
        return base64.b64decode(whole + b"=" * (-len(whole) % 4))
    except (binascii.Error, ValueError):
        return b""


def _is_mislabelled(raw: bytes) -> bool:
    """Whether so little of a text that claims to be UTF-8 is so that it must be another; a cut or mended one has few faults."""
    sample = raw[:_GUESS_OCTETS]
    return sample.decode("utf-8", "replace").count("\ufffd") * 4 > len(sample.translate(None, _SEVEN_BIT_OCTETS)) > 8


def _mended(name: str, raw: bytes) -> str:
    """The Chinese charset that is declared, unless nothing common stands there under it and much under the other one."""
    sample = raw[:_GUESS_OCTETS]
    eight_bit = len(sample.translate(None, _SEVEN_BIT_OCTETS))
    common = dict(_GUESSES)
    if eight_bit < 24 or len(common[name].findall(sample.decode(name, "replace"))) * 40 >= eight_bit:
        return name
    other = _MISTAKEN[name]
    return other if len(common[other].findall(sample.decode(other, "replace"))) * 20 >= eight_bit else name


def _guessed(raw: bytes) -> str:
    """The charset whose commonest characters show most; windows-1252 when none does."""
    if b"\x1b$" in raw[:_GUESS_OCTETS] or b"\x1b(J" in raw[:_GUESS_OCTETS]:
        return "iso2022_jp_ext"
    sample = raw[:_GUESS_OCTETS]
    eight_bit = len(sample.translate(None, _SEVEN_BIT_OCTETS))
    if eight_bit < 8:
        return "windows-1252"
    runs = [len(run) for run in _LONG_RUN.findall(sample)]
    if eight_bit >= _CYRILLIC_OCTETS and runs and max(runs) <= _LONGEST_WORD and sum(runs) * 2 > eight_bit:
        counts = {name: len(_COMMON_CYRILLIC.findall(sample.decode(name, "replace"))) for name in _CYRILLIC}
        likely = max(counts, key=lambda name: counts[name])
        if counts[likely] * 2 > eight_bit:
            return likely
    best, name = 0, "windows-1252"
    for charset in _JAPANESE:
        text = sample[:-1].decode(charset, "replace")
        hits = len(_KANA.findall(text))
        if hits > best and hits * 12 >= eight_bit and text.count("\ufffd") <= len(text) // 50 + 1:
            best, name = 4 * hits, charset
    for charset, common in _GUESSES:
        hits = len(common.findall(sample.decode(charset, "replace")))
        # Two octets a character: at least one in ten characters is among the commonest in real text.
        if hits > best and hits * 20 >= eight_bit:
            best, name = hits, charset
    return name
