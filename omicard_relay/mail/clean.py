"""Text from outside, made safe to show: no control character reaches a terminal, a log, a header or a page.

Not here: HTML escaping (the page templates do it).
"""

import re

__all__ = ["one_line", "printable"]

# C0 without TAB and LF, DEL, C1, and the bidirectional overrides that can make a line read as another one.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with every unsafe character shown as `\\xNN` or `\\uNNNN`; TAB and LF stay."""
    return _UNSAFE.sub(_shown, text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = 0) -> str:
    """The text on one line, white space folded, safe to print; cut to `limit` characters with an ellipsis (0: whole)."""
    # Most texts are as they should be, and asking is cheaper than making them anew.
    is_plain = text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " "
    line = text if is_plain else printable(" ".join(text.split()))
    return line if not limit or len(line) <= limit else line[: limit - 1] + "…"


def _shown(match: re.Match[str]) -> str:
    point = ord(match.group())
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}"
