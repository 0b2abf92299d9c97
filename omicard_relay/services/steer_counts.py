"""What steering learned, as counts without people: out of the newest stored state into a file, and back into a store.

Given out are counts of attempts by provider, cause, rest and outcome. Left out are providers that are a registered
domain (which may be one person's), what rests on fewer than `LEAST_TRIALS` trials, and all threads and lanes. An
import lies in the store until each node has added it to its state; the same file twice counts once.
"""

import hashlib
from datetime import datetime
from pathlib import Path

import msgspec

from omicard_relay.mail import RelayError, StoreError
from omicard_relay.services.steer_setup import decode_state, read_counts
from omicard_relay.steering.state import export_counts
from omicard_relay.store import steering, steering_inputs
from omicard_relay.store.engine import Store

__all__ = ["LEAST_TRIALS", "counts_of", "take_counts"]

#: So few trials could tell of single mails, and teach nothing.
LEAST_TRIALS = 20.0
#: Octets of a file of counts: some thousand levels; more is something else.
_LIMIT = 64 << 20


def counts_of(store: Store) -> tuple[bytes, int]:
    """The counts of the state that has folded most, as JSON, and of how many levels. Raises StoreError where there is none."""
    with store.read() as tx:
        found = [one for node in steering.nodes(tx) if (one := steering.find_snapshot(tx, node)) is not None]
    if not found:
        raise StoreError(
            "steering has learned nothing yet: there is no stored state. Run `omicard-relay serve steer` first."
        )
    counts = export_counts(decode_state(max(found, key=lambda one: (one.version, one.node)).state), LEAST_TRIALS)
    return msgspec.json.format(msgspec.json.encode(counts)) + b"\n", len(counts.cells)


def take_counts(store: Store, path: Path, *, who: str, now: datetime) -> tuple[bool, int]:
    """Lay a file of counts into the store: whether it is new, and how many levels it has. Raises RelayError."""
    try:
        if path.stat().st_size > _LIMIT:
            raise RelayError(f"{path}: is larger than {_LIMIT >> 20} MiB, which no file of counts is.")
        content = path.read_bytes()
    except OSError as error:
        raise RelayError(f"{path}: cannot be read ({error.strerror}).") from None
    try:
        counts = read_counts(content)
    except StoreError as error:
        raise RelayError(f"{path}: {error}") from None
    plain = msgspec.json.encode(counts)
    with store.write() as tx:
        is_new = steering_inputs.add_counts(tx, hashlib.sha256(plain).hexdigest(), plain, who=who, now=now)
    return is_new, len(counts.cells)
