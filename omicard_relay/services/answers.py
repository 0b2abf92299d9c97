"""Which mails to the return path are a person's, to be handed on; and where a mail that was handed on already shows it.

`AnswerRule.note` marks a mail in the very transaction that stores it, so that none is forgotten; what is marked waits until
services/handing_on.py has handed it on, whatever crashes meanwhile.
Against loops: what we hand on carries a field of ours at its top. A mail that comes with it is kept and goes no further.
"""

import re
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime

from omicard_relay.bounce.headers import HEAD_OCTETS, parse_head
from omicard_relay.mail import MailKind
from omicard_relay.store import answers, bounces
from omicard_relay.store.engine import Tx
from omicard_relay.tables.settings import AnswersSettings

__all__ = ["TRACE_FIELD", "AnswerRule", "head_of", "trace_line", "was_handed_on"]

#: The field that says who handed a mail on, and so stops a loop.
TRACE_FIELD = "X-OMICARD-Relay-Handed-On"
_HEAD_END = re.compile(rb"\n\r?\n")


class AnswerRule:
    """Which kinds are handed on. `wake` is called when one has been stored; it must be quick and thread-safe."""

    def __init__(self, settings: AnswersSettings, wake: Callable[[], None] = lambda: None) -> None:
        self._kinds = frozenset(settings.kinds if settings.mailbox or settings.forward else ())
        self.wake = wake

    def note(self, tx: Tx, digest: str, kind: MailKind, raw: bytes, *, now: datetime) -> bool:
        """Mark a new mail when it is to be handed on, in the transaction that stores it; whether it was marked."""
        if kind not in self._kinds:
            return False
        if was_handed_on(raw):
            answers.never_hand_on(tx, digest, f"it was handed on before: it carries {TRACE_FIELD}")
            bounces.count(tx, "answers.loop")
            return False
        answers.wait_to_be_handed_on(tx, digest, now=now)
        return True


def was_handed_on(raw: bytes) -> bool:
    """Whether the mail's own head has the field that we add; that of an attached mail does not count."""
    return any(name == TRACE_FIELD.lower() for name, _ in parse_head(head_of(raw)).fields)


def trace_line(digest: str, now: datetime) -> bytes:
    """The field, with the digest under which the store keeps the mail."""
    return f"{TRACE_FIELD}: {digest[:16]}; {format_datetime(now)}\n".encode("ascii")


def head_of(raw: bytes) -> bytes:
    """What stands before the first empty line, as far as it is read."""
    end = _HEAD_END.search(raw, 0, HEAD_OCTETS)
    return raw[: end.start() + 1 if end else HEAD_OCTETS]
