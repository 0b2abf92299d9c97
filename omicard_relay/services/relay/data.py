"""The octets after DATA -> one mail's content, with every form of SMTP smuggling refused. Pure, any chunking.

Only CR LF ends a line, only CR LF `.` CR LF ends the mail (RFC 5321 §2.3.8, §4.1.1.4). A CR or LF that stands alone, or a
NUL, is a fault at once: servers differ on them, and one of them might read a second mail inside the first. A line of
more than 998 octets (RFC 5322 §2.1.1), or more octets than the limit, is a fault that is told after the end; nothing
of such a mail is held.
Left to others: replies and sockets (commands.py). Known limits: none.
"""

from collections.abc import Callable
from enum import StrEnum

__all__ = ["LINE_LIMIT", "DataFault", "DataScanner"]

#: Octets of a line without CR LF and without the transparent dot.
LINE_LIMIT = 998
_END = b"\r\n.\r\n"


class DataFault(StrEnum):
    """Why a content is not taken."""

    BARE_LF = "bare-lf"
    BARE_CR = "bare-cr"
    NUL = "nul"
    LONG_LINE = "long-line"
    TOO_BIG = "too-big"
    NO_MEMORY = "no-memory"

    @property
    def is_smuggling(self) -> bool:
        """Whether what follows can't be trusted to be commands."""
        return self in (DataFault.BARE_LF, DataFault.BARE_CR, DataFault.NUL)


class DataScanner:
    """Feed chunks until `feed` gives the octets after the end, or `fault` is one of smuggling.

    `reserve(n)` is asked before n more octets are held and may say no.
    """

    def __init__(self, size_limit: int, reserve: Callable[[int], bool]) -> None:
        self.fault: DataFault | None = None
        self.size = 0
        self._size_limit = size_limit
        self._reserve = reserve
        self._pieces: list[bytes] = []
        # The content begins at a line's start: a CR LF that is taken off again in the end.
        self._tail = b"\r\n"
        self._begun = False
        self._line = 0

    def feed(self, chunk: bytes) -> bytes | None:
        """Take a chunk; None: more is needed; else the end was found, and these octets follow it."""
        window = self._tail + chunk
        end = window.find(_END)
        if end >= 0:
            self._take(window[: end + 2])
            return window[end + len(_END) :]
        # What could be the beginning of an end, or of a line end, waits for the next chunk.
        kept = next((n for n in (4, 3, 2, 1) if window.endswith(_END[:n])), 0)
        cut = len(window) - kept
        self._take(window[:cut])
        self._tail = window[cut:]
        return None

    def content(self) -> bytes:
        """The mail, dots unstuffed, every line with CR LF; the scanner holds it no longer."""
        content = b"".join(self._pieces)
        self._pieces.clear()
        return content

    def _take(self, piece: bytes) -> None:
        if not piece or self.fault is not None:
            return
        ends = piece.count(b"\r\n")
        if piece.count(b"\n") != ends:
            self._fail(DataFault.BARE_LF)
        elif piece.count(b"\r") != ends:
            self._fail(DataFault.BARE_CR)
        elif b"\0" in piece:
            self._fail(DataFault.NUL)
        else:
            self._keep(piece.replace(b"\r\n.", b"\r\n"))

    def _keep(self, piece: bytes) -> None:
        first, *others = piece.split(b"\r\n")
        longest = max(self._line + len(first), max(map(len, others), default=0))
        self._line = len(others[-1]) if others else self._line + len(first)
        if not self._begun:
            piece, self._begun = piece[2:], True
        self.size += len(piece)
        if longest > LINE_LIMIT:
            self._fail(DataFault.LONG_LINE)
        elif self.size > self._size_limit:
            self._fail(DataFault.TOO_BIG)
        elif not self._reserve(len(piece)):
            self._fail(DataFault.NO_MEMORY)
        else:
            self._pieces.append(piece)

    def _fail(self, fault: DataFault) -> None:
        self.fault = fault
        self._pieces.clear()
