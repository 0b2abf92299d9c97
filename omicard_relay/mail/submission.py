"""`Submission`: one mail that a client brought, and the states of its recipients."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["RecipientState", "Submission", "Way"]


class Way(StrEnum):
    """By which door a mail came to the relay."""

    DIRECT = "direct"
    #: From Postfix, as its content filter.
    FILTER = "filter"


class RecipientState(StrEnum):
    """Where one recipient stands."""

    #: Postfix is being asked; after a crash: in doubt until the log tells.
    HANDING_OVER = "handing-over"
    #: Postfix has it.
    QUEUED = "queued"
    #: The last attempt failed for now.
    RESTING = "resting"
    DELIVERED = "delivered"
    #: Given up: a final refusal, or the time ran out.
    RETURNED = "returned"
    #: Scrubbed before sending.
    DROPPED = "dropped"
    #: Postfix itself refused it for good when it was handed over.
    REFUSED = "refused"
    #: Postfix did not take it for now; the client was told to come again.
    NOT_TAKEN = "not-taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One mail as the relay saw it. `digest` is the SHA-256 (hex) of reverse-path and content; `size` is in octets."""

    submission_id: str
    digest: str
    received: datetime
    way: Way
    client_ip: str = ""
    client_name: str = ""
    login: str | None = None
    reverse_path: str = ""
    message_id: str | None = None
    subject: str | None = None
    campaign: str | None = None
    #: Of its campaign, such as "marketing" (services/relay/kinds.py); None where nothing is known of it yet.
    kind: str | None = None
    envid: str | None = None
    size: int = 0
    first_queue_id: str | None = None
