"""`scrub`: the steps in the settings' order, the first drop decides; the whitelist wins where the settings say so.

A step whose mode is `off`, or that the order leaves out, is not asked. One thing no setting turns off: an address that
must never stand in an SMTP command (control characters, no UTF-8) is always refused.
"""

from dataclasses import replace

from omicard_relay.mail import ListName, one_line
from omicard_relay.scrub.candidate import Candidate, Drop, ScrubOutcome
from omicard_relay.scrub.steps import RECIPIENT_UNKNOWN, STEPS
from omicard_relay.scrub.syntax import wire_fault
from omicard_relay.tables.settings import ListMode, ScrubSettings, StepName

__all__ = ["scrub"]


def scrub(candidate: Candidate, settings: ScrubSettings) -> ScrubOutcome:
    """Keep or drop one recipient. Notes tell what a whitelist entry has overruled, in step order. Never raises."""
    fault = wire_fault(candidate.address)
    if fault:
        # Discarding in silence needs the operator's word; without one the client is told.
        reject = settings.syntax != "discard"
        return ScrubOutcome(drop=Drop(step="syntax", reason=fault, bounce_code=RECIPIENT_UNKNOWN, reject=reject))
    white = candidate.entries.get(ListName.WHITELIST)
    notes: list[str] = []
    for name in settings.order:
        mode = _mode(settings, name)
        drop = STEPS[name](candidate) if mode != "off" else None
        if drop is None:
            continue
        if white is None or name not in settings.whitelist_wins_over:
            return ScrubOutcome(drop=replace(drop, reject=mode == "reject"), notes=tuple(notes))
        notes.append(f"whitelisted over {name}: {drop.reason} (whitelist: {one_line(white.reason, 120)})")
    return ScrubOutcome(notes=tuple(notes))


def _mode(settings: ScrubSettings, name: StepName) -> ListMode:
    """The mode of one step."""
    modes: dict[StepName, ListMode] = {
        "syntax": settings.syntax,
        "duplicate": settings.duplicate,
        "unsubscribed": settings.unsubscribed,
        "blacklist": settings.blacklist,
        "known-bounce": settings.known_bounce,
    }
    return modes[name]
