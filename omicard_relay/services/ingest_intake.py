"""Many mails at once into one ingester: bounded memory, reading in threads, and one durable transaction for many.

A front end takes a place before it reads a mail, tells it how long the mail has become, and waits where there is no room:
its client waits then, too. A mail that outgrows a place's share needs one of the few large shares, once; so nobody who
holds one waits for a second, and all get on.
Not here: the protocols (services/ingest_lmtp.py, services/ingest_socket.py), what is written (services/ingest.py).
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Protocol

from omicard_relay.mail import MailKind

__all__ = ["Intake", "Place", "Taking"]

#: Mails that are being read and written at once, and octets of each: most bounces have 2,000 to 20,000.
_PLACES, _SHARE = 128, 262_144
#: Threads that parse and judge: they share one interpreter, so that more of them only wait for each other.
_THREADS = 2


class Taking(Protocol):
    """What the intake needs of the ingester."""

    size_limit: int

    def begin(self, raw: bytes, *, sender: str, recipient: str, cut: bool = False) -> "Future[MailKind]":
        """Read and judge now; the future gives the kind once all is on disk."""


class Place:
    """Room for one mail."""

    def __init__(self, large: asyncio.Semaphore) -> None:
        self._large = large
        self._is_large = False

    async def grow(self, octets: int) -> None:
        """Wait until there is room for so many octets in all."""
        if octets > _SHARE and not self._is_large:
            await self._large.acquire()
            self._is_large = True

    def leave(self) -> None:
        """Give the room back."""
        if self._is_large:
            self._large.release()


class Intake:
    """`place()` for a mail, then `take()` it. `memory_limit`: octets of all mails above the small share, at once."""

    def __init__(self, ingester: Taking, *, memory_limit: int) -> None:
        self._ingester = ingester
        self._places = asyncio.Semaphore(_PLACES)
        self._large = asyncio.Semaphore(max(1, memory_limit // max(ingester.size_limit, 1)))
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ingest")

    @property
    def size_limit(self) -> int:
        """Octets of one mail that are kept."""
        return self._ingester.size_limit

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """A place for one mail, from before its first octet until it is answered."""
        async with self._places:
            place = Place(self._large)
            try:
                yield place
            finally:
                place.leave()

    async def take(self, raw: bytes, *, sender: str, recipient: str, cut: bool = False) -> MailKind:
        """The mail's kind once it is on disk. Raises what `Ingester.take` raises."""
        loop = asyncio.get_running_loop()
        done = await loop.run_in_executor(
            self._threads, lambda: self._ingester.begin(raw, sender=sender, recipient=recipient, cut=cut)
        )
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Let the threads go when they have done what was begun."""
        self._threads.shutdown(wait=True, cancel_futures=True)
