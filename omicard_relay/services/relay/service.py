"""The relay as a service: everything is loaded, checked and tied together, then it listens until it is told to stop.

What is wrong with settings, keys, certificates, tables or the port is a RelayError at the start, with what to do. At a stop
idle clients hear 421 at once, mails on their way get ten seconds.
Left to others: signals and the event loop (cli/serve.py).
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from omicard_relay.classify import Judge
from omicard_relay.mail import RelayError
from omicard_relay.services.keyfiles import load_dkim, load_return_path
from omicard_relay.services.relay.carry import Carrier
from omicard_relay.services.relay.commands import RelaySmtp
from omicard_relay.services.relay.door import Door
from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.services.relay.handler import RelayHandler
from omicard_relay.services.relay.ledger import Ledger
from omicard_relay.services.relay.logins import read_logins
from omicard_relay.services.relay.pool import NextHopPool
from omicard_relay.services.relay.session import Hooks
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.signing import DkimSigner, ReturnPathSigner
from omicard_relay.store.engine import Store
from omicard_relay.store.writer import Writer
from omicard_relay.tables.settings import RelaySettings, Settings

__all__ = ["Relay", "serve_relay"]

#: Seconds that mails on their way get when the relay stops.
STOP_SECONDS = 10.0
#: Connections that the kernel may hold before we take them.
_BACKLOG = 512


class Relay:
    """One relay. `port` is the one it listens on; `door`, `ledger`, `pool` and `handler` are its parts.

    `judge` gives the judge that is in force, for each mail anew.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        writer: Writer,
        *,
        dkim: DkimSigner,
        return_path: ReturnPathSigner | None,
        judge: Callable[[], Judge],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        relay = settings.relay
        self.door = Door.of(
            relay,
            tls=_tls_context(relay),
            logins=read_logins(Path(relay.auth_file)) if relay.auth_file else None,
        )
        self.ledger = Ledger(settings, store, writer, return_path, clock=clock)
        self.pool = NextHopPool(
            relay.next_host,
            relay.next_port,
            hostname=self.door.hostname,
            size=relay.pool_size,
            wait_seconds=relay.pool_wait_seconds,
            timeout_seconds=relay.next_timeout_seconds,
        )
        carrier = Carrier(settings, self.pool, self.ledger, dkim, judge, hostname=self.door.hostname, clock=clock)
        self.handler = RelayHandler(settings, self.door, self.pool, self.ledger, carrier, clock=clock)
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port it listens on, once it has started."""
        assert self._server is not None  # noqa: S101
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises RelayError when the address can't be had."""
        loop = asyncio.get_running_loop()
        hooks: Hooks = self.handler
        host, port = self.door.settings.host, self.door.settings.port
        try:
            self._server = await loop.create_server(
                lambda: RelaySmtp(hooks, self.door, loop), host, port, backlog=_BACKLOG
            )
        except OSError as error:
            raise RelayError(_why_not(error, host, port)) from None
        log_event(Event.STARTED, host=host, port=self.port, hostname=self.door.hostname)

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Take no more, let mails on their way end for so long, then close everything."""
        self.door.is_stopping = True
        log_event(Event.STOPPING, connected=len(self.door.connected), running=len(self.handler.running))
        if self._server is not None:
            self._server.close()
        for conversation in list(self.door.connected):
            conversation.stop()
        deadline = asyncio.get_running_loop().time() + seconds
        while self.door.connected or self.handler.running:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                break
            await asyncio.sleep(min(0.02, left))
        for conversation in list(self.door.connected):
            conversation.cut("421 4.3.2 The relay is stopping, come again")
        for task in list(self.handler.running):
            task.cancel()
        await asyncio.gather(*self.handler.running, return_exceptions=True)
        self.pool.close()
        await self.ledger.close()
        log_event(Event.STOPPED)


async def serve_relay(settings: Settings, store: Store, rulebook: Rulebook, stop: asyncio.Event) -> None:
    """Run the relay until `stop` is set. Raises RelayError when it can't begin."""
    dkim, return_path = load_dkim(settings), load_return_path(settings)
    writer = Writer(store)
    try:
        relay = Relay(settings, store, writer, dkim=dkim, return_path=return_path, judge=lambda: rulebook.current.judge)
        await relay.start()
        try:
            await stop.wait()
        finally:
            await relay.stop()
    finally:
        await asyncio.to_thread(writer.close)


def _tls_context(relay: RelaySettings) -> ssl.SSLContext | None:
    if not relay.tls_certificate:
        return None
    for key, name in (("relay.tls_certificate", relay.tls_certificate), ("relay.tls_key", relay.tls_key)):
        try:
            with Path(name).open("rb"):
                pass
        except OSError as error:
            raise RelayError(
                f"{name}: cannot be read ({error.strerror}); correct `{key}` or the file's permissions."
            ) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(relay.tls_certificate, relay.tls_key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        raise RelayError(
            f"{relay.tls_certificate} and {relay.tls_key} are no PEM certificate with its key ({error}); "
            "check them with `openssl x509 -in` and `openssl pkey -in`."
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; save it without a password")


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken by another program; `ss -ltnp` shows which. "
            "Stop that one, or set `relay.port` (and the port in Postfix's master.cf) to a free one."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} on {host} is not allowed to this user; set `relay.port` to one above 1023."
    return f"Listening on {host}, port {port} fails ({error.strerror or error}); check `relay.host` and `relay.port`."
