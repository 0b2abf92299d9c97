"""Where an address stands in texts: of any table, found by the schema itself, and of contents of mails.

Meant is this address alone, in any case: not `joann@example.com` for `ann@example.com`, not `ann@example.com.tw`. Known is
also its spelling in a VERP address (`ann=example.com`), in a link (`ann%40example.com`) and in quoted-printable; in the
content of a mail, base64 too.
Known limits: an address that an `=` precedes is taken for this one, outside of columns that hold nothing but an address.
Broken over lines, in pictures, or in archives it is not found. Released rules (`rule_release`) are not looked at.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import address_key
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.schema import metadata, rule_release

__all__ = ["Mention", "find_rows", "mask_row", "searched_tables"]

#: Rows of a numbered table that are looked at in one transaction, so that none is open for long.
_PAGE = 20_000
#: Octets of a line of base64 that may be part of an encoded text.
_BASE64_LINE = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")
_JOINERS = "(?:@|=40|%40|=|&#64;)"


class Mention:
    """One address as it is looked for."""

    def __init__(self, address: str) -> None:
        self.key = address_key(address)
        local, _, domain = self.key.rpartition("@")
        forms = {
            re.escape(unicodedata.normalize(form, local)) + _JOINERS + re.escape(unicodedata.normalize(form, domain))
            for form in ("NFC", "NFD")
        }
        pattern = rf"(?<![\w.+-])(?:{'|'.join(sorted(forms))})(?![\w-]|\.\w)"
        self._text = re.compile(pattern, re.IGNORECASE)
        # Octets that are no ASCII letters are parts of others': a boundary before and behind them is taken for one.
        self._octets = [
            re.compile(
                rb"(?<![\w.+-])" + b"(?:@|=40|%40|=|&#64;)".join((_literal(local, form), _literal(domain, form)))
                + rb"(?![\w-]|\.\w)",
                re.IGNORECASE,
            )
            for form in ("NFC", "NFD")
        ]  # fmt: skip
        #: For LIKE, escaped by `/`; letters that are not ASCII stand for any, and so does what joins the halves.
        self.like = f"%{_like(local)}%{_like(domain)}%"

    def mask(self, text: str, name: str) -> str:
        """The text with another name wherever the address stands."""
        if text.count("@") == 1 and not any(character.isspace() for character in text) and address_key(text) == text:
            # Nothing but an address: this one or another.
            return name if text == self.key else text
        return self._text.sub(name, text)

    def is_in(self, raw: bytes) -> bool:
        """Whether a mail, or a file, names the address."""
        return any(pattern.search(part) for part in _readings(raw) for pattern in self._octets)


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
        names = sa.or_(*(sa.func.lower(column).like(mention.like, escape="/") for column in texts))
        query = sa.select(*keys, *texts).where(names)
        for part in _parts(store, table):
            with store.read() as tx:
                rows = tx.execute(query.where(part)).all()
            yield table, [tuple(row[: len(keys)]) for row in rows if _is_named(row[len(keys) :], mention)]


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
    fresh = {column: mention.mask(text, name) for column, text in row.items() if text}
    return {column: text for column, text in fresh.items() if text != row[column]}


def _is_named(texts: tuple[Any, ...], mention: Mention) -> bool:
    return any(text and mention.mask(text, "") != text for text in texts)


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


def _like(text: str) -> str:
    return "".join(
        "%" if not character.isascii() else f"/{character}" if character in "/_%" else character for character in text
    )


def _literal(text: str, form: str) -> bytes:
    return re.escape(unicodedata.normalize(form, text).encode("utf-8", "surrogatepass"))  # type: ignore[arg-type]


def _readings(raw: bytes) -> Iterator[bytes]:
    """A mail as it stands, without the soft ends of quoted-printable lines, and what is in base64."""
    yield raw
    if b"=\n" in raw or b"=\r\n" in raw:
        yield raw.replace(b"=\r\n", b"").replace(b"=\n", b"")
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
