"""Key files on disk: private keys for DKIM and rule packs (PEM), and the return-path keys, permissions checked, read and made.

Who may read a key file: its owner alone (0600, 0400); a group too (0640, 0440) only when root owns the file, since then
the service can read its key but not change it, and root has chosen the group. Nobody else, ever. The check is made on
the opened file, so that it cannot be exchanged in between.
Return-path key file: one `id = secret` a line (id: one character of a-z2-7; secret: hexadecimal, 16 octets or more), `#`
begins a comment; the first key signs, all verify.
Known limits: POSIX permission bits only, no access control lists; who may write the folder is not looked at.
"""

import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from omicard_relay.mail import SigningError
from omicard_relay.signing import DkimKey, DkimSigner, PrivateKey, ReturnPathKeys, ReturnPathSigner
from omicard_relay.tables.settings import DkimKeySettings, Settings

__all__ = [
    "create_secret",
    "load_dkim",
    "load_dkim_key",
    "load_return_path",
    "make_dkim_key",
    "make_pack_key",
    "read_dkim_private_key",
    "read_pack_key",
    "read_return_path_keys",
    "read_secret",
]

#: Octets of a key file that are read: a 4096-bit RSA key has about 3,300.
FILE_LIMIT = 65_536
#: RFC 8301 §3.2: signers use at least 2048 bits, verifiers need not take more than 4096.
RSA_MINIMUM, RSA_MAXIMUM = 2048, 4096
#: Octets of a new return-path secret: the width of HMAC-SHA256.
SECRET_OCTETS = 32


def load_dkim(settings: Settings) -> DkimSigner:
    """The signer with every configured key. Raises SigningError at the first key that cannot be used."""
    return DkimSigner(keys=tuple(load_dkim_key(item) for item in settings.dkim))


def load_dkim_key(item: DkimKeySettings) -> DkimKey:
    """One configured key. Raises SigningError with the file and what to do."""
    return DkimKey(
        domain=item.domain,
        selector=item.selector,
        private_key=read_dkim_private_key(Path(item.key_file)),
        senders=item.senders,
    )


def read_dkim_private_key(path: Path) -> PrivateKey:
    """The RSA (2048 to 4096 bits) or Ed25519 key of a PEM file. Raises SigningError with the file and what to do."""
    octets = read_secret(path)
    make = "make one with `omicard-relay dkim keygen`"
    try:
        key = load_pem_private_key(octets, password=None)
    except TypeError:
        raise SigningError(
            f"{path}: the key is encrypted, and a service has nobody to ask for the password; "
            "save it without one (`openssl pkey -in FILE -out NEW`)."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        if b"PUBLIC KEY" in octets:
            raise SigningError(f"{path}: holds a public key; the private one is needed.") from None
        raise SigningError(f"{path}: holds no PEM private key; {make}.") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SigningError(f"{path}: holds a key that DKIM has no use for; only RSA and Ed25519 sign: {make}.")
    if key.key_size < RSA_MINIMUM:
        raise SigningError(
            f"{path}: is an RSA key of {key.key_size} bits; receivers refuse or will refuse it (RFC 8301): "
            f"{make}, {RSA_MINIMUM} bits."
        )
    if key.key_size > RSA_MAXIMUM:
        raise SigningError(
            f"{path}: is an RSA key of {key.key_size} bits; receivers need not verify more than {RSA_MAXIMUM}: {make}."
        )
    return key


def make_dkim_key(path: Path, *, ed25519_key: bool) -> PrivateKey:
    """A new private key in a new file (0600): RSA of 2048 bits, or Ed25519. Raises SigningError when the file exists."""
    key: PrivateKey = (
        ed25519.Ed25519PrivateKey.generate()
        if ed25519_key
        else rsa.generate_private_key(public_exponent=65537, key_size=RSA_MINIMUM)
    )
    if not create_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        raise SigningError(f"{path}: exists, and a key is never overwritten; name another file or move it away.")
    return key


def make_pack_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """A new key that signs rule packs, in a new file (0600). Raises SigningError when the file exists."""
    key = make_dkim_key(path, ed25519_key=True)
    assert isinstance(key, ed25519.Ed25519PrivateKey)  # noqa: S101 - it was asked for
    return key


def read_pack_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """The Ed25519 key of a PEM file that signs rule packs. Raises SigningError with the file and what to do."""
    try:
        key = load_pem_private_key(read_secret(path), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise SigningError(
            f"{path}: holds no Ed25519 private key without a password; make one with `omicard-relay rules keygen FILE`."
        )
    return key


def load_return_path(settings: Settings) -> ReturnPathSigner | None:
    """The signer of reverse-paths, or None when no domain is set. Its key file is made when it is missing.

    When two processes start at once, one makes the file and both read the same. Raises SigningError.
    """
    wanted = settings.return_path
    if not wanted.domain:
        return None
    path = settings.data_path(wanted.key_file)
    if not path.exists():
        # Made elsewhere meanwhile (False): just as well, it is read below.
        create_secret(path, _new_return_path_file())
    return ReturnPathSigner(
        keys=read_return_path_keys(path),
        domain=wanted.domain,
        local_part=wanted.local_part,
        delimiter=wanted.delimiter,
        max_age_days=wanted.max_age_days,
    )


def read_return_path_keys(path: Path) -> ReturnPathKeys:
    """The keys of a return-path key file, in its order. Raises SigningError with file, line and what to do."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(read_secret(path).decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        key_id, equals, secret = (part.strip() for part in text.partition("="))
        # The line itself is a secret: errors name its number only.
        if not equals:
            raise SigningError(f"{path}: line {number} is no `id = secret`; see docs/signing.md.")
        if key_id in keys:
            raise SigningError(f"{path}: line {number} has the id {key_id!r} again; give each key its own.")
        try:
            keys[key_id] = bytes.fromhex(secret)
        except ValueError:
            raise SigningError(
                f"{path}: the secret in line {number} is not hexadecimal; make one with `openssl rand -hex 32`."
            ) from None
    try:
        return ReturnPathKeys(secrets=keys)
    except SigningError as error:
        raise SigningError(f"{path}: {error}") from None


def _new_return_path_file() -> bytes:
    text = (
        "# Secrets of the signed return path: `id = secret`; the first signs, all verify (docs/signing.md).\n"
        f"a = {secrets.token_hex(SECRET_OCTETS)}\n"
    )
    return text.encode("ascii")


def read_secret(path: Path) -> bytes:
    """The octets of a file that only the right people can read. Raises SigningError."""
    try:
        # O_NONBLOCK: opening a named pipe would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check_access(path, os.fstat(handle))
            octets = os.read(handle, FILE_LIMIT + 1)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise SigningError(f"{path}: there is no such key file; make it or correct the path.") from None
    except OSError as error:
        raise SigningError(
            f"{path}: cannot be read ({error.strerror}); let the service's user own it (`chown USER {path}`)."
        ) from None
    if len(octets) > FILE_LIMIT:
        raise SigningError(f"{path}: has more than {FILE_LIMIT:,} octets; that is no key file.")
    return octets


def _check_access(path: Path, found: os.stat_result) -> None:
    """Raise SigningError when somebody else can get at the opened file."""
    if not stat.S_ISREG(found.st_mode):
        raise SigningError(f"{path}: is not a regular file; name the key file itself.")
    mode = stat.S_IMODE(found.st_mode)
    allowed = 0o740 if found.st_uid == 0 else 0o700
    if mode & ~allowed:
        raise SigningError(f"{path}: others than its owner can get at it (mode {mode:04o}); run `chmod 600 {path}`.")


def create_secret(path: Path, octets: bytes) -> bool:
    """Write a new file (0600) that is there whole or not at all; False when one exists. Raises SigningError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(handle)
            # A link never replaces what is there, and shows the file only now that it is whole.
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise SigningError(
            f"{path}: cannot be made ({error.strerror}); check that the folder exists and may be written to."
        ) from None
    return True
