"""A failure that is proven -> perhaps a known bounce, by policies/suppress.toml (invariant 3).

Called inside the transaction that stores the evidence, so that list and history never differ.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from omicard_relay.mail import ListEntry, ListName, Verdict, domain_of, local_part_of
from omicard_relay.store.bounces import failures_since
from omicard_relay.store.engine import Tx
from omicard_relay.store.lists import add_entry, covering_entries
from omicard_relay.tables.suppress import SuppressRule

__all__ = ["consider"]


def consider(
    tx: Tx,
    address: str,
    verdict: Verdict | None,
    rules: Mapping[int, SuppressRule],
    *,
    source: str,
    happened: datetime,
    now: datetime,
) -> int | None:
    """Put the address on the known bounces if its code's rule is fulfilled; gives the entry's id when it is new.

    `source` says where the proof stands (`log QUEUE-ID` or `bounce DIGEST`). The rule's days are counted back from when the
    failure `happened`, for a log may be read days later. A whitelisted address is never put there.
    """
    rule = rules.get(verdict.bounce_code) if verdict else None
    if rule is None or verdict is None:
        return None
    expires = happened + timedelta(days=rule.for_days)
    if expires <= now:
        return None  # an old log
    if not local_part_of(address) or not domain_of(address):
        return None  # `@example.com` in a list means the whole domain
    if failures_since(tx, address, rule.code, since=happened - timedelta(days=rule.days)) < rule.after:
        return None
    # Only entries for all senders: one for a single sender or campaign wins when its mail is scrubbed.
    here = covering_entries(tx, address, sender_domain="", campaign=None, now=now)
    if ListName.WHITELIST in here:
        return None
    entry = ListEntry(
        list_name=ListName.KNOWN_BOUNCE,
        value=address,
        reason=": ".join(filter(None, (f"{rule.code} by {verdict.rule_id}", verdict.words)))[:300],
        source=source,
        bounce_code=rule.code,
        created=now,
        expires=expires,
        created_by="suppress.toml",
    )
    entry_id, is_new = add_entry(tx, entry)
    return entry_id if is_new else None
