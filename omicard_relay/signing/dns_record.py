"""The DNS TXT record of a DKIM key: made, and compared with what DNS really says (RFC 6376 §3.6.1, RFC 8463 §4).

Pure: the records come as bytes, strings of one record joined (RFC 6376 §3.6.2.2). Not here: asking DNS (cli/dkim.py).
"""

import base64
import binascii
import re
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from omicard_relay.signing.dkim import DkimKey

__all__ = ["RecordFault", "record_faults", "record_text", "zone_line"]

#: Octets of one string of a TXT record (RFC 1035 §3.3).
_STRING_LIMIT = 255


class RecordFault(StrEnum):
    """What is wrong with a record; the command line has the words. `t=s` is no fault: we never sign `i=` of a subdomain."""

    MISSING = "missing"
    SEVERAL = "several"
    MALFORMED = "malformed"
    REVOKED = "revoked"
    OTHER_KIND = "other-kind"
    OTHER_KEY = "other-key"
    NO_SHA256 = "no-sha256"
    #: `s=` names services without mail.
    NOT_FOR_MAIL = "not-for-mail"
    #: `t=y`: receivers treat the mail as unsigned.
    TESTING = "testing"


def record_text(key: DkimKey) -> str:
    """The value of the TXT record, in one piece."""
    kind, public = _public(key)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(public).decode('ascii')}"


def zone_line(key: DkimKey) -> str:
    """The record as a line of a zone file, its value cut into strings of at most 255 octets."""
    text = record_text(key)
    strings = [text[at : at + _STRING_LIMIT] for at in range(0, len(text), _STRING_LIMIT)]
    quoted = " ".join(f'"{string}"' for string in strings)
    return f"{key.dns_name}. IN TXT ( {quoted} )"


def record_faults(key: DkimKey, records: tuple[bytes, ...]) -> tuple[RecordFault, ...]:
    """What is wrong with the records that stand at the key's DNS name; empty when receivers can verify. Never raises."""
    if not records:
        return (RecordFault.MISSING,)
    if len(records) > 1:
        return (RecordFault.SEVERAL,)
    tags = _tags(records[0])
    if tags is None or tags.get("v", "DKIM1") != "DKIM1" or "p" not in tags:
        return (RecordFault.MALFORMED,)
    if not tags["p"]:
        return (RecordFault.REVOKED,)
    kind, public = _public(key)
    if tags.get("k", "rsa") != kind:
        return (RecordFault.OTHER_KIND,)
    try:
        published = base64.b64decode(tags["p"], validate=True)
    except (binascii.Error, ValueError):
        return (RecordFault.MALFORMED,)
    faults = []
    if published != public:
        faults.append(RecordFault.OTHER_KEY)
    if "h" in tags and "sha256" not in tags["h"].split(":"):
        faults.append(RecordFault.NO_SHA256)
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        faults.append(RecordFault.NOT_FOR_MAIL)
    if "y" in tags.get("t", "").split(":"):
        faults.append(RecordFault.TESTING)
    return tuple(faults)


def _public(key: DkimKey) -> tuple[str, bytes]:
    """The `k=` tag and the octets of `p=`: a SubjectPublicKeyInfo for RSA, the bare key for Ed25519."""
    public = key.private_key.public_key()
    if isinstance(key.private_key, RSAPrivateKey):
        return "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _tags(record: bytes) -> dict[str, str] | None:
    """The tags of a record, white space off; None when it is no tag list."""
    try:
        text = record.decode("ascii")
    except UnicodeDecodeError:
        return None
    tags: dict[str, str] = {}
    for part in text.split(";"):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        if not equals or name.strip() in tags:
            return None
        tags[name.strip()] = re.sub(r"\s", "", value)
    return tags
