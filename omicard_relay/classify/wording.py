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

__all__ = ["ADDRESS", "Wording", "masked", "wording_of"]

#: What stands in the place of every address.
ADDRESS = "a@b"
# RFC 5321 §4.5.3.1: 64 octets of local part, 255 of domain; the bounds also keep the search linear.
_ADDRESS = re.compile(r"""[^\s<>"'()\[\],:;@=]{1,64}@[^\s<>"'()\[\],;:@/?&]{1,255}(?<![.!])""")
_QUOTED_ADDRESS = re.compile(r"""<"[^"<>]{1,64}"@[^\s<>@]{1,255}>""")
# Private, loopback and unset addresses stay: an MX that points to one is a fault of its own (RFC 6890 §2.2.2).
_IPV4 = re.compile(
    r"(?<![\d.])(?!(?:0|10|127|169\.254|172\.(?:1[6-9]|2\d|3[01])|192\.168)\.)\d{1,3}(?:\.\d{1,3}){3}(?![\d.]?\d)"
)
_IPV6 = re.compile(
    r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){3,7}(?::?[0-9A-Fa-f]{1,4}|:)?(?:::?[0-9A-Fa-f]{1,4}){0,7}(?![\w:])"
)
#: Letters and digits in one run, ten or more of them, or in Exim's form: no word, and longer than any provider's code.
_LONG_RUN = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4}(?![0-9A-Za-z])|[A-Za-z0-9]{10,200}"
)
_DIGIT = re.compile(r"\d")
_LONG = 10
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
_LONG_NUMBER = re.compile(r"\d{10,}")
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


class Wording(NamedTuple):
    """`shown` for cutting words out, `octets` its lower case in UTF-8 for the matcher."""

    shown: str
    octets: bytes

    @property
    def folded(self) -> str:
        """What the rules are compared with."""
        return self.shown.lower()

    def cut(self, start: int, end: int) -> str:
        """The words at these octets in their own case, where lower case has the same length."""
        if self.shown.isascii():
            return self.shown[start:end]
        shown = self.shown.encode("utf-8", "replace")
        return (shown if len(shown) == len(self.octets) else self.octets)[start:end].decode("utf-8", "replace")


def wording_of(text: str) -> Wording:
    """The wording of a text that is on one line already."""
    shown = text
    if not shown.isascii():
        # NFKC makes full-width letters and punctuation plain, and puts combining accents together.
        shown = " ".join(unicodedata.normalize("NFKC", shown).translate(_PLAIN).split())
    shown = masked(shown)
    return Wording(shown, shown.lower().encode("utf-8", "replace"))


def masked(text: str) -> str:
    """The text with addresses, ids, IP addresses and long numbers masked; doing it twice changes nothing more."""
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
        result = _ADDRESS.sub(ADDRESS, word)
    else:
        result = word
    if _DIGIT.search(result):
        if "." in result:
            result = _IPV4.sub("192.0.2.1", result)
        if ":" in result:
            result = _IPV6.sub("::0", result)
        if len(result) >= _LONG:
            result = _LONG_RUN.sub(_masked_run, result)
        result = _LONG_NUMBER.sub("0000000000", result)
    if result == word and len(word) <= _LONGEST_PLAIN and len(_plain) < _MOST_PLAIN:
        _plain.add(word)
    return result


def _masked_run(found: re.Match[str]) -> str:
    run = found.group()
    letters = len(run.translate(_NO_DIGITS))
    return "id0" if 0 < letters <= len(run) - _ID_DIGITS else run
