"""A list as a file, in and out: plain lines (`address`), or CSV with a header that names `address` or `value`.

One bad row stops nothing: it is named with its line number, and the rest goes in. Columns beside the address are `reason`,
`scope`, `code` and `expires` (ISO date); others are passed over.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

from omicard_relay.mail import ListEntry, address_key, domain_of, one_line, printable

__all__ = ["BadRow", "Row", "check_scope", "check_value", "read_rows", "write_rows"]


#: 64 octets of local part, @, 255 of domain (RFC 5321 §4.5.3.1).
_ADDRESS_LIMIT = 320


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One good row."""

    line: int
    value: str
    reason: str = ""
    scope: str = "all"
    bounce_code: int | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """One row that cannot be taken, and why."""

    line: int
    why: str


def read_rows(file: TextIO) -> Iterator[Row | BadRow]:
    """The rows of a plain or CSV list, in order; `#` begins a comment in a plain one."""
    first = file.readline().lstrip("\ufeff")
    names = _header(first)
    if {"address", "value", "email"} & set(names):
        reader = csv.DictReader(file, fieldnames=names)
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:  # a field that is far too long
                yield BadRow(line=reader.reader.line_num + 1, why=str(error))
                continue
            yield _row(
                reader.line_num + 1,
                {k: (v or "").strip() for k, v in fields.items() if isinstance(k, str) and not isinstance(v, list)},
            )
    for number, line in enumerate(_with_first(first, file), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield _row(number, {"address": text})


def write_rows(entries: Iterator[ListEntry], file: TextIO) -> int:
    """Write entries as CSV that `read_rows` takes back; gives how many."""
    writer = csv.writer(file)
    writer.writerow(["value", "reason", "scope", "code", "expires", "source", "created"])
    count = 0
    for entry in entries:
        count += 1
        writer.writerow(
            [
                entry.value,
                entry.reason,
                entry.scope,
                entry.bounce_code or "",
                entry.expires.isoformat() if entry.expires else "",
                entry.source,
                entry.created.isoformat(),
            ]
        )
    return count


def check_value(text: str) -> str | None:
    """Why a text is neither an address nor a domain that a list can hold; None when it is one."""
    key = address_key(text)
    if any(character.isspace() for character in key) or printable(key) != key:
        return f"`{one_line(text, 80)}` has white space or control characters"
    if len(key) > _ADDRESS_LIMIT:
        return f"`{one_line(text, 80)}` is longer than an address can be"
    domain = domain_of(key) if "@" in key else key
    labels = domain.split(".")
    if len(labels) < 2 or not all(labels):
        return f"`{one_line(text, 80)}` is neither an address nor a domain such as @example.com"
    return None


def check_scope(scope: str) -> str | None:
    """Why a text is no scope; None when it is one."""
    kind, _, name = scope.partition(":")
    if scope == "all" or (kind in ("sender", "campaign") and name and printable(name) == name):
        return None
    return f"`{one_line(scope, 80)}` is no scope; write all, sender:DOMAIN or campaign:NAME"


def _header(first: str) -> list[str]:
    """The names of the columns, if the first line has any."""
    try:
        return [name.strip().lower() for name in next(csv.reader([first]), [])]
    except csv.Error:
        return []


def _with_first(first: str, file: TextIO) -> Iterator[str]:
    yield first
    yield from file


def _row(number: int, fields: dict[str, str]) -> Row | BadRow:
    value = fields.get("address") or fields.get("value") or fields.get("email") or ""
    why = check_value(value) if value else "no address"
    if why is not None:
        return BadRow(line=number, why=why)
    code, expires = fields.get("code", ""), fields.get("expires", "")
    if code and not (code.isascii() and code.isdecimal() and len(code) == 3 and 900 <= int(code) <= 939):
        return BadRow(line=number, why=f"`{one_line(code, 20)}` is no code from 900 to 939")
    scope = fields.get("scope") or "all"
    if (why := check_scope(scope)) is not None:
        return BadRow(line=number, why=why)
    try:
        until = datetime.fromisoformat(expires) if expires else None
        until = until and until.replace(tzinfo=until.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return BadRow(line=number, why=f"`{one_line(expires, 40)}` is no date such as 2027-01-31")
    return Row(
        line=number,
        value=value,
        reason=one_line(fields.get("reason", "")),
        scope=scope,
        bounce_code=int(code) if code else None,
        expires=until,
    )
