"""What a line of a Postfix mail log can tell: a closed union of plain values, `LogEvent`.

Every event has `time` (aware UTC), `queue_id` (short or long form, as logged; "" for NOQUEUE) and `instance`: the syslog name
before the program, such as `postfix`, `postfix-out` or `postfix/relay`.
Not here: reading them (loglines.py), and joining them to a mail of ours (services/).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from omicard_relay.mail import Attempt

__all__ = [
    "BounceNotice",
    "Client",
    "Delivery",
    "Expired",
    "LogEvent",
    "MessageId",
    "NoticeKind",
    "Pickup",
    "QueueActive",
    "Rejected",
    "Removed",
]


class NoticeKind(StrEnum):
    """Which mail bounce(8) made."""

    NON_DELIVERY = "non-delivery"
    DELAY = "delay"
    #: `delivery status notification`: what NOTIFY=SUCCESS asked for, and the report on a verification probe.
    SUCCESS = "success"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One delivery line of one recipient. `status` is Postfix's own word, which `attempt.outcome` may not tell whole."""

    attempt: Attempt
    status: str
    instance: str

    @property
    def time(self) -> datetime:
        """When it was logged."""
        return self.attempt.time

    @property
    def queue_id(self) -> str:
        """The queue id of the mail."""
        return self.attempt.queue_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Our own Postfix refused a client or a mail: smtpd(8), postscreen(8), cleanup(8) or a milter.

    `attempt` has the outcome REJECTED, is no attempt, and has "" for a recipient that was not named yet (CONNECT, EHLO,
    MAIL); its reply's host and ip are None, for the words are our own. `client_host` and `client_ip` say who was refused, ""
    for a mail that came in by pickup(8).
    """

    attempt: Attempt
    client_host: str
    client_ip: str
    instance: str

    @property
    def time(self) -> datetime:
        """When it was logged."""
        return self.attempt.time

    @property
    def queue_id(self) -> str:
        """The queue id of the mail; "" for NOQUEUE."""
        return self.attempt.queue_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The queue lifetime ran out, or an operator let it (`forced`): what is still deferred goes back to the sender."""

    time: datetime
    queue_id: str
    sender: str
    forced: bool = False
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueActive:
    """The queue manager takes a mail up. `size` is in bytes, `nrcpt` the recipients that are left; null reverse-path: ""."""

    time: datetime
    queue_id: str
    sender: str
    size: int
    nrcpt: int
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """smtpd(8) takes a mail in.

    `orig_queue_id` is XFORWARD's IDENT, the queue id before a content filter; `orig_client` is `name[ip]`.
    """

    time: datetime
    queue_id: str
    client_host: str
    client_ip: str
    orig_queue_id: str | None = None
    orig_client: str | None = None
    sasl_username: str | None = None
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pickup:
    """pickup(8) takes a local submission in."""

    time: datetime
    queue_id: str
    sender: str
    uid: int
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageId:
    """The Message-ID as cleanup(8) found or made it, with its angle brackets; `resent` for Resent-Message-ID."""

    time: datetime
    queue_id: str
    message_id: str
    resent: bool = False
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """The mail left the queue: every recipient has its fate."""

    time: datetime
    queue_id: str
    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceNotice:
    """Postfix wrote a mail about this one, with a queue id of its own; to the sender, or `to_postmaster`."""

    time: datetime
    queue_id: str
    notice_queue_id: str
    kind: NoticeKind
    to_postmaster: bool = False
    instance: str


LogEvent = Delivery | Rejected | Expired | QueueActive | Client | Pickup | MessageId | Removed | BounceNotice
