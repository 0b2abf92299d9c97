"""Purging by age: the loop over the store's pages, and the task that runs it once a day beside the services.

Each page is one transaction, sized so that it takes some 30 ms; then the store is left alone for as long, so that those who
write get in. One process at a time does it, whichever machine it is on (store/leases.py). A run that is stopped or killed
is taken up by the next one.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from omicard_relay.mail import RelayError, StoreBusyError, StoreError
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.services.suppression import settle_all
from omicard_relay.store import leases
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.purge import Cutoffs, Part, Place, all_parts, delete_page, find_page, running_campaigns
from omicard_relay.store.space import Space, find_space, give_back
from omicard_relay.tables.keeping import check_evidence_days
from omicard_relay.tables.settings import Settings

__all__ = ["Purged", "cutoffs_of", "keep_house", "me", "purge"]

log = logging.getLogger(__name__)

T = TypeVar("T")

_NAME = "purge"
#: How often a busy store is tried for one page, each time for `store.busy_seconds`.
_TRIES = 20
#: For how long the work is one's own without a word: a page takes far less, whatever the disk does.
_LEASE = timedelta(minutes=10)
#: Once a day, and not later each day by what the run itself takes.
_EVERY = timedelta(hours=23)
#: Seconds between two looks whether it is time, and before the first, when the services have enough to do.
_LOOK_SECONDS, _FIRST_SECONDS = 600.0, 60.0
#: Seconds of a look that what waits for suppress.toml may take.
_SETTLE_SECONDS = 120.0
#: Seconds that one transaction should take, and the rows with which it is tried first, at least and at most.
_PAGE_SECONDS = 0.03
_FIRST_ROWS, _LEAST_ROWS, _MOST_ROWS = 50, 10, 1000
#: Octets that are given back in one write, and the share of the file that stays free for the rows of tomorrow.
_GIVE_BACK = 1 << 20
_FREE_SHARE = 10


@dataclass(slots=True, kw_only=True)
class Purged:
    """What went, by table; `longest_seconds` of one transaction; `given_back` octets of the file. `is_whole` False: it was
    stopped."""

    counts: dict[str, int] = field(default_factory=dict)
    longest_seconds: float = 0.0
    given_back: int = 0
    is_whole: bool = True


def cutoffs_of(settings: Settings, now: datetime) -> Cutoffs:
    """What is old at this moment."""

    def before(days: int) -> datetime | None:
        return now - timedelta(days=days) if days else None

    keep = settings.keep
    return Cutoffs(
        contents=before(keep.mail_days),
        evidence=before(keep.evidence_days),
        lists=before(keep.list_history_days),
        steering=before(keep.steering_days),
    )


def me() -> str:
    """Who does the work, as others are told."""
    return f"{socket.gethostname()}:{os.getpid()}"


def purge(
    store: Store,
    cutoffs: Cutoffs,
    *,
    clock: Callable[[], datetime],
    holder: str,
    only_when_due: bool = False,
    is_daily: bool = True,
    is_stopped: Callable[[], bool] = lambda: False,
    on_progress: Callable[[dict[str, int]], None] = lambda counts: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Purged | None:
    """Delete what is old; None with `only_when_due` where it was done within a day or another one does it.

    Only what `is_daily` is noted as done: what somebody deletes by other days by hand leaves the daily one due.
    Raises StoreBusyError where another one does it otherwise.
    """
    now = clock()
    with store.write() as tx:
        due = now - _EVERY if only_when_due else None
        is_mine = leases.take(tx, _NAME, holder, now=now, lease=_LEASE, not_done_since=due)
        other = leases.holder_of(tx, _NAME)
    if not is_mine:
        if only_when_due:
            return None
        raise StoreBusyError(f"{other} is purging this store at the moment; try again when it is done.")
    done = Purged()
    try:
        _delete_all(store, cutoffs, done, clock, holder, is_stopped, on_progress, sleep)
        if done.is_whole:
            done.given_back = _give_back(store, is_stopped, sleep)
    except BaseException:
        done.is_whole = False
        raise
    finally:
        _patiently(
            store, partial(leases.finish, name=_NAME, holder=holder, done=now if done.is_whole and is_daily else None)
        )
    return done


async def keep_house(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    """Purge once a day, and settle what waits, until `stop` is set. Never raises: the services do not depend on it."""
    wait = _FIRST_SECONDS
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), wait)
            return
        except TimeoutError:
            wait = _LOOK_SECONDS
        try:
            # What waits for a log that nobody follows here.
            await asyncio.to_thread(
                settle_all,
                store,
                rulebook.current.suppress,
                now=datetime.now(UTC),
                seconds=_SETTLE_SECONDS,
                is_stopped=stop.is_set,
            )
        except RelayError as error:
            log.error("event=suppress-store-failed error=%r", str(error))
        except Exception:
            log.exception("event=suppress-bug")
        try:
            await asyncio.to_thread(_purge_when_due, settings, store, rulebook, stop.is_set)
        except RelayError as error:
            log.error("event=purge-failed error=%r", str(error))
        except Exception:
            log.exception("event=purge-bug")


def _purge_when_due(settings: Settings, store: Store, rulebook: Rulebook, is_stopped: Callable[[], bool]) -> None:
    # The rules may have been exchanged since the start.
    check_evidence_days(settings, rulebook.current.suppress, days=settings.keep.evidence_days)
    clock = lambda: datetime.now(UTC)  # noqa: E731
    done = purge(
        store, cutoffs_of(settings, clock()), clock=clock, holder=me(), only_when_due=True, is_stopped=is_stopped
    )
    if done is not None:
        told = " ".join(f"{name}={count}" for name, count in sorted(done.counts.items()))
        size = _size(find_space(store))
        log.info(
            "event=purged whole=%s longest_seconds=%.3f given_back=%d file=%s %s",
            *("yes" if done.is_whole else "no", done.longest_seconds, done.given_back, size, told),
        )


def _delete_all(
    store: Store,
    cutoffs: Cutoffs,
    done: Purged,
    clock: Callable[[], datetime],
    holder: str,
    is_stopped: Callable[[], bool],
    on_progress: Callable[[dict[str, int]], None],
    sleep: Callable[[float], None],
) -> None:
    running: frozenset[str] = frozenset()
    if cutoffs.evidence is not None:
        with store.read() as tx:
            running = running_campaigns(tx, cutoffs.evidence)
    for part, before in all_parts(cutoffs):
        place, most = Place(part=part), _FIRST_ROWS
        while True:
            if is_stopped():
                done.is_whole = False
                return
            place, keys = find_page(store, place, before, most=most)
            if not keys:
                break
            job = partial(_delete_one, part=part, keys=keys, before=before, running=running, holder=holder, now=clock())
            found, took = _patiently(store, job)
            for name, count in found.items():
                if count:
                    done.counts[name] = done.counts.get(name, 0) + count
            done.longest_seconds = max(done.longest_seconds, took)
            fitting = int(len(keys) * _PAGE_SECONDS / max(took, 0.001))
            most = max(_LEAST_ROWS, min(fitting, 2 * most, _MOST_ROWS))
            on_progress(done.counts)
            sleep(took)


def _delete_one(
    tx: Tx, *, part: Part, keys: list[Any], before: datetime, running: frozenset[str], holder: str, now: datetime
) -> dict[str, int]:
    if not leases.keep_on(tx, _NAME, holder, now=now, lease=_LEASE):
        raise StoreError("Another process has taken the purging over; this one stops.")
    return delete_page(tx, part, keys, before, running=running, now=now)


def _patiently(store: Store, job: Callable[[Tx], T]) -> tuple[T, float]:
    """One transaction, and the seconds that it had the lock. Of all who write, this one can wait longest."""
    for tries_left in reversed(range(_TRIES)):
        try:
            with store.write() as tx:
                start = time.monotonic()  # of the lock, not of the wait for it
                result = job(tx)
            return result, time.monotonic() - start
        except StoreBusyError:
            if not tries_left:
                raise
    raise AssertionError("unreachable")


def _give_back(store: Store, is_stopped: Callable[[], bool], sleep: Callable[[float], None]) -> int:
    """Free pages beyond what tomorrow will take, in steps; gives the octets."""
    given, tries_left = 0, _TRIES
    while not is_stopped():
        space = find_space(store)
        if space is None or not space.can_give_back:
            break
        much = space.free - space.octets // _FREE_SHARE
        if much < _GIVE_BACK:
            break
        start = time.monotonic()
        try:
            step = give_back(store, min(much, _GIVE_BACK))
        except StoreBusyError:
            # Those who write come first; what stays free now is given back by the next run.
            tries_left -= 1
            if not tries_left:
                break
            continue
        if step <= 0:
            break
        given += step
        sleep(time.monotonic() - start)
    return given


def _size(space: Space | None) -> str:
    return "-" if space is None else str(space.octets)
