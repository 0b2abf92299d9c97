"""The contents of mails to the return path: kept once each (zlib), read again, deleted; `bounce_mail` says whose they are.

A content is known by the SHA-256 of its octets with LF as line end, so that the same mail for several recipients, or by
another way in, stands once. What waits to be handed on is never deleted by its age.
Not here: which contents are to go (store/purge.py by age, store/forget.py for one address).
"""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.schema import bounce_mail, mail_content

__all__ = ["all_contents", "content_digest", "delete_contents", "keep_content", "unpacked"]

#: zlib's own default: level 9 takes twice the time for 1 % less.
_LEVEL = 6
#: Contents that are in memory at once: each may have `ingest.size_limit` octets.
_PAGE = 20


def _insert(new: sqlite.Insert | postgresql.Insert) -> sa.Insert:
    """One row, or a touch of the one that is there: on PostgreSQL that holds it against whoever deletes it now."""
    return new.on_conflict_do_update(index_elements=[mail_content.c.digest], set_={"size": mail_content.c.size})


# Run for every mail, so they are made once: making a statement costs as much as running it.
_KEEP = {"sqlite": _insert(sqlite.insert(mail_content)), "postgresql": _insert(postgresql.insert(mail_content))}
_NAMES: sa.BindParameter[list[str]] = sa.bindparam("names", expanding=True)
_MEANT = sa.select(bounce_mail.c.content_digest).where(
    bounce_mail.c.digest.in_(_NAMES), bounce_mail.c.content_digest.is_not(None)
)
_LET_GO = bounce_mail.update().where(bounce_mail.c.digest.in_(_NAMES), bounce_mail.c.content_digest.is_not(None))
_DELETE_UNUSED = mail_content.delete().where(
    mail_content.c.digest.in_(sa.bindparam("contents", expanding=True)),
    ~sa.exists().where(bounce_mail.c.content_digest == mail_content.c.digest),
)


def content_digest(raw: bytes) -> str:
    """The name of a content: SHA-256 (hex), however its lines end."""
    return hashlib.sha256(raw.replace(b"\r\n", b"\n")).hexdigest()


def keep_content(tx: Tx, raw: bytes) -> str:
    """Keep a content where it is not kept yet; gives its digest."""
    digest = content_digest(raw)
    tx.execute(_KEEP[tx.dialect.name], {"digest": digest, "raw": zlib.compress(raw, _LEVEL), "size": len(raw)})
    return digest


def all_contents(store: Store) -> Iterator[list[tuple[list[str], bytes]]]:
    """Every content with the digests of the bounce mails that hold it, in pages; those that come meanwhile perhaps."""
    last = ""
    while True:
        with store.read() as tx:
            page = tx.execute(
                sa.select(mail_content.c.digest, mail_content.c.raw)
                .where(mail_content.c.digest > last)
                .order_by(mail_content.c.digest)
                .limit(_PAGE)
            ).all()
            holders: dict[str, list[str]] = {}
            query = sa.select(bounce_mail.c.content_digest, bounce_mail.c.digest)
            for row in tx.execute(query.where(bounce_mail.c.content_digest.in_([one.digest for one in page]))):
                holders.setdefault(row.content_digest, []).append(row.digest)
        if not page:
            return
        yield [(holders.get(row.digest, []), unpacked(row.raw)) for row in page]
        last = page[-1].digest


def unpacked(packed: bytes) -> bytes:
    """A content as it came."""
    return zlib.decompress(packed)


def delete_contents(tx: Tx, mail_digests: Sequence[str], *, now: datetime) -> int:
    """Delete what these bounce mails hold; a content that another one holds too stays. Gives how many contents went."""
    names = list(mail_digests)
    contents = list(tx.execute(_MEANT, {"names": names}).scalars())
    if not contents:
        return 0
    tx.execute(_LET_GO.values(content_digest=None, content_deleted=now), {"names": names})
    return int(tx.execute(_DELETE_UNUSED, {"contents": sorted(set(contents))}).rowcount)
