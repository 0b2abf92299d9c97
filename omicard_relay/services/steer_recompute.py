"""Every stored decision once more, from the stored evidence and the stored states: is it the same, bit for bit?

A stretch begins at a snapshot and goes through its steps to the next one; by the policy that was in force at each
step. Compared are what was folded (its digest), the state's version, each plan with all its figures and reasons, the
lanes that were written down, and at the end of a stretch the whole state. Evidence of addresses that were forgotten
since (`db forget`) is not there any more: what differs behind it is counted, and is no fault. Nothing is written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import msgspec

from omicard_relay.mail import StoreError
from omicard_relay.services.steer_setup import Setup, decode_state, encode_state, read_setup
from omicard_relay.services.steer_steps import NO_EVIDENCE, evidence_digest, fold, lane_rows, seen_of_step
from omicard_relay.steering.steer import Steer
from omicard_relay.store import steering, steering_inputs
from omicard_relay.store.engine import Store
from omicard_relay.store.hidden import GHOST
from omicard_relay.store.sightings import Line, seen_of
from omicard_relay.store.steering import Decided, Step

__all__ = ["Difference", "Recomputed", "recompute"]

#: Differences that are told in full; all are counted.
_TOLD = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not as it was: `what` is evidence, version, plan, lanes or state; of a plan, `attempt_id` names it."""

    node: str
    step: int
    what: str
    attempt_id: int | None = None
    stored: str = ""
    recomputed: str = ""


@dataclass(slots=True, kw_only=True)
class Recomputed:
    """How much was compared. `forgotten`: what differs because evidence was forgotten; `without_base`: stretches of which
    steps are missing."""

    steps: int = 0
    decisions: int = 0
    states: int = 0
    differing: int = 0
    forgotten: int = 0
    without_base: int = 0
    differences: list[Difference] = field(default_factory=list)


def recompute(
    store: Store, *, since: datetime | None = None, tell: Callable[[Recomputed], None] = lambda done: None
) -> Recomputed:
    """Recompute all nodes' decisions, or those from a moment on. Raises StoreError where something stored is not readable."""
    done = Recomputed()
    with store.read() as tx:
        names = steering.nodes(tx)
    for node in names:
        for first, last in _stretches(store, node):
            _Stretch(store, node, done, since).run(first, last)
            tell(done)
    return done


def _stretches(store: Store, node: str) -> Iterator[tuple[int, int | None]]:
    """From each snapshot to the next; None: to the last step."""
    with store.read() as tx:
        numbers = steering.snapshots_of(tx, node)
    yield from zip(numbers, [*numbers[1:], None], strict=True)


class _Stretch:
    """One stretch of one node; policies are read once."""

    def __init__(self, store: Store, node: str, done: Recomputed, since: datetime | None) -> None:
        self._store, self._node, self._done, self._since = store, node, done, since
        self._setups: dict[str, Setup] = {}
        self._is_forgotten = False

    def run(self, first: int, last: int | None) -> None:
        """Fold from the state behind `first` to `last`, and compare."""
        with self._store.read() as tx:
            base = steering.snapshot_at(tx, self._node, first)
            end = steering.snapshot_at(tx, self._node, last) if last is not None else None
        if base is None or (self._since is not None and end is not None and end.time < self._since):
            return
        steer = self._setup(base.policy).steer(decode_state(base.state))
        by, step = base.policy, None
        for expected, step in enumerate(steering.steps_after(self._store, self._node, first, upto=last), first + 1):
            if step.number != expected:
                self._done.without_base += 1
                return  # steps are missing in between: nothing behind them can be compared
            if step.evidence == NO_EVIDENCE:
                continue  # made anew: the next stretch begins with it
            if step.policy != by:
                steer, by = self._setup(step.policy).steer(steer.state), step.policy
            self._step(steer, step, self._setup(by))
        if end is not None and step is not None and step.evidence != NO_EVIDENCE and step.number == end.number:
            self._done.states += 1
            if encode_state(steer.state) != end.state:
                self._differs(Difference(node=self._node, step=end.number, what="state"))

    def _step(self, steer: Steer, step: Step, setup: Setup) -> None:
        with self._store.read() as tx:
            seen, lines = seen_of_step(tx, step, setup.provider_of)
            decided = steering.decisions_of(tx, self._node, step.number, step.number)
        if len(lines) < len(step.attempts) or any(line.address_key.startswith(GHOST) for line in lines.values()):
            self._is_forgotten = True
        fold(steer, seen)
        if self._since is not None and step.time < self._since:
            return
        self._done.steps += 1
        here = partial(Difference, node=self._node, step=step.number)
        if evidence_digest(seen) != step.evidence:
            self._differs(here(what="evidence", stored=step.evidence, recomputed=evidence_digest(seen)))
        if steer.state.version != step.version:
            self._differs(here(what="version", stored=str(step.version), recomputed=str(steer.state.version)))
        for one in decided:
            self._plan(steer, one, lines.get(one.attempt_id), setup)
        if step.lanes is not None:
            stored = msgspec.json.decode(step.lanes)
            now = {name: lane_rows(steer, name, step.time.timestamp()) for name in stored}
            if now != stored:
                self._differs(here(what="lanes", stored=step.lanes, recomputed=msgspec.json.encode(now).decode()))

    def _plan(self, steer: Steer, one: Decided, line: Line | None, setup: Setup) -> None:
        self._done.decisions += 1
        plan = None
        if line is not None:
            seen = seen_of(line, setup.provider_of)
            plan = steer.plan(seen) if seen.code is not None else None
        # Both by way of JSON, as the store keeps them: a tuple and a list are the same there, figures stay what they
        # are.
        stored, fresh = msgspec.json.encode(one.plan).decode(), msgspec.json.encode(plan).decode()
        if stored != fresh:
            self._differs(
                Difference(
                    node=self._node,
                    step=one.step,
                    what="plan",
                    attempt_id=one.attempt_id,
                    stored=stored,
                    recomputed=fresh,
                )
            )

    def _differs(self, one: Difference) -> None:
        if self._is_forgotten:
            self._done.forgotten += 1
            return
        self._done.differing += 1
        if len(self._done.differences) < _TOLD:
            self._done.differences.append(one)

    def _setup(self, digest: str) -> Setup:
        if digest not in self._setups:
            with self._store.read() as tx:
                content = steering_inputs.find_policy(tx, digest)
            if content is None:
                raise StoreError(
                    f"the policy {digest[:12]} of steering is not in the store any more; restore a backup."
                )
            self._setups[digest] = read_setup(content)
        return self._setups[digest]
