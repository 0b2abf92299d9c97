"""DKIM signatures (RFC 6376, RFC 8301; Ed25519: RFC 8463), relaxed/relaxed: dkimpy canonicalises, `cryptography` signs.

`DkimSigner.sign` gives the DKIM-Signature fields to put on top of a mail, one per key that fits its From domain. Where
the mail is such that a signature could be read in two ways, there is none: no From field or several, broken header
lines, a bare CR or LF. RSA and Ed25519 draw on no randomness here, so the same mail, key and time give the same octets.
Left to others: key files (services/keyfiles.py), DNS records (signing/dns_record.py), adding a missing Date.
Known limits: what changes the mail later breaks it, as with any signer: Postfix wraps lines of more than 998 octets,
recodes 8-bit text for servers without 8BITMIME, completes addresses without a domain in local submissions.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from omicard_relay.mail import SigningError
from omicard_relay.signing.canonical import body_hash, canonical_fields, read_header
from omicard_relay.signing.domains import a_label, is_below
from omicard_relay.signing.from_domain import from_domains

__all__ = ["DkimKey", "DkimSigner", "PrivateKey"]

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

#: Signed when present, in this order, each as often as it stands there (RFC 6376 §5.4.1, RFC 8058 §3 for the last).
SIGNED = (
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Reply-To",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
)
#: Named once more than they stand there, so that one more breaks the signature (RFC 6376 §8.15); when absent, too.
OVERSIGNED = frozenset({"From", "To", "Subject", "Reply-To"})
#: The same, but only when present: Postfix adds a missing Date to a local submission after us.
OVERSIGNED_IF_PRESENT = frozenset({"Date"})
#: Fields of one name that are signed; a mail with more is no mail that anybody wrote.
REPEAT_LIMIT = 10
#: Octets of a line of our own (RFC 5322 §2.1.1).
LINE_WIDTH = 76


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimKey:
    """One key under one DNS name. `senders` are From domains it signs (with all below); empty: `domain`.

    Raises SigningError when domain, selector or a sender is no name that DNS can hold.
    """

    domain: str
    selector: str
    private_key: PrivateKey = field(repr=False)
    senders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", _name(self.domain, "domain"))
        object.__setattr__(self, "selector", _name(self.selector, "selector"))
        senders = tuple(_name(sender, "sender domain") for sender in self.senders)
        object.__setattr__(self, "senders", senders or (self.domain,))

    @property
    def algorithm(self) -> str:
        """The `a=` tag: `rsa-sha256` or `ed25519-sha256`."""
        return "rsa-sha256" if isinstance(self.private_key, RSAPrivateKey) else "ed25519-sha256"

    @property
    def dns_name(self) -> str:
        """Where verifiers look for the public key (RFC 6376 §3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    def fits(self, from_domain: str) -> bool:
        """Whether this key signs mail from this domain (in DNS spelling)."""
        return any(is_below(from_domain, sender) for sender in self.senders)

    def raw_signature(self, data: bytes) -> bytes:
        """The signature octets over canonicalised header fields."""
        if isinstance(self.private_key, RSAPrivateKey):
            return self.private_key.sign(data, PKCS1v15(), hashes.SHA256())
        # RFC 8463 §3: plain Ed25519 over the SHA-256 of the data.
        return self.private_key.sign(hashlib.sha256(data).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimSigner:
    """Signs with every key that fits. `expire_seconds` sets `x=` that long after `t=`; None: no `x=`."""

    keys: tuple[DkimKey, ...] = ()
    expire_seconds: int | None = None

    def sign(self, message: bytes, *, now: int) -> bytes:
        """The DKIM-Signature fields for a mail with CRLF line ends, each ending in CRLF, in key order.

        `now` is seconds since 1970-01-01 (`t=`). Empty when no key fits or the mail cannot be signed safely. Never
        raises, whatever the octets; time is linear in their number.
        """
        if not self.keys:
            return b""
        header = read_header(message)
        if header is None:
            return b""
        senders = [value for name, value in header.fields if name == b"from"]
        domains = from_domains(senders[0]) if len(senders) == 1 else ()
        keys = [key for key in self.keys if domains and all(key.fits(domain) for domain in domains)]
        chosen = _choose(header.fields) if keys else None
        if chosen is None:
            return b""
        names, signed = chosen
        hashed = base64.b64encode(body_hash(message, header.body_start)).decode("ascii")
        return b"".join(self._field(key, names, signed, hashed, now) for key in keys)

    def _field(self, key: DkimKey, names: list[str], signed: bytes, hashed: str, now: int) -> bytes:
        """One DKIM-Signature field."""
        expires = f" x={now + self.expire_seconds};" if self.expire_seconds is not None else ""
        lines = [
            f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed;",
            f"\td={key.domain};",
            f"\ts={key.selector}; t={now};{expires}",
            *_wrapped("\th=", [f"{name}:" for name in names[:-1]] + [f"{names[-1]};"]),
            f"\tbh={hashed};",
            "\tb=",
        ]
        # A verifier empties b= and hashes the rest, so the field is canonicalised before the signature stands in it.
        text = "\r\n".join(lines).encode("ascii")
        name, _, value = text.partition(b":")
        data = signed + canonical_fields([(name, value)])[0].removesuffix(b"\r\n")
        signature = base64.b64encode(key.raw_signature(data)).decode("ascii")
        return text + "\r\n".join(_wrapped("", list(signature), first_width=LINE_WIDTH - 3)).encode("ascii") + b"\r\n"


def _choose(fields: tuple[tuple[bytes, bytes], ...]) -> tuple[list[str], bytes] | None:
    """The names for `h=`, and the canonicalised fields in that order; None when a field makes it unsafe."""
    by_name: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        by_name.setdefault(name, []).append(value)
    names: list[str] = []
    picked: list[tuple[bytes, bytes]] = []
    for title in SIGNED:
        key = title.lower().encode("ascii")
        values = by_name.get(key, [])
        # Control characters: canonicalisers differ on them, and servers may strip them.
        if len(values) > REPEAT_LIMIT or any(_has_control(value) for value in values):
            return None
        once_more = title in OVERSIGNED or (title in OVERSIGNED_IF_PRESENT and values)
        names += [title] * (len(values) + bool(once_more))
        # The same name again means the next field upwards (RFC 6376 §5.4.2).
        picked += [(key, value) for value in reversed(values)]
    return names, b"".join(canonical_fields(picked))


_CONTROLS = bytes(set(range(32)) - set(b"\t\r\n")) + b"\x7f"


def _has_control(value: bytes) -> bool:
    return len(value.translate(None, _CONTROLS)) != len(value)


def _wrapped(start: str, parts: list[str], *, first_width: int = LINE_WIDTH) -> Iterator[str]:
    """Lines of the parts joined, broken between parts only, each further line indented with a TAB."""
    line, width = start, first_width
    for part in parts:
        if len(line) + len(part) > width and line.strip():
            yield line
            line, width = "\t", LINE_WIDTH
        line += part
    yield line


def _name(text: str, what: str) -> str:
    """A name in DNS spelling. Raises SigningError."""
    name = a_label(text)
    if name is None:
        raise SigningError(f"The DKIM {what} {text!r} is no name that DNS can hold; use letters, digits, dots and -.")
    return name
