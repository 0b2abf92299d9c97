"""Several services in one process, until SIGTERM or SIGINT; the first that ends takes the others with it.

They share one rulebook, which follows the releases of the rules while they run, and one task that purges what is old.

A service that fails lets the others end in good order: half a line is worse than a restart.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping

import uvloop

from omicard_relay.mail import RelayError
from omicard_relay.services.forgetkey import check_forget_key
from omicard_relay.services.housekeeping import keep_house
from omicard_relay.services.rulebook import Rulebook, open_noted, watch_releases
from omicard_relay.store.engine import Store
from omicard_relay.tables.keeping import check_evidence_days
from omicard_relay.tables.settings import Settings

__all__ = ["SERVICES", "run_services"]

log = logging.getLogger(__name__)

_Service = Callable[[Settings, Store, Rulebook, asyncio.Event], Awaitable[None]]


async def _relay(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    from omicard_relay.services.relay import serve_relay  # late, as below: only what is asked for is loaded

    await serve_relay(settings, store, rulebook, stop)


async def _follow(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    from omicard_relay.services.follow_service import serve_follow

    await serve_follow(settings, store, rulebook, stop)


async def _ingest(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    from omicard_relay.services.ingest_service import serve_ingest

    await serve_ingest(settings, store, rulebook, stop)


async def _steer(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    from omicard_relay.services.steer_service import serve_steer

    await serve_steer(settings, store, rulebook, stop)


SERVICES: Mapping[str, _Service] = {"relay": _relay, "follow": _follow, "ingest": _ingest, "steer": _steer}


def run_services(names: tuple[str, ...], settings: Settings, store: Store) -> None:
    """Run these services of SERVICES until a signal comes or one of them ends.

    Raises RelayError, of all that failed on purpose, or else the first error that nobody expected.
    """
    errors = uvloop.run(_run(names, settings, store))
    unforeseen = [error for error in errors if not isinstance(error, RelayError)]
    if unforeseen:
        raise unforeseen[0]
    if errors:
        raise RelayError("; ".join(map(str, errors)))


async def _run(names: tuple[str, ...], settings: Settings, store: Store) -> list[Exception]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    errors: list[Exception] = []
    try:
        rulebook = await asyncio.to_thread(open_noted, settings, store)
        check_evidence_days(settings, rulebook.current.suppress, days=settings.keep.evidence_days)
        await asyncio.to_thread(check_forget_key, settings, store)
    except RelayError as error:
        return [error]

    async def one(name: str) -> None:
        try:
            await SERVICES[name](settings, store, rulebook, stop)
        except Exception as error:
            errors.extend(_leaves(error))
            log.error("event=service-failed service=%s error=%r", name, str(errors[-1]))
        finally:
            stop.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch_releases(rulebook, settings, store, stop), name="rules")
        tasks.create_task(keep_house(settings, store, rulebook, stop), name="housekeeping")
        for name in dict.fromkeys(names):
            tasks.create_task(one(name), name=name)
    return errors


def _leaves(error: Exception) -> list[Exception]:
    """The errors that a task group has bundled."""
    if isinstance(error, ExceptionGroup):
        return [leaf for one in error.exceptions for leaf in _leaves(one)]
    return [error]
