"""Signed reverse-paths: `b+TOKEN@bounces.example.com` names the recipient that a bounce is about, and proves it.

A token is 37 characters of lower-case base32 (RFC 4648 §6, no padding): key id (1 character), day since 1970-01-01 (20
bits), nonce (40), recipient digest (40, keyed), HMAC-SHA256 tag (80) over all of it, the local part and the domain.
Case does not matter, since mail servers change it. Anybody who gets a mail sees its token: a token proves that the
mail was ours and to whom it went, not who sends it back; the age limit bounds what a stolen one is worth.
Not here: key files (services/keyfiles.py), clock and nonce (arguments).
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from omicard_relay.mail import SigningError, address_key
from omicard_relay.signing.domains import a_label

__all__ = ["NONCE_OCTETS", "TOKEN_LENGTH", "ReturnPathKeys", "ReturnPathSigner", "TokenReading"]

NONCE_OCTETS = 5
TOKEN_LENGTH = 37

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_DAY_BITS = 20
_DIGEST_OCTETS = 5
_TAG_OCTETS = 10
_BODY_BITS = _DAY_BITS + 8 * (NONCE_OCTETS + _DIGEST_OCTETS)
#: Octets of a secret below which it could be guessed off line.
_SECRET_MINIMUM = 16
#: Octets of a local part (RFC 5321 §4.5.3.1.1) and of a path without brackets (§4.5.3.1.3).
_LOCAL_LIMIT = 64
_PATH_LIMIT = 254
#: Days that the clocks of two machines may differ at midnight.
_CLOCK_SLACK = 1
_LOCAL_PART = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
#: Marks that may stand between local part and token; others mean something to a mail server or a shell.
_DELIMITERS = "+-_=.~#"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnPathKeys:
    """Key id (one character of base32) -> secret of at least 16 octets. The first signs, all verify.

    Raises SigningError on a wrong id or a short secret.
    """

    secrets: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.secrets:
            raise SigningError("There is no return-path key; give at least one.")
        for key_id, secret in self.secrets.items():
            if len(key_id) != 1 or key_id not in _VALUES:
                raise SigningError(f"The return-path key id {key_id!r} is wrong; use one character of {_ALPHABET}.")
            if len(secret) < _SECRET_MINIMUM:
                raise SigningError(
                    f"The return-path key {key_id} has {len(secret)} octets; it needs at least {_SECRET_MINIMUM}."
                )

    @property
    def signing_id(self) -> str:
        """The id of the key that signs."""
        return next(iter(self.secrets))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReading:
    """What an address says. Only when `valid` may it be believed; the other fields are filled as far as read.

    `reason` is in words: "signature verifies", "no token", "another domain", "unknown key id", "signature does not
    verify", "older than 30 days", "dated in the future". `day` counts from 1970-01-01.
    """

    valid: bool
    reason: str
    key_id: str | None = None
    day: int | None = None
    nonce: bytes | None = None
    recipient_digest: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnPathSigner:
    """Makes and verifies reverse-paths of one domain. Raises SigningError when the parts do not fit together."""

    keys: ReturnPathKeys
    domain: str
    local_part: str = "b"
    delimiter: str = "+"
    max_age_days: int = 30

    def __post_init__(self) -> None:
        domain = a_label(self.domain)
        if domain is None:
            raise SigningError(f"The return-path domain {self.domain!r} is no domain name.")
        object.__setattr__(self, "domain", domain)
        if len(self.delimiter) != 1 or self.delimiter not in _DELIMITERS:
            raise SigningError(f"The return-path delimiter {self.delimiter!r} is wrong; use one of {_DELIMITERS}")
        if not _LOCAL_PART.fullmatch(self.local_part):
            raise SigningError(
                f"The return-path local part {self.local_part!r} is wrong; use letters, digits, dots, - and _."
            )
        local = len(self.local_part) + 1 + TOKEN_LENGTH
        if local > _LOCAL_LIMIT:
            raise SigningError(
                f"The return-path local part {self.local_part!r} is too long: with its token it has {local} octets, "
                f"at most {_LOCAL_LIMIT}; shorten it by {local - _LOCAL_LIMIT}."
            )
        if local + 1 + len(domain) > _PATH_LIMIT:
            raise SigningError(f"The return-path domain {domain} is too long for an address of {_PATH_LIMIT} octets.")

    def make(self, recipient: str, *, day: int, nonce: bytes) -> str:
        """The reverse-path for one recipient. `nonce` is 5 fresh octets; ValueError when they or the day do not fit."""
        if len(nonce) != NONCE_OCTETS or not 0 <= day < 1 << _DAY_BITS:
            raise ValueError("a nonce of 5 octets and a day below 2**20 are needed")
        key_id = self.keys.signing_id
        digest = self._digest(key_id, recipient)
        body = day << 8 * (NONCE_OCTETS + _DIGEST_OCTETS) | int.from_bytes(nonce + digest, "big")
        tag = int.from_bytes(self._tag(key_id, body), "big")
        return f"{self.local_part}{self.delimiter}{key_id}{_encode(body << 8 * _TAG_OCTETS | tag)}@{self.domain}"

    def verify(self, address: str, *, today: int) -> TokenReading:
        """What the address proves on this day. Never raises; tags are compared in constant time."""
        local, at, domain = address.strip().removeprefix("<").removesuffix(">").rpartition("@")
        if not at or not address.isascii():
            # Only ASCII below: str.lower() turns the Kelvin sign into a k, and a changed address would verify.
            return TokenReading(valid=False, reason="no token")
        if domain.lower().removesuffix(".") != self.domain:
            return TokenReading(valid=False, reason="another domain")
        prefix = (self.local_part + self.delimiter).lower()
        token = local.lower().removeprefix(prefix)
        number = _decode(token[1:])
        if len(local) != len(prefix) + TOKEN_LENGTH or len(token) != TOKEN_LENGTH or number is None:
            return TokenReading(valid=False, reason="no token")
        return self._judge(token[0], number, today)

    def names(self, reading: TokenReading, recipient: str) -> bool:
        """Whether a valid reading's token was made for this recipient (40 bits: one stranger in 10**12 fits)."""
        if not reading.valid or reading.key_id is None or reading.recipient_digest is None:
            return False
        return hmac.compare_digest(reading.recipient_digest, self._digest(reading.key_id, recipient))

    def _judge(self, key_id: str, number: int, today: int) -> TokenReading:
        """The verdict on a well-formed token: key, then signature, and only then its date."""
        body, tag = number >> 8 * _TAG_OCTETS, (number & (1 << 8 * _TAG_OCTETS) - 1).to_bytes(_TAG_OCTETS, "big")
        packed = body.to_bytes((_BODY_BITS + 7) // 8, "big")
        day = body >> 8 * (NONCE_OCTETS + _DIGEST_OCTETS)
        if key_id not in self.keys.secrets:
            reason = "unknown key id"
        elif not hmac.compare_digest(tag, self._tag(key_id, body)):
            reason = "signature does not verify"
        elif day > today + _CLOCK_SLACK:
            reason = "dated in the future"
        elif today - day > self.max_age_days:
            reason = f"older than {self.max_age_days} days"
        else:
            reason = ""
        return TokenReading(
            valid=not reason,
            reason=reason or "signature verifies",
            key_id=key_id,
            day=day,
            nonce=packed[-NONCE_OCTETS - _DIGEST_OCTETS : -_DIGEST_OCTETS],
            recipient_digest=packed[-_DIGEST_OCTETS:],
        )

    def _digest(self, key_id: str, recipient: str) -> bytes:
        """40 bits that name a recipient to us and to nobody else."""
        text = b"recipient\0" + address_key(recipient).encode("utf-8", "surrogatepass")
        return hmac.digest(self.keys.secrets[key_id], text, hashlib.sha256)[:_DIGEST_OCTETS]

    def _tag(self, key_id: str, body: int) -> bytes:
        """80 bits over everything that the address says. 80: a forger can only try on line, one mail a guess."""
        packed = body.to_bytes((_BODY_BITS + 7) // 8, "big")
        place = f"{self.local_part}{self.delimiter}@{self.domain}".lower().encode()
        text = b"return-path 1\0" + key_id.encode() + packed + place
        return hmac.digest(self.keys.secrets[key_id], text, hashlib.sha256)[:_TAG_OCTETS]


def _encode(number: int) -> str:
    """36 characters, five bits each, most significant first."""
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (TOKEN_LENGTH - 2), -1, -5))


def _decode(text: str) -> int | None:
    """The inverse; None at any other character."""
    number = 0
    for char in text[:TOKEN_LENGTH]:
        value = _VALUES.get(char)
        if value is None:
            return None
        number = number << 5 | value
    return number
