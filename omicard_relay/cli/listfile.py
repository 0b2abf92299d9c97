"""A list as a file, in and out: plain lines (`address`), or CSV with a header that names `address` or `value`.

One bad row stops nothing: it is named with its line number, and the rest goes in. Columns beside the address are `reason`,
`scope`, `code` and `expires` (ISO date); others are passed over.
"""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TextIO

from omicard_relay.mail import ListEntry, RelayError, address_key, one_line, printable
from omicard_relay.store.hidden import is_hidden
from omicard_relay.tables.settings import is_kind

__all__ = ["BadRow", "Row", "check_scope", "check_value", "read_rows", "write_rows"]


#: 64 octets of local part, @, 255 of domain (RFC 5321 §4.5.3.1).
_ADDRESS_LIMIT = 320


#: Any of these names the column of the address.
_ADDRESS_COLUMNS = frozenset({"address", "value", "email"})
#: What separates columns: a comma, or what spreadsheets write in many countries.
_DELIMITERS = (",", ";", "\t")
#: Lines that one row may go over: a reason with some line breaks.
_LINES_LIMIT = 20
#: Characters that a local part has only in quotes (RFC 5321 §4.1.2): here they tell of a row that was read wrongly.
_SPECIAL = frozenset('",;:<>()[]\\@')


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
    """The rows of a plain or CSV list, in order; `#` begins a comment in a plain one.

    Raises RelayError for a file with several columns of which none is known: it is no list, and nothing of it is taken.
    """
    first = file.readline().lstrip("\ufeff")
    columns = _columns(first)
    if columns is None:
        for number, line in enumerate(_with_first(first, file), start=1):
            text = line.strip()
            if text and not text.startswith("#"):
                yield _row(number, {"address": text})
        return
    names, delimiter = columns
    for number, record in _records(file):
        try:
            values = next(csv.reader(record.splitlines(keepends=True), delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration) as error:
            yield BadRow(line=number, why=str(error) or "the line cannot be read")
            continue
        yield _row(number, {name: value.strip() for name, value in zip(names, values, strict=False)})


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
    if is_hidden(key):  # a forgotten address, as an export shows it
        return None
    if any(character.isspace() for character in key) or printable(key) != key:
        return f"`{one_line(text, 80)}` has white space or control characters"
    if len(key) > _ADDRESS_LIMIT:
        return f"`{one_line(text, 80)}` is longer than an address can be"
    local, _, domain = key.rpartition("@")
    labels = domain.split(".")
    is_quoted = len(local) > 1 and local.startswith('"') and local.endswith('"')
    odd = not is_quoted and any(character in _SPECIAL for character in local)
    if len(labels) < 2 or not all(map(_is_label, labels)) or odd:
        return f"`{one_line(text, 80)}` is neither an address nor a domain such as @example.com"
    return None


def check_scope(scope: str) -> str | None:
    """Why a text is no scope; None when it is one."""
    by, _, name = scope.partition(":")
    if scope == "all" or (by in ("sender", "campaign") and name and printable(name) == name):
        return None
    if by == "kind" and is_kind(name):
        return None
    return f"`{one_line(scope, 80)}` is no scope; write all, sender:DOMAIN, campaign:NAME or kind:NAME"


def _columns(first: str) -> tuple[list[str], str] | None:
    """The names of a CSV header and what separates them; None for a plain list. Raises RelayError for other columns."""
    for delimiter in _DELIMITERS:
        try:
            names = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
        except csv.Error:
            continue
        if _ADDRESS_COLUMNS & set(names):
            return names, delimiter
    if any(delimiter in first for delimiter in _DELIMITERS) and not first.lstrip().startswith("#"):
        raise RelayError(
            f"line 1: `{one_line(first, 80)}` has several columns and none that is called "
            f"{', '.join(sorted(_ADDRESS_COLUMNS))}; put a header such as `address,reason` in front. Nothing was taken."
        )
    return None


def _is_label(label: str) -> bool:
    """Letters (of any script), digits, hyphen and underscore: what stands between the dots of a domain."""
    return bool(label) and all(character.isalnum() or character in "-_" for character in label)


def _records(file: TextIO) -> Iterator[tuple[int, str]]:
    """The rows of a CSV below its header, each with the number of its first line.

    A quoted field may go over some lines; a quote that is never closed spoils its own line alone.
    """
    waiting: deque[str] = deque()
    number = 2

    def more() -> bool:
        line = file.readline()
        if line:
            waiting.append(line)
        return bool(line)

    while waiting or more():
        count = 1
        while '"' in waiting[0] and "".join(islice(waiting, count)).count('"') % 2:
            if count == _LINES_LIMIT or (count == len(waiting) and not more()):
                count = 1
                break
            count += 1
        record = "".join(waiting.popleft() for _ in range(count))
        if record.strip():
            yield number, record
        number += count


def _with_first(first: str, file: TextIO) -> Iterator[str]:
    yield first
    yield from file


def _row(number: int, fields: dict[str, str]) -> Row | BadRow:
    if any("\udc80" <= character <= "\udcff" for text in fields.values() for character in text):
        return BadRow(line=number, why="is not UTF-8; save the file as UTF-8")
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
