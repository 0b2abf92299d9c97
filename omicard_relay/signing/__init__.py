"""What proves that a mail is ours: DKIM signatures for the receivers, signed reverse-paths for ourselves. Pure.

docs/signing.md tells how to use it; docs/decisions/0004-dkim-signing.md why it is made so.
"""

from omicard_relay.signing.dkim import DkimKey, DkimSigner, PrivateKey
from omicard_relay.signing.dns_record import RecordFault, record_faults, record_text, zone_line
from omicard_relay.signing.domains import a_label
from omicard_relay.signing.from_domain import from_domains
from omicard_relay.signing.return_path import (
    NONCE_OCTETS,
    TOKEN_LENGTH,
    ReturnPathKeys,
    ReturnPathSigner,
    TokenReading,
)
from omicard_relay.signing.verify import SignatureCheck, verify_signatures

__all__ = [
    "NONCE_OCTETS",
    "TOKEN_LENGTH",
    "DkimKey",
    "DkimSigner",
    "PrivateKey",
    "RecordFault",
    "ReturnPathKeys",
    "ReturnPathSigner",
    "SignatureCheck",
    "TokenReading",
    "a_label",
    "from_domains",
    "record_faults",
    "record_text",
    "verify_signatures",
    "zone_line",
]
