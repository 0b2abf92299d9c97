"""`Evidence`: one statement about one recipient, by whatever road it came; the only thing that is ever classified."""

from datetime import datetime
from enum import StrEnum

import msgspec

from omicard_relay.mail.reply import Reply, Stage

__all__ = ["Evidence", "MailKind", "Road", "Trust"]


class Road(StrEnum):
    """By which road a statement came."""

    LOG = "log"
    DSN = "dsn"
    ARF = "arf"
    AUTOREPLY = "autoreply"
    MANUAL = "manual"


class MailKind(StrEnum):
    """What a mail to the return path is."""

    DSN = "dsn"
    ARF = "arf"
    AUTOREPLY = "autoreply"
    NOT_A_BOUNCE = "not-a-bounce"
    #: Looks like a report but in no form that we read.
    OTHER = "other"


class Trust(StrEnum):
    """How far a statement may act on a list (invariant 3)."""

    #: Our own Postfix log, or a bounce whose signed reverse-path token verifies and is young enough.
    PROVEN = "proven"
    #: Anybody could have sent it: it is stored and counted, and changes no list.
    CLAIMED = "claimed"


class Evidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One statement about one recipient.

    `replies` go from the outermost to the innermost: the last one is the remote server's own and decides. `recipient` is
    the final recipient as reported, `original_recipient` the address as we sent it ("" when not told).
    `dsn_action` is RFC 3464 §2.3.3 (failed, delayed, delivered, relayed, expanded), `status` its Status field,
    `message_id` that of the returned original, `envelope_id` the ENVID, `feedback_type` RFC 5965 §3.1, `new_address` an
    announced new mailbox.
    """

    road: Road
    recipient: str = ""
    original_recipient: str = ""
    replies: tuple[Reply, ...] = ()
    dsn_action: str | None = None
    status: str | None = None
    reporting_mta: str | None = None
    remote_mta: str | None = None
    queue_id: str | None = None
    message_id: str | None = None
    envelope_id: str | None = None
    feedback_type: str | None = None
    new_address: str | None = None
    time: datetime | None = None
    trust: Trust = Trust.CLAIMED
    notes: tuple[str, ...] = ()

    @property
    def reply(self) -> Reply | None:
        """The deciding reply: the innermost, or None when the statement carries no words."""
        return self.replies[-1] if self.replies else None

    @property
    def stage(self) -> Stage:
        """The stage of the deciding reply."""
        return self.replies[-1].stage if self.replies else Stage.UNKNOWN
