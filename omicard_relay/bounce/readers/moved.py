"""An announced new mailbox: "my new address is …", "no longer uses this address, please write to …".

Each address of a person's own words is looked at with the words around it (policies/formats/responders.toml). An announcement
("new address is", "changed to") counts, unless a later word says that a stand-in is named; "please write to" counts only in a
text that says the old mailbox is given up; of a person that left the house, only for an address that is akin to the old
one: others belong to a successor. What stands there as the old address never counts: "has changed from ann@old.example to …".
Known limits: an address in another sentence than its announcement, more than REACH characters away, is not found.
"""

import re
from collections.abc import Set

from omicard_relay.bounce.text import Found, addresses_in
from omicard_relay.tables.responders import Means, Responders, Where

__all__ = ["new_address"]

#: Characters before and after an address that may announce it; a sentence of ordinary length.
REACH = 160
_ADDRESSES = 50
#: `ann (at) example (dot) com`, `ann＠example.com`.
_HIDDEN_AT = re.compile(r"[ \t]{0,2}[\[({<][ \t]{0,2}at[ \t]{0,2}[\])}>][ \t]{0,2}|＠|﹫", re.I)
_HIDDEN_DOT = re.compile(r"[ \t]{0,2}[\[({<][ \t]{0,2}dot[ \t]{0,2}[\])}>][ \t]{0,2}|．", re.I)
#: Whoever is there, no person moved there.
_NOBODY = frozenset(
    {"abuse", "mailer-daemon", "no-reply", "noreply", "do-not-reply", "donotreply", "postmaster", "privacy"}
)
#: Letters that a part of a name needs at least, so that it tells something.
_NAME_LENGTH = 3


def new_address(text: str, *, known: frozenset[str], responders: Responders) -> str | None:
    """The announced address; None when there is none. `known` (lower case) are addresses that it cannot be."""
    plain = _HIDDEN_DOT.sub(".", _HIDDEN_AT.sub("@", text))
    if "@" not in plain:
        return None
    said = responders.said(Where.TEXT, " ".join(plain.split()))
    for number, found in enumerate(addresses_in(plain)):
        if number >= _ADDRESSES:
            break
        if found.address.lower() in known or found.address.partition("@")[0].lower() in _NOBODY:
            continue
        if _is_new(found, plain, said.keys(), known, responders):
            return found.address
    return None


def _is_new(found: Found, text: str, said: Set[Means], known: Set[str], responders: Responders) -> bool:
    before = " ".join(text[max(0, found.start - REACH) : found.start].split())
    behind = responders.said(Where.AFTER, " ".join(text[found.end : found.end + REACH].split())).keys()
    if responders.last(Means.OLD, before) >= 0 or Means.OLD in behind:
        return False
    away = Means.RETURNS in said
    deputy = responders.last(Means.DEPUTY, before)
    announced = responders.last(Means.MOVED, before)
    if not away:
        announced = max(announced, responders.last(Means.FROM_NOW, before))
    if Means.MOVED in behind or announced > deputy:
        return True
    if away or deputy >= 0 or not said & {Means.LEFT, Means.CLOSED}:
        return False
    if Means.LEFT in said and not _is_akin(found.address, known):
        return False
    return Means.ASKS in behind or responders.last(Means.ASKS, before) >= 0


def _is_akin(address: str, known: Set[str]) -> bool:
    """Whether a part of one local part stands in that of the other: `jane.roe@…` and `jroe@…`."""
    local = address.partition("@")[0].lower()
    for other in known:
        old = other.partition("@")[0]
        if any(part in local for part in _parts(old)) or any(part in old for part in _parts(local)):
            return True
    return False


def _parts(local: str) -> list[str]:
    return [part for part in re.split(r"[^a-z]", local) if len(part) >= _NAME_LENGTH]
