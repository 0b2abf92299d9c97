"""The form of a forward-path: a reason in words when no mail can go there (RFC 5321 §4.1.2, RFC 6531 §3.3).

It judges the form alone; whether the domain exists is for DNS at delivery. What passes: UTF-8 addresses, quoted local
parts (`"a..b"@docomo.example` is the only legal spelling of some real mailboxes), address literals (`[192.0.2.1]`),
bare `postmaster` (RFC 5321 §4.5.1), the domains of private networks (`.test`, `.local`, `localhost`, `home.arpa`).
What fails beside plain errors: a domain without a dot that is none of those (`ann@gmail`), a numeric top-level domain,
`.invalid` and `.onion` (no DNS ever answers for them).
Known limits: an unquoted local part with two dots in a row fails, though a few hosts take it; whitelist such a one.
"""

import re

import email_validator
from email_validator import EmailNotValidError, validate_email

from omicard_relay.mail import one_line

__all__ = ["syntax_fault", "wire_fault"]

#: Octets of a local part and of a path without its brackets (RFC 5321 §4.5.3.1.1, §4.5.3.1.3 and erratum 1690 to RFC 3696).
LOCAL_PART_LIMIT = 64
PATH_LIMIT = 254

#: Dotless domains that private networks use (RFC 6761, RFC 6762).
_DOTLESS = frozenset({"localhost", "test", "example", "local"})
# The library's own way to say which special-use domains fail. The others are in use on private networks.
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = ["invalid", "onion"]

# C0, DEL, C1 and lone surrogates (octets that were no UTF-8): they could end a command line, or hide in a terminal.
_NEVER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def wire_fault(address: str) -> str | None:
    """Why this text must never stand in an SMTP command, or None. It holds whatever the settings say."""
    if not address:
        return "the address is empty"
    found = _NEVER.search(address)
    if found is None:
        return None
    point = ord(found.group())
    if point >= 0xD800:
        return f"the address is not valid UTF-8 (at character {found.start() + 1})"
    return f"the address has a control character (0x{point:02x} at character {found.start() + 1})"


def syntax_fault(address: str) -> str | None:
    """Why no mail can go to this address, in words on one line; None when its form is good. Never raises."""
    fault = wire_fault(address)
    if fault:
        return fault
    if address.lower() == "postmaster":
        return None
    local, at, domain = address.rpartition("@")
    if not at:
        return "the address has no @"
    if (octets := len(address.encode())) > PATH_LIMIT:
        return f"the address is too long: {octets} octets, at most {PATH_LIMIT}"
    if (octets := len(local.encode())) > LOCAL_PART_LIMIT:
        return f"the part before the @ is too long: {octets} octets, at most {LOCAL_PART_LIMIT}"
    try:
        # globally_deliverable=False: it would refuse every domain without a dot; what we refuse of those is below.
        found = validate_email(
            address,
            check_deliverability=False,
            allow_smtputf8=True,
            allow_quoted_local=True,
            allow_domain_literal=True,
            globally_deliverable=False,
            strict=True,
        )
    except EmailNotValidError as error:
        return one_line(str(error).rstrip("."), 200)
    return None if domain.startswith("[") else _domain_fault(found.ascii_domain)


def _domain_fault(domain: str) -> str | None:
    """What a mistyped list entry shows and the grammar lets through."""
    if "." not in domain and domain not in _DOTLESS:
        return f"the domain {domain} has no dot"
    if domain.rpartition(".")[2].isdigit():
        return "the domain ends in a number; an IP address stands in brackets"
    return None
