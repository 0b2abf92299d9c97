"""The key by which forgotten addresses are still known: `keep.key_file` in `data_dir`, 0600, made by the first `db forget`.

Read when it is first wanted and then remembered; until there is one, a look costs one stat(2). Its content is 64 hex digits.
A machine that shares the store needs a copy of the same file. Lost is lost: without it nobody finds the entries again.
"""

import logging
import os
import secrets
from pathlib import Path

from omicard_relay.mail import SigningError
from omicard_relay.store.engine import Store
from omicard_relay.store.forget import keys_used
from omicard_relay.store.hidden import Hider
from omicard_relay.tables.settings import Settings

__all__ = ["ForgetKey", "check_forget_key", "forget_key"]

log = logging.getLogger(__name__)

#: Octets of the key: the width of HMAC-SHA256.
_OCTETS = 32


class ForgetKey:
    """The key of one file. A call gives what it makes of addresses, None while there is no file. Raises SigningError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hider: Hider | None = None

    def __call__(self) -> Hider | None:
        if self._hider is None:
            try:
                os.stat(self.path)
            except FileNotFoundError:
                return None
            except OSError as error:
                raise SigningError(f"{self.path}: cannot be looked at ({error.strerror}).") from None
            self._hider = Hider(self._read())
        return self._hider

    def made(self) -> Hider:
        """The same, with a new key where there is no file. Raises SigningError."""
        from omicard_relay.services.keyfiles import (
            create_secret,
        )  # late: it loads much, and `bounce ingest` starts often

        hider = self()
        if hider is None:
            create_secret(self.path, secrets.token_hex(_OCTETS).encode() + b"\n")
            self._give_to_owner()
            hider = self()
            assert hider is not None  # noqa: S101 - it was just made
        return hider

    def _read(self) -> bytes:
        from omicard_relay.services.keyfiles import read_secret

        try:
            key = bytes.fromhex(read_secret(self.path).decode("ascii").strip())
        except ValueError:
            key = b""
        if len(key) < _OCTETS:
            raise SigningError(
                f"{self.path}: is no key of {2 * _OCTETS} hexadecimal digits; bring back the file of a backup, for without it "
                "forgotten addresses are not found in the lists."
            )
        return key

    def _give_to_owner(self) -> None:
        """Root runs `db forget`, the services are another user: theirs is the folder, and they must read the key."""
        folder = os.stat(self.path.parent)
        if os.geteuid() == 0 and folder.st_uid != 0:
            os.chown(self.path, folder.st_uid, folder.st_gid, follow_symlinks=False)


def forget_key(settings: Settings) -> ForgetKey:
    """The key of these settings."""
    return ForgetKey(settings.data_path(settings.keep.key_file))


def check_forget_key(settings: Settings, store: Store) -> None:
    """Say so at a start where there are forgotten addresses in the lists that this machine's key does not find.

    Raises SigningError where the key is there and cannot be read.
    """
    hider = forget_key(settings)()
    with store.read() as tx:
        used = keys_used(tx)
    for key_id in sorted(used - ({hider.key_id} if hider else set())):
        log.error("event=forget-key-missing key=%s note=forgotten-addresses-are-not-found-in-the-lists", key_id)
