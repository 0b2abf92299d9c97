"""A reply's words in the form that rules are read against: one line, plain quotes, addresses and ids masked.

Addresses stand as `a@b`, because their local parts give causes that nobody stated (`<mailbox-full@example.com>: user
unknown`); queue ids, IP addresses and long numbers as `id0`, `192.0.2.1` and `0000000000`, because they change with every mail
and mean nothing: two replies that differ in them alone are the same reply. Case is kept for showing and folded for
matching, position by position where both have the same length.
Not here: peeling wrappers off (mail/reading.py).
"""

import re
import unicodedata
from typing import NamedTuple

__all__ = ["ADDRESS", "Wording", "folded_octets", "masked", "wording_of"]

#: What stands in the place of every address.
ADDRESS = "a@b"
# A code that a multi-line reply puts before an address stays: `550-ann@example.com`; read_reply reads it there.
_CODES = r"((?:[!#-&*+./?^`{|}~-]{0,3}[245]\d\d(?!\d)[#-]{0,3})?(?:[#-]{0,3}[245]\.\d{1,3}\.\d{1,3}(?!\d|\.\d)-?)?)"
# Each run is read once, from where it begins, however long: a limit would leave a part that the next masking reads
# anew. A backslash is no part of an address: `ann@example.com\n550 ...` is how some logs write a line break.
_ADDRESS = re.compile(
    rf"""(?<![^\s<>"'()\[\],:;=\\]){_CODES}[^\s<>"'()\[\],:;@=\\\x00]+@[^\s<>"'()\[\],;:@/?&=\\]+(?<![.!])"""
)
_ASCII_ADDRESS = re.compile(
    rf"""(?<![!#-&*+./0-9?-Z^-~-]){_CODES}[!#-&*+./0-9?A-Z^-~-]+@[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*(?<!-)"""
)
#: Stands for an address while a word is worked on; no text that is masked holds it.
_MASKED = "\x00"
_MASKED_ADDRESS = rf"\1{_MASKED}"
_QUOTED_ADDRESS = re.compile(r"""<"[^"<>]+"@[^\s<>@]+>""")
# Private, loopback and unset addresses stay: an MX that points to one is a fault of its own (RFC 6890 §2.2.2).
_IPV4 = re.compile(
    r"(?<![0-9A-Za-z.])(?!(?:0|10|127|169\.254|172\.(?:1[6-9]|2\d|3[01])|192\.168)\.)"
    r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9.]?[0-9])"
)
_IPV6 = re.compile(
    r"(?<![\w:.])(?![245]\d\d:)(?:[0-9A-Fa-f]{1,4}:){3,7}(?::?[0-9A-Fa-f]{1,4}|:)?(?:::?[0-9A-Fa-f]{1,4}){0,7}"
    r"(?![\w:@]|[!#-&*+./?^`{|}~-]\S)"
)
#: Letters and digits in one run, ten or more of them, or in Exim's form: no word, and longer than any provider's code.
_LONG_RUN = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-(?!id0)[0-9A-Za-z]{2,4}(?![0-9A-Za-z]|\.[0-9])|[A-Za-z0-9]{10,}"
)
#: A code and words without a blank between them, as a few servers write.
_CODE_AND_WORDS = re.compile(r"[245]\d\d[A-Za-z]")
_DIGIT = re.compile(r"\d")
_LONG = 10
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
_LONG_NUMBER = re.compile(r"[0-9]{10,}")
#: Digits in a long run from which on it is an id; `ipv6-smtp-a1` has fewer.
_ID_DIGITS = 3
#: Words that need no masking, learnt as they come: asking for one is far cheaper than looking for ids in it.
_plain: set[str] = set()
#: A mail log has some thousand words; hostile ones must not fill the memory.
_MOST_PLAIN, _LONGEST_PLAIN = 50_000, 60
_PLAIN = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2010": "-",
        "\u2011": "-",
        "\u2013": "-",
        "\u2014": "-",
    }
)
# NFKC takes these apart, while everybody types them, and writes them in a rule, as one: Thai and Lao AM.
_AM = (("\u0e4d\u0e32", "\u0e33"), ("\u0ecd\u0eb2", "\u0eb3"))


class Wording(NamedTuple):
    """`shown` for cutting words out, `octets` its lower case in UTF-8 for the matcher."""

    shown: str
    octets: bytes

    @property
    def folded(self) -> str:
        """What the rules are compared with."""
        return self.shown.lower()

    def cut(self, start: int, end: int) -> str:
        """The words at these octets in their own case."""
        if self.shown.isascii():
            return self.shown[start:end]
        shown = self.shown.encode("utf-8", "replace")
        if len(shown) == len(self.octets):
            return shown[start:end].decode("utf-8", "replace")
        # A letter such as the Turkish dotted I is longer in lower case: counted letter by letter.
        at, letters = 0, []
        for letter in self.shown:
            if start <= at < end:
                letters.append(letter)
            at += len(folded_octets(letter))
        return "".join(letters)


def wording_of(text: str) -> Wording:
    """The wording of a text that is on one line already."""
    if text.isascii():
        shown = masked(text)
        return Wording(shown, shown.lower().encode())
    # NFKC makes full-width letters and punctuation plain, and puts combining accents together.
    shown = " ".join(unicodedata.normalize("NFKC", text).translate(_PLAIN).split())
    for parted, whole in _AM:
        shown = shown.replace(parted, whole)
    shown = masked(shown)
    return Wording(shown, folded_octets(shown))


def folded_octets(text: str) -> bytes:
    """Lower case in UTF-8; the sigma that ends a Greek word is like any other, as it is for google-re2."""
    return text.lower().replace("\u03c2", "\u03c3").encode("utf-8", "replace")


def masked(text: str) -> str:
    """The text with addresses, ids, IP addresses and long numbers masked; doing it twice changes nothing more."""
    if _MASKED in text:
        text = text.replace(_MASKED, " ")
    if '<"' in text:
        text = _QUOTED_ADDRESS.sub(f"<{ADDRESS}>", text)
    words = text.split(" ")
    for place, word in enumerate(words):
        if word not in _plain:
            words[place] = _masked_word(word)
    return " ".join(words)


def _masked_word(word: str) -> str:
    if word.isalnum() and len(word) < _LONG:
        result = word
    elif "@" in word:
        # What an ASCII address touches is not part of it: Chinese and Japanese have no spaces.
        result = _ASCII_ADDRESS.sub(_MASKED_ADDRESS, word)
        if "@" in result:
            result = _ADDRESS.sub(_MASKED_ADDRESS, result)
        result = result.replace(_MASKED, ADDRESS)
    else:
        result = word
    if _DIGIT.search(result):
        if len(result) >= _LONG:
            result = _LONG_NUMBER.sub("0000000000", result)
            result = _LONG_RUN.sub(_masked_run, result)
        if "." in result:
            result = _IPV4.sub("192.0.2.1", result)
        if ":" in result:
            result = _IPV6.sub("::0", result)
    if result == word and len(word) <= _LONGEST_PLAIN and len(_plain) < _MOST_PLAIN:
        _plain.add(word)
    return result


def _masked_run(found: re.Match[str]) -> str:
    run = found.group()
    letters = len(run.translate(_NO_DIGITS))
    is_id = 0 < letters <= len(run) - _ID_DIGITS and not (letters == len(run) - 3 and _CODE_AND_WORDS.match(run))
    return "id0" if is_id else run
