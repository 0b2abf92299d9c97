"""What the relay reads of a mail's header, takes off it and puts on top of it; everything else passes octet for octet. Pure.

The header ends at the first line that is no field (RFC 5322 §2.2), as Postfix sees it too. The trace line is RFC 5321
§4.4, its words RFC 3848 and RFC 6531 §4.3 (`with ESMTPSA`).
Left to others: signatures (signing/), dot-stuffing (next_hop.py).
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from omicard_relay.mail import one_line

__all__ = [
    "HOP_LIMIT",
    "HeaderFacts",
    "Trace",
    "mail_digest",
    "missing_fields",
    "read_facts",
    "trace_line",
    "without_field",
]

#: `Received` lines after which a mail is going round in circles (RFC 5321 §6.3: at least 100).
HOP_LIMIT = 100
#: Characters of a header value that are kept in the store.
_VALUE_LIMIT = 500

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
# What may stand in a trace line as a name: no comment or quote can be opened with it.
_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_FOR = re.compile(r"[A-Za-z0-9.!#$%&'*/=?^_`{|}~+-]{1,64}@[A-Za-z0-9.\[\]:-]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFacts:
    """What the header says: on one line each, safe to print, None where it is not there."""

    message_id: str | None = None
    subject: str | None = None
    campaign: str | None = None
    kind: str | None = None
    hops: int = 0
    has_date: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What goes into our trace line. `protocol` is RFC 3848's word; `recipient` only when there is exactly one."""

    helo: str
    client_ip: str
    hostname: str
    protocol: str
    submission_id: str
    recipient: str | None
    time: datetime


def read_facts(content: bytes, campaign_header: str, kind_header: str = "") -> HeaderFacts:
    """Message-ID, Subject, campaign and its kind (the first of each), and the number of hops."""
    campaign, kind = campaign_header.lower().encode("utf-8"), kind_header.lower().encode("utf-8")
    wanted = {b"message-id", b"subject", b"received", b"date", campaign, kind}
    found: dict[bytes, str] = {}
    hops = 0
    for name, start, end in _fields(content):
        key = name.lower()
        if key == b"received":
            hops += 1
        elif key in wanted and key not in found:
            value = content[start + len(name) : end].partition(b":")[2]
            found[key] = one_line(value.decode("utf-8", "replace"), _VALUE_LIMIT)
    return HeaderFacts(
        message_id=found.get(b"message-id") or None,
        subject=found.get(b"subject"),
        campaign=found.get(campaign) or None,
        kind=found.get(kind) or None,
        hops=hops,
        has_date=b"date" in found,
    )


def missing_fields(facts: HeaderFacts, *, message_id: str, now: datetime) -> bytes:
    """Date and Message-ID where a submission lacks them (RFC 6409 §8.2, §8.3): signed with the rest, so before Postfix."""
    date = b"" if facts.has_date else f"Date: {format_datetime(now)}\r\n".encode()
    return date + (b"" if facts.message_id else f"Message-ID: {message_id}\r\n".encode())


def without_field(content: bytes, field: str) -> bytes:
    """The content without every header field of this name; the very same octets when there is none."""
    wanted = field.lower().encode("utf-8")
    pieces, place = [], 0
    for name, start, end in _fields(content):
        if name.lower() == wanted:
            pieces.append(content[place:start])
            place = end
    return b"".join([*pieces, content[place:]]) if place else content


def trace_line(trace: Trace) -> bytes:
    """Our `Received` field, folded, each line ending in CRLF; whatever a client said can't break out of it."""
    helo = trace.helo if _NAME.fullmatch(trace.helo) else "unknown"
    literal = f"IPv6:{trace.client_ip}" if ":" in trace.client_ip else trace.client_ip
    recipient = f"\r\n\tfor <{trace.recipient}>" if trace.recipient and _FOR.fullmatch(trace.recipient) else ""
    text = (
        f"Received: from {helo} ([{literal or 'unknown'}])\r\n"
        f"\tby {trace.hostname} (OMICARD Relay) with {trace.protocol} id {trace.submission_id}"
        f"{recipient};\r\n\t{format_datetime(trace.time)}\r\n"
    )
    return text.encode("ascii", "replace")


def mail_digest(reverse_path: str, content: bytes) -> str:
    """SHA-256 (hex) of reverse-path and content: the same for a client's second try."""
    digest = hashlib.sha256(reverse_path.encode("utf-8", "surrogateescape") + b"\0")
    digest.update(content)
    return digest.hexdigest()


def _fields(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end (behind its last CRLF) of each field, folded lines included."""
    place = 0
    while (match := _FIELD.match(content, place)) is not None:
        end = _line_end(content, match.end())
        while content[end : end + 1] in (b" ", b"\t"):
            end = _line_end(content, end)
        yield match.group(1), place, end
        place = end


def _line_end(content: bytes, place: int) -> int:
    found = content.find(b"\r\n", place)
    return len(content) if found < 0 else found + 2
