"""The lists: look up, add, remove, undo; every change is written down with who and why (invariant 3).

An entry that is taken off stays in the table with its `removed` time, so that history can be told and undone.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import ListEntry, ListName, StoreError, address_digest, address_key, covers, domain_of
from omicard_relay.store.engine import Tx
from omicard_relay.store.hidden import is_hidden, spellings
from omicard_relay.store.schema import list_change, list_entry

__all__ = [
    "BY_POLICY",
    "Change",
    "add_entry",
    "changes",
    "covering_entries",
    "entries",
    "find_liftable",
    "history",
    "hold_address",
    "list_value",
    "remove_entry",
    "runs_out",
    "taken_off",
    "undo_change",
]

Change = sa.Row[tuple[object, ...]]

#: Who changes a list by the rules of suppress.toml.
BY_POLICY = "suppress.toml"


# Asked for every recipient, so it is made once: making a statement costs as much as running it.
_COVERING = sa.select(list_entry).where(
    list_entry.c.value.in_([sa.bindparam("address"), sa.bindparam("hidden"), sa.bindparam("domain")]),
    list_entry.c.removed.is_(None),
    sa.or_(list_entry.c.expires.is_(None), list_entry.c.expires > sa.bindparam("now")),
)
_HELD: sa.Select[Any] = sa.select(list_entry.c.id, list_entry.c.created_by, list_entry.c.expires).where(
    list_entry.c.removed.is_(None),
    sa.or_(list_entry.c.expires.is_(None), list_entry.c.expires > sa.bindparam("now")),
    list_entry.c.list_name == sa.bindparam("name"),
    list_entry.c.value == sa.bindparam("same_value"),
    list_entry.c.scope == sa.bindparam("same_scope"),
)
#: An advisory lock of PostgreSQL, let go at the end of the transaction; by the address's digest, which is the same everywhere.
_HOLD = sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("number", type_=sa.BigInteger)))
_ADD, _NOTE_DOWN = list_entry.insert(), list_change.insert()
_MADE_BY_POLICY = sa.and_(
    list_entry.c.list_name == ListName.KNOWN_BOUNCE,
    list_entry.c.value.in_(sa.bindparam("values", expanding=True)),
    list_entry.c.created_by == sa.bindparam("who"),
    list_entry.c.removed.is_(None),
)
_LIFTABLE = sa.select(list_entry).where(
    _MADE_BY_POLICY,
    sa.or_(list_entry.c.expires.is_(None), list_entry.c.expires > sa.bindparam("now")),
    sa.func.coalesce(list_entry.c.happened, list_entry.c.created) < sa.bindparam("before"),
)
_RAN_OUT = (
    sa.select(sa.func.count())
    .select_from(list_entry)
    .where(
        _MADE_BY_POLICY, list_entry.c.scope == sa.bindparam("same_scope"), list_entry.c.expires <= sa.bindparam("now")
    )
)


def hold_address(tx: Tx, address: str) -> None:
    """Let nobody else decide about this address until this transaction ends; what others have written shows from now on.

    For two failures that are stored at the same moment see nothing of each other. SQLite has one writer at a time anyway.
    """
    if tx.dialect.name == "postgresql":
        number = int.from_bytes(address_digest(address, 8), "big", signed=True)
        tx.execute(_HOLD, {"number": number})


def covering_entries(
    tx: Tx, address: str, *, sender_domain: str, campaign: str | None, now: datetime, kind: str | None = None
) -> dict[ListName, ListEntry]:
    """Per list the entry that speaks of this address in this mail: the address itself before its domain."""
    key, domain = address_key(address), domain_of(address)
    named = {"now": now, "address": key, "hidden": spellings(tx, key)[-1], "domain": f"@{domain}"}
    rows = tx.execute(_COVERING, named).all()
    found: dict[ListName, ListEntry] = {}
    for row in sorted(rows, key=lambda row: str(row.value).startswith("@")):
        entry = _entry(row)
        if covers(entry.scope, sender_domain=sender_domain, campaign=campaign, kind=kind):
            found.setdefault(entry.list_name, entry)
    return found


def entries(
    tx: Tx, list_name: ListName | None, *, now: datetime, value: str | None = None, limit: int | None = None
) -> Iterator[ListEntry]:
    """The entries that hold now, by value; of one list or of all, of one value or of all."""
    query = _active(now).order_by(list_entry.c.value, list_entry.c.id)
    if list_name is not None:
        query = query.where(list_entry.c.list_name == list_name)
    if value is not None:
        query = query.where(list_entry.c.value.in_(spellings(tx, list_value(value))))
    for row in tx.execute(query.limit(limit) if limit else query):
        yield _entry(row)


def add_entry(tx: Tx, entry: ListEntry, *, note: str = "") -> tuple[int, bool]:
    """Add an entry; gives its id and whether it is new. An equal one that holds (list, value, scope) is kept as it is.

    But a person's takes the place of a known bounce that the policy has made and that ends before: such a one is lifted, too.
    """
    value = list_value(entry.value)
    known = _held(tx, entry.list_name, value, entry.scope, entry.created)
    if known is not None:
        if not _outlasts(entry, known):
            return int(known.id), False
        remove_entry(tx, known.id, who=entry.created_by, now=entry.created, note="another takes its place")
    row = {
        "list_name": entry.list_name,
        "value": value,
        "scope": entry.scope,
        "reason": entry.reason,
        "source": entry.source,
        "bounce_code": entry.bounce_code,
        "created": entry.created,
        "created_by": entry.created_by,
        "happened": entry.happened,
        "expires": entry.expires,
    }
    key = tx.execute(_ADD, row).inserted_primary_key
    assert key is not None  # noqa: S101  an insert of one row always has one
    _log(tx, entry.created, entry.created_by, "add", int(key[0]), note)
    return int(key[0]), True


def remove_entry(tx: Tx, entry_id: int, *, who: str, now: datetime, note: str = "") -> int:
    """Take an entry off; gives the number of the change, by which it can be undone."""
    changed = tx.execute(
        list_entry.update().where(list_entry.c.id == entry_id, list_entry.c.removed.is_(None)).values(removed=now)
    )
    if not changed.rowcount:
        raise StoreError(f"there is no list entry {entry_id} that holds; `lists list` shows those that do.")
    return _log(tx, now, who, "remove", entry_id, note)


def find_liftable(tx: Tx, address: str, *, before: datetime, now: datetime) -> list[ListEntry]:
    """The known bounces of this address that the policy itself has made, on failures before that moment."""
    named = {"values": spellings(tx, list_value(address)), "who": BY_POLICY, "before": before, "now": now}
    return [_entry(row) for row in tx.execute(_LIFTABLE, named)]


def runs_out(tx: Tx, value: str, scope: str, *, now: datetime) -> int:
    """How many known bounces of this value and scope the policy has made that held until they ran out."""
    named = {"values": spellings(tx, list_value(value)), "same_scope": scope, "who": BY_POLICY, "now": now}
    return int(tx.execute(_RAN_OUT, named).scalar_one())


def taken_off(tx: Tx, value: str, scope: str) -> datetime | None:
    """When a person last took a known bounce of this value and scope off that the policy had made; None: never."""
    by_person = sa.exists().where(
        list_change.c.entry_id == list_entry.c.id, list_change.c.what == "remove", list_change.c.who != BY_POLICY
    )
    query = sa.select(sa.func.max(list_entry.c.removed)).where(
        list_entry.c.list_name == ListName.KNOWN_BOUNCE,
        list_entry.c.value.in_(spellings(tx, list_value(value))),
        list_entry.c.scope == scope,
        list_entry.c.created_by == BY_POLICY,
        by_person,
    )
    found: datetime | None = tx.execute(query).scalar_one()
    return found


def undo_change(tx: Tx, change_id: int, *, who: str, now: datetime) -> ListEntry:
    """Take one change back: an added entry goes, a removed one returns. Raises StoreError when that is done already."""
    change = tx.execute(sa.select(list_change).where(list_change.c.id == change_id)).first()
    if change is None:
        raise StoreError(f"there is no change {change_id}; `lists history` shows them.")
    row = tx.execute(sa.select(list_entry).where(list_entry.c.id == change.entry_id)).one()
    wants_removed = change.what == "add"
    if (row.removed is not None) == wants_removed:
        raise StoreError(f"change {change_id} is undone already.")
    if not wants_removed and _held(tx, ListName(row.list_name), row.value, row.scope, now) is not None:
        raise StoreError(f"{row.value} is on {row.list_name} again already; nothing was changed.")
    if not wants_removed and row.expires is not None and row.expires <= now:
        ended = f"{row.expires:%Y-%m-%d %H:%M}Z"
        raise StoreError(f"that entry of {row.value} ran out at {ended} and would hold nothing; nothing was changed.")
    tx.execute(list_entry.update().where(list_entry.c.id == row.id).values(removed=now if wants_removed else None))
    _log(tx, now, who, "remove" if wants_removed else "add", row.id, f"undo of change {change_id}")
    return _entry(row)


def changes(tx: Tx, *, value: str | None = None, limit: int = 100) -> list[Change]:
    """The newest changes first: id, time, who, what, note, and the entry's list, value, scope and reason."""
    query = (
        sa.select(list_change.c.id, list_change.c.time, list_change.c.who, list_change.c.what, list_change.c.note)
        .add_columns(list_entry.c.list_name, list_entry.c.value, list_entry.c.scope, list_entry.c.reason)
        .join(list_entry)
        .order_by(list_change.c.id.desc())
        .limit(limit)
    )
    if value is not None:
        query = query.where(list_entry.c.value.in_(spellings(tx, list_value(value))))
    return list(tx.execute(query))


def history(tx: Tx, values: Iterable[str]) -> list[ListEntry]:
    """All entries of these values, also those that hold no more, oldest first."""
    keys = [key for value in values for key in spellings(tx, list_value(value))]
    rows = tx.execute(sa.select(list_entry).where(list_entry.c.value.in_(keys)).order_by(list_entry.c.id))
    return [_entry(row) for row in rows]


def list_value(text: str) -> str:
    """An address or `@domain` in the spelling of the table; a bare domain gets its `@`, a forgotten address stays as it is."""
    key = address_key(text)
    if is_hidden(key):
        return key
    return key if "@" in key else f"@{key}"


def _outlasts(entry: ListEntry, known: sa.Row[Any]) -> bool:
    """Whether a person wants an address held back for longer than the policy does: what an export holds is no such wish."""
    by_hand = entry.list_name is ListName.KNOWN_BOUNCE and entry.created_by != BY_POLICY
    if not by_hand or known.created_by != BY_POLICY or known.expires is None:
        return False
    return entry.expires is None or entry.expires > known.expires


def _held(tx: Tx, list_name: ListName, value: str, scope: str, now: datetime) -> sa.Row[Any] | None:
    """Id, maker and end of the entry that holds now."""
    named = {"name": list_name, "same_value": value, "same_scope": scope, "now": now}
    return tx.execute(_HELD, named).first()


def _active(now: datetime) -> sa.Select[tuple[object, ...]]:
    return sa.select(list_entry).where(
        list_entry.c.removed.is_(None), sa.or_(list_entry.c.expires.is_(None), list_entry.c.expires > now)
    )


def _entry(row: sa.Row[tuple[object, ...]]) -> ListEntry:
    return ListEntry(
        list_name=ListName(row.list_name),
        value=row.value,
        reason=row.reason,
        source=row.source,
        scope=row.scope,
        bounce_code=row.bounce_code,
        created=row.created,
        expires=row.expires,
        created_by=row.created_by,
        happened=row.happened,
        removed=row.removed,
        entry_id=row.id,
    )


def _log(tx: Tx, now: datetime, who: str, what: str, entry_id: int, note: str) -> int:
    row = {"time": now, "who": who, "what": what, "entry_id": entry_id, "note": note}
    key = tx.execute(_NOTE_DOWN, row).inserted_primary_key
    assert key is not None  # noqa: S101
    return int(key[0])
