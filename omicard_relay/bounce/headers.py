"""A block of header fields -> `Head`: unfolded, decoded, in order (RFC 5322 §2.2, RFC 2047, RFC 2231).

Reads `name: value` lines as loosely as the wild writes them: bare LF, a leading mbox `From ` line, white space before the
colon, 8-bit octets. A block is taken apart when its first field is asked for, and a value decoded when it is: most parts of a
mail are never asked. Known limits: at most HEAD_OCTETS octets and FIELD_LIMIT fields of a block are read.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

from omicard_relay.bounce.charset import decode_bytes, decode_parameter, decode_words
from omicard_relay.bounce.lazily import once

__all__ = ["HEAD_OCTETS", "Head", "parse_date", "parse_head", "parse_parameters", "part_head"]

#: Postfix takes 102,400 octets of header (header_size_limit); what is beyond tells nothing about a bounce.
HEAD_OCTETS = 131_072
FIELD_LIMIT = 1_000
#: A field's value in characters; a subject or a Diagnostic-Code is far shorter.
VALUE_LIMIT = 20_000

# A line that is no field goes on with the one before it, folded or not. Nothing can fail behind the colon, so that no
# octet is read twice but the at most 120 of what might be a name.
_NAME = re.compile(rb"[!-9;-~]{1,100}[ \t]{0,20}:")
_FIELDS = re.compile(
    rb"^([!-9;-~]{1,100})[ \t]{0,20}:([^\n]*(?:\n(?![!-9;-~]{1,100}[ \t]{0,20}:)[^\n]*)*)", re.MULTILINE
)
#: Fields that are looked for one by one, before a head is taken apart for all that follow.
_ASKED = 6
# The one field that is asked of every part, straight from its octets: quicker than taking a short head apart.
_CONTENT_TYPE = re.compile(rb"(?:^|\n)content-type[ \t]{0,20}:[ \t\r\n]{0,20}([!-:<-~]{1,100})", re.I)
_SHORT_HEAD = 500
_PARAMETER = re.compile(
    r';\s{0,20}([A-Za-z0-9_*.-]{1,60})\s{0,20}=\s{0,20}("(?:[^"\\]|\\.){0,2000}"?|[^;\s]{0,2000})', re.S
)
#: Parts of the names of charsets in which other characters than ASCII's are written with its octets.
_SEVEN_BIT = (
    "utf-7",
    "utf7",
    "utf-16",
    "utf16",
    "utf-32",
    "utf32",
    "hz",
    "unicode",
    "2022",
    "ebcdic",
    "cp037",
    "cp500",
)
#: What nearly every report declares: known at a glance.
_ASCII_BASED = frozenset({"us-ascii", "utf-8", "iso-8859-1"})
# As nearly all write them: quoted whole or not at all, with no `;` inside, and in one piece.
_USUAL_PARAMETERS = re.compile(r'[^;]{1,200}(?:; ?[A-Za-z0-9_.-]{1,60}=(?:"[^";\\]{1,200}"|[^\s;"]{1,200})){1,8}')
_QUOTED_PAIR = re.compile(r"\\(.)", re.S)
# The form that RFC 5322 §3.3 wants and nearly all mails have.
_DATE = re.compile(
    r"\s{0,5}(?:[A-Z][a-z]{2}, {0,3})?(\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4})"
    r" (\d\d):(\d\d):(\d\d) ([+-])(\d\d)([0-5]\d)\b",
    re.ASCII,
)
_MONTHS = {
    name: 1 + number
    for number, name in enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
}


class Head:
    """Header fields in order, as octets until they are asked for. Never changes."""

    def __init__(self, raw: bytes = b"") -> None:
        self._raw = raw
        self._decoded: dict[str, str] = {}

    @once
    def _found(self) -> list[tuple[bytes, bytes]]:
        return _FIELDS.findall(self._raw)[:FIELD_LIMIT]

    @once
    def fields(self) -> tuple[tuple[str, bytes], ...]:
        """(name in lower case, octets of the value with its folding) of each field."""
        return tuple((name.decode("ascii").lower(), value) for name, value in self._found)

    @once
    def _first(self) -> dict[bytes, bytes]:
        return {name.lower(): value for name, value in reversed(self._found)}

    @once
    def _low(self) -> bytes:
        return self._raw.lower()

    def get(self, name: str) -> str:
        """The first field of that name (lower case), decoded, white space folded; "" when there is none."""
        value = self._decoded.get(name)
        if value is None:
            octets = self._sought(name.encode())
            value = self._decoded[name] = _value(octets) if octets else ""
        return value

    def _sought(self, name: bytes) -> bytes | None:
        """The octets of the first field of that name. Few fields are asked of most heads: those are looked for one by one."""
        if len(self._decoded) >= _ASKED or "_first" in self.__dict__:
            return self._first.get(name)
        low = self._low
        at = 0
        if not low.startswith(name):
            at = low.find(b"\n" + name) + 1
            if not at:
                return None
        at += len(name)
        if low[at : at + 1] != b":":
            # A longer name that begins alike, or white space before the colon.
            return self._first.get(name)
        end = low.find(b"\n", at)
        while end >= 0 and low.startswith((b" ", b"\t"), end + 1):
            end = low.find(b"\n", end + 1)
        if 0 <= end < len(low) - 1 and not _NAME.match(low, end + 1):
            return self._first.get(name)
        return self._raw[at + 1 : end if end >= 0 else None]

    def mentions(self, *words: bytes) -> bool:
        """Whether one of these octets (lower case) stands anywhere in the block, decoded or not: a cheap first look."""
        low = self._low
        for word in words:  # noqa: SIM110  twice as fast as any() with a generator
            if word in low:
                return True
        return False

    def all(self, name: str) -> tuple[str, ...]:
        """Every field of that name, in order."""
        octets = name.encode()
        if octets not in self._first:
            return ()
        return tuple(_value(value) for key, value in self._found if key.lower() == octets)

    @once
    def content_type(self) -> str:
        """`type/subtype` in lower case; "" when it is not told."""
        if len(self._raw) < _SHORT_HEAD:
            found = _CONTENT_TYPE.search(self._raw)
            return found.group(1).decode("ascii").lower() if found else ""
        return self.get("content-type").partition(";")[0].strip().lower()

    @once
    def parameters(self) -> dict[str, str]:
        """The Content-Type's parameters, names in lower case."""
        return parse_parameters(self.get("content-type"))

    @once
    def encoding(self) -> str:
        """The Content-Transfer-Encoding in lower case; "" when it is not told."""
        return self.get("content-transfer-encoding").lower()

    @once
    def is_seven_bit(self) -> bool:
        """Whether its charset writes other characters than ASCII's with ASCII's octets."""
        if not self.mentions(b"charset"):
            # What is told nowhere is ASCII or more; in other words than the parameter's it counts for nothing.
            return False
        declared = self.get("content-type").lower()
        return declared.partition("charset=")[2].strip('"') not in _ASCII_BASED and any(
            name in declared for name in _SEVEN_BIT
        )


def parse_head(raw: bytes) -> Head:
    """The fields of a block; a line that is no field continues the one before it, or is skipped at the beginning."""
    return Head(raw[:HEAD_OCTETS])


def part_head(raw: bytes) -> Head:
    """The same for a part, of which most reports have the very same few: a short one is taken apart once for all mails."""
    # A boundary is another one in every mail, and would only push the others out.
    return _known_head(raw) if len(raw) < _SHORT_HEAD and b"oundary" not in raw else parse_head(raw)


# Below 1 MB all together.
@lru_cache(maxsize=256)
def _known_head(raw: bytes) -> Head:
    return Head(raw)


def parse_parameters(value: str) -> dict[str, str]:
    """The parameters behind a value's first `;`, RFC 2231 continuations joined and extended values decoded."""
    found: dict[str, str] = {}
    if ";" not in value:
        return found
    usual = _USUAL_PARAMETERS.fullmatch(value)
    if usual:
        for piece in value.split(";")[1:]:
            name, _, text = piece.strip().partition("=")
            found.setdefault(name.lower(), text.strip('"'))
        return found
    for match in _PARAMETER.finditer(value):
        name, text = match.group(1).lower(), match.group(2)
        if text.startswith('"'):
            text = text.strip('"')
            text = _QUOTED_PAIR.sub(r"\1", text) if "\\" in text else text
        base, star, rest = name.partition("*")
        if star and (rest in ("", "0", "0*")):
            found[base] = decode_parameter(text) if name.endswith("*") else text
        elif star:
            found[base] = found.get(base, "") + text
        else:
            found.setdefault(name, text)
    return found


def parse_date(value: str) -> datetime | None:
    """An RFC 5322 date as aware UTC; None when it cannot be read. No zone counts as UTC."""
    usual = _DATE.match(value)
    try:
        if usual:
            day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = usual.groups()
            local = datetime(
                int(year), _MONTHS[month], int(day), int(hour), int(minute), min(int(second), 59), tzinfo=UTC
            )
            offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
            return local - offset if sign == "+" else local + offset
        if not value:
            return None
        moment = parsedate_to_datetime(value[:100])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None


def _value(octets: bytes) -> str:
    octets = octets[: VALUE_LIMIT * 4]
    plain = octets.isascii() and b"\x1b" not in octets
    text = (octets.decode("ascii") if plain else decode_bytes(octets)).strip(" \t\r\n")
    # Most values are on one line: to fold their white space takes longer than to see that there is none to fold.
    if "  " in text or not text.isprintable():
        text = " ".join(text.split())
    return (decode_words(text) if "=?" in text else text)[:VALUE_LIMIT]
