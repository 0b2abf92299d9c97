"""The store against the receivers' books, row by row: what we wrote down is what really happened.

For every recipient: delivered means that exactly one mail was taken, and no other state may have one; a refusal must
carry the very words that the receiver said; a dropped one was never seen by a receiver and names the step that the plan
names; and the code is the one that the plan names. Connections that were refused before RCPT have no recipient in the
books: their words must stand there without one.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable

from lab.books import BookEntry, Books
from lab.campaign import Campaign, Planned
from lab.domains import Fate
from omicard_relay.mail import RecipientState, address_key
from omicard_relay.store.reports import Subject

__all__ = ["differences", "is_settled"]

_LATER = (Fate.RETURNED_LATER, Fate.ANSWERED_LATER)
_STATES = {
    Fate.DELIVERED: RecipientState.DELIVERED,
    Fate.RETURNED: RecipientState.RETURNED,
    Fate.RESTING: RecipientState.RESTING,
    Fate.RETURNED_LATER: RecipientState.DELIVERED,
    Fate.ANSWERED_LATER: RecipientState.DELIVERED,
    Fate.DROPPED: RecipientState.DROPPED,
}


def differences(campaign: Campaign, subjects: Iterable[Subject], books: Books) -> list[str]:
    """A sentence for each recipient whose row in the store is not what the books and the plan say; none when all agree."""
    planned = _by_key(campaign.recipients)
    stored: dict[str, list[Subject]] = defaultdict(list)
    for subject in subjects:
        stored[address_key(subject.address)].append(subject)
    entries: dict[str, list[BookEntry]] = defaultdict(list)
    for entry in books.entries():
        entries[address_key(entry.recipient)].append(entry)
    nobody = [entry.reply for entry in entries.pop("", [])]
    found: list[str] = []
    for key, plans in planned.items():
        found += _compare(key, plans, stored.pop(key, []), entries.pop(key, []), nobody)
    found += [f"{key}: is in the store, but was never submitted" for key in stored]
    found += [f"{key}: a receiver saw it, but it was never submitted" for key in entries if not key.startswith("news@")]
    return found


def is_settled(campaign: Campaign, subjects: Iterable[Subject]) -> bool:
    """Whether every recipient has reached what the plan names for it, so that nothing more is to be waited for."""
    wanted = Counter(_goal(plan) for plan in campaign.recipients)
    reached = Counter(_reached(subject) for subject in subjects)
    return all(reached[goal] >= count for goal, count in wanted.items())


def _goal(plan: Planned) -> tuple[str, str, bool]:
    return address_key(plan.address), _STATES[plan.fate], plan.fate in _LATER


def _reached(subject: Subject) -> tuple[str, str, bool]:
    return address_key(subject.address), subject.state, subject.later_code is not None


def _by_key(recipients: Iterable[Planned]) -> dict[str, list[Planned]]:
    planned: dict[str, list[Planned]] = defaultdict(list)
    for plan in recipients:
        planned[address_key(plan.address)].append(plan)
    return planned


def _compare(
    key: str, plans: list[Planned], rows: list[Subject], entries: list[BookEntry], nobody: list[str]
) -> Iterable[str]:
    states = sorted(row.state for row in rows)
    wanted = sorted(_STATES[plan.fate] for plan in plans)
    if states != wanted:
        yield f"{key}: planned {wanted}, stored {states} ({'; '.join(row.detail or '' for row in rows)[:200]})"
        return
    taken = sum(entry.accepted for entry in entries)
    delivered = states.count(RecipientState.DELIVERED)
    if taken != delivered:
        yield f"{key}: receivers took {taken} mails, the store has {delivered} as delivered"
    said = [" ".join(entry.reply.split()) for entry in entries if entry.reply]
    by_state = {_STATES[plan.fate]: plan for plan in plans}
    for row in rows:
        plan = by_state[RecipientState(row.state)]
        yield from _compare_row(key, plan, row, said, nobody)
    if RecipientState.DELIVERED not in states and states == [RecipientState.DROPPED] * len(states) and entries:
        yield f"{key}: dropped, but a receiver saw it"


def _compare_row(key: str, plan: Planned, row: Subject, said: list[str], nobody: list[str]) -> Iterable[str]:
    if row.state == RecipientState.DROPPED:
        if row.drop_step != plan.drop_reason:
            yield f"{key}: planned to be dropped by {plan.drop_reason}, was by {row.drop_step}"
        return
    if plan.fate in _LATER:
        if row.later_code != plan.bounce_code:
            yield f"{key}: planned {plan.bounce_code} later, stored {row.later_code}"
        return
    if row.state == RecipientState.DELIVERED:
        if row.bounce_code is not None:
            yield f"{key}: delivered, but with code {row.bounce_code}"
        return
    if row.bounce_code != plan.bounce_code:
        yield f"{key}: planned code {plan.bounce_code}, stored {row.bounce_code} for `{row.detail}`"
    detail = " ".join((row.detail or "").split())
    if said and not any(words in detail for words in said):
        yield f"{key}: the receiver said `{said[-1]}`, the store has `{detail}`"
    if not said and " said: " in detail and not any(" ".join(words.split()) in detail for words in nobody):
        yield f"{key}: the store has `{detail}`, which no receiver said"
