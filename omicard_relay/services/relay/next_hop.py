"""One connection to Postfix: pipelined transactions, and for each recipient what became of it.

RFC 5321, RFC 2920 (PIPELINING), RFC 1870, 6152, 6531, 3461, Postfix's XFORWARD. The content goes out octet for octet, dots
stuffed. The final dot is the border: a connection that is lost before it was written has taken nothing; behind it nobody
knows, and the fate is UNKNOWN. All of Postfix's attributes are sent before each mail, so that none is left from the last.
Left to others: which connection (pool.py), what a fate means for the client (verdicts.py).
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from omicard_relay.mail import Stage
from omicard_relay.services.relay.hop_line import HopLine, HopReply, NextHopError
from omicard_relay.services.relay.parameters import UNAVAILABLE, XFORWARD_NAMES, MailCommand, RcptCommand
from omicard_relay.services.relay.xtext import encode_xtext

__all__ = ["Fate", "FateKind", "NextHopConnection", "Transaction", "connect"]

#: Octets that are stuffed and written at once.
_PIECE = 65_536
_QUEUED_AS = re.compile(r"queued as ([0-9A-Za-z]{1,32})\b")
#: Refusals after which a connection is not used again: Postfix slows down, then hangs up on clients with many errors.
_ERRORS_PER_CONNECTION = 5


class FateKind(StrEnum):
    """What became of one recipient."""

    TAKEN = "taken"
    #: For good, with Postfix's reply.
    REFUSED = "refused"
    #: Certainly not in Postfix's queue; trying again helps.
    NOT_TAKEN = "not-taken"
    #: The final dot is out and no answer came.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """`queue_id` when TAKEN ("" when Postfix did not tell it), else `text`, the reply or our words, and its stage."""

    kind: FateKind
    text: str = ""
    stage: Stage = Stage.UNKNOWN
    queue_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One mail to hand over. `content` is in pieces, each whole lines; `xforward` holds decoded values."""

    mail: MailCommand
    recipients: tuple[RcptCommand, ...]
    content: tuple[bytes, ...]
    xforward: Mapping[str, bytes]
    is_8bit: bool = False


class NextHopConnection:
    """A connection after EHLO. `extensions`: keyword -> its words."""

    def __init__(self, line: HopLine) -> None:
        self.extensions: dict[str, tuple[str, ...]] = {}
        self._line = line
        self._needs_reset = False
        self._errors = 0

    @property
    def usable(self) -> bool:
        """Whether another transaction may begin on it."""
        return self._line.usable and self._errors < _ERRORS_PER_CONNECTION

    def rest(self) -> None:
        """Between two transactions."""
        self._line.rest()

    def close(self) -> None:
        """End it."""
        self._line.close()

    async def deliver(self, transaction: Transaction, timeout: float) -> tuple[Fate, ...]:
        """Hand one mail over; a fate for each recipient, in order.

        Raises NextHopError only when the server said nothing at all: then another connection may be tried.
        """
        self._line.wake_up()
        unfit = self._unfit(transaction)
        if unfit is not None:
            return tuple(unfit for _ in transaction.recipients)
        fates: list[Fate | None] = [None] * len(transaction.recipients)
        dot_sent = False
        try:
            if await self._envelope(transaction, fates, timeout):
                tail = b""
                for piece in _stuffed(transaction.content):
                    if tail:
                        await self._line.write(tail, timeout)
                    tail = piece
                dot_sent = True
                await self._line.write(tail + b".\r\n", timeout)
                self._settle(fates, await self._line.reply(timeout))
        except NextHopError as error:
            self._line.close()
            if self._line.answered == 0:
                raise
            kind = FateKind.UNKNOWN if dot_sent else FateKind.NOT_TAKEN
            stage = Stage.END_OF_DATA if dot_sent else Stage.UNKNOWN
            rest = Fate(kind=kind, text=f"451 4.4.2 {error}", stage=stage)
            return tuple(fate or rest for fate in fates)
        return tuple(fate or Fate(kind=FateKind.NOT_TAKEN, text="451 4.3.0 no reply") for fate in fates)

    async def begin(self, hostname: str, timeout: float) -> None:
        """Greeting and EHLO. Raises NextHopError."""
        greeting = await self._line.reply(timeout)
        if greeting.reply_code != 220:
            raise NextHopError(f"refused to talk: {greeting.text}")
        await self._line.write(f"EHLO {hostname}\r\n".encode(), timeout)
        reply = await self._line.reply(timeout)
        if reply.reply_code != 250:
            raise NextHopError(f"refused EHLO: {reply.text}")
        words = [line.split() for line in reply.lines[1:]]
        self.extensions = {line[0].upper(): tuple(line[1:]) for line in words if line}

    async def _envelope(self, transaction: Transaction, fates: list[Fate | None], timeout: float) -> bool:
        """RSET where needed, XFORWARD, MAIL, RCPT, DATA; True when the content is wanted by somebody."""
        pipelining = "PIPELINING" in self.extensions
        before = [b"RSET\r\n"] if self._needs_reset else []
        before += self._xforward(transaction)
        commands = [
            *before,
            self._mail(transaction),
            *(self._rcpt(recipient) for recipient in transaction.recipients),
            b"DATA\r\n",
        ]
        first_rcpt = len(before) + 1
        self._needs_reset = True
        if pipelining:
            await self._line.write(b"".join(commands), timeout)
        mail_reply: HopReply | None = None
        for number, command in enumerate(commands):
            if not pipelining:
                await self._line.write(command, timeout)
            reply = await self._line.reply(timeout)
            self._errors += reply.reply_code >= 400
            if number == first_rcpt - 1:
                mail_reply = reply
            elif first_rcpt <= number < len(commands) - 1:
                assert mail_reply is not None  # noqa: S101  MAIL stands before RCPT
                said, stage = (mail_reply, Stage.MAIL) if mail_reply.reply_code >= 400 else (reply, Stage.RCPT)
                fates[number - first_rcpt] = None if said.reply_code < 300 else _refused(said, stage)
            elif number == len(commands) - 1:
                return await self._data_wanted(reply, fates, timeout)
        return False

    async def _data_wanted(self, reply: HopReply, fates: list[Fate | None], timeout: float) -> bool:
        wanted = any(fate is None for fate in fates)
        if reply.reply_code == 354:
            if wanted:
                return True
            # RFC 2920 §3.1: DATA went out before we knew that nobody is left; an empty mail ends it.
            await self._line.write(b".\r\n", timeout)
            await self._line.reply(timeout)
            return False
        for number, fate in enumerate(fates):
            fates[number] = fate or _refused(reply, Stage.DATA)
        return False

    def _settle(self, fates: list[Fate | None], reply: HopReply) -> None:
        """The reply to the final dot speaks for every recipient that was accepted."""
        self._needs_reset = False
        if 200 <= reply.reply_code < 300:
            self._errors = 0
            queued = _QUEUED_AS.search(reply.text)
            fate = Fate(
                kind=FateKind.TAKEN,
                text=reply.text,
                stage=Stage.END_OF_DATA,
                queue_id=queued.group(1) if queued else "",
            )
        else:
            self._errors += 1
            fate = _refused(reply, Stage.END_OF_DATA)
        for number, known in enumerate(fates):
            fates[number] = known or fate

    def _unfit(self, transaction: Transaction) -> Fate | None:
        """What can't go where an extension is not offered (RFC 6152 §3, RFC 6531 §3.5)."""
        paths = [transaction.mail.reverse_path, *(recipient.forward_path for recipient in transaction.recipients)]
        if "SMTPUTF8" not in self.extensions and not all(path.isascii() for path in paths):
            return Fate(
                kind=FateKind.REFUSED, text="553 5.6.7 The next server takes ASCII addresses only", stage=Stage.MAIL
            )
        if "8BITMIME" not in self.extensions and transaction.is_8bit and _said(transaction.mail.body) == "8BITMIME":
            return Fate(
                kind=FateKind.REFUSED, text="554 5.6.3 The next server takes 7-bit mails only", stage=Stage.MAIL
            )
        return None

    def _xforward(self, transaction: Transaction) -> list[bytes]:
        offered = {word.upper() for word in self.extensions.get("XFORWARD", ())}
        words = [
            f"{name}={encode_xtext(transaction.xforward.get(name, UNAVAILABLE))}"
            for name in XFORWARD_NAMES
            if name in offered
        ]
        # Two lines, so that neither passes 512 octets with usual values.
        halves = [words[:3], words[3:]]
        return [f"XFORWARD {' '.join(half)}\r\n".encode("ascii") for half in halves if half]

    def _mail(self, transaction: Transaction) -> bytes:
        mail, offered = transaction.mail, self.extensions
        words = [f"MAIL FROM:<{mail.reverse_path}>"]
        if "SIZE" in offered:
            words.append(f"SIZE={sum(map(len, transaction.content))}")
        if mail.body is not None and "8BITMIME" in offered:
            words.append(f"BODY={mail.body}")
        if mail.smtputf8 and "SMTPUTF8" in offered:
            words.append("SMTPUTF8")
        if "DSN" in offered:
            words += [f"RET={mail.ret}"] if mail.ret is not None else []
            words += [f"ENVID={mail.envid}"] if mail.envid is not None else []
        return (" ".join(words) + "\r\n").encode("utf-8", "surrogateescape")

    def _rcpt(self, recipient: RcptCommand) -> bytes:
        words = [f"RCPT TO:<{recipient.forward_path}>"]
        if "DSN" in self.extensions:
            words += [f"NOTIFY={recipient.notify}"] if recipient.notify is not None else []
            words += [f"ORCPT={recipient.orcpt}"] if recipient.orcpt is not None else []
        return (" ".join(words) + "\r\n").encode("utf-8", "surrogateescape")


async def connect(host: str, port: int, hostname: str, timeout: float) -> NextHopConnection:
    """A connection that has greeted. Raises NextHopError within `timeout` seconds."""
    line: HopLine | None = None
    try:
        async with asyncio.timeout(timeout):
            _, line = await asyncio.get_running_loop().create_connection(HopLine, host, port)
            connection = NextHopConnection(line)
            await connection.begin(hostname, timeout)
            return connection
    except TimeoutError:
        why = f"did not answer within {timeout:g} s"
    except OSError as error:
        why = error.strerror or str(error)
    except NextHopError as error:
        why = str(error)
    if line is not None:
        line.close()
    raise NextHopError(f"{host}:{port}: {why}")


def _said(body: str | None) -> str:
    return (body or "").upper()


#: Replies that blame our dialogue, not the mail: our fault must never become the sender's (RFC 5321 §4.2.2, RFC 4954).
_OUR_FAULT = frozenset({500, 502, 503, 504, 530, 535, 538, 555})


def _refused(reply: HopReply, stage: Stage) -> Fate:
    """REFUSED for a 5xx about the mail, NOT_TAKEN for everything else."""
    about_syntax = reply.reply_code == 501 and not " ".join(reply.lines).startswith("5.1.")
    final = reply.reply_code >= 500 and reply.reply_code not in _OUR_FAULT and not about_syntax
    return Fate(kind=FateKind.REFUSED if final else FateKind.NOT_TAKEN, text=reply.text, stage=stage)


def _stuffed(content: tuple[bytes, ...]) -> Iterator[bytes]:
    """The content in pieces of whole lines, a dot put before every line that begins with one (RFC 5321 §4.5.2)."""
    for part in content:
        place = 0
        while place < len(part):
            cut = len(part)
            if cut - place > _PIECE:
                cut = part.rfind(b"\r\n", place, place + _PIECE) + 2
                if cut <= place + 1:
                    cut = len(part)
            piece = part[place:cut].replace(b"\r\n.", b"\r\n..")
            yield b"." + piece if piece.startswith(b".") else piece
            place = cut
