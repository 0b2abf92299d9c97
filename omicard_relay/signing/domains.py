"""Domains as DNS sees them: one spelling (A-labels, lower case, no final dot) for keys, From headers and tokens.

RFC 5890 for internationalised domains, with UTS #46 mapping as mail programs do. Not here: the syntax of whole
addresses (scrub/syntax.py).
"""

import re

import idna

__all__ = ["a_label", "is_below", "u_label"]

#: Octets of a domain name in text form (RFC 1035 §2.3.4); it also bounds the time idna takes.
DOMAIN_LIMIT = 253

# Underscores are no host names, but they stand in selectors and in sender domains of the wild.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


def a_label(domain: str) -> str | None:
    """The domain in DNS spelling, or None when it is no domain name. Never raises."""
    name = domain.removesuffix(".")
    if not 0 < len(name) <= DOMAIN_LIMIT:
        return None
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            return None
    name = name.lower()
    return name if len(name) <= DOMAIN_LIMIT and all(_LABEL.fullmatch(label) for label in name.split(".")) else None


def u_label(domain: str) -> str | None:
    """The domain as people read it (U-labels, lower case), or None when an A-label of it stands for nothing. Never raises."""
    if len(domain) > DOMAIN_LIMIT:
        return None
    try:
        return idna.decode(domain, uts46=True).lower()
    except (idna.IDNAError, UnicodeError):
        return None


def is_below(domain: str, parent: str) -> bool:
    """Whether the domain is `parent` or a domain below it; both in DNS spelling."""
    return domain == parent or domain.endswith("." + parent)
