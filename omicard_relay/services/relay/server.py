"""One client's connection: octets to commands, replies to octets, limits, time-outs, the end (aiosmtpd's SMTP, made strict).

RFC 5321, RFC 2034 (every reply has an enhanced status code), RFC 2920 (replies are sent together). A command line ends with
CR LF and holds no other CR, LF or NUL: else the connection ends, so that nothing left over is ever read as a command.
Left to others: the commands themselves (login.py, commands.py), what they mean (handler.py).
Known limits: aiosmtpd keeps its own loop and STARTTLS handshake private; both are reached into here, for 1.4.6.
"""

import asyncio
import contextlib
import re
from typing import Any

from aiosmtpd.smtp import MISSING, SMTP, TLSSetupException

from omicard_relay.services.relay.door import Door
from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.services.relay.heard import has_arrived
from omicard_relay.services.relay.session import Hooks, RelayEnvelope, RelaySession

__all__ = ["CHUNK", "Conversation"]

#: Octets of a command line: RFC 5321 has 512, DSN adds 500 to RCPT and 600 to MAIL; Postfix takes 2,048.
COMMAND_LIMIT = 2048
#: Octets that are read at once; asyncio holds at most about twice that many unread.
CHUNK = 32_768
#: Commands that were wrong, and commands that bring no mail nearer, before a client is let go (Postfix: 20 and 100).
ERROR_BUDGET, IDLE_BUDGET = 20, 100
#: Seconds that a client gets to read the last reply while what it still sends is thrown away.
LINGER_SECONDS = 2.0

_ENHANCED = re.compile(r"[2-5][0-9]{2}[ -][245]\.[0-9]{1,3}\.[0-9]{1,3}(?: |$)")
#: For replies of aiosmtpd's own making.
_DEFAULT_STATUS = {"500": "5.5.2", "501": "5.5.4", "502": "5.5.1", "503": "5.5.1", "504": "5.5.4", "552": "5.3.4"}
_IDLE_COMMANDS = frozenset({"NOOP", "RSET", "VRFY", "EXPN", "HELP", "HELO", "EHLO", "XFORWARD"})
_BEFORE_TLS = frozenset({"EHLO", "HELO", "NOOP", "STARTTLS", "QUIT", "RSET"})


class Conversation(SMTP):
    """The protocol object of one connection; its commands are in the classes that build on it."""

    line_length_limit = CHUNK
    session: RelaySession
    envelope: RelayEnvelope
    transport: asyncio.Transport | None

    def __init__(self, hooks: Hooks, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        self.door = door
        self.inbox = bytearray()
        self._outbox = bytearray()
        self._errors_left, self._idle_left = ERROR_BUDGET, IDLE_BUDGET
        self._listening = self._is_surplus = False
        self._ended = self._at_once = self._input_ended = False
        super().__init__(
            hooks,
            data_size_limit=door.settings.size_limit,
            enable_SMTPUTF8=True,
            hostname=door.hostname,
            ident="OMICARD Relay",
            tls_context=door.tls,
            timeout=door.settings.client_timeout_seconds,
            loop=loop,
        )

    # ------------------------------------------------ the life of a connection

    def _create_session(self) -> RelaySession:
        return RelaySession(self.loop)

    def _create_envelope(self) -> RelayEnvelope:
        return RelayEnvelope()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self not in self.door.connected:
            # Decided now: when many come at once, the first ones are served.
            self._is_surplus = len(self.door.connected) >= self.door.settings.max_connections
            if not self._is_surplus:
                self.door.connected.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.door.connected.discard(self)
        self._ended = True
        super().connection_lost(error)

    def eof_received(self) -> bool | None:
        # aiosmtpd drops everything here; a client that closes its own half first still gets its replies.
        self._input_ended = True
        if self.session.ssl is not None:
            self._reader.feed_eof()
            return False
        return asyncio.StreamReaderProtocol.eof_received(self)

    def reset(self) -> None:
        """Forget the mail that was being named."""
        self._set_rset_state()

    @property
    def is_gone(self) -> bool:
        """Whether a reply could not reach the client any more."""
        return self._ended or self.transport is None or self.transport.is_closing()

    def _may_go(self) -> bool:
        """The relay is stopping, and this client has no mail under way."""
        return self.door.is_stopping and self.envelope.mail is None

    def close(self) -> None:
        """End the connection; what was not sent is not sent."""
        self._ended = True
        if self.transport is not None:
            self.transport.close()

    def pause_clock(self) -> None:
        """From now on the client waits for us: its silence is no fault."""
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()

    def stop(self) -> None:
        """The relay ends: an idle client hears it now, any other after its mail."""
        if self._listening and self.envelope.mail is None and not self.is_gone:
            self.cut("421 4.3.2 The relay is stopping, come again")

    def cut(self, reply: str) -> None:
        """End the connection at once, with a last word."""
        if not self.is_gone:
            self._writer.write(bytes(self._outbox) + reply.encode("ascii") + b"\r\n")
            self._outbox.clear()
            self.close()

    def _timeout_cb(self) -> None:
        self.cut("421 4.4.2 Nothing heard for too long")

    async def _handle_client(self) -> None:
        try:
            if self._is_surplus:
                log_event(Event.CONNECTION_REFUSED, client=self.session.client_ip, connected=len(self.door.connected))
                self.cut("421 4.3.2 Too many connections, come again")
                return
            if self._may_go():
                await self.hang_up("421 4.3.2 The relay is stopping, come again")
                return
            await self.push(f"220 {self.hostname} ESMTP {self.__ident__}".encode())
            while not self._ended and await self._one_command():
                if self._may_go():
                    await self.hang_up("421 4.3.2 The relay is stopping, come again")
        except ConnectionError:
            pass
        finally:
            self.pause_clock()
            self.close()
            if self._original_transport is not None:
                self._original_transport.close()
            # After a handshake that failed nobody calls connection_lost.
            self.door.connected.discard(self)

    async def _one_command(self) -> bool:
        """Read a command and carry it out; False when the client has gone."""
        self._listening = True
        line = await self.read_line(COMMAND_LIMIT)
        self._listening = False
        if line is None:
            return False
        if line == b"":
            await self.mistake("500 5.5.2 The command line is too long")
            return True
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            log_event(Event.BAD_DATA, client=self.session.client_ip, fault="bare-cr-lf-or-nul-in-a-command")
            await self.hang_up("500 5.5.2 A command ends with <CR><LF> and has no other CR, LF or NUL")
            return True
        verb, _, argument = line[:-2].decode("utf-8", "surrogateescape").partition(" ")
        try:
            self.pause_clock()
            await self._dispatch(verb.upper(), argument.strip(" "))
        except TLSSetupException:
            self.close()
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            await self.push(await self._excuse(error))
        finally:
            if not self.is_gone:
                self._reset_timeout()
        return True

    async def _dispatch(self, verb: str, argument: str) -> None:
        method = self._smtp_methods.get(verb)
        if method is None:
            await self.mistake("500 5.5.2 The command is not known")
        elif self.door.settings.tls_required and self.session.ssl is None and verb not in _BEFORE_TLS:
            await self.mistake("530 5.7.0 Say STARTTLS first")
        else:
            if verb in _IDLE_COMMANDS:
                self._idle_left -= 1
                if self._idle_left < 0:
                    await self.hang_up("421 4.7.0 Too many commands without a mail")
                    return
            await method(argument)

    async def _excuse(self, error: Exception) -> str:
        """Our own fault: 451, whatever happened, and the connection goes on."""
        self.reset()
        try:
            return str(await self.event_handler.handle_exception(error))
        except Exception as second:
            log_event(Event.OWN_FAULT, level=40, error=second, where="handle_exception")
            return "451 4.3.0 Internal error, come again"

    async def ask(self, hook: str, *arguments: object) -> Any:
        """What a hook says; 451 when there is no such hook, or when it says nothing."""
        said = await self._call_handler_hook(hook, *arguments)
        if said is MISSING:
            log_event(Event.OWN_FAULT, level=40, where=f"handle_{hook} is missing")
            return "451 4.3.0 Internal error, come again"
        return said

    def mail_done(self) -> None:
        """A mail was taken: the budgets begin anew."""
        self._errors_left, self._idle_left = ERROR_BUDGET, IDLE_BUDGET

    # ------------------------------------------------------------------ octets

    async def read_some(self) -> bytes:
        """The next octets; empty at the end of the connection."""
        if self.inbox:
            octets = bytes(self.inbox)
            self.inbox.clear()
            return octets
        await self.flush()
        octets = await self._reader.read(CHUNK)
        return bytes(octets)

    async def read_line(self, limit: int) -> bytes | None:
        """The next line with its end; "" for one that was longer than the limit, None at the end of the connection."""
        too_long = False
        while (end := self.inbox.find(b"\n")) < 0:
            if len(self.inbox) > limit:
                too_long = True
                self.inbox.clear()
            await self.flush()
            octets = await self._reader.read(CHUNK)
            if not octets:
                return None
            self.inbox += octets
        line = bytes(self.inbox[: end + 1])
        del self.inbox[: end + 1]
        return b"" if too_long or len(line) > limit else line

    async def push(self, status: str | bytes) -> None:
        """Say something; it goes out with the next flush. Text gets an enhanced status code when it has none."""
        if isinstance(status, str):
            if not _ENHANCED.match(status) and status[:1] in "245":
                code = _DEFAULT_STATUS.get(status[:3], f"{status[0]}.0.0")
                status = f"{status[:4]}{code} {status[4:]}"
            status = status.encode("ascii", "replace")
        self._outbox += status + b"\r\n"
        if self._at_once:
            await self.flush()

    async def flush(self) -> None:
        """Send what was said."""
        if self._outbox and not self.is_gone:
            self._writer.write(bytes(self._outbox))
            self._outbox.clear()
            await self._writer.drain()

    async def is_heard(self) -> bool:
        """Whether what was sent has reached a client that is still there."""
        if self.is_gone or self.transport is None:
            return False
        return not self._input_ended or await has_arrived(self.transport)

    async def mistake(self, reply: str) -> None:
        """Refuse a command that was wrong; too many of them end the connection."""
        self._errors_left -= 1
        if self._errors_left < 0:
            await self.hang_up("421 4.7.0 Too many errors")
        else:
            await self.push(reply)

    async def hang_up(self, reply: str) -> None:
        """Say the last word, let the client read it, and close; what it still sends is thrown away."""
        await self.push(reply)
        self._ended = True
        self.inbox.clear()
        if self.transport is None or self.transport.is_closing():
            return
        self._writer.write(bytes(self._outbox))
        self._outbox.clear()
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(LINGER_SECONDS):
                if self.transport.can_write_eof():
                    self.transport.write_eof()
                # Closing with unread octets would reset the connection, and the reply with it.
                while await self._reader.read(CHUNK):
                    pass
        if self.transport is not None:
            self.transport.close()
