"""The relay's log lines: one event a line, `event=name key=value …`, names from one place, nothing of a mail's content.

Values that came from outside are made safe; one with white space or quotes stands in double quotes.
"""

import logging
from enum import StrEnum

from omicard_relay.mail import one_line

__all__ = ["Event", "log_event"]

_log = logging.getLogger("omicard_relay.relay")

#: Characters of one value: the longest reply that Postfix gives in practice, no more.
_VALUE_LIMIT = 400


class Event(StrEnum):
    """What the relay tells of."""

    STARTED = "relay-started"
    STOPPING = "relay-stopping"
    STOPPED = "relay-stopped"
    CONNECTION_REFUSED = "connection-refused"
    DENIED = "relay-denied"
    LOGIN = "login"
    LOGIN_FAILED = "login-failed"
    RECIPIENT_REJECTED = "recipient-rejected"
    MAIL_DROPPED = "mail-dropped"
    MAIL_REFUSED = "mail-refused"
    HANDED_OVER = "handed-over"
    NOT_TAKEN = "not-taken"
    IN_DOUBT = "in-doubt"
    ANSWERED = "answered"
    CLIENT_GONE = "client-gone"
    BAD_DATA = "bad-data"
    OWN_FAULT = "own-fault"
    STORE_OWED = "store-owed"
    NOTICE_SENT = "notice-sent"


def log_event(event: Event, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> None:
    """Write one line. Fields that are None or empty are left out; `error` adds its traceback."""
    if _log.isEnabledFor(level):
        parts = [f"{key}={_value(value)}" for key, value in fields.items() if value not in (None, "")]
        _log.log(level, "%s", " ".join([f"event={event}", *parts]), exc_info=error)


def _value(value: object) -> str:
    text = one_line(str(value), _VALUE_LIMIT)
    if not text or any(char in text for char in ' "='):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text
