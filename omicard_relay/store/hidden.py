"""Forgotten addresses: what stands for them. In the lists the whole keyed digest, in the evidence a name made of its start.

`hmac:` and 64 hex digits: HMAC-SHA256 of the address key under a key of this site, so that whoever finds the address again
(a mail to it, a question about it) finds its entry, and whoever reads the database finds no address. Nobody without the
key can try addresses out; who has both key and database can, and sees whether one of his guesses is listed.
`forgotten:` and 16 hex digits: the rows that figures are counted from keep one name for each such address.
Not here: the key's file (services/forgetkey.py), and the erasing (store/forget.py).
"""

import hashlib
import hmac
import re
from collections.abc import Callable

from omicard_relay.mail import SigningError, StoreError, address_key
from omicard_relay.store.engine import Tx

__all__ = ["GHOST", "HIDDEN", "Hider", "hidden_value", "is_hidden", "spellings"]

HIDDEN, GHOST = "hmac:", "forgotten:"
#: Hex digits of the digest in a name: two of a billion addresses share one with a chance of 1 in 37.
_GHOST_DIGITS = 16
_HIDDEN_FORM = re.compile(r"hmac:[0-9a-f]{64}")


class Hider:
    """What a key makes of addresses."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def key_id(self) -> str:
        """Names the key without telling it: 16 hex digits."""
        return hashlib.sha256(b"omicard-relay forget key\n" + self._key).hexdigest()[:16]

    def hide(self, address: str) -> str:
        """What stands for the address in the lists."""
        return HIDDEN + self._digest(address)

    def ghost(self, address: str) -> str:
        """What stands for the address in the evidence."""
        return GHOST + self._digest(address)[:_GHOST_DIGITS]

    def _digest(self, address: str) -> str:
        return hmac.digest(self._key, address_key(address).encode("utf-8", "surrogatepass"), "sha256").hex()


def hidden_value(tx: Tx, address: str) -> str | None:
    """What would stand for the address in the lists if it was forgotten; None where nobody ever was.

    Raises StoreError when there is a key that cannot be read: to find nobody would be to write to who wants no mail.
    """
    read: Callable[[], Hider | None] | None = tx.get_execution_options().get("omicard_hider")
    try:
        hider = read() if read is not None else None
    except SigningError as error:
        raise StoreError(str(error)) from None
    return None if hider is None else hider.hide(address)


def spellings(tx: Tx, value: str) -> list[str]:
    """How a value of a list may stand there: as it is, and forgotten."""
    hidden = None if value.startswith(("@", HIDDEN)) else hidden_value(tx, value)
    return [value] if hidden is None else [value, hidden]


def is_hidden(value: str) -> bool:
    """Whether a value of a list stands for a forgotten address."""
    return _HIDDEN_FORM.fullmatch(value) is not None
