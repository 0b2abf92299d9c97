"""STARTTLS (RFC 3207) and AUTH PLAIN and LOGIN (RFC 4954, RFC 4616), which is offered under TLS alone.

Left to others: who may log in (logins.py). Known limits: no SASL authorisation identity other than the user's own.
"""

import asyncio
import base64
import binascii

from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.services.relay.server import Conversation

__all__ = ["LoginCommands"]

#: RFC 4954 §4.3.
_LINE_LIMIT = 12_288
#: Wrong passwords on one connection before it ends.
_TRIES = 3


class LoginCommands(Conversation):
    """A connection that can be made private, and whose client can say who it is."""

    _tries_left = _TRIES

    async def smtp_STARTTLS(self, argument: str) -> None:
        if argument:
            await self.mistake("501 5.5.4 Syntax: STARTTLS")
        elif self.door.tls is None or self.session.ssl is not None:
            await self.mistake("503 5.5.1 TLS is not offered here")
        elif self.inbox:
            # Commands that were sent in clear must not be read as if they had come under TLS.
            await self.hang_up("501 5.5.1 Nothing may follow STARTTLS before TLS")
        else:
            # aiosmtpd says its 220 itself, and the handshake begins only when that is out.
            self._at_once = True
            try:
                await super().smtp_STARTTLS("")
            finally:
                self._at_once = False

    async def smtp_AUTH(self, argument: str) -> None:
        words = argument.split()
        if self.door.logins is None:
            await self.mistake("502 5.5.1 AUTH is not offered")
        elif not self.session.host_name or not self.session.extended_smtp:
            await self.mistake("503 5.5.1 Say EHLO first")
        elif self.session.ssl is None:
            await self.mistake("538 5.7.11 AUTH needs TLS; say STARTTLS first")
        elif self.session.login is not None or self.envelope.mail is not None:
            await self.mistake("503 5.5.1 AUTH stands once, before MAIL")
        elif len(words) not in (1, 2):
            await self.mistake("501 5.5.4 Syntax: AUTH mechanism")
        elif words[0].upper() not in ("PLAIN", "LOGIN"):
            await self.mistake("504 5.5.4 AUTH can be PLAIN or LOGIN")
        else:
            initial = words[1] if len(words) == 2 else None
            said = await (self._plain(initial) if words[0].upper() == "PLAIN" else self._login(initial))
            if said is not None:
                await self._check(*said)

    async def _plain(self, initial: str | None) -> tuple[bytes, bytes] | None:
        octets = await self._answer(b"", initial)
        if octets is None:
            return None
        parts = octets.split(b"\0")
        if len(parts) != 3 or parts[0] not in (b"", parts[1]):
            await self.mistake("501 5.5.2 PLAIN needs a user and a password")
            return None
        return parts[1], parts[2]

    async def _login(self, initial: str | None) -> tuple[bytes, bytes] | None:
        user = await self._answer(b"Username:", initial)
        password = None if user is None else await self._answer(b"Password:", None)
        return None if user is None or password is None else (user, password)

    async def _answer(self, challenge: bytes, initial: str | None) -> bytes | None:
        """The client's decoded answer; None when it gave up or sent no base64, which is answered here."""
        if initial is None:
            await self.push(b"334 " + base64.b64encode(challenge))
            self._reset_timeout()  # here it is the client that we wait for
            line = await self.read_line(_LINE_LIMIT)
            self.pause_clock()
            if line is None:
                raise ConnectionResetError
            text = line.removesuffix(b"\r\n")
        else:
            text = b"" if initial == "=" else initial.encode("utf-8", "surrogateescape")
        if text == b"*":
            await self.push("501 5.7.0 AUTH was given up")
            return None
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            await self.mistake("501 5.5.2 This is no base64")
            return None

    async def _check(self, user: bytes, password: bytes) -> None:
        assert self.door.logins is not None  # noqa: S101  asked by the caller
        name = user.decode("utf-8", "replace")
        if await asyncio.to_thread(self.door.logins.verify, name, password):
            self.session.login = name
            self.session.authenticated = True
            log_event(Event.LOGIN, client=self.session.client_ip, login=name)
            await self.push("235 2.7.0 Welcome")
            return
        log_event(Event.LOGIN_FAILED, client=self.session.client_ip, login=name)
        self._tries_left -= 1
        if self._tries_left > 0:
            await self.push("535 5.7.8 User or password is wrong")
        else:
            await self.hang_up("421 4.7.0 Too many wrong passwords")
