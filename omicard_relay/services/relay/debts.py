"""Jobs for the writing thread, and what the store must still be told when it failed or is late.

What is owed goes first in every later job, so that no later mail is judged without it; and by itself after a moment.
Left to others: what is written (ledger.py). Known limits: what is owed is lost with the process; the followed log then
tells it (store/attempts.py).
"""

import asyncio
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
        self._owed: list[_Job] = []
        self._sent: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def write(self, job: Callable[[Tx], T]) -> T:
        """Run a job in the writing thread, behind what is owed. Raises what failed."""
        self._send_owed()
        return await asyncio.wrap_future(self._writer.submit(job))

    def owe(self, job: _Job, seconds: float) -> None:
        """Write this with the next job, or by itself in so many seconds. It may run more than once."""
        if len(self._owed) < _LIMIT:
            self._owed.append(job)
        self._set_timer(seconds)

    async def close(self) -> None:
        """Write what is owed, as far as the store lets us."""
        if self._timer is not None:
            self._timer.cancel()
        self._closed = True
        await asyncio.gather(*self._sent, return_exceptions=True)
        self._send_owed()
        await asyncio.gather(*self._sent, return_exceptions=True)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._pay)

    def _pay(self) -> None:
        self._timer = None
        self._send_owed()

    def _send_owed(self) -> None:
        """All of it as one job, which stands before whatever is sent next; it is owed again when it fails."""
        if not self._owed:
            return
        owed, self._owed = self._owed, []

        def whole(tx: Tx) -> None:
            for one in owed:
                one(tx)

        def done(sent: asyncio.Future[None]) -> None:
            self._sent.discard(sent)
            error = None if sent.cancelled() else sent.exception()
            if error is not None:
                log_event(Event.STORE_OWED, level=40, owed=len(owed), error_text=str(error))
                self._owed = [*owed, *self._owed][:_LIMIT]
                self._set_timer(AGAIN_SECONDS)

        sent = asyncio.wrap_future(self._writer.submit(whole))
        self._sent.add(sent)
        sent.add_done_callback(done)
