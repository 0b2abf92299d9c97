"""Who may log in: `user:scrypt:N:r:p:salt:hash` lines of `relay.auth_file`, made by `omicard-relay relay password`.

RFC 7914 (scrypt), salt and hash in base64. An unknown user costs the same time as a known one.
Left to others: the AUTH dialogue (commands.py). Known limits: read once, at start; no account is ever locked.
"""

import base64
import binascii
import hashlib
import hmac
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omicard_relay.mail import RelayError

__all__ = ["Logins", "make_line", "read_logins"]

#: 16 MiB and some 50 ms for one try: RFC 7914 §2's figures for interactive logins.
_N, _R, _P = 16384, 8, 1
#: What a file may ask for at most, so that a typo can't stop the machine (64 MiB).
_MEMORY_LIMIT = 67_108_864
_FILE_LIMIT = 4_194_304


@dataclass(frozen=True, slots=True)
class _Secret:
    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def matches(self, password: bytes) -> bool:
        return hmac.compare_digest(_scrypt(password, self.salt, self.n, self.r, self.p, len(self.digest)), self.digest)


class Logins:
    """The users and their hashed passwords."""

    def __init__(self, secrets: Mapping[str, _Secret]) -> None:
        self._secrets = secrets
        self._nobody = _Secret(_N, _R, _P, b"\0" * 16, b"\0" * 32)

    def verify(self, user: str, password: bytes) -> bool:
        """Whether this is the user's password. Takes some 50 ms of computing: call it in a thread."""
        return self._secrets.get(user, self._nobody).matches(password)


def make_line(user: str, password: str, *, salt: bytes | None = None) -> str:
    """The line for a user. Raises RelayError when the name can't stand in the file or the password is empty."""
    if not user or user != user.strip() or user.startswith("#") or ":" in user or not user.isprintable():
        raise RelayError(f"{user!r} can't be a user name here; use printable characters without `:` and outer spaces.")
    if not password:
        raise RelayError("The password is empty; give one.")
    salt = salt or os.urandom(16)
    digest = _scrypt(password.encode("utf-8", "surrogateescape"), salt, _N, _R, _P, 32)
    return f"{user}:scrypt:{_N}:{_R}:{_P}:{base64.b64encode(salt).decode()}:{base64.b64encode(digest).decode()}"


def read_logins(path: Path) -> Logins:
    """The users of a file; `#` begins a comment line. Raises RelayError with file, line and what to do."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            octets = file.read(_FILE_LIMIT + 1)
    except FileNotFoundError:
        raise RelayError(f"{path}: there is no such file; `relay.auth_file` names it.") from None
    except OSError as error:
        raise RelayError(f"{path}: cannot be read ({error.strerror}); check its permissions.") from None
    if mode & 0o007:
        raise RelayError(f"{path}: everybody can get at it (mode {mode:04o}); run `chmod 640 {path}`.")
    if len(octets) > _FILE_LIMIT:
        raise RelayError(f"{path}: has more than {_FILE_LIMIT:,} octets; that is no list of users.")
    found: dict[str, _Secret] = {}
    for number, line in enumerate(octets.decode("utf-8", "replace").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            user, secret = _read_line(line.rstrip(), path, number)
            if user in found:
                raise RelayError(f"{path}: line {number} names a user again; keep one of the two lines.")
            found[user] = secret
    return Logins(found)


def _read_line(line: str, path: Path, number: int) -> tuple[str, _Secret]:
    try:
        user, kind, n, r, p, salt, digest = line.split(":")
        secret = _Secret(
            int(n), int(r), int(p), base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
        )
        fits = kind == "scrypt" and bool(user) and len(secret.digest) >= 16
        fits = fits and secret.n > 1 and secret.n & (secret.n - 1) == 0 and secret.r > 0 and secret.p > 0
        fits = fits and 128 * secret.n * secret.r <= _MEMORY_LIMIT and secret.p <= 16
    except (ValueError, binascii.Error):
        fits = False
    if not fits:
        # The line is a secret: errors name its number only.
        raise RelayError(
            f"{path}: line {number} is no `user:scrypt:…` line; make one with `omicard-relay relay password USER`."
        )
    return user, secret


def _scrypt(password: bytes, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * _MEMORY_LIMIT, dklen=length)
