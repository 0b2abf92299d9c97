"""A mail's octets -> its parts, split without recursion and within stated limits (RFC 2045, RFC 2046 §5.1, RFC 5322).

One pass over the lines that begin with `--` (with one multipart open: with its boundary); each is looked up among the open
boundaries. An embedded message (message/rfc822, message/global, also one in base64) is one part, closed: its head can be
asked for, and only who wants to look inside opens it (`Part.message`). So a report's own parts are never mixed up with those
of the mail that it returns, and what nobody asks costs nothing. Bodies are slices of the input; nothing is decoded here.
Known limits: OCTET_LIMIT octets, PART_LIMIT parts, DEPTH_LIMIT levels of nesting; what is beyond stays inside the part
before it, with a note. Nothing is lost for a bounce: its own words stand first.
"""

import re

from omicard_relay.bounce.charset import decode_bytes, decode_transfer
from omicard_relay.bounce.headers import HEAD_OCTETS, Head, parse_head, part_head
from omicard_relay.bounce.lazily import once

__all__ = ["DEPTH_LIMIT", "OCTET_LIMIT", "PART_LIMIT", "Part", "head_of", "split_mail"]

#: A report with 5,000 recipients has about 2 MiB; what a bounce returns behind it is not needed.
OCTET_LIMIT = 4 * 1024 * 1024
#: A report has three parts and the returned mail perhaps twenty.
PART_LIMIT = 200
#: Real mails nest to about eight; the standard library gives up near a thousand.
DEPTH_LIMIT = 16
#: Octets of one part that are decoded to text.
TEXT_OCTETS = 1024 * 1024

# Nothing but blanks stands between the ends of a blank line, so that each run of them is read once.
_BLANK = re.compile(rb"\n[ \t]{0,1000}\r?\n")
# A line that begins with "--" and is followed by a Content field is a delimiter.
_DELIMITER = re.compile(rb"^(--[!-~](?:[ -~]{0,198}[!-~])?)[ \t]{0,5}\r?\nContent-[A-Z]", re.M | re.I)
_GUESS_OCTETS = 65_536
_MESSAGE_TYPES = frozenset({"message/rfc822", "message/global", "message/news"})


class Part:
    """One leaf of the tree. `is_message` marks an embedded message: its body is that message, whole. Never changes."""

    def __init__(self, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body
        #: `type/subtype` in lower case; text/plain when it is not told (RFC 2045 §5.2).
        self.content_type = head.content_type or "text/plain"
        self.is_message = self.content_type in _MESSAGE_TYPES

    @once
    def octets(self) -> bytes:
        """The body without its transfer encoding; at most TEXT_OCTETS octets of it."""
        encoding = self.head.encoding
        if not encoding or encoding in _AS_IT_IS:
            return self.body[:TEXT_OCTETS]
        return decode_transfer(self.body[: TEXT_OCTETS * 2], encoding)[:TEXT_OCTETS]

    @once
    def text(self) -> str:
        """The body decoded: transfer encoding, then charset; line ends as LF; at most TEXT_OCTETS octets of it."""
        octets = self.octets
        if octets.isascii() and b"\x1b" not in octets and not self.head.is_seven_bit:
            text = octets.decode("ascii")
        else:
            text = decode_bytes(octets, self.head.parameters.get("charset", ""))
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text

    @once
    def message(self) -> bytes:
        """The embedded message; b"" when this part is none."""
        if not self.is_message:
            return b""
        return self.octets if self.head.encoding.strip() in _ENCODED else self.body


_ENCODED = frozenset({"base64", "quoted-printable"})
#: RFC 2045 §6.2: these are none.
_AS_IT_IS = frozenset({"7bit", "8bit", "binary"})


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
    parts = [Part(head, data[start:])]
    _Splitter(data, parts, notes).run(head, start)
    unsplit = len(parts) == 1 or (len(parts) == 2 and parts[1].head is head)
    if unsplit and head.content_type.startswith("multipart/") and (boundary := _guessed(data, start)):
        # The field lost its boundary, or names another one than the body has.
        notes.append("the boundary was guessed")
        del parts[1:]
        _Splitter(data, parts, notes).run(head, start, boundary)
    return tuple(parts), tuple(notes)


def _guessed(data: bytes, start: int) -> bytes:
    """The delimiter line with which the body begins, as nothing but a field name can follow one; b"" when it does not."""
    match = _DELIMITER.search(data, start, start + _GUESS_OCTETS)
    return match.group(1) if match else b""


def head_of(raw: bytes) -> Head:
    """The head alone of an embedded message."""
    begin = _skip_envelope(raw)
    end, _ = _head_span(raw, begin, begin + HEAD_OCTETS)
    return parse_head(raw[begin:end])


class _Splitter:
    """The one pass: keeps the open multiparts in a list, never on the call stack."""

    def __init__(self, data: bytes, parts: list[Part], notes: list[str]) -> None:
        self.data, self.parts, self.notes = data, parts, notes
        #: The delimiters of the multiparts that are being read, the innermost last.
        self.opened: list[bytes] = []

    def run(self, head: Head, start: int, boundary: bytes = b"") -> None:
        if boundary:
            self.opened.append(boundary)
        data, at, size, opened, parts = self.data, start, len(self.data), self.opened, self.parts
        leaf = None if boundary or self._opens(head) else head
        while opened and len(parts) < PART_LIMIT:
            # With one multipart open, only its own delimiters end anything; a returned mail has others.
            mark = opened[0] if len(opened) == 1 else b"--"
            line = at if data.startswith(mark, at) else _next_line(data, at, None, mark)
            if line < 0:
                break
            end = data.find(b"\n", line) + 1 or size
            # RFC 2046 §5.1.1: a boundary has at most 70 characters; longer ones of the wild are read to 200.
            found = self._boundary(data[line : min(end, line + 204)].rstrip())
            at = end
            if found is None:
                continue
            depth, closing = found
            if leaf is not None:
                parts.append(Part(leaf, data[start:line]))
                leaf = None
            if closing:
                del opened[depth:]
                continue
            del opened[depth + 1 :]
            head, at = self._part_head(end)
            if not self._opens(head):
                leaf, start = head, at
        if len(parts) >= PART_LIMIT:
            self.notes.append(f"only the first {PART_LIMIT} parts were read")
        if leaf is not None:
            parts.append(Part(leaf, data[start:]))

    def _boundary(self, line: bytes) -> tuple[int, bool] | None:
        """(index among the open multiparts, whether it closes) of a delimiter line."""
        opened = self.opened
        closed = line[:-2] if line[-2:] == b"--" else b""
        for index in range(len(opened) - 1, -1, -1):
            if line == opened[index]:
                return index, False
            if closed == opened[index]:
                return index, True
        return None

    def _opens(self, head: Head) -> bool:
        """Whether a part is one more multipart to open, which then is open; else it is a leaf."""
        if not head.content_type.startswith("multipart/"):
            return False
        boundary = head.parameters.get("boundary", "").encode("utf-8", "replace")
        if boundary and len(self.opened) < DEPTH_LIMIT:
            self.opened.append(b"--" + boundary.rstrip())
            return True
        if boundary:
            note = f"nesting deeper than {DEPTH_LIMIT} was not opened"
            if note not in self.notes:
                self.notes.append(note)
        return False

    def _part_head(self, start: int) -> tuple[Head, int]:
        """The head of a part and where its body begins; a delimiter line ends it too (a part cut short)."""
        data = self.data
        end, body = _head_span(data, start, start + HEAD_OCTETS)
        raw = data[start:end]
        if raw.startswith(b"--") or b"\n--" in raw:
            line = start if raw.startswith(b"--") else _next_line(data, start, end)
            while line >= 0:
                stop = data.find(b"\n", line, line + 204)
                if self._boundary(data[line : stop if stop >= 0 else line + 204].rstrip()):
                    return part_head(data[start:line]), line
                line = _next_line(data, line + 1, end)
        return part_head(raw), body


def _next_line(data: bytes, at: int, end: int | None = None, mark: bytes = b"--") -> int:
    """Where the next line that begins with `mark` starts, or -1."""
    found = data.find(b"\n" + mark, at - 1 if at else 0, end)
    return found + 1 if found >= 0 else -1


def _skip_envelope(data: bytes) -> int:
    """Where the header really begins: behind blank lines and an mbox `From ` line."""
    at = 0
    while data.startswith((b"\n", b"\r"), at) and at < 1_000:
        at += 1
    if data.startswith((b"From ", b">From "), at):
        end = data.find(b"\n", at)
        return len(data) if end < 0 else end + 1
    return at


def _head_span(data: bytes, start: int, limit: int) -> tuple[int, int]:
    """(where the header block at `start` ends, where its body begins); the blank line is looked for up to `limit`."""
    if data.startswith(b"\n", start):
        return start, start + 1
    if data.startswith(b"\r\n", start):
        return start, start + 2
    limit = min(limit, len(data))
    found = _BLANK.search(data, start, limit)
    if found is None:
        return limit, limit
    end, body = found.span()
    return (end - 1 if end > start and data[end - 1] == 13 else end), body
