"""A failure that is proven -> perhaps a known bounce, by policies/suppress.toml (invariant 3).

Called inside the transaction that stores the evidence, so that list and history never differ.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from omicard_relay.mail import ListEntry, ListName, Verdict, domain_of
from omicard_relay.store.bounces import failures_since
from omicard_relay.store.engine import Tx
from omicard_relay.store.lists import add_entry, covering_entries
from omicard_relay.tables.suppress import SuppressRule

__all__ = ["consider"]


def consider(
    tx: Tx, address: str, verdict: Verdict | None, rules: Mapping[int, SuppressRule], *, source: str, now: datetime
) -> int | None:
    """Put the address on the known bounces if its code's rule is fulfilled; gives the entry's id when it is new.

    `source` says where the proof stands (`log QUEUE-ID` or `bounce DIGEST`). A whitelisted address is never put there.
    """
    rule = rules.get(verdict.bounce_code) if verdict else None
    if rule is None or verdict is None:
        return None
    if failures_since(tx, address, rule.code, since=now - timedelta(days=rule.days)) < rule.after:
        return None
    here = covering_entries(tx, address, sender_domain=domain_of(address), campaign=None, now=now)
    if ListName.WHITELIST in here:
        return None
    entry = ListEntry(
        list_name=ListName.KNOWN_BOUNCE,
        value=address,
        reason=f"{rule.code} by {verdict.rule_id}: {verdict.words}"[:300],
        source=source,
        bounce_code=rule.code,
        created=now,
        expires=now + timedelta(days=rule.for_days),
        created_by="suppress.toml",
    )
    entry_id, is_new = add_entry(tx, entry)
    return entry_id if is_new else None
