"""What one transaction of the exceptions table does: write, drop, expire, read. Keys and values are octets here.

The main database is the one that Postfix reads. Behind a value stand a NUL and the expiry, thirteen digits of milliseconds:
Postfix takes a value as a C string, which ends at the first NUL, and never sees them; one tree instead of two is twice as fast.
A named database beside it lists which keys run out in which ten seconds, and counts what we wrote. Its own name, which stands
among the keys, has a control character, so that nobody asks for it.
Not here: locks, the file, and what the outside speaks of (services/exceptions_table.py).
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import lmdb
import msgspec

if TYPE_CHECKING:
    from lmdb import _Database

__all__ = [
    "KEY_LIMIT",
    "NAME",
    "VALUE_LIMIT",
    "Entry",
    "clear",
    "drop",
    "entry",
    "expire",
    "is_due",
    "names",
    "put",
    "size",
    "stored",
]

#: The named database.
NAME = b"\x01buckets"
#: LMDB takes keys of at most 511 octets.
KEY_LIMIT = 500
#: Octets of a value: what fits into one line of Postfix's log.
VALUE_LIMIT = 1_900
#: Milliseconds that share a list of the keys that run out in them.
_BUCKET_MS = 10_000
#: Octets of keys in one record of such a list: two of them fit into a page, none needs pages of its own.
_RECORD = 1_800
#: Milliseconds of thirteen digits: the year 2286, for whoever asks for longer.
_LATEST = 10**13 - 1
#: Ten seconds, transaction, part.
_BUCKET = struct.Struct(">QQI")
#: Behind all lists: how many of the keys of the main database are ours.
_COUNT = b"\xff" * _BUCKET.size
_NUMBER = struct.Struct(">Q")


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`key`: a recipient or a domain; `value`: as wire/transports.py makes it; `expires`: Unix seconds."""

    key: str
    value: str
    expires: float


def stored(value: bytes, expires: float) -> bytes:
    """The value as it stands in the table; it holds no NUL itself."""
    return b"%s\0%013d" % (value, _milliseconds(expires))


def put(tx: lmdb.Transaction, buckets: "_Database", new: Mapping[bytes, bytes]) -> int:
    """Key -> what `stored` gives, written in the order of the keys, which is fastest; gives their number."""
    before = size(tx)
    keys = sorted(new)
    tx.cursor().putmulti([(key, new[key]) for key in keys])
    due: dict[int, list[bytes]] = {}
    for key in keys:
        due.setdefault(int(new[key][-13:]) // _BUCKET_MS, []).append(key)
    for bucket, members in sorted(due.items()):
        for part, record in enumerate(_records(members)):
            tx.put(_BUCKET.pack(bucket, tx.id(), part), record, db=buckets)
    _count(tx, buckets, _counted(tx, buckets) + size(tx) - before)
    return len(new)


def drop(tx: lmdb.Transaction, buckets: "_Database", keys: Iterable[bytes]) -> int:
    """Take these keys out; gives how many were there."""
    count = sum(map(tx.delete, keys))
    if count:
        _count(tx, buckets, _counted(tx, buckets) - count)
    return count


def clear(tx: lmdb.Transaction, buckets: "_Database") -> int:
    """Take everything out; gives the number of keys."""
    count = drop(tx, buckets, list(names(tx)))
    tx.drop(buckets, delete=False)
    return count


def is_due(tx: lmdb.Transaction, buckets: "_Database", now: float) -> bool:
    """Whether something may have run out, or another program has written."""
    first = tx.cursor(buckets)
    if first.first() and first.key() != _COUNT and _BUCKET.unpack(first.key())[0] <= _milliseconds(now) // _BUCKET_MS:
        return True
    return size(tx) != _counted(tx, buckets)


def expire(tx: lmdb.Transaction, buckets: "_Database", now: float, *, thorough: bool) -> int:
    """Take out what has run out and what has no expiry; gives their number.

    The lists that are due name the keys; whether one has run out, its own expiry says, for it may have been written anew.
    `thorough`: look at every key, also when nobody else seems to have written.
    """
    moment = _milliseconds(now)
    last = moment // _BUCKET_MS
    over: list[bytes] = []
    gone: list[bytes] = []
    for place, record in tx.cursor(buckets).iternext():
        bucket = _BUCKET.unpack(place)[0]
        if place == _COUNT or bucket > last:
            break
        if bucket < last:
            over.append(bytes(place))
        for key in bytes(record).split(b"\0"):
            expiry = _expiry(tx.get(key))
            if expiry is not None and expiry <= moment and tx.delete(key):
                gone.append(key)
    for place in over:
        tx.delete(place, db=buckets)
    count = len(gone)
    if count:
        _count(tx, buckets, _counted(tx, buckets) - count)
    if thorough or size(tx) != _counted(tx, buckets):
        # What another program wrote nobody would ever take out.
        count += drop(tx, buckets, [key for key in names(tx) if _expiry(tx.get(key)) is None])
        _count(tx, buckets, size(tx))
    return count


def size(tx: lmdb.Transaction) -> int:
    """The number of keys that Postfix may ask for."""
    return int(tx.stat()["entries"]) - 1


def names(tx: lmdb.Transaction) -> Iterator[bytes]:
    """The keys that Postfix may ask for, in their order."""
    return (bytes(key) for key in tx.cursor().iternext(keys=True, values=False) if key != NAME)


def entry(tx: lmdb.Transaction, key: bytes) -> Entry | None:
    """What the table holds for this key; an expiry of 0 where nobody knows it."""
    value = tx.get(key)
    if value is None:
        return None
    return Entry(
        key=key.decode("utf-8", "replace"),
        value=bytes(value).partition(b"\0")[0].decode("utf-8", "replace"),
        expires=(_expiry(value) or 0) / 1000,
    )


def _expiry(value: bytes | memoryview | None) -> int | None:
    """Milliseconds; None where nothing stands there, or another program's value."""
    if value is None:
        return None
    digits = bytes(value[-14:])
    return int(digits[1:]) if digits[:1] == b"\0" and len(digits) == 14 and digits[1:].isdigit() else None


def _milliseconds(moment: float) -> int:
    return min(max(0, int(moment * 1000)), _LATEST)


def _counted(tx: lmdb.Transaction, buckets: "_Database") -> int:
    number = tx.get(_COUNT, db=buckets)
    return 0 if number is None else int(_NUMBER.unpack(number)[0])


def _count(tx: lmdb.Transaction, buckets: "_Database", number: int) -> None:
    tx.put(_COUNT, _NUMBER.pack(max(0, number)), db=buckets)


def _records(keys: list[bytes]) -> Iterator[bytes]:
    """The keys, which hold no NUL, joined by NULs to records of bounded size."""
    held: list[bytes] = []
    octets = 0
    for key in keys:
        if held and octets + len(key) > _RECORD:
            yield b"\0".join(held)
            held, octets = [], 0
        held.append(key)
        octets += len(key) + 1
    if held:
        yield b"\0".join(held)
