"""The steps of the scrub, each `Candidate -> Drop | None`, one per name of `StepName`.

A step knows nothing of order, mode and whitelist: that is the pipeline's (scrub/pipeline.py). Bounce codes: the address
itself is at fault (902), somebody chose not to get this mail (926), or what a list entry names.
"""

from collections.abc import Callable, Mapping

from omicard_relay.mail import ListEntry, ListName, one_line
from omicard_relay.scrub.candidate import Candidate, Drop
from omicard_relay.scrub.syntax import syntax_fault
from omicard_relay.tables.settings import StepName

__all__ = ["STEPS", "Step", "blacklist", "duplicate", "known_bounce", "syntax", "unsubscribed"]

Step = Callable[[Candidate], Drop | None]

RECIPIENT_UNKNOWN = 902
BLOCKED_BY_RECIPIENT = 926


def syntax(candidate: Candidate) -> Drop | None:
    """Drop what is no address (902)."""
    fault = syntax_fault(candidate.address)
    return Drop(step="syntax", reason=fault, bounce_code=RECIPIENT_UNKNOWN) if fault else None


def duplicate(candidate: Candidate) -> Drop | None:
    """Drop the second and every later mail of a campaign to the same address; without a campaign nothing is one."""
    if not candidate.already_in_campaign or candidate.campaign is None:
        return None
    reason = f"already in campaign {one_line(candidate.campaign, 80)}"
    return Drop(step="duplicate", reason=reason, bounce_code=None)


def unsubscribed(candidate: Candidate) -> Drop | None:
    """Drop who asked for no more mail (926)."""
    entry = candidate.entries.get(ListName.UNSUBSCRIBED)
    if entry is None:
        return None
    return Drop(step="unsubscribed", reason=_words("unsubscribed", entry), bounce_code=BLOCKED_BY_RECIPIENT)


def blacklist(candidate: Candidate) -> Drop | None:
    """Drop whom the sender's own blacklist names (926 unless the entry names another cause)."""
    entry = candidate.entries.get(ListName.BLACKLIST)
    if entry is None:
        return None
    return Drop(
        step="blacklist",
        reason=_words("on the blacklist", entry),
        bounce_code=BLOCKED_BY_RECIPIENT if entry.bounce_code is None else entry.bounce_code,
    )


def known_bounce(candidate: Candidate) -> Drop | None:
    """Drop who is known to bounce, with the cause that was proven then (902 when the entry does not tell)."""
    entry = candidate.entries.get(ListName.KNOWN_BOUNCE)
    if entry is None:
        return None
    return Drop(
        step="known-bounce",
        reason=_words("known to bounce", entry),
        bounce_code=RECIPIENT_UNKNOWN if entry.bounce_code is None else entry.bounce_code,
    )


#: The step of each name; the order is the settings'.
STEPS: Mapping[StepName, Step] = {
    "syntax": syntax,
    "duplicate": duplicate,
    "unsubscribed": unsubscribed,
    "blacklist": blacklist,
    "known-bounce": known_bounce,
}


def _words(what: str, entry: ListEntry) -> str:
    """What the list says, with the entry's own reason and, for a domain entry, the domain."""
    whom = f" ({one_line(entry.value, 120)})" if entry.value.startswith("@") else ""
    reason = one_line(entry.reason, 200)
    return f"{what}{whom}: {reason}" if reason else f"{what}{whom}"
