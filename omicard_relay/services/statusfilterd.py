"""The status filter at its socket: look-ups in, answers out, each within a deadline (Postfix socketmap_table(5)).

smtp(8) waits up to 100 s for an answer, and delivers nothing meanwhile; so a look-up that has waited longer than the deadline
in our queue gets `NOTFOUND` unjudged. A protocol of its own, without streams, for a look-up costs some ten microseconds.
Not here: what is answered (services/statusfilter.py).
Known limits: a process that is stopped as a whole answers nothing; services/watchdog.py has systemd start it anew.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import uvloop

from omicard_relay.mail import RelayError, WireError
from omicard_relay.services.statusfilter import MAP_NAME, StatusFilter
from omicard_relay.wire.socketmap import Request, RequestReader, Status, answer

__all__ = ["StatusFilterThread", "serve_status_filter"]

log = logging.getLogger(__name__)

#: Look-ups that are answered in one go, before sockets are looked at again.
_AT_ONCE = 64
#: Look-ups that may wait; Postfix has at most one for each smtp(8) process, 100 by default.
_WAITING = 10_000
#: Seconds to wait for the thread to be there, and to go.
_PATIENCE = 30.0
_UNKNOWN_MAP = answer(Status.PERMANENT, b"there is no such map here")


async def serve_status_filter(
    status_filter: StatusFilter,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    on_listening: Callable[[int], None] | None = None,
) -> None:
    """Answer look-ups in this loop until `stop` is set; `on_listening` is told the port. Raises RelayError: it is taken."""
    loop = asyncio.get_running_loop()
    desk = _Desk(status_filter, loop)
    try:
        server = await loop.create_server(lambda: _Connection(desk), host, port)
    except OSError as error:
        raise RelayError(
            f"{host}:{port}: the status filter cannot listen there ({error.strerror or error}); "
            "set `steer.host` and `steer.port`."
        ) from None
    log.info("event=statusfilter-listening host=%s port=%d mode=%s", host, port, status_filter.mode)
    try:
        if on_listening is not None:
            on_listening(server.sockets[0].getsockname()[1])
        await stop.wait()
    finally:
        server.close()
        desk.close()


class StatusFilterThread:
    """The same in a thread with a loop of its own, so that work of the caller's loop holds no look-up up."""

    def __init__(self, status_filter: StatusFilter, host: str, port: int) -> None:
        self._filter, self._host, self._port = status_filter, host, port
        self._thread = threading.Thread(target=self._run, name="statusfilter", daemon=True)
        self._there = threading.Event()
        self._bound = 0
        self._error: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> int:
        """Listen; gives the port. Raises RelayError."""
        self._thread.start()
        if not self._there.wait(_PATIENCE):
            raise RelayError("The status filter did not start.")
        if self._error is not None:
            raise self._error
        return self._bound

    def stop(self) -> None:
        """Close the socket and wait for the thread. A second call does nothing."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None:
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(stop.set)
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    @property
    def is_alive(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except Exception as error:
            self._error = error
            log.error("event=statusfilter-failed error=%r", str(error))
        finally:
            self._there.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()

        def there(port: int) -> None:
            self._bound = port
            self._there.set()

        await serve_status_filter(self._filter, self._host, self._port, self._stop, on_listening=there)


class _Desk:
    """Where look-ups of all connections wait, in the order in which they came."""

    def __init__(self, status_filter: StatusFilter, loop: asyncio.AbstractEventLoop) -> None:
        self._filter, self._loop = status_filter, loop
        self._waiting: deque[tuple[_Connection, Request, float]] = deque()
        self._is_due = False
        self.connections: set[_Connection] = set()

    def take(self, connection: "_Connection", requests: list[Request]) -> None:
        arrived = self._loop.time()
        for one in requests:
            if len(self._waiting) >= _WAITING:
                connection.write(self._filter.answer_late())
            else:
                self._waiting.append((connection, one, arrived))
        self._call()

    def _call(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        """A bounded number of answers, then the sockets have their turn: so the wait of the next ones is known."""
        self._is_due = False
        waiting = self._waiting
        for _ in range(min(_AT_ONCE, len(waiting))):
            connection, one, arrived = waiting.popleft()
            if one.name != MAP_NAME:
                connection.write(_UNKNOWN_MAP)
            elif self._loop.time() - arrived > self._filter.deadline_seconds:
                connection.write(self._filter.answer_late())
            else:
                connection.write(self._filter.answer(one.key))
        self._call()

    def close(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One client. What is no socketmap request ends the connection; so does a client that reads no answers."""

    def __init__(self, desk: _Desk) -> None:
        self._desk = desk
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._desk.connections.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._reader.feed(data)
        except WireError as error:
            log.warning("event=statusfilter-no-request error=%r", str(error))
            self.abort()
        else:
            self._desk.take(self, requests)

    def pause_writing(self) -> None:
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._desk.connections.discard(self)
        self._transport = None

    def write(self, octets: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(octets)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
