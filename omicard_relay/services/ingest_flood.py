"""The bound on unproven bounce mails: anybody can send them, so they may cost only so much disk and time.

Leaky buckets, mails a minute and octets an hour, hold what is kept whole of mails without a valid token: one pair for
reports, one for mails with a sender, so that a flood of forged bounces keeps no person's answer out. What is over gets a
note with the start of its head while there is room for as many notes again; above that it is only counted. A token that
has come many times is bounded as if it were none, and of its reports beyond some octets only the statements are kept:
whoever got one mail of ours could fill the disk with it.
Where reverse-paths are not signed nothing can be proven, and nothing is bounded here.
Not here: what an unproven mail may do (services/ingest.py). Known limits: buckets are of one process; at its start they
hold what the store shows of the last minute and hour.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from omicard_relay.signing.return_path import TOKEN_LENGTH, ReturnPathSigner, TokenReading
from omicard_relay.store.bounce_flow import come_to, unproven_since
from omicard_relay.store.engine import Store

__all__ = ["Admission", "FloodBound", "FloodReport", "TokenFinder", "flood_bound", "tokens_mails"]

#: Mails for one token: a delivery gives one to five reports and a few automatic answers in its thirty days.
_PER_TOKEN = 50
#: And octets: a few reports that return a whole mail of the largest size.
_OCTETS_PER_TOKEN = 33_554_432
#: Tokens that are remembered: with 50 octets each a few megabytes.
_TOKENS = 20_000
_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)


class Admission(StrEnum):
    """What is done with a mail."""

    #: Parsed, judged and kept whole.
    WHOLE = "whole"
    #: Proven, and over the octets of its token: parsed and judged, but its content is not kept.
    STATEMENTS = "statements"
    #: Over the bound: envelope, size and the start of the head are kept.
    NOTE = "note"
    #: Over both bounds: counted.
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodReport:
    """What was over the bound since the last report, told once a minute at most. `octets` of all these mails."""

    mails: int
    octets: int


class _Bucket:
    """Room for `size`, which comes back evenly over `period`."""

    def __init__(self, size: int, period: timedelta, now: datetime) -> None:
        self._size, self._per_second = size, size / period.total_seconds()
        self._held, self._time = 0.0, now

    def has_room(self, amount: int, now: datetime) -> bool:
        """Whether so much fits, one large thing into an empty bucket always."""
        # A clock that was set back gives no room, and takes none.
        passed = max((now - self._time).total_seconds(), 0.0)
        self._held, self._time = max(self._held - passed * self._per_second, 0.0), now
        return self._held + amount <= self._size or self._held == 0.0

    def put(self, amount: int) -> None:
        self._held += amount


class TokenFinder:
    """Finds a token of ours that verifies anywhere in a mail, as in the one that a complaint returns, without parsing it."""

    #: Reverse-paths that are verified: a returned mail shows its own two or three times.
    _MOST = 8

    def __init__(self, signer: ReturnPathSigner) -> None:
        self._signer = signer
        start, end = re.escape(f"{signer.local_part}{signer.delimiter}"), re.escape(f"@{signer.domain}")
        self._path = re.compile(f"{start}[a-z2-7]{{{TOKEN_LENGTH}}}{end}".encode(), re.IGNORECASE)

    def find(self, raw: bytes, *, today: int) -> TokenReading | None:
        """The first valid one; `today` counts days from 1970-01-01. One walk over the mail, and at most eight signatures."""
        for found, _ in zip(self._path.finditer(raw), range(self._MOST), strict=False):
            reading = self._signer.verify(found.group().decode("ascii"), today=today)
            if reading.valid:
                return reading
        return None


class FloodBound:
    """Decides for each mail, before anything of it is parsed. Safe to use from any thread."""

    def __init__(self, *, mails_per_minute: int, octets_per_hour: int, now: datetime) -> None:
        self._mails = {null: _Bucket(mails_per_minute, _MINUTE, now) for null in (True, False)}
        self._octets = {null: _Bucket(octets_per_hour, _HOUR, now) for null in (True, False)}
        self._notes = _Bucket(mails_per_minute, _MINUTE, now)
        self._tokens: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self._door = threading.Lock()
        self._over_mails = self._over_octets = 0
        self._told: datetime | None = None

    def hold(self, mails: int, octets: int, *, is_null: bool) -> None:
        """Begin with what was kept before this process."""
        self._mails[is_null].put(mails)
        self._octets[is_null].put(octets)

    def knows(self, token: TokenReading) -> bool:
        """Whether this process has counted the token already."""
        with self._door:
            return _name(token) in self._tokens

    def admit(
        self,
        token: TokenReading,
        octets: int,
        now: datetime,
        *,
        is_null: bool = True,
        earlier: tuple[int, int] = (0, 0),
    ) -> Admission:
        """What to do with a mail of so many octets that came to this token; `is_null`: a report, by its reverse-path.

        `earlier`: the mails and octets that the store has of a token which this process does not know (`knows`).
        """
        with self._door:
            if token.valid:
                mails, held = self._count(token, octets, earlier)
                if mails <= _PER_TOKEN and held <= _OCTETS_PER_TOKEN:
                    return Admission.WHOLE
                if mails <= _PER_TOKEN and is_null:
                    return Admission.STATEMENTS
            if self._mails[is_null].has_room(1, now) and self._octets[is_null].has_room(octets, now):
                self._mails[is_null].put(1)
                self._octets[is_null].put(octets)
                return Admission.WHOLE
            self._over_mails += 1
            self._over_octets += octets
            if self._notes.has_room(1, now):
                self._notes.put(1)
                return Admission.NOTE
            return Admission.COUNT

    def report(self, now: datetime) -> FloodReport | None:
        """What is to be told now; None when nothing is, or when it was told less than a minute ago."""
        with self._door:
            if not self._over_mails or (self._told is not None and timedelta() <= now - self._told < _MINUTE):
                return None
            report = FloodReport(mails=self._over_mails, octets=self._over_octets)
            self._over_mails = self._over_octets = 0
            self._told = now
            return report

    def _count(self, token: TokenReading, octets: int, earlier: tuple[int, int]) -> tuple[int, int]:
        """Mails and octets of this token, with the one that comes now."""
        name = _name(token)
        mails, held = self._tokens.pop(name, earlier)
        found = self._tokens[name] = mails + 1, held + octets
        if len(self._tokens) > _TOKENS:
            self._tokens.popitem(last=False)
        return found


def tokens_mails(store: Store, envelope_recipient: str) -> tuple[int, int]:
    """Mails and octets that have come to this address so far, whichever process took them. Raises StoreError."""
    with store.read() as tx:
        return come_to(tx, envelope_recipient)


def flood_bound(
    store: Store,
    *,
    mails_per_minute: int,
    octets_per_hour: int,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FloodBound:
    """A bound that goes on where the store shows that others left off. Raises StoreError."""
    now = clock()
    bound = FloodBound(mails_per_minute=mails_per_minute, octets_per_hour=octets_per_hour, now=now)
    with store.read() as tx:
        for is_null in (True, False):
            mails, _ = unproven_since(tx, now - _MINUTE, is_null=is_null)
            _, octets = unproven_since(tx, now - _HOUR, is_null=is_null)
            bound.hold(mails, octets, is_null=is_null)
    return bound


def _name(token: TokenReading) -> bytes:
    return (token.nonce or b"") + (token.recipient_digest or b"")
