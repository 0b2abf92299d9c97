"""What is proven -> the lists, by policies/suppress.toml (invariant 3): a failure, a delivery, a complaint.

Called inside the transaction that stores the evidence, so that list and history never differ. Every change is made by
`suppress.toml`, is written down as anybody's, and can be undone; what is told again later never makes it anew.
Not here: what a failure counts as (store/failures.py), and what has to wait for more (store/due.py).
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from omicard_relay.mail import (
    ListEntry,
    ListName,
    Outcome,
    Road,
    Verdict,
    address_key,
    domain_of,
    local_part_of,
    one_line,
)
from omicard_relay.store.bounces import count
from omicard_relay.store.due import Due, close_due, find_due, look_safely
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.failures import complaints, failure_times, sent_as, tellings
from omicard_relay.store.lists import (
    BY_POLICY,
    add_entry,
    covering_entries,
    find_liftable,
    hold_address,
    remove_entry,
    runs_out,
    taken_off,
)
from omicard_relay.tables.suppress import SuppressRule

__all__ = [
    "COMPLAINTS",
    "MARKETING",
    "consider",
    "lift",
    "look_at",
    "settle",
    "settle_all",
    "settle_quietly",
    "unsubscribe",
]

log = logging.getLogger(__name__)

#: The complaints (RFC 5965 §7.3, and opt-out of its drafts) by which a recipient wants no more of it. Not among them: what
#: says that somebody else forged our mail (auth-failure, fraud), and not-spam.
COMPLAINTS = frozenset({"abuse", "opt-out", "opt-out-list"})
#: What a complaint unsubscribes from: a receipt or a password mail must still arrive.
MARKETING = "kind:marketing"
#: Characters of an entry's reason.
_REASON_LIMIT = 300
#: What is looked at in one transaction: of one recipient, and of all, where others wait for the lock meanwhile.
_MOST, _AT_ONCE = 200, 50
#: Seconds that a follower gives to it between two batches of lines; and a process of the pipe, which Postfix waits for.
_SETTLE_SECONDS, _PIPE_SECONDS = 5.0, 1.0


def consider(
    tx: Tx,
    address: str,
    verdict: Verdict | None,
    rules: Mapping[int, SuppressRule],
    *,
    source: str,
    happened: datetime,
    now: datetime,
    recipient_id: int | None = None,
    new_address: str | None = None,
) -> int | None:
    """Put the address on the known bounces if its code's rule is fulfilled; gives the entry's id when it is new.

    `source` says where the proof stands (`log QUEUE-ID` or `bounce DIGEST`). The rule's days are counted back from when the
    failure `happened`, for a log may be read days later. With `recipient_id`, only the first telling of a mail's failure
    acts. A whitelisted address is never put there: that is counted and logged.
    """
    rule = rules.get(verdict.bounce_code) if verdict else None
    if rule is None or verdict is None:
        return None
    if not _is_whole(address):
        return None
    hold_address(tx, address)
    if recipient_id is not None and tellings(tx, recipient_id, rule.code) > 1:
        return None
    scope = _scope(tx, rule, recipient_id)
    if scope is None:
        return None
    sender, kind = _named(scope, "sender"), _named(scope, "kind")
    since = happened - timedelta(days=rule.days)
    times = failure_times(tx, address, rule.code, since=since, sender_domain=sender, kind=kind)
    if not rule.is_fulfilled(times, happened):
        return None
    forgiven = taken_off(tx, address, scope)
    if forgiven is not None and not rule.is_fulfilled([time for time in times if time >= forgiven], happened):
        return None  # a person has decided on those
    repeats = runs_out(tx, address, scope, now=now) if rule.doubling else 0
    expires = happened + timedelta(days=rule.holds_days(repeats))
    if expires <= now:
        return None  # an old log
    # Only entries for all that the rule speaks of: one for a single sender or campaign wins when its mail is scrubbed.
    here = covering_entries(tx, address, sender_domain=sender or "", campaign=None, kind=kind, now=now)
    if ListName.WHITELIST in here:
        count(tx, "suppress.whitelisted")
        shown = one_line(address), rule.code, one_line(source)
        log.warning("event=suppress-whitelisted address=%s code=%d proof=%s note=nothing-changed", *shown)
        return None
    told = [f"{rule.code} by {verdict.rule_id}", verdict.words]
    if new_address:
        told.append(f"the new address offered is {new_address}")
    entry = ListEntry(
        list_name=ListName.KNOWN_BOUNCE,
        value=address,
        reason=": ".join(filter(None, told))[:_REASON_LIMIT],
        source=source,
        scope=scope,
        bounce_code=rule.code,
        created=now,
        created_by=BY_POLICY,
        happened=happened,
        expires=expires,
    )
    entry_id, is_new = add_entry(tx, entry)
    return entry_id if is_new else None


def lift(
    tx: Tx, address: str, rules: Mapping[int, SuppressRule], *, source: str, happened: datetime, now: datetime
) -> list[int]:
    """A delivery to the address: take its soft entries off, those that the rules let a later delivery lift; gives the changes.

    A delivery that is read late lifts where too few failures came after it, too.
    Entries that a person made, and those of codes that say that the mailbox is gone, stay.
    """
    changes = []
    hold_address(tx, address)
    for entry in find_liftable(tx, address, before=now + timedelta(days=1), now=now):
        rule = rules.get(entry.bounce_code or 0)
        if rule is not None and rule.lifted_by_delivery and _is_answered(tx, address, entry, rule, happened):
            note = f"delivered {happened:%Y-%m-%d %H:%M}Z: {source}"
            changes.append(remove_entry(tx, entry.entry_id, who=BY_POLICY, now=now, note=note))
    return changes


def unsubscribe(
    tx: Tx,
    recipient_id: int,
    address: str,
    feedback_type: str | None,
    *,
    source: str,
    happened: datetime,
    now: datetime,
) -> int | None:
    """A proven complaint about a mail: unsubscribe its recipient from marketing; gives the entry's id when it is new.

    Once for a mail: a complaint that comes again does not undo what the recipient has decided meanwhile.
    """
    if (feedback_type or "") not in COMPLAINTS or not _is_whole(address):
        return None
    hold_address(tx, address)
    if complaints(tx, recipient_id, COMPLAINTS) > 1:
        return None
    entry = ListEntry(
        list_name=ListName.UNSUBSCRIBED,
        value=address,
        reason=f"complaint: {feedback_type}",
        source=source,
        scope=MARKETING,
        created=now,
        created_by=BY_POLICY,
        happened=happened,
    )
    entry_id, is_new = add_entry(tx, entry)
    return entry_id if is_new else None


def settle(
    tx: Tx, rules: Mapping[int, SuppressRule], *, now: datetime, recipient_id: int | None = None, most: int = _MOST
) -> int:
    """Look at what had to wait and need not any more, of one recipient or of all; gives how many that were, `most` at most.

    One at which we fail by a fault of our own is counted, logged and put aside for a day; the others go on.
    """
    found = find_due(tx, now=now, recipient_id=recipient_id, most=most)
    for due in found:
        failure = look_safely(tx, due, partial(_look_once, tx, due, rules, now), now=now)
        if failure is not None:
            count(tx, "suppress.failed")
            shown = one_line(due.address), one_line(due.source)
            log.error("event=suppress-bug address=%s proof=%s note=put-aside", *shown, exc_info=failure)
    return len(found)


def settle_all(
    store: Store,
    rules: Mapping[int, SuppressRule],
    *,
    now: datetime,
    seconds: float = _SETTLE_SECONDS,
    is_stopped: Callable[[], bool] = lambda: False,
) -> int:
    """The same for all, until nothing is due, or so many seconds are over; gives how many were looked at. Raises StoreError.

    In short transactions, which are writes only where there is something; in between others have the store for as long.
    """
    end, settled = time.monotonic() + seconds, 0
    while True:
        with store.read() as tx:
            if not find_due(tx, now=now, most=1):
                return settled
        start = time.monotonic()
        with store.write() as tx:
            settled += settle(tx, rules, now=now, most=_AT_ONCE)
        took = time.monotonic() - start
        if is_stopped() or time.monotonic() + took > end:
            return settled
        time.sleep(took)


def settle_quietly(store: Store, rules: Mapping[int, SuppressRule], *, now: datetime) -> None:
    """For a process that has stored a mail by itself: look at some of what waits, as nobody else may be there. Never raises."""
    try:
        settle_all(store, rules, now=now, seconds=_PIPE_SECONDS)
    except Exception as error:
        log.warning("event=suppress-waits why=%r", one_line(str(error), 200))


def look_at(tx: Tx, due: Due, rules: Mapping[int, SuppressRule], *, now: datetime) -> None:
    """Let one proven statement or line, that is no echo, do what suppress.toml says."""
    if due.road is Road.ARF:
        unsubscribe(
            tx, due.recipient_id, due.address, due.feedback_type, source=due.source, happened=due.happened, now=now
        )
    elif due.outcome is Outcome.SENT:
        lift(tx, due.address, rules, source=due.source, happened=due.happened, now=now)
    else:
        consider(
            tx,
            due.address,
            due.verdict,
            rules,
            source=due.source,
            happened=due.happened,
            now=now,
            recipient_id=due.recipient_id,
            new_address=due.new_address,
        )


def _is_answered(tx: Tx, address: str, entry: ListEntry, rule: SuppressRule, delivered: datetime) -> bool:
    """Whether the delivery came after the entry's last failure; or, read late, between its failures, and leaves too few."""
    last = entry.happened or entry.created
    if last < delivered:
        return True
    sender, kind = _named(entry.scope, "sender"), _named(entry.scope, "kind")
    since = max(delivered, last - timedelta(days=rule.days))
    times = failure_times(tx, address, rule.code, since=since, sender_domain=sender, kind=kind)
    return not rule.is_fulfilled(times, last)


def _look_once(tx: Tx, due: Due, rules: Mapping[int, SuppressRule], now: datetime) -> None:
    if close_due(tx, due) and not due.is_echo:
        look_at(tx, due, rules, now=now)


def _is_whole(address: str) -> bool:
    """Whether it is an address as a list would hold it: `@example.com` there means the whole domain, however it was written."""
    return bool(local_part_of(address_key(address)) and domain_of(address))


def _scope(tx: Tx, rule: SuppressRule, recipient_id: int | None) -> str | None:
    """The scope of the entry that the rule makes for this mail; None where the mail does not tell it."""
    if rule.scope == "all":
        return "all"
    if recipient_id is None:
        return None
    reverse_path, kind = sent_as(tx, recipient_id)
    told = domain_of(reverse_path) if rule.scope == "sender" else kind
    return f"{rule.scope}:{told}" if told else None


def _named(scope: str, by: str) -> str | None:
    return scope.removeprefix(f"{by}:") if scope.startswith(f"{by}:") else None
