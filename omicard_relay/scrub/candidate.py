"""The values of the scrub: who is judged (`Candidate`), why one was dropped (`Drop`), what came of it (`ScrubOutcome`).

The store's answers are handed in with the candidate, so that the steps stay pure: the same candidate under the same
settings always gives the same outcome.
Not here: looking entries up (store/), acting on a drop (services/).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from omicard_relay.mail import ListEntry, ListName
from omicard_relay.tables.settings import StepName

__all__ = ["Candidate", "Drop", "ScrubOutcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One recipient of one mail.

    `address` is the forward-path as it came, without angle brackets. `sender_domain` is the reverse-path's domain.
    `already_in_campaign` is True when the campaign had this address key before. `entries` holds at most one entry a
    list: the ones that cover this mail by scope and have not expired.
    """

    address: str
    sender_domain: str = ""
    campaign: str | None = None
    already_in_campaign: bool = False
    entries: Mapping[ListName, ListEntry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Why a recipient is not sent to.

    `reason` is in words, on one line and safe to print. `bounce_code` is None where no cause of the bounce table fits
    (a duplicate is no fault of the address). `reject`: the client sees `smtp_reply`; else it sees 250 and the
    recipient is left out in silence.
    """

    step: StepName
    reason: str
    bounce_code: int | None
    reject: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubOutcome:
    """Kept (`drop` is None) or dropped; `notes` are what was passed over, in words, such as a whitelisted known bounce."""

    drop: Drop | None = None
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        """True when the mail goes to this recipient."""
        return self.drop is None
