"""The SMTP commands of the front door: what is offered, in which order things may come, and what is asked of the handler.

RFC 5321 §4.1, RFC 1870, 2034, 3461, 6152, 6531, Postfix's XFORWARD. aiosmtpd's own commands are not used: they know no DSN
parameters, answer without enhanced status codes, and take a missing hook for a 250.
Left to others: AUTH and STARTTLS (login.py), parsing (parameters.py, data.py), judging (handler.py).
"""

from omicard_relay.services.relay.data import LINE_LIMIT, DataFault, DataScanner
from omicard_relay.services.relay.door import contains
from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.services.relay.login import LoginCommands
from omicard_relay.services.relay.parameters import (
    XFORWARD_NAMES,
    CommandError,
    parse_mail,
    parse_rcpt,
    parse_xforward,
)
from omicard_relay.services.relay.session import RelayEnvelope

__all__ = ["RelaySmtp"]

#: Octets of a mail that is refused anyway, beyond which the connection ends instead of waiting for its end.
_DRAIN_LIMIT = 1_073_741_824

_DATA_REPLIES = {
    DataFault.BARE_LF: "550 5.6.0 There is a bare <LF> in the mail; every line ends with <CR><LF>",
    DataFault.BARE_CR: "550 5.6.0 There is a bare <CR> in the mail; every line ends with <CR><LF>",
    DataFault.NUL: "550 5.6.0 There is a NUL in the mail; encode what is no text",
    DataFault.LONG_LINE: f"554 5.6.0 A line has more than {LINE_LIMIT} octets",
    DataFault.NO_MEMORY: "452 4.3.1 Too much mail at once, come again",
}


class RelaySmtp(LoginCommands):
    """A connection with all its commands."""

    async def smtp_EHLO(self, argument: str) -> None:
        if not argument:
            await self.mistake("501 5.5.4 Syntax: EHLO name")
            return
        self._greet(argument, extended=True)
        offers = [
            self.hostname,
            "PIPELINING",
            f"SIZE {self.door.settings.size_limit}",
            "8BITMIME",
            "SMTPUTF8",
            "DSN",
            "ENHANCEDSTATUSCODES",
        ]
        if contains(self.door.xforward_networks, self.session.client_ip):
            offers.append(f"XFORWARD {' '.join(XFORWARD_NAMES)}")
        if self.door.tls is not None and self.session.ssl is None:
            offers.append("STARTTLS")
        if self.door.logins is not None and self.session.ssl is not None:
            offers.append("AUTH PLAIN LOGIN")
        lines = [f"250-{offer}" for offer in offers[:-1]] + [f"250 {offers[-1]}"]
        await self.push("\r\n".join(lines).encode("ascii", "replace"))

    async def smtp_HELO(self, argument: str) -> None:
        if not argument:
            await self.mistake("501 5.5.4 Syntax: HELO name")
            return
        self._greet(argument, extended=False)
        await self.push(f"250 {self.hostname}".encode("ascii", "replace"))

    def _greet(self, name: str, *, extended: bool) -> None:
        self.reset()
        self.session.host_name = name
        self.session.extended_smtp = extended
        self.session.xforward = {}

    async def smtp_NOOP(self, argument: str) -> None:
        await self.push("250 2.0.0 Ok")

    async def smtp_RSET(self, argument: str) -> None:
        if argument:
            await self.mistake("501 5.5.4 Syntax: RSET")
            return
        self.reset()
        await self.push("250 2.0.0 Ok")

    async def smtp_QUIT(self, argument: str) -> None:
        await self.hang_up("221 2.0.0 Bye")

    async def smtp_HELP(self, argument: str) -> None:
        await self.push("214 2.0.0 RFC 5321 tells how to talk to a mail server")

    async def smtp_VRFY(self, argument: str) -> None:
        # RFC 5321 §3.5.3: neither yes nor no, so that nobody harvests addresses here.
        await self.push("252 2.5.2 Send a mail, and see")

    async def smtp_EXPN(self, argument: str) -> None:
        await self.mistake("502 5.5.1 EXPN is not offered")

    async def smtp_XFORWARD(self, argument: str) -> None:
        if not contains(self.door.xforward_networks, self.session.client_ip):
            await self.mistake("550 5.7.0 XFORWARD is for our own mail server")
        elif self.envelope.mail is not None:
            await self.mistake("503 5.5.1 XFORWARD stands before MAIL")
        else:
            try:
                self.session.xforward |= parse_xforward(argument)
                await self.push("250 2.0.0 Ok")
            except CommandError as error:
                await self.mistake(error.reply)

    async def smtp_MAIL(self, argument: str) -> None:
        if not self.session.host_name:
            await self.mistake("503 5.5.1 Say EHLO first")
        elif self.envelope.mail is not None:
            await self.mistake("503 5.5.1 One mail at a time: MAIL was said already")
        else:
            try:
                command = parse_mail(
                    argument, extended=self.session.extended_smtp, size_limit=self.door.settings.size_limit
                )
            except CommandError as error:
                await self.mistake(error.reply)
                return
            reply = str(await self.ask("MAIL", command))
            if reply.startswith("250"):
                self.envelope.mail = command
                self.envelope.mail_from = command.reverse_path
                self.envelope.smtp_utf8 = command.smtputf8
            await self.push(reply)

    async def smtp_RCPT(self, argument: str) -> None:
        if self.envelope.mail is None:
            await self.mistake("503 5.5.1 Say MAIL first")
            return
        try:
            command = parse_rcpt(argument, extended=self.session.extended_smtp)
        except CommandError as error:
            await self.mistake(error.reply)
            return
        if len(self.envelope.recipients) >= self.door.settings.max_recipients:
            await self.push("452 4.5.3 Too many recipients; send them in another mail")
            return
        reply = str(await self.ask("RCPT", command))
        if reply.startswith("250"):
            self.envelope.recipients.append(command)
            self.envelope.rcpt_tos.append(command.forward_path)
        await self.push(reply)

    async def smtp_DATA(self, argument: str) -> None:
        if argument:
            await self.mistake("501 5.5.4 Syntax: DATA")
        elif self.envelope.mail is None:
            await self.mistake("503 5.5.1 Say MAIL first")
        elif not self.envelope.recipients:
            # RFC 2920 §3.1: pipelined behind recipients that were all refused.
            await self.push("554 5.5.1 There is no valid recipient")
        else:
            unready = await self.ask("READY")
            if unready is not None:
                await self.push(unready)
                self.reset()
                return
            await self.push(b"354 End the mail with <CR><LF>.<CR><LF>")
            await self.flush()
            await self._take_mail()

    async def _take_mail(self) -> None:
        envelope = self.envelope
        envelope.lease = self.door.budget.lease()
        try:
            reply = await self._read_mail(envelope)
            if reply is None:
                return
            if reply == "":
                reply = str(await self.ask("DATA"))
        finally:
            # The handler takes the lease over for work that outlives this connection.
            if envelope.lease is not None:
                envelope.lease.release()
            # As Postfix does: a mail's XFORWARD attributes end with it.
            self.session.xforward = {}
            self.reset()
        await self.push(reply)
        await self.flush()
        if reply.startswith("250"):
            self.mail_done()
            if await self.is_heard():
                await self._tell_heard(envelope)

    async def _tell_heard(self, envelope: RelayEnvelope) -> None:
        """Without this the same content stays the same mail, and a client's second try is told 250 again."""
        try:
            await self.event_handler.handle_TOLD(envelope)
        except Exception as error:  # the client has its reply: a second one would put everything out of step
            log_event(Event.OWN_FAULT, level=40, error=error, where="handle_TOLD")

    async def _read_mail(self, envelope: RelayEnvelope) -> str | None:
        """Read the content into the envelope: "" when it is there, a reply that refuses it, None when all is over."""
        assert envelope.lease is not None  # noqa: S101  set by the caller
        scanner = DataScanner(self.door.settings.size_limit, envelope.lease.reserve)
        drained = 0
        rest: bytes | None = None
        self._reset_timeout()
        while rest is None:
            chunk = await self.read_some()
            if not chunk:
                log_event(Event.CLIENT_GONE, client=self.session.client_ip, submission=envelope.submission_id)
                self.close()
                return None
            self._reset_timeout()
            rest = scanner.feed(chunk)
            if scanner.fault is None:
                continue
            if scanner.fault.is_smuggling:
                log_event(Event.BAD_DATA, client=self.session.client_ip, fault=scanner.fault)
                await self.hang_up(_DATA_REPLIES[scanner.fault])
                return None
            envelope.lease.release()
            drained += len(chunk)
            if drained > _DRAIN_LIMIT:
                await self.hang_up(self._data_reply(scanner.fault))
                return None
        self.inbox[:0] = rest
        if scanner.fault is not None:
            log_event(Event.BAD_DATA, client=self.session.client_ip, fault=scanner.fault, octets=scanner.size)
            return self._data_reply(scanner.fault)
        envelope.body = scanner.content()
        # Our own work has no time limit of the client's.
        self.pause_clock()
        return ""

    def _data_reply(self, fault: DataFault) -> str:
        if fault is DataFault.TOO_BIG:
            return f"552 5.3.4 The mail is too big; this server takes {self.door.settings.size_limit} octets"
        return _DATA_REPLIES[fault]
