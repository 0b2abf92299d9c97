"""How real receivers behave, one class a habit. Texts are our own, in the shape of what providers say.

Which domain behaves how is in lab/internet.py. A habit that needs no code of its own is a `Refuses` with a stage and a text.
"""

import asyncio
import time
from collections.abc import Callable

from lab.behaviour import Behaviour, Envelope
from lab.later import Postman, automatic_reply, complaint, failure_report
from lab.smtp_server import Session
from omicard_relay.mail import MailKind, Stage

__all__ = [
    "AnswersLater",
    "DropsConnection",
    "Greylists",
    "Hangs",
    "Mixed",
    "Refuses",
    "Slow",
    "TooBig",
    "later_habits",
]

#: Makes the later mail for one recipient: envelope, recipient, the receiver's name.
Maker = Callable[[Envelope, str, str], bytes]


class Refuses(Behaviour):
    """Refuses everybody at one stage with one text; `{recipient}` and `{ip}` are filled in."""

    def __init__(self, stage: Stage, text: str) -> None:
        self._stage, self._text = stage, text

    async def greeting(self, session: Session) -> str | None:
        return self._at(Stage.CONNECT, session) or await super().greeting(session)

    async def helo(self, session: Session) -> str | None:
        return self._at(Stage.HELO, session)

    async def mail(self, session: Session, reverse_path: str, parameters: str) -> str | None:
        return self._at(Stage.MAIL, session) or await super().mail(session, reverse_path, parameters)

    async def rcpt(self, session: Session, recipient: str) -> str | None:
        return self._at(Stage.RCPT, session, recipient) or await super().rcpt(session, recipient)

    async def data(self, session: Session) -> str | None:
        return self._at(Stage.DATA, session) or await super().data(session)

    async def content(self, session: Session, envelope: Envelope) -> str | None:
        return self._at(Stage.END_OF_DATA, session) or await super().content(session, envelope)

    def _at(self, stage: Stage, session: Session, recipient: str = "") -> str:
        if stage is not self._stage:
            return ""
        return self._text.replace("{recipient}", recipient).replace("{ip}", session.client_ip)


class Mixed(Behaviour):
    """Knows only local parts that begin with `ok`."""

    async def rcpt(self, session: Session, recipient: str) -> str | None:
        if recipient.lower().startswith("ok"):
            return await super().rcpt(session, recipient)
        return f"550 5.1.1 <{recipient}>: there is no such user here"


class Greylists(Behaviour):
    """Refuses the first attempts of each client, reverse-path and recipient until some seconds have gone by."""

    def __init__(self, rest_seconds: float) -> None:
        self._rest_seconds = rest_seconds
        self._first_seen: dict[tuple[str, str, str], float] = {}

    async def rcpt(self, session: Session, recipient: str) -> str | None:
        triplet = (session.client_ip, session.reverse_path, recipient)
        now = time.monotonic()
        rest = self._first_seen.setdefault(triplet, now) + self._rest_seconds - now
        if rest <= 0:
            return await super().rcpt(session, recipient)
        return f"450 4.7.1 <{recipient}>: greylisted, please come back in {int(rest) + 1} seconds"


class DropsConnection(Behaviour):
    """Closes the connection without a word."""

    async def greeting(self, session: Session) -> str | None:
        return None


class Hangs(Behaviour):
    """Greets, and never answers MAIL."""

    async def mail(self, session: Session, reverse_path: str, parameters: str) -> str | None:
        await session.wait_for_close()
        return None


class Slow(Behaviour):
    """Accepts, but takes its time for each answer."""

    def __init__(self, pause_seconds: float) -> None:
        self._pause_seconds = pause_seconds

    async def greeting(self, session: Session) -> str | None:
        await asyncio.sleep(self._pause_seconds)
        return await super().greeting(session)

    async def rcpt(self, session: Session, recipient: str) -> str | None:
        await asyncio.sleep(self._pause_seconds)
        return await super().rcpt(session, recipient)

    async def content(self, session: Session, envelope: Envelope) -> str | None:
        await asyncio.sleep(self._pause_seconds)
        return await super().content(session, envelope)


class TooBig(Behaviour):
    """Takes mails up to a limit. Announced, the client refuses by itself (RFC 1870); else we do, at MAIL or at the end."""

    def __init__(self, limit_octets: int, *, announced: bool) -> None:
        self._limit_octets = limit_octets
        self.announced_size = limit_octets if announced else None

    async def mail(self, session: Session, reverse_path: str, parameters: str) -> str | None:
        for word in parameters.upper().split():
            if word.startswith("SIZE=") and word[5:].isdigit() and int(word[5:]) > self._limit_octets:
                return self._refusal()
        return await super().mail(session, reverse_path, parameters)

    async def content(self, session: Session, envelope: Envelope) -> str | None:
        if len(envelope.content) > self._limit_octets:
            return self._refusal()
        return await super().content(session, envelope)

    def _refusal(self) -> str:
        return f"552 5.3.4 Message is too big: the limit here is {self._limit_octets} octets"


class AnswersLater(Behaviour):
    """Accepts, and after a while sends a mail of its own to the reverse-path; never answers a null reverse-path."""

    def __init__(self, postman: Postman, kind: MailKind, make: Maker, *, hostname: str, rest_seconds: float) -> None:
        self._postman, self._kind, self._make = postman, kind, make
        self._hostname, self._rest_seconds = hostname, rest_seconds

    async def taken(self, envelope: Envelope) -> None:
        if not envelope.reverse_path:
            return
        await asyncio.sleep(self._rest_seconds)
        for recipient in envelope.recipients:
            content = self._make(envelope, recipient, self._hostname)
            await self._postman.send(envelope, self._kind, recipient, content, self._hostname)


def later_habits() -> dict[str, tuple[MailKind, Maker]]:
    """The habits of `AnswersLater` by name: what kind of mail, and who makes it."""
    return {
        "later": (MailKind.DSN, _unknown_later),
        "full-later": (MailKind.DSN, _full_later),
        "vacation": (MailKind.AUTOREPLY, _vacation),
        "moved": (MailKind.AUTOREPLY, _moved),
        "complains": (MailKind.ARF, _complains),
    }


def _unknown_later(envelope: Envelope, recipient: str, hostname: str) -> bytes:
    reply = f"550 5.1.1 <{recipient}> no mailbox of this name"
    return failure_report(envelope, recipient, hostname=hostname, reply=reply, status="5.1.1")


def _full_later(envelope: Envelope, recipient: str, hostname: str) -> bytes:
    reply = f"552 5.2.2 <{recipient}> mailbox is over its quota"
    return failure_report(envelope, recipient, hostname=hostname, reply=reply, status="5.2.2")


def _vacation(envelope: Envelope, recipient: str, hostname: str) -> bytes:
    return automatic_reply(
        envelope,
        recipient,
        hostname=hostname,
        subject="Out of office: back on Monday",
        text="I am on vacation and read my mail again next Monday.\n我正在休假，下週一回來。\n",
    )


def _moved(envelope: Envelope, recipient: str, hostname: str) -> bytes:
    new_address = f"{recipient.rpartition('@')[0]}@good.test"
    return automatic_reply(
        envelope,
        recipient,
        hostname=hostname,
        subject="My address has changed",
        text=f"I no longer use this mailbox.\nMy new address is {new_address}, please write to me there.\n",
    )


def _complains(envelope: Envelope, recipient: str, hostname: str) -> bytes:
    return complaint(envelope, recipient, hostname=hostname, source_ip="127.0.0.1")
