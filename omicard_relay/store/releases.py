"""The releases of the rules: numbered copies of a site's tables, one row each, never changed and never taken away.

The newest row is in force, on every machine of this store. Whoever writes says which one he thinks is the newest: if
another was quicker nothing is written, so that nobody puts in force what he has not compared with what is.
Not here: the copies on disk (services/released.py), checking and comparing (services/, cli/).
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from omicard_relay.mail import StoreError, TableError
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import rule_release

__all__ = ["SHIPPED", "Release", "ReleaseKind", "add_release", "find_release", "newest_number", "releases"]

#: In place of a release's number: the shipped tables alone.
SHIPPED = 0


class ReleaseKind(StrEnum):
    """How a release came about."""

    PUBLISH = "publish"
    ROLLBACK = "rollback"
    #: The program brought other tables; the site's files are those of the release before.
    UPGRADE = "upgrade"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release; `digest` is over `files`, `shipped_digest` over the tables of the program that wrote it.

    `rollback_of`: whose files these are, SHIPPED for none; None unless it is a rollback.
    """

    number: int
    created: datetime
    author: str
    note: str
    kind: ReleaseKind
    digest: str
    shipped_digest: str
    files: Mapping[str, str]
    rollback_of: int | None = None


_NEWEST = sa.select(sa.func.max(rule_release.c.number))


def newest_number(tx: Tx) -> int | None:
    """The number that is in force; None before the first release."""
    number = tx.execute(_NEWEST).scalar()
    return None if number is None else int(number)


def find_release(tx: Tx, number: int) -> Release | None:
    """A release by its number."""
    row = tx.execute(sa.select(rule_release).where(rule_release.c.number == number)).first()
    return None if row is None else _release(row)


def releases(tx: Tx) -> list[Release]:
    """All of them, oldest first."""
    return [_release(row) for row in tx.execute(sa.select(rule_release).order_by(rule_release.c.number))]


def add_release(
    tx: Tx,
    *,
    after: int | None,
    created: datetime,
    author: str,
    note: str,
    kind: ReleaseKind,
    digest: str,
    shipped_digest: str,
    files: Mapping[str, str],
    rollback_of: int | None = None,
) -> Release:
    """Write the release that follows number `after` (None: the first). Raises StoreError when `after` is not the newest."""
    newest = newest_number(tx)
    if newest != after:
        raise StoreError(_overtaken(newest))
    release = Release(
        number=(after or 0) + 1,
        created=created,
        author=author,
        note=note,
        kind=kind,
        digest=digest,
        shipped_digest=shipped_digest,
        files=files,
        rollback_of=rollback_of,
    )
    row = {
        "number": release.number,
        "created": created,
        "author": author,
        "note": note,
        "kind": kind,
        "rollback_of": rollback_of,
        "digest": digest,
        "shipped_digest": shipped_digest,
        "files": zlib.compress(json.dumps(dict(files), ensure_ascii=False, sort_keys=True).encode(), 9),
    }
    try:
        tx.execute(rule_release.insert(), row)
    except IntegrityError:
        # Where writers do not wait for each other's BEGIN, the key decides who was first.
        raise StoreError(_overtaken(release.number)) from None
    return release


def _overtaken(newest: int | None) -> str:
    return (
        f"Release {newest} of the rules came into force meanwhile; nothing was written. "
        "Look at `omicard-relay rules history`, then compare and publish again."
    )


def _release(row: sa.Row[tuple[object, ...]]) -> Release:
    try:
        files = json.loads(zlib.decompress(row.files))
    except (zlib.error, ValueError) as error:
        raise TableError(
            f"Release {row.number} in the store is damaged ({error}); publish or roll back anew."
        ) from None
    return Release(
        number=row.number,
        created=row.created,
        author=row.author,
        note=row.note,
        kind=ReleaseKind(row.kind),
        digest=row.digest,
        shipped_digest=row.shipped_digest,
        files=files,
        rollback_of=row.rollback_of,
    )
