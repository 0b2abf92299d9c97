"""`Attempt`: one delivery attempt of one recipient, the unit that is stored and learned from."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from omicard_relay.mail.reply import Reply

__all__ = ["Attempt", "Outcome"]


class Outcome(StrEnum):
    """Postfix's `status=` word for one recipient, and our two for what it tells on other lines."""

    SENT = "sent"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    #: `smtpd … NOQUEUE: reject`: our own Postfix did not take the mail.
    REJECTED = "rejected"
    #: Postfix answers a verification probe, or delivers by an alias: no fate of a mail of ours.
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One delivery line of a mail log.

    `is_attempt` is False where Postfix only repeats an earlier failure or rests ("delivery temporarily suspended",
    error(8) and retry(8)): such a line is kept, but nothing is learned from it. `delays` are Postfix's four figures in seconds:
    before the queue manager, in it, connection set-up, transmission. `line_digest` (SHA-256, hex) makes re-reading harmless.
    `transport` is the last part of the syslog name (`postfix/ip1-s3/smtp`: "ip1-s3"), "" for plain Postfix; `machine` is
    the host name of the line.
    """

    time: datetime
    queue_id: str
    recipient: str
    original_recipient: str = ""
    outcome: Outcome
    enhanced_status: str
    reply: Reply
    is_attempt: bool = True
    program: str = "smtp"
    relay_host: str | None = None
    relay_ip: str | None = None
    relay_port: int | None = None
    delay_seconds: float | None = None
    delays: tuple[float, ...] = ()
    sender: str | None = None
    line_digest: str = ""
    transport: str = ""
    machine: str = ""
