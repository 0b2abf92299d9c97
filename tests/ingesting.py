"""For tests of what bounce mails prove: a signer of reverse-paths, one with another key, tokens, and a clock that is set."""

from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner
from tests.keeping import NOW

SIGNER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"0123456789abcdef"}), domain="bounces.example")
FORGER = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"fedcba9876543210"}), domain="bounces.example")
#: Days since 1970.
TODAY = int(NOW.timestamp()) // 86_400


def token(address="ann@a.example", *, signer=SIGNER, age=0, nonce=b"12345"):
    """The reverse-path of a mail to this address that was sent `age` days ago."""
    return signer.make(address, day=TODAY - age, nonce=nonce)


class Clock:
    now = NOW

    def __call__(self):
        return self.now
