"""Which address is a recipient, and whom the returned mail was for: for reports that name nobody, or no mailbox.

The returned mail's own fields are read in the order of trust: what a receiver wrote into it (X-Original-To, Delivered-To of a
failing host), a single To, and a variable envelope return path. With several addresses in To, the mail may have been for any.
Not here: our signed reverse-path and our Message-ID, which come before all this (services/).
"""

import re

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.origins import verp_recipient
from omicard_relay.bounce.text import addresses_in, first_address

__all__ = [
    "completed",
    "forwarded_from",
    "is_list_owner",
    "is_mailbox",
    "list_of",
    "our_addresses",
    "returned_recipient",
]

_OURS = ("to", "from", "sender", "delivered-to", "envelope-to", "x-original-to", "reply-to")
_THEIRS = ("from", "sender", "reply-to", "return-path")
_MANAGER = re.compile(r"owner-(.{1,100})|(.{1,100})-(?:owner|bounces|request)", re.I)
_SENT_TO = ("to", "cc", "x-original-to", "delivered-to")
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,63}")
_VERP_FIELDS = ("to", "delivered-to", "envelope-to", "x-original-to")


def is_mailbox(name: str) -> bool:
    """Whether it is no pipe, no file, no source route (`@relay:ann@example.com`), no directory name and no bare user name."""
    return "@" in name[1:] and name[:1] not in "|/:@" and " " not in name and "\t" not in name and name[:7] != "IMCEAEX"


def is_list_owner(address: str) -> bool:
    """Whether a list manager's own address writes (RFC 2142 §6; Mailman, Majordomo, ezmlm), not a member by it."""
    return list_of(address) != ""


def list_of(address: str) -> str:
    """The list whose manager writes from this address (`news-owner@…`, `owner-news@…`); "" for any other."""
    local, at, domain = address.partition("@")
    match = _MANAGER.fullmatch(local)
    return f"{match.group(1) or match.group(2)}{at}{domain}" if match and at else ""


def completed(name: str, letter: Letter, domain: str = "") -> str:
    """The whole address of a recipient that a report names without its domain; as it stands where nothing tells the domain.

    The returned mail was sent to it, or the list's manager writes; else `domain`, that of the other recipients, or the
    reporting system's own.
    """
    name = name.strip().strip("<>")
    if "@" in name or not _USER_NAME.fullmatch(name):
        return name
    low = name.lower()
    sent_to = [found.address for field in _SENT_TO for found in addresses_in(letter.returned.get(field)[:10_000])]
    for address in sent_to:
        if address.lower().rpartition("@")[0] == low:
            return address
    manager = list_of(letter.sender)
    if manager.partition("@")[0].lower() == low:
        return manager
    domains = {address.rpartition("@")[2].lower() for address in sent_to}
    home = domain or (domains.pop() if len(domains) == 1 else letter.sender.rpartition("@")[2])
    return f"{name}@{home}" if home else name


def forwarded_from(letter: Letter, final: str) -> str:
    """The address that the returned mail was forwarded from to `final`, by the fields that its host wrote; "" for none.

    X-Original-To is Postfix's; X-Forwarded-For names the mailbox and then where it forwards to (Gmail).
    """
    if name := first_address(letter.returned.get("x-original-to")):
        return name
    named = [found.address for found in addresses_in(letter.returned.get("x-forwarded-for")[:2_000])]
    return named[0] if len(named) > 1 and named[0].lower() != final.lower() else ""


def our_addresses(letter: Letter) -> frozenset[str]:
    """The addresses of both ends of the report itself, and of the returned mail's sender, in lower case: never recipients."""
    head, returned = letter.head, letter.returned
    values = [value for name in _OURS if (value := head.get(name))]
    values += [value for name in _THEIRS if (value := returned.get(name))]
    return frozenset(address.lower() for value in values if (address := first_address(value)))


def returned_recipient(letter: Letter) -> str:
    """The one recipient of the mail that came back, as far as it tells; "" when it could be several or nobody."""
    returned = letter.returned
    names = {found.address.lower(): found.address for found in addresses_in(returned.get("to")[:10_000])}
    if len(names) == 1:
        name = next(iter(names.values()))
        return verp_recipient(name) or name
    fields = [letter.head.get(name) for name in _VERP_FIELDS] + [returned.get("return-path"), returned.get("errors-to")]
    return next((name for value in fields if (name := verp_recipient(value))), "")
