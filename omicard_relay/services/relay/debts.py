"""Jobs for the writing thread, and what the store must still be told when it failed or is late.

What is owed goes first in every later job, so that no later mail is judged without it; and by itself after a moment.
Left to others: what is written (ledger.py). Known limits: what is owed is lost with the process; the followed log then
tells it (store/attempts.py).
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import TypeVar

from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.store.engine import Tx
from omicard_relay.store.writer import Writer

__all__ = ["AGAIN_SECONDS", "FLUSH_SECONDS", "Debts"]

T = TypeVar("T")
_Job = Callable[[Tx], None]

#: Seconds after an answer before it is written by itself, when no other job takes it along.
FLUSH_SECONDS = 0.05
#: Seconds before what is owed is tried again.
AGAIN_SECONDS = 1.0
#: What is owed at most: a store that is gone for long must not fill the memory.
_LIMIT = 10_000


class Debts:
    """The writing thread, with a memory."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._owed: dict[int, _Job] = {}
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._paying: asyncio.Task[None] | None = None

    async def write(self, job: Callable[[Tx], T]) -> T:
        """Run a job in the writing thread, what is owed before it: both or none. Raises what failed."""
        owed = dict(self._owed)

        def whole(tx: Tx) -> T:
            for one in owed.values():
                one(tx)
            return job(tx)

        result = await asyncio.wrap_future(self._writer.submit(whole))
        for number in owed:
            self._owed.pop(number, None)
        return result

    def owe(self, job: _Job, seconds: float) -> None:
        """Write this with the next job, or by itself in so many seconds. It may run more than once."""
        while len(self._owed) >= _LIMIT:
            self._owed.pop(next(iter(self._owed)))
        self._owed[next(self._numbers)] = job
        self._set_timer(seconds)

    async def close(self) -> None:
        """Write what is owed, as far as the store lets us."""
        if self._timer is not None:
            self._timer.cancel()
        if self._paying is not None:
            await self._paying
        if self._owed:
            await self._pay()
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._pay_soon)

    def _pay_soon(self) -> None:
        self._timer = None
        if self._owed:
            self._paying = asyncio.create_task(self._pay())

    async def _pay(self) -> None:
        try:
            await self.write(lambda tx: None)
        except Exception as error:
            log_event(Event.STORE_OWED, level=40, owed=len(self._owed), error_text=str(error))
        if self._owed:
            self._set_timer(AGAIN_SECONDS)
