"""A block of header fields -> `Head`: unfolded, decoded, in order (RFC 5322 §2.2, RFC 2047, RFC 2231).

Reads `name: value` lines as loosely as the wild writes them: bare LF, a leading mbox `From ` line, white space before the
colon, 8-bit octets. Known limits: at most HEAD_OCTETS octets and FIELD_LIMIT fields of a block are read; the rest is left out.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

from omicard_relay.bounce.charset import decode_bytes, decode_parameter, decode_words

__all__ = ["HEAD_OCTETS", "Head", "parse_date", "parse_head", "parse_parameters"]

#: Postfix takes 102,400 octets of header (header_size_limit); what is beyond tells nothing about a bounce.
HEAD_OCTETS = 131_072
FIELD_LIMIT = 1_000
#: A field's value in characters; a subject or a Diagnostic-Code is far shorter.
VALUE_LIMIT = 20_000

_FIELD = re.compile(rb"([!-9;-~]{1,100})[ \t]{0,20}:")
_PARAMETER = re.compile(
    r';\s{0,20}([A-Za-z0-9_*.-]{1,60})\s{0,20}=\s{0,20}("(?:[^"\\]|\\.){0,2000}"?|[^;\s]{0,2000})', re.S
)


@dataclass(frozen=True)
class Head:
    """Header fields in order: (lower-case name, octets with folding taken out). A value is decoded when it is asked for."""

    fields: tuple[tuple[str, bytes], ...] = ()

    def get(self, name: str) -> str:
        """The first field of that name (lower case), decoded, white space folded; "" when there is none."""
        value = self._decoded.get(name)
        if value is None:
            value = self._decoded[name] = _value(self._first.get(name, b""))
        return value

    def all(self, name: str) -> tuple[str, ...]:
        """Every field of that name, in order."""
        return tuple(_value(value) for key, value in self.fields if key == name)

    @cached_property
    def _first(self) -> dict[str, bytes]:
        return dict(reversed(self.fields))

    @cached_property
    def _decoded(self) -> dict[str, str]:
        return {}

    @cached_property
    def content_type(self) -> str:
        """`type/subtype` in lower case; "" when it is not told."""
        return self.get("content-type").partition(";")[0].strip().lower()

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The Content-Type's parameters, names in lower case."""
        return parse_parameters(self.get("content-type"))


def parse_head(raw: bytes) -> Head:
    """The fields of a block; a line that is no field continues the one before it, or is skipped at the beginning."""
    fields: list[tuple[str, list[bytes]]] = []
    for line in raw[:HEAD_OCTETS].split(b"\n"):
        text = line.rstrip(b"\r")
        match = None if text[:1] in (b" ", b"\t") else _FIELD.match(text)
        if match:
            if len(fields) >= FIELD_LIMIT:
                break
            fields.append((match.group(1).decode("ascii").lower(), [text[match.end() :]]))
        elif fields and text.strip():
            fields[-1][1].append(text)
    return Head(tuple((name, b" ".join(lines)) for name, lines in fields))


def parse_parameters(value: str) -> dict[str, str]:
    """The parameters behind a value's first `;`, RFC 2231 continuations joined and extended values decoded."""
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(value):
        name, text = match.group(1).lower(), match.group(2)
        if text.startswith('"'):
            text = re.sub(r"\\(.)", r"\1", text.strip('"'), flags=re.S)
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
    try:
        moment = parsedate_to_datetime(value[:100])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None


def _value(octets: bytes) -> str:
    text = decode_bytes(octets[: VALUE_LIMIT * 4])
    return decode_words(" ".join(text.split()))[:VALUE_LIMIT]
