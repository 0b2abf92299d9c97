"""Keys for the signing tests: made once a run."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from omicard_relay.signing import DkimKey


@pytest.fixture(scope="session")
def rsa_key() -> DkimKey:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return DkimKey(domain="example.com", selector="r1", private_key=private)


@pytest.fixture(scope="session")
def ed_key() -> DkimKey:
    return DkimKey(domain="example.com", selector="e1", private_key=ed25519.Ed25519PrivateKey.generate())
