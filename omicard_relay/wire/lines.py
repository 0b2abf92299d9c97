"""Chunks of any size -> whole lines with the bytes they took, so that a follower can keep exact offsets.

A line is whole once its line feed has come; what is behind the last line feed waits for the next chunk. The sum of
`size` over the lines given so far, plus `pending`, is always the number of bytes fed.
Memory is bounded: of a line above LINE_LIMIT only its beginning is kept, and it is given once, flagged as cut.
Not here: opening, rotation and truncation of files (services/), and what a line says (loglines.py).
"""

from dataclasses import dataclass

__all__ = ["LINE_LIMIT", "Line", "LineSplitter"]

#: Bytes of one line that are kept, line end included. Postfix's own lines end at 2,000 bytes of text and rsyslog's at 8 KiB,
#: journald takes 48 KiB a line: above this it is no line of a mail log.
LINE_LIMIT = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `data` has its line end unless the line was `cut` or is the rest of a stream; `size` is the bytes it took."""

    data: bytes
    size: int
    cut: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether its line end came, within the limit."""
        return self.data.endswith(b"\n")


class LineSplitter:
    """Feed it bytes, take whole lines.

    >>> splitter = LineSplitter()
    >>> splitter.feed(b"one\\ntw"), splitter.pending
    ([Line(data=b'one\\n', size=4, cut=False)], 2)
    """

    __slots__ = ("_held", "_size")

    def __init__(self) -> None:
        self._held = bytearray()
        self._size = 0

    @property
    def pending(self) -> int:
        """Bytes fed that belong to no line yet."""
        return self._size

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk completes, in order; empty when none."""
        lines: list[Line] = []
        start = 0
        while (end := chunk.find(b"\n", start) + 1) > 0:
            lines.append(self._complete(chunk[start:end]))
            start = end
        self._hold(chunk[start:])
        return lines

    def rest(self) -> Line | None:
        """What waits for its line feed, for a stream that has ended: a line without line end, None when nothing waits."""
        if not self._size:
            return None
        data, size = bytes(self._held), self._size
        self._held.clear()
        self._size = 0
        return Line(data=data, size=size, cut=size > len(data))

    def _complete(self, piece: bytes) -> Line:
        """The line that ends with this piece."""
        if not self._size and len(piece) <= LINE_LIMIT:
            return Line(data=piece, size=len(piece))
        self._hold(piece)
        line = self.rest()
        assert line is not None  # noqa: S101  the piece has its line feed at least
        return line

    def _hold(self, piece: bytes) -> None:
        """Keep a piece for later, up to the limit; count all of it."""
        self._held += piece[: LINE_LIMIT - len(self._held)]
        self._size += len(piece)
