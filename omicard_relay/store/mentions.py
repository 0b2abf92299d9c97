"""Where an address stands in texts: of any table, found by the schema itself, and of contents of mails.

Meant is this address alone, in any case, its domain with U-labels or A-labels (RFC 5890): not `joann@example.com` for
`ann@example.com`, not `ann@example.com.tw`. Known is also its spelling in a VERP address (`list-ann=example.com@…`), in a
link (`ann%40example.com`), in quoted-printable and in encoded words (RFC 2047); in the content of a mail, base64, UTF-16
and the charsets that the mail declares, too.
Known limits: an address that an `=` precedes is taken for this one, outside of columns that hold nothing but an address; so
is the VERP of another one that ends in it behind a hyphen or a plus sign. Broken over lines, in pictures, in archives, or
encoded twice it is not found. Released rules (`rule_release`) are not looked at.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from omicard_relay.bounce.charset import decode_bytes, decode_words
from omicard_relay.mail import address_key
from omicard_relay.signing.domains import a_label, u_label
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.schema import metadata, rule_release

__all__ = ["Mention", "find_rows", "mask_row", "searched_tables"]

#: Rows of a numbered table that are looked at in one transaction, so that none is open for long.
_PAGE = 20_000
#: Octets of a line of base64 that may be part of an encoded text.
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")
_JOINERS = "(?:@|=40|%40|&#64;)"
#: Before an address, and before its VERP spelling, which has the list's name and a hyphen or a plus sign in front.
_NO_MORE, _NO_MORE_VERP = r"(?<![\w.+-])", r"(?<![\w.])"
_END = r"(?![\w-]|\.\w)"
#: What a mail says of its charsets; how many are tried; and those in which ASCII is ASCII, whatever stands beside it.
_CHARSET = re.compile(rb"charset\*?=[\"']?([a-z0-9_.:+-]{2,40})", re.IGNORECASE)
_CHARSETS = 8
_LIKE_ASCII = ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-", "windows-12", "koi8", "utf-16")
#: Columns that hold one address and nothing else: an `=` or a quote in it is part of another person's.
_ADDRESSES = frozenset({"address", "address_key", "original_key", "original_address", "new_address", "value"})


class Mention:
    """One address as it is looked for."""

    def __init__(self, address: str) -> None:
        #: The keys under which rows may be about it: its own first, then those with the other labels of its domain.
        self.keys = _twins(address_key(address))
        halves = [key.rpartition("@")[::2] for key in self.keys]
        forms = dict.fromkeys(
            (unicodedata.normalize(form, local), unicodedata.normalize(form, domain))
            for local, domain in halves
            for form in ("NFC", "NFD")
        )
        self._text = re.compile("|".join(_pattern(_spelled(one), _spelled(two)) for one, two in forms), re.IGNORECASE)
        # Of octets only those of ASCII have a lower case.
        capitals = ((local.upper(), domain.upper()) for local, domain in forms if not (local + domain).isascii())
        forms = {**forms, **dict.fromkeys(capitals)}
        # Octets that are no ASCII letters are parts of others': a boundary before and behind them is taken for one.
        self._octets = [
            re.compile(
                _pattern(*(_spelled(half.encode("utf-8", "surrogatepass").decode("latin-1")) for half in form)).encode(
                    "latin-1"
                ),
                re.IGNORECASE,
            )
            for form in forms
        ]
        # The domain in two octets a character, whichever comes first.
        wide = {domain.encode(f"utf-16-{end}", "surrogatepass")[1:-1] for _, domain in forms for end in ("le", "be")}
        self._wide = re.compile(b"|".join(map(re.escape, sorted(wide))), re.IGNORECASE)
        #: For LIKE, escaped by `/`; letters that are not ASCII stand for any, and so does what joins the halves. And encoded
        #: words, which may hold anything.
        self.likes = [*(f"%{_like(local)}%{_like(domain)}%" for local, domain in halves), "%=?%?=%"]

    def mask(self, text: str, name: str, *, is_address: bool = False) -> str:
        """The text with another name wherever the address stands; `is_address`: the text is nothing but one."""
        if is_address and text.count("@") == 1 and not any(character.isspace() for character in text):
            return name if address_key(text) in self.keys else text
        masked = self._text.sub(name, text)
        if "=?" in masked:
            words = decode_words(masked)
            if self._text.search(words):
                return self._text.sub(name, words)
        return masked

    def is_in(self, raw: bytes) -> bool:
        """Whether a mail, or a file, names the address."""
        charsets = _declared(raw)
        return any(self._is_in_octets(part, charsets) for part in _readings(raw))

    def _is_in_octets(self, part: bytes, charsets: list[str]) -> bool:
        readings = [part, *(decode_bytes(part, charset).encode("utf-8", "replace") for charset in charsets)]
        if self._wide.search(part):
            # Two octets a character, from the first octet on or from the second.
            readings += [
                part[start:].decode(f"utf-16-{end}", "replace").encode("utf-8", "replace")
                for end in ("le", "be")
                for start in (0, 1)
            ]
        return any(pattern.search(reading) for reading in readings for pattern in self._octets)


def searched_tables() -> list[sa.Table]:
    """The tables whose texts are looked at."""
    return [table for table in metadata.sorted_tables if table is not rule_release]


def find_rows(store: Store, mention: Mention) -> Iterator[tuple[sa.Table, list[tuple[Any, ...]]]]:
    """Per page of each table the keys of the rows that name the address; pages without any come too, to show progress."""
    for table in searched_tables():
        texts = _texts(table)
        if not texts:
            continue
        keys = list(table.primary_key.columns)
        names = sa.or_(*(sa.func.lower(column).like(like, escape="/") for column in texts for like in mention.likes))
        query = sa.select(*keys, *texts).where(names)
        for part in _parts(store, table):
            with store.read() as tx:
                rows = tx.execute(query.where(part)).all()
            names_of = [column.name for column in texts]
            yield (
                table,
                [
                    tuple(row[: len(keys)])
                    for row in rows
                    if _masked(dict(zip(names_of, row[len(keys) :], strict=True)), mention, "")
                ],
            )


def mask_row(tx: Tx, table: sa.Table, key: tuple[Any, ...], mention: Mention, name: str) -> bool:
    """Put another name for the address in all texts of a row; False when it is not there any more."""
    is_row = sa.and_(*(column == value for column, value in zip(table.primary_key.columns, key, strict=True)))
    row = tx.execute(sa.select(*_texts(table)).where(is_row)).mappings().first()
    if row is None:
        return False
    changed = _masked({str(column): text for column, text in row.items()}, mention, name)
    if changed:
        tx.execute(table.update().where(is_row).values(changed))
    return bool(changed)


def _masked(row: Mapping[str, Any], mention: Mention, name: str) -> dict[str, str]:
    fresh = {column: mention.mask(text, name, is_address=column in _ADDRESSES) for column, text in row.items() if text}
    return {column: text for column, text in fresh.items() if text != row[column]}


def _texts(table: sa.Table) -> list[sa.Column[Any]]:
    """The columns of text that is longer than a word of our own."""
    return [
        column
        for column in table.columns
        if isinstance(column.type, sa.String) and (column.type.length is None or column.type.length > 80)
    ]


def _parts(store: Store, table: sa.Table) -> Iterator[sa.ColumnElement[bool]]:
    """A numbered table in pages, any other at once."""
    keys = list(table.primary_key.columns)
    if len(keys) != 1 or not isinstance(keys[0].type, sa.Integer):
        yield sa.true()
        return
    with store.read() as tx:
        last = tx.execute(sa.select(sa.func.max(keys[0]))).scalar() or 0
    for start in range(0, last, _PAGE):
        yield keys[0].between(start + 1, start + _PAGE)


def _twins(key: str) -> list[str]:
    """The key, and the same with its domain in A-labels and in U-labels."""
    local, _, domain = key.rpartition("@")
    labels = (a_label(domain), u_label(domain))
    return list(dict.fromkeys([key, *(address_key(f"{local}@{label}") for label in labels if label)]))


def _declared(raw: bytes) -> list[str]:
    """Charsets that a mail names, of those in which an octet of another character may look like a letter of ASCII."""
    named: dict[str, None] = {}
    for found in _CHARSET.finditer(raw):
        name = found.group(1).decode("ascii").lower()
        if not name.startswith(_LIKE_ASCII):
            named[name] = None
            if len(named) == _CHARSETS:
                break
    return list(named)


def _like(text: str) -> str:
    return "".join(character if character.isascii() and character.isalnum() else "%" for character in text)


def _spelled(text: str) -> str:
    """A pattern for a half of an address: its signs also as in a link or in quoted-printable (`%2B`, `=2B`)."""
    return "".join(
        character
        if character.isascii() and character.isalnum()
        else f"(?:{re.escape(character)}|[%=]{ord(character):02x})"
        if character.isascii()
        else re.escape(character)
        for character in text
    )


def _pattern(local: str, domain: str) -> str:
    """By itself; in VERP; and the wrong way round, as SRS writes it."""
    return (
        rf"{_NO_MORE}{local}{_JOINERS}{domain}{_END}|{_NO_MORE_VERP}{local}={domain}{_END}|(?<==){domain}={local}(?=@)"
    )


def _readings(raw: bytes) -> Iterator[bytes]:
    """A mail as it stands, with its encoded words read, without the soft ends of quoted-printable lines, read from that
    encoding, and what is in base64."""
    yield raw
    if b"=?" in raw:
        yield decode_words(raw.decode("utf-8", "replace")).encode("utf-8", "replace")
    if b"=\n" in raw or b"=\r\n" in raw:
        yield raw.replace(b"=\r\n", b"").replace(b"=\n", b"")
    if b"quoted-printable" in raw.lower():
        yield binascii.a2b_qp(raw)
    if b"base64" not in raw.lower():
        return
    block: list[bytes] = []
    for line in [*raw.splitlines(), b""]:
        if _BASE64_LINE.fullmatch(line.strip()) or (block and line.strip() and len(line) < 80 and b" " not in line):
            block.append(line.strip())
            continue
        if block:
            yield _decoded(b"".join(block))
            block = []


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text[: len(text) // 4 * 4])
    except binascii.Error:
        return b""
