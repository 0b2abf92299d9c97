"""A receiving SMTP server (RFC 5321) whose every answer a `Behaviour` chooses, and that keeps books of it.

It offers PIPELINING, 8BITMIME, SMTPUTF8, SIZE, DSN and ENHANCEDSTATUSCODES. A behaviour may refuse at any stage with
any text, answer late, hang, or drop the connection. A recipient that is named after a refused MAIL (PIPELINING) is
booked with MAIL's reply, because that is what the client will report of it.
Known limits: the mail is held in memory; quoted local parts with `>` are not understood; no STARTTLS, no BDAT.
"""

import asyncio
import contextlib
import hashlib
import re
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path

from lab.behaviour import Behaviour, Envelope
from lab.books import BookEntry, Books
from omicard_relay.mail import RelayError, Stage

__all__ = ["Receiver", "Session"]

_ENDING = b"\r\n.\r\n"
_PATH = re.compile(r"(?:FROM|TO):\s*<([^<>]*)>\s*(.*)", re.IGNORECASE | re.DOTALL)
#: After a 421, what a pipelining client had already sent is read away for this long; closing with unread octets would
#: reset the connection, and the client would never see the reply.
_LINGER_SECONDS = 2.0


class Receiver:
    """One server on one address. To be started in a running event loop."""

    def __init__(
        self,
        name: str,
        behaviour: Behaviour,
        books: Books,
        *,
        hostname: str,
        host: str,
        port: int = 25,
        mail_folder: Path | None = None,
    ) -> None:
        self.name, self.behaviour, self.books = name, behaviour, books
        self.hostname, self.host, self.port = hostname, host, port
        self.mail_folder = mail_folder
        self.stored = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; port 0 takes a free one, told in `port`. Raises RelayError when the address is taken."""
        try:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)
        except OSError as error:
            raise RelayError(
                f"The receiver {self.name} cannot listen on {self.host}:{self.port} ({error.strerror})."
            ) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end what runs."""
        if self._server is not None:
            self._server.close()
        for task in self.tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self, reader, writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await session.run()
        with contextlib.suppress(OSError):
            writer.close()


class Session:
    """One connection. Behaviours read `client_ip`, `hostname`, `helo` and `reverse_path`."""

    def __init__(self, receiver: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client_ip: str = writer.get_extra_info("peername")[0]
        self.hostname = receiver.hostname
        self.helo = ""
        self._receiver, self._behaviour = receiver, receiver.behaviour
        self._reader, self._writer = reader, writer
        self._input, self._output = bytearray(), bytearray()
        self._open = True
        self._leaving = False
        self._reset()

    async def run(self) -> None:
        """Talk until either side ends it."""
        greeting = await self._behaviour.greeting(self)
        if not self._say(greeting, Stage.CONNECT):
            self._leaving = greeting is not None
        try:
            while self._open and (line := await self._line()) is not None:
                verb, _, rest = line.partition(" ")
                await self._command(verb.upper(), rest)
            await self._flush()
        finally:
            # Accepted recipients whose mail never came: the client went away.
            self._book_all(self._take_recipients(), Stage.DATA, "")

    async def wait_for_close(self) -> None:
        """Hang: read, answer nothing, until the client has had enough."""
        await self._flush()
        while await self._reader.read(65_536):
            pass
        self._open = False

    async def _command(self, verb: str, rest: str) -> None:
        if verb in ("EHLO", "HELO"):
            await self._helo(verb, rest)
        elif verb == "MAIL":
            await self._mail(rest)
        elif verb == "RCPT":
            await self._rcpt(rest)
        elif verb == "DATA":
            await self._data()
        elif verb == "RSET":
            self._reset()
            self._say("250 2.0.0 Ok")
        elif verb == "NOOP":
            self._say("250 2.0.0 Ok")
        elif verb == "QUIT":
            self._say("221 2.0.0 Bye")
            await self._flush()
            self._open = False
        else:
            self._say("502 5.5.2 Command not known")

    async def _helo(self, verb: str, name: str) -> None:
        self.helo = name
        refusal = await self._behaviour.helo(self)
        if refusal != "":
            self._say(refusal, Stage.HELO)
            return
        limit = self._behaviour.announced_size
        size = "SIZE" if limit is None else f"SIZE {limit}"
        offers = [self.hostname, "PIPELINING", size, "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]
        lines = offers if verb == "EHLO" else offers[:1]
        self._say("\n".join(f"250{'-' if at + 1 < len(lines) else ' '}{line}" for at, line in enumerate(lines)))

    async def _mail(self, rest: str) -> None:
        match = _PATH.fullmatch(rest)
        if match is None:
            self._say("501 5.5.4 MAIL needs FROM:<address>")
            return
        self._reset()
        self.reverse_path, self._mail_parameters = match.group(1), match.group(2)
        reply = await self._behaviour.mail(self, self.reverse_path, self._mail_parameters)
        self._mail_reply = reply or ""
        if not self._say(reply) and not self._input:
            # Nobody is named yet, and no pipelined RCPT waits: the refusal itself is all there is to book.
            self._book("", Stage.MAIL, self._mail_reply)

    async def _rcpt(self, rest: str) -> None:
        match = _PATH.fullmatch(rest)
        if match is None:
            self._say("501 5.5.4 RCPT needs TO:<address>")
            return
        recipient, parameters = match.group(1), match.group(2)
        if not self._mail_reply.startswith("2"):
            self._say("503 5.5.1 MAIL first")
            if self._mail_reply:
                self._book(recipient, Stage.MAIL, self._mail_reply, parameters)
            return
        reply = await self._behaviour.rcpt(self, recipient)
        if self._say(reply):
            self._recipients[recipient] = parameters
        else:
            self._book(recipient, Stage.RCPT, reply or "", parameters)

    async def _data(self) -> None:
        if not self._recipients:
            self._say("503 5.5.1 RCPT first" if self._mail_reply.startswith("2") else "503 5.5.1 MAIL first")
            return
        reply = await self._behaviour.data(self)
        if not self._say(reply):
            self._book_all(self._take_recipients(), Stage.DATA, reply or "")
            return
        content = await self._content()
        if content is None:
            return
        recipients = self._take_recipients()
        envelope = Envelope(
            receiver=self._receiver.name,
            reverse_path=self.reverse_path,
            recipients=tuple(recipients),
            content=content,
            message_id=_message_id(content),
        )
        reply = await self._behaviour.content(self, envelope)
        # Booked before it is said: whoever has seen the 250 finds the entry.
        self._book_all(recipients, Stage.END_OF_DATA, reply or "", envelope)
        if self._say(reply):
            task = asyncio.create_task(self._behaviour.taken(envelope))
            self._receiver.tasks.add(task)
            task.add_done_callback(self._receiver.tasks.discard)

    async def _content(self) -> bytes | None:
        """The mail, dots unstuffed; None when the client went away."""
        await self._flush()
        start = 0
        # The ending's CRLF may be that of the DATA line itself: an empty mail is a lone dot.
        while not self._input.startswith(_ENDING[2:]) and (at := self._input.find(_ENDING, start)) < 0:
            start = max(0, len(self._input) - len(_ENDING))
            if not await self._more():
                return None
        if self._input.startswith(_ENDING[2:]):
            content, length = b"", 3
        else:
            content, length = bytes(self._input[: at + 2]), at + len(_ENDING)
        del self._input[:length]
        return content.replace(b"\r\n..", b"\r\n.").removeprefix(b".") if b"." in content else content

    def _say(self, reply: str | None, stage: Stage | None = None) -> bool:
        """Queue a reply, booking a refusal at `stage`; whether it was positive. None drops the connection."""
        if reply is None:
            self._open = False
            self._output.clear()
            if stage is not None:
                self._book("", stage, "")
            return False
        self._output += reply.replace("\n", "\r\n").encode() + b"\r\n"
        if reply.startswith(("2", "3")):
            return True
        if stage is not None:
            self._book("", stage, reply)
        self._leaving = self._leaving or reply.startswith("421")
        return False

    async def _line(self) -> str | None:
        """The next command line; None when the client, or we, are done."""
        while (at := self._input.find(b"\r\n")) < 0:
            await self._flush()
            if self._leaving:
                await self._linger()
                return None
            if not await self._more():
                return None
        line = self._input[:at].decode("utf-8", "backslashreplace")
        del self._input[: at + 2]
        return line

    async def _more(self) -> bool:
        octets = await self._reader.read(262_144)
        self._input += octets
        return bool(octets)

    async def _flush(self) -> None:
        """Send what is queued: once per burst of pipelined commands."""
        if self._output:
            self._writer.write(bytes(self._output))
            self._output.clear()
            await self._writer.drain()

    async def _linger(self) -> None:
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reader.read(-1), _LINGER_SECONDS)

    def _reset(self) -> None:
        self.reverse_path = ""
        self._mail_parameters = ""
        self._mail_reply = ""
        self._recipients: dict[str, str] = {}

    def _take_recipients(self) -> dict[str, str]:
        recipients, self._recipients = self._recipients, {}
        return recipients

    def _book_all(self, recipients: dict[str, str], stage: Stage, reply: str, envelope: Envelope | None = None) -> None:
        path = self._store(envelope) if envelope is not None and reply.startswith("2") else ""
        for recipient, parameters in recipients.items():
            self._book(recipient, stage, reply, parameters, envelope, path)

    def _book(
        self,
        recipient: str,
        stage: Stage,
        reply: str,
        parameters: str = "",
        envelope: Envelope | None = None,
        path: str = "",
    ) -> None:
        content = envelope.content if envelope is not None else None
        self._receiver.books.append(
            BookEntry(
                receiver=self._receiver.name,
                time=datetime.now(UTC),
                client=self.client_ip,
                reverse_path=self.reverse_path,
                recipient=recipient,
                message_id=envelope.message_id if envelope is not None else "",
                stage=stage,
                reply=reply,
                accepted=envelope is not None and reply.startswith("2"),
                sha256=hashlib.sha256(content).hexdigest() if content is not None else "",
                size=len(content) if content is not None else 0,
                path=path,
                mail_parameters=self._mail_parameters,
                rcpt_parameters=parameters,
            )
        )

    def _store(self, envelope: Envelope) -> str:
        """Keep an accepted mail as a file, when the receiver keeps mails."""
        if self._receiver.mail_folder is None:
            return ""
        self._receiver.mail_folder.mkdir(parents=True, exist_ok=True)
        self._receiver.stored += 1
        path = self._receiver.mail_folder / f"{self._receiver.name}-{self._receiver.stored:05}.eml"
        path.write_bytes(envelope.content)
        return str(path)


def _message_id(content: bytes) -> str:
    head, _, _ = content.partition(b"\r\n\r\n")
    return str(BytesHeaderParser().parsebytes(head + b"\r\n\r\n").get("Message-ID", "")).strip()
