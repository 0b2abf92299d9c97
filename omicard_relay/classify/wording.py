"""A reply's words in the form that rules are read against: one line, plain quotes, every address as `a@b`.

Addresses are masked because their local parts give causes that nobody stated (`<mailbox-full@example.com>: user
unknown`). Case is kept for showing and folded for matching, position by position where both have the same length.
Not here: peeling wrappers off (mail/reading.py).
"""

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["ADDRESS", "Wording", "wording_of"]

#: What stands in the place of every address.
ADDRESS = "a@b"
# RFC 5321 §4.5.3.1: 64 octets of local part, 255 of domain; the bounds also keep the search linear.
_ADDRESS = re.compile(r"""[^\s<>"'()\[\],:;@=]{1,64}@[^\s<>"'()\[\],;:@/?&]{1,255}(?<![.!])""")
_QUOTED_ADDRESS = re.compile(r"""<"[^"<>]{1,64}"@[^\s<>@]{1,255}>""")
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


@dataclass(frozen=True, slots=True)
class Wording:
    """`shown` for cutting words out, `folded` its lower case, `octets` the same in UTF-8 for the matcher."""

    shown: str
    folded: str
    octets: bytes


def wording_of(text: str) -> Wording:
    """The wording of a text that is on one line already."""
    shown = text
    if not shown.isascii():
        # NFKC makes full-width letters and punctuation plain, and puts combining accents together.
        shown = " ".join(unicodedata.normalize("NFKC", shown).translate(_PLAIN).split())
    if "@" in shown:
        if '<"' in shown:
            shown = _QUOTED_ADDRESS.sub(f"<{ADDRESS}>", shown)
        shown = _ADDRESS.sub(ADDRESS, shown)
    folded = shown.lower()
    return Wording(shown, folded, folded.encode("utf-8", "replace"))
