"""A mail's octets -> its parts, split without recursion and within stated limits (RFC 2045, RFC 2046 §5.1, RFC 5322).

One pass over the lines that begin with `--`; each is looked up among the open boundaries. An embedded message
(message/rfc822, text/rfc822-headers, message/global) opens one `level` more, so that a reader can tell the report's own
parts from those of the mail it returns. Bodies are slices of the input; nothing is decoded here.
Known limits: OCTET_LIMIT octets, PART_LIMIT parts, DEPTH_LIMIT levels of nesting; what is beyond stays inside the part
before it, with a note. Nothing is lost for a bounce: its own words stand first.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from omicard_relay.bounce.charset import decode_bytes, decode_transfer
from omicard_relay.bounce.headers import HEAD_OCTETS, Head, parse_head

__all__ = ["DEPTH_LIMIT", "OCTET_LIMIT", "PART_LIMIT", "Part", "split_mail"]

#: A report with 5,000 recipients has about 2 MiB; what a bounce returns behind it is not needed.
OCTET_LIMIT = 4 * 1024 * 1024
#: A report has three parts and the returned mail perhaps twenty.
PART_LIMIT = 200
#: Real mails nest to about eight; the standard library gives up near a thousand.
DEPTH_LIMIT = 16
#: Octets of one part that are decoded to text.
TEXT_OCTETS = 1024 * 1024

_MESSAGE_TYPES = frozenset({"message/rfc822", "message/global", "message/news"})
_BLANK = re.compile(rb"\r?\n[ \t]*\r?\n")


@dataclass(frozen=True)
class Part:
    """One leaf of the tree, or the head of an embedded message.

    `level` 0 is the mail itself, 1 what stands inside an embedded message, and so on. `is_message` marks the head of such
    a message: its `head` is the message's own, its body follows as further parts.
    """

    head: Head
    body: bytes
    level: int
    is_message: bool = False

    @cached_property
    def content_type(self) -> str:
        """`type/subtype` in lower case; text/plain when it is not told (RFC 2045 §5.2)."""
        return self.head.content_type or "text/plain"

    @cached_property
    def text(self) -> str:
        """The body decoded: transfer encoding, then charset; line ends as LF; at most TEXT_OCTETS octets of it."""
        octets = decode_transfer(self.body[: TEXT_OCTETS * 2], self.head.get("content-transfer-encoding"))
        text = decode_bytes(octets[:TEXT_OCTETS], self.head.parameters.get("charset", ""))
        return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass
class _Open:
    """A multipart that is being read: its boundary line and the level of its parts."""

    boundary: bytes
    level: int


def split_mail(raw: bytes) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """(parts, notes); the first part is the mail's own head with its body. Never raises."""
    notes: list[str] = []
    data = raw
    if len(raw) > OCTET_LIMIT:
        data = raw[:OCTET_LIMIT]
        notes.append(f"only the first {OCTET_LIMIT} octets were read")
    begin = _skip_envelope(data)
    end, start = _head_span(data, begin, len(data))
    head = parse_head(data[begin : min(end, begin + HEAD_OCTETS)])
    whole = Part(head, data[start:], 0)
    parts = [whole]
    _Splitter(data, parts, notes).run(head, start)
    return tuple(parts), tuple(notes)


class _Splitter:
    """The one pass: keeps the open multiparts in a list, never on the call stack."""

    def __init__(self, data: bytes, parts: list[Part], notes: list[str]) -> None:
        self.data, self.parts, self.notes = data, parts, notes
        self.opened: list[_Open] = []
        self.leaf: tuple[Head, int, int] | None = None

    def run(self, head: Head, start: int) -> None:
        self._begin(head, start, 0)
        at = start
        while len(self.parts) < PART_LIMIT:
            line = at if self.data.startswith(b"--", at) else _next_line(self.data, at)
            if line < 0:
                break
            end = self.data.find(b"\n", line)
            end = len(self.data) if end < 0 else end + 1
            # RFC 2046 §5.1.1: a boundary has at most 70 characters; longer ones of the wild are read to 200.
            found = self._boundary(self.data[line : min(end, line + 204)].rstrip()) if self.opened else None
            at = end
            if found is None:
                continue
            depth, closing = found
            self._finish(line)
            level = self.opened[depth].level
            del self.opened[depth if closing else depth + 1 :]
            if not closing:
                inner, at = self._part_head(end)
                self._begin(inner, at, level)
        else:
            self.notes.append(f"only the first {PART_LIMIT} parts were read")
        self._finish(len(self.data))

    def _boundary(self, line: bytes) -> tuple[int, bool] | None:
        """(index among the open multiparts, whether it closes) of a delimiter line."""
        for index in range(len(self.opened) - 1, -1, -1):
            boundary = self.opened[index].boundary
            if line == boundary:
                return index, False
            if line == boundary + b"--":
                return index, True
        return None

    def _begin(self, head: Head, start: int, level: int) -> None:
        """A part begins: a leaf, one more multipart to open, or an embedded message whose own head follows."""
        while True:
            boundary = head.parameters.get("boundary", "").encode("utf-8", "replace")
            deep = len(self.opened) + level >= DEPTH_LIMIT
            if head.content_type.startswith("multipart/") and boundary and not deep:
                self.opened.append(_Open(b"--" + boundary.rstrip(), level))
                self.leaf = None
                return
            encoded = head.get("content-transfer-encoding").lower() in ("base64", "quoted-printable")
            if head.content_type in _MESSAGE_TYPES and not encoded and not deep:
                head, start = self._part_head(start)
                level += 1
                self.parts.append(Part(head, b"", level, is_message=True))
                continue
            if deep and head.content_type.startswith(("multipart/", "message/")):
                note = f"nesting deeper than {DEPTH_LIMIT} was not opened"
                if note not in self.notes:
                    self.notes.append(note)
            self.leaf = (head, start, level)
            return

    def _part_head(self, start: int) -> tuple[Head, int]:
        """The head of a part and where its body begins; a delimiter line ends it too (a part cut short)."""
        end, body = _head_span(self.data, start, start + HEAD_OCTETS)
        line = start if self.data.startswith(b"--", start) else _next_line(self.data, start)
        while 0 <= line < body:
            stop = self.data.find(b"\n", line, line + 204)
            if self._boundary(self.data[line : stop if stop >= 0 else line + 204].rstrip()):
                end = body = line
                break
            line = _next_line(self.data, line + 1)
        return parse_head(self.data[start:end]), body

    def _finish(self, end: int) -> None:
        if self.leaf is not None:
            head, start, level = self.leaf
            self.parts.append(Part(head, self.data[start:end], level))
            self.leaf = None


def _next_line(data: bytes, at: int) -> int:
    """Where the next line that begins with `--` starts, or -1."""
    found = data.find(b"\n--", max(at - 1, 0))
    return found + 1 if found >= 0 else -1


def _skip_envelope(data: bytes) -> int:
    """Where the header really begins: behind blank lines and an mbox `From ` line."""
    at = 0
    while data[at : at + 1] in (b"\n", b"\r") and at < 1_000:
        at += 1
    if data.startswith((b"From ", b">From "), at):
        end = data.find(b"\n", at)
        return len(data) if end < 0 else end + 1
    return at


def _head_span(data: bytes, start: int, limit: int) -> tuple[int, int]:
    """(where the header block at `start` ends, where its body begins); the blank line is looked for up to `limit`."""
    for blank in (b"\n", b"\r\n"):
        if data.startswith(blank, start):
            return start, start + len(blank)
    found = _BLANK.search(data, max(start - 1, 0), limit)
    return (found.start(), found.end()) if found else (min(limit, len(data)), min(limit, len(data)))
