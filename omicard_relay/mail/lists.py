"""`ListEntry`: one line of a list, with reason, source, scope and expiry (invariant 3)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

__all__ = ["ListEntry", "ListName", "covers"]


class ListName(StrEnum):
    """The lists that the scrub asks."""

    UNSUBSCRIBED = "unsubscribed"
    BLACKLIST = "blacklist"
    WHITELIST = "whitelist"
    #: Suppression: addresses that are known to bounce.
    KNOWN_BOUNCE = "known-bounce"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEntry:
    """One entry. `value` is an address key (`ann@example.com`) or a domain with a leading `@` (`@example.com`).

    `scope` is "all", `sender:DOMAIN` (reverse-path domain), `campaign:NAME` or `kind:NAME` (of campaign). `expires` None:
    never. `bounce_code` is the cause, for known bounces; `happened` when the failure was that proved it, None where a
    person has put it there.
    """

    list_name: ListName
    value: str
    reason: str
    source: str
    scope: str = "all"
    bounce_code: int | None = None
    created: datetime
    expires: datetime | None = None
    created_by: str = ""
    happened: datetime | None = None
    removed: datetime | None = None
    entry_id: int = 0


def covers(scope: str, *, sender_domain: str, campaign: str | None, kind: str | None = None) -> bool:
    """Whether an entry of this scope speaks of a mail from this sender domain in this campaign, which is of this kind."""
    if scope == "all":
        return True
    by, _, name = scope.partition(":")
    if by == "sender":
        return name.lower() == sender_domain.lower()
    if by == "kind":
        return kind is not None and name.lower() == kind
    return by == "campaign" and campaign is not None and name == campaign
