"""What a receiver says at each stage of the SMTP dialogue: hooks that a `Behaviour` overrides, one class a habit.

The server that asks them is lab/smtp_server.py; the habits of real receivers are in lab/receivers.py.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.smtp_server import Session

__all__ = ["Behaviour", "Envelope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One accepted mail with its recipients, as it is given to `Behaviour.content` and `Behaviour.taken`."""

    receiver: str
    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes
    message_id: str


class Behaviour:
    """Accepts everything; a receiver overrides what it does differently.

    Each hook returns the reply's text, lines joined by LF, codes included; None drops the connection without a word. A
    reply to `rcpt` and `content` of 2xx accepts.
    """

    #: What EHLO offers after SIZE; None: SIZE without a limit.
    announced_size: int | None = None

    async def greeting(self, session: "Session") -> str | None:
        """The first words."""
        return f"220 {session.hostname} ESMTP"

    async def helo(self, session: "Session") -> str | None:
        """A refusal of HELO or EHLO; an empty text accepts."""
        return ""

    async def mail(self, session: "Session", reverse_path: str, parameters: str) -> str | None:
        """The answer to MAIL."""
        return "250 2.1.0 Sender ok"

    async def rcpt(self, session: "Session", recipient: str) -> str | None:
        """The answer to one RCPT."""
        return "250 2.1.5 Recipient ok"

    async def data(self, session: "Session") -> str | None:
        """The answer to DATA; 354 lets the content come."""
        return "354 End with a dot on a line of its own"

    async def content(self, session: "Session", envelope: Envelope) -> str | None:
        """The answer to the end of data."""
        return f"250 2.0.0 Ok: taken as {hashlib.sha256(envelope.content).hexdigest()[:12]}"

    async def taken(self, envelope: Envelope) -> None:
        """Called after the 250, in a task of its own: what the receiver does later."""
