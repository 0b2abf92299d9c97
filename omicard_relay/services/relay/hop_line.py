"""A line to a server that speaks SMTP replies: octets out, whole replies in, each within a time limit.

RFC 5321 §4.2. A server that says something unasked, no SMTP or no end is hung up on.
Left to others: what is said (next_hop.py).
"""

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import cast

__all__ = ["HopLine", "HopReply", "NextHopError"]

#: Octets of one reply, all its lines: the longest EHLO answer has a few hundred.
_REPLY_LIMIT = 65_536
_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?")


class NextHopError(Exception):
    """The connection can't be used: refused, lost, silent, or no SMTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HopReply:
    """One reply: its code and its lines without the code."""

    reply_code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The reply on one line, as a log would show it."""
        return f"{self.reply_code} {' '.join(self.lines)}".strip()


class HopLine(asyncio.Protocol):
    """One connection's octets. `answered` counts the replies since `wake_up`."""

    def __init__(self) -> None:
        self.answered = 0
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._octets = 0
        self._replies: deque[HopReply] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost: str | None = None
        self._resting = False

    @property
    def usable(self) -> bool:
        """Whether it still stands, and owes no reply."""
        return self._lost is None and not self._replies and not self._buffer

    def rest(self) -> None:
        """Nothing is expected from now on: whatever comes makes it unusable."""
        self._resting = True

    def wake_up(self) -> None:
        """A transaction begins."""
        self._resting = False
        self.answered = 0

    def close(self) -> None:
        """Say QUIT where that makes sense, and close."""
        if self._transport is not None and not self._transport.is_closing():
            if self._resting and self._lost is None:
                self._transport.write(b"QUIT\r\n")
            self._transport.close()
        self._lost = self._lost or "closed"

    async def write(self, octets: bytes, timeout: float) -> None:
        """Send, and wait while the server reads slower than we write. Raises NextHopError."""
        if self._lost is not None or self._transport is None:
            raise NextHopError(f"lost connection ({self._lost})")
        self._transport.write(octets)
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(timeout):
                await self._writable.wait()
        except TimeoutError:
            raise NextHopError("timed out while sending") from None
        if self._lost is not None:
            raise NextHopError(f"lost connection ({self._lost})")

    async def reply(self, timeout: float) -> HopReply:
        """The next reply. Raises NextHopError."""
        if not self._replies:
            try:
                async with asyncio.timeout(timeout):
                    await self._more()
            except TimeoutError:
                raise NextHopError("timed out while waiting for a reply") from None
        self.answered += 1
        return self._replies.popleft()

    async def _more(self) -> None:
        while not self._replies:
            if self._lost is not None:
                raise NextHopError(f"lost connection ({self._lost})")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    # ------------------------------------------------- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._resting:
            # A 421 at leisure, most likely: this connection ends.
            self._give_up("said something unasked")
            return
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end]).rstrip(b"\r")
            del self._buffer[: end + 1]
            match = _REPLY_LINE.fullmatch(line)
            self._octets += len(line)
            if match is None or self._octets > _REPLY_LIMIT:
                self._give_up("no SMTP reply")
                return
            self._lines.append((match.group(3) or b"").decode("utf-8", "replace"))
            if match.group(2) != b"-":
                self._replies.append(HopReply(reply_code=int(match.group(1)), lines=tuple(self._lines)))
                self._lines, self._octets = [], 0
        if len(self._buffer) > _REPLY_LIMIT:
            self._give_up("a reply without end")
        elif self._replies:
            self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or (f"{exc}" if exc else "closed by the server")
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _give_up(self, why: str) -> None:
        self._lost = self._lost or why
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
