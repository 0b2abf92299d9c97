"""The connections to Postfix: kept open, shared, at most so many; and the relay's backpressure.

Who waits is served in order. Nobody waits longer than `wait_seconds`; and when no connection has come back for that
long, Postfix is slow or down, and nobody waits at all: clients get their 451 at once and keep their mail.
Left to others: the dialogue (next_hop.py).
"""

import asyncio
import time
from collections import deque

from omicard_relay.services.relay.hop_line import NextHopError
from omicard_relay.services.relay.next_hop import Fate, NextHopConnection, Transaction, connect

__all__ = ["NextHopPool"]


class NextHopPool:
    """At most `size` connections to `host`:`port`."""

    def __init__(
        self, host: str, port: int, *, hostname: str, size: int, wait_seconds: float, timeout_seconds: float
    ) -> None:
        self.size = size
        self._address = (host, port)
        self._hostname = hostname
        self._wait_seconds = wait_seconds
        self._timeout_seconds = timeout_seconds
        self._idle: list[NextHopConnection] = []
        self._lent = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._last_return = time.monotonic()
        self._closed = False

    @property
    def is_stalled(self) -> bool:
        """Every connection is out, and none has come back for the whole time that anybody would wait."""
        return self._lent >= self.size and time.monotonic() - self._last_return > self._wait_seconds

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return len(self._waiters)

    async def deliver(self, transaction: Transaction) -> tuple[Fate, ...]:
        """Hand one mail over on some connection. Raises NextHopError when there is none: nothing was sent."""
        await self._enter()
        used: NextHopConnection | None = None
        try:
            connection = self._resting()
            if connection is not None:
                try:
                    fates = await self._on(connection, transaction)
                    used = connection
                    return fates
                except NextHopError:
                    pass  # it had been closed meanwhile: nothing was said on it, so once more on a new one
            connection = await connect(*self._address, self._hostname, self._wait_seconds)
            fates = await self._on(connection, transaction)
            used = connection
            return fates
        finally:
            self._leave(used)

    async def _on(self, connection: NextHopConnection, transaction: Transaction) -> tuple[Fate, ...]:
        try:
            return await connection.deliver(transaction, self._timeout_seconds)
        except BaseException:
            connection.close()  # in the middle of something: nobody else may use it
            raise

    def close(self) -> None:
        """End the idle connections; those that are out end when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def _enter(self) -> None:
        if self._lent < self.size and not self._waiters:
            self._take_place()
            return
        if self.is_stalled:
            raise NextHopError("all connections are busy, and none has come back for a while")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._leave(None)  # the place was given just now: pass it on
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise NextHopError(f"no connection became free within {self._wait_seconds:g} s") from None
            raise

    def _take_place(self) -> None:
        if self._lent == 0:
            self._last_return = time.monotonic()
        self._lent += 1

    def _resting(self) -> NextHopConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    def _leave(self, connection: NextHopConnection | None) -> None:
        """Give the place back, and the connection when it can be used again."""
        self._lent -= 1
        self._last_return = time.monotonic()
        if connection is not None:
            if connection.usable and not self._closed:
                connection.rest()
                self._idle.append(connection)
            else:
                connection.close()
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                self._lent += 1
                waiter.set_result(None)
                break
