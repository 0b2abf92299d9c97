"""`Reply`: what one server said at one SMTP stage, kept whole (invariant 2).

Reading a text into a Reply is in mail/reading.py; judging it is in classify/.
"""

from datetime import datetime
from enum import StrEnum

import msgspec

__all__ = ["Reply", "Stage"]


class Stage(StrEnum):
    """Where in the dialogue a reply came (RFC 5321 §3); everything but LATER is hard, refused in the session."""

    CONNECT = "connect"
    HELO = "helo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END_OF_DATA = "end-of-data"
    QUIT = "quit"
    #: Accepted first, then told in a mail of its own.
    LATER = "later"
    UNKNOWN = "unknown"


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One server's words.

    `text` is all that was reported, unchanged; `innermost` is the remote server's own part of it, wrapper peeled off and
    white space folded (the same as `text` when there is no wrapper). `reply_code` is the three digits (RFC 5321 §4.2),
    `enhanced_status` the dotted triple (RFC 3463). `time` is an aware UTC datetime.
    """

    text: str
    innermost: str
    reply_code: int | None = None
    enhanced_status: str | None = None
    stage: Stage = Stage.UNKNOWN
    host: str | None = None
    ip: str | None = None
    time: datetime | None = None

    @property
    def reply_class(self) -> int | None:
        """2, 4 or 5: the first digit of the reply code, else of the enhanced status code; None when neither is there."""
        if self.reply_code is not None:
            return self.reply_code // 100
        return int(self.enhanced_status[0]) if self.enhanced_status else None
