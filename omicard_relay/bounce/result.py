"""`MailReading`: what one mail says, and how readers hand it back. Plain values; nothing is read here."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from omicard_relay.bounce.letter import Letter
from omicard_relay.mail import Evidence, MailKind

__all__ = ["MailReading", "Reader", "reading"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReading:
    """One mail's kind and its statements, one Evidence a recipient in report order.

    `message_id` is the mail's own; that of the mail it returns is in the Evidence. `notes` say what was not read or guessed.
    """

    kind: MailKind
    evidence: tuple[Evidence, ...]
    message_id: str | None
    notes: tuple[str, ...]


class Reader(Protocol):
    """Knows one form of mail by its own marks."""

    def read(self, letter: Letter) -> MailReading | None:
        """The reading, or None when the mail is not of this form."""
        ...


def reading(letter: Letter, kind: MailKind, evidence: Iterable[Evidence] = (), *notes: str) -> MailReading:
    """A reading of this mail, with the notes that opening it made."""
    return MailReading(kind=kind, evidence=tuple(evidence), message_id=letter.message_id, notes=(*letter.notes, *notes))
