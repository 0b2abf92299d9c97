"""Addresses as keys: one spelling for look-ups, whatever the case, brackets or white space.

RFC 5321 §2.4 leaves the case of a local part to its host, but no large receiver tells `Ann@` from `ann@`: lists and
duplicate checks compare in lower case, while what goes out on the wire keeps the spelling that came in.
Not here: judging the syntax (scrub/syntax.py) and provider rules such as dots in Gmail addresses.
"""

import hashlib
import unicodedata

__all__ = ["address_digest", "address_key", "domain_of", "local_part_of"]


def address_key(address: str) -> str:
    """The look-up key of a forward-path: brackets and white space off, NFC, lower case, no final dot."""
    key = address.strip()
    if key.startswith("<") and key.endswith(">"):
        key = key[1:-1].strip()
    return unicodedata.normalize("NFC", key).lower().rstrip(".")


def domain_of(address: str) -> str:
    """The domain in lower case; empty when there is no `@`."""
    _, at, domain = address_key(address).rpartition("@")
    return domain if at else ""


def local_part_of(address: str) -> str:
    """What stands before the last `@`, case kept; the whole text when there is none."""
    text = address.strip().removeprefix("<").removesuffix(">")
    local, at, _ = text.rpartition("@")
    return local if at else text


def address_digest(address: str, octets: int = 32) -> bytes:
    """SHA-256 of the address key, cut to `octets`: names a recipient without telling the address."""
    return hashlib.sha256(address_key(address).encode("utf-8", "surrogatepass")).digest()[:octets]
