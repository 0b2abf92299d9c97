"""Whose rule packs are taken: Ed25519 public keys in PEM (RFC 8410), and `trusted/*.pem` in the site's folder.

Not here: private keys (services/keyfiles.py), the signature itself (signing/rule_pack.py).
"""

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from omicard_relay.mail import SigningError
from omicard_relay.services.rulefiles import write_whole
from omicard_relay.signing.rule_pack import RulePack, fingerprint

__all__ = ["check_signer", "public_pem", "read_bounded", "read_public_key", "trust", "trusted_keys"]

#: Octets of a key file that are read; a public key in PEM has 113.
_KEY_LIMIT = 65_536


def read_public_key(path: Path) -> bytes:
    """The raw Ed25519 public key of a PEM file. Raises SigningError."""
    try:
        key = load_pem_public_key(read_bounded(path, _KEY_LIMIT))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise SigningError(f"{path}: holds no Ed25519 public key in PEM; ask the pack's author for it.")
    return key.public_bytes_raw()


def public_pem(public_key: bytes) -> str:
    """The key as PEM, to hand out."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def trusted_keys(folder: Path) -> Mapping[bytes, Path]:
    """The keys in `trusted/*.pem` of the site's folder. Raises SigningError."""
    return {read_public_key(path): path for path in sorted((folder / "trusted").glob("*.pem"))}


def trust(folder: Path, public_key: bytes) -> Path:
    """Remember a key; the file is named after its fingerprint. Raises TableError."""
    path = folder / "trusted" / f"{fingerprint(public_key).replace(':', '')}.pem"
    write_whole(path, public_pem(public_key))
    return path


def check_signer(folder: Path, pack: RulePack, keys: Mapping[bytes, Path], installed_key: bytes | None) -> None:
    """Raise SigningError unless the signer is trusted, and is that of the installed version or was named in `keys`."""
    if pack.public_key in keys:
        return
    shown = fingerprint(pack.public_key)
    if keys:
        raise SigningError(f"pack {pack.name} was signed by another key ({shown}) than the one named; it is refused.")
    if pack.public_key not in trusted_keys(folder):
        raise SigningError(
            f"pack {pack.name} was signed by a key that is not trusted ({shown}); get the author's key by another way and "
            "name it: `--key PUBLIC.pem`, with `--trust` to remember it."
        )
    if installed_key is not None and installed_key != pack.public_key:
        raise SigningError(
            f"pack {pack.name} was signed by another key ({shown}) than the installed version; if the author changed it, "
            "name the new one: `--key PUBLIC.pem`."
        )


def read_bounded(path: Path, limit: int) -> bytes:
    """The octets of a regular file, one more than the limit at most. Raises SigningError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise SigningError(f"{path}: cannot be read ({error.strerror}); name the file.") from None
