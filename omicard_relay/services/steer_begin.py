"""How a node's state begins: out of the last stored state and the steps behind it, or out of the attempts of the last days.

Both only read. A state that comes out another than it was (evidence was forgotten, or changed) is told by `is_same`; what is
learned then is what stands in the store now.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from omicard_relay.services.steer_setup import Setup, decode_state, read_setup
from omicard_relay.services.steer_steps import NO_EVIDENCE, evidence_digest, fold, seen_of_step
from omicard_relay.steering.steer import Steer
from omicard_relay.store import sightings, steering, steering_inputs
from omicard_relay.store.engine import Store
from omicard_relay.store.sightings import Reader
from omicard_relay.store.steering import Snapshot

__all__ = ["Begun", "learn_anew", "resume"]

#: Lines in memory at once.
_MOST_LINES = 2_000
#: Ids below the last one that are looked at again after a restart: what may have been committed late.
_LOOK_BACK = 5_000


@dataclass(slots=True, kw_only=True)
class Begun:
    """Where a node stands. `folds` since the stored state, which was made at `stored`."""

    steer: Steer
    reader: Reader = field(default_factory=Reader)
    last_complaint: int = 0
    folds: int = 0
    stored: datetime | None = None
    is_same: bool = True


def resume(store: Store, setup: Setup, snapshot: Snapshot, *, now: datetime, tell: Callable[[int], None]) -> Begun:
    """The state behind the last step of a node; `tell` is told how many attempts were folded.

    Raises StoreError; UnreadableError where this program cannot read the state or a policy.
    """
    node = snapshot.node
    begun = Begun(
        steer=setup.steer(decode_state(snapshot.state)), last_complaint=snapshot.last_complaint, stored=snapshot.time
    )
    by, number, top = setup, snapshot.number, snapshot.last_attempt
    for step in steering.steps_after(store, node, snapshot.number):
        if step.policy != by.digest:
            by = _setup(store, setup, step.policy)
            begun.steer = by.steer(begun.steer.state)
        with store.read() as tx:
            seen, _ = seen_of_step(tx, step, by.provider_of)
        fold(begun.steer, seen)
        begun.folds += len(seen)
        begun.is_same &= evidence_digest(seen) == step.evidence and begun.steer.state.version == step.version
        begun.last_complaint, number, top = step.last_complaint, step.number, step.last_attempt
        tell(begun.folds)
    begun.steer = setup.steer(begun.steer.state)
    begun.reader = Reader(top=top, gaps=_late(store, node, number, top, now))
    return begun


def learn_anew(store: Store, setup: Setup, since: datetime, *, tell: Callable[[int], None]) -> Begun:
    """The state out of all attempts and complaints since a moment. Raises StoreError."""
    begun = Begun(steer=setup.steer())
    top, name = 0, setup.provider_of
    while True:
        with store.read() as tx:
            lines = sightings.lines_since(tx, since, after=top, most=_MOST_LINES)
        if not lines:
            break
        top = lines[-1].id
        seen = [sightings.seen_of(line, name) for line in lines if line.is_evidence]
        fold(begun.steer, seen)
        begun.folds += len(seen)
        tell(begun.folds)
    with store.read() as tx:
        while complaints := sightings.complaints_of(tx, after=begun.last_complaint):
            begun.last_complaint = complaints[-1].id
            recent = [one for one in complaints if one.time >= since]
            fold(begun.steer, [sightings.seen_of_complaint(one, name) for one in recent])
    begun.reader = Reader(top=top)
    return begun


def _late(store: Store, node: str, number: int, top: int, now: datetime) -> dict[int, float]:
    """Ids that no step has, below the last: what was committed late meanwhile is among them."""
    known: set[int] = set()
    first = max(0, top - _LOOK_BACK)
    for step in steering.steps_after(store, node, max(0, number - _LOOK_BACK)):
        known.update(step.attempts)
        if step.evidence == NO_EVIDENCE:
            first = max(first, step.last_attempt)
    return dict.fromkeys((one for one in range(first + 1, top + 1) if one not in known), now.timestamp())


def _setup(store: Store, setup: Setup, digest: str) -> Setup:
    if digest == setup.digest:
        return setup
    with store.read() as tx:
        content = steering_inputs.find_policy(tx, digest)
    return read_setup(content) if content is not None else setup
