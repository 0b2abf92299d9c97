"""Folding: new attempts of the store -> the state of steering, and what it decides by it, written down before anything
is done.

One step is one look at the store: its attempts in the order of their ids, then complaints, then the plans for this
machine's failures by the state behind all of them. Step, decisions and now and then the whole state are one
transaction. A kill at any point leaves a step whole or not at all, and a restart folds the same again out of what is
stored. A store that fails is held on to: the step that could not be written is written first when it is back. Not
here: carrying out (steer_acting.py), and the loop (steer_service.py).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from omicard_relay.mail import Outcome, RelayError, StoreError
from omicard_relay.services.steer_begin import Begun, learn_anew, resume
from omicard_relay.services.steer_setup import Setup, UnreadableError, encode_state, read_counts
from omicard_relay.services.steer_steps import NO_EVIDENCE, evidence_digest, fold, lanes_text
from omicard_relay.steering.state import import_counts
from omicard_relay.steering.steer import Steer
from omicard_relay.steering.values import Plan, Seen
from omicard_relay.store import sightings, steering, steering_inputs
from omicard_relay.store.engine import Store
from omicard_relay.store.sightings import Line, Look, Reader
from omicard_relay.store.steering import Decided, Snapshot, Step

__all__ = ["Advanced", "Folder"]

log = logging.getLogger(__name__)

#: Lines of one step: some hundred milliseconds of work at most.
_MOST_LINES = 2_000
#: A state is written whole after so many folds, or so much time with any; between them the steps tell it.
_SNAPSHOT_FOLDS, _SNAPSHOT_TIME = 20_000, timedelta(hours=1)
#: Snapshots of the last days stay; of each day before that, one.
_THIN_AFTER = timedelta(days=2)
_ALL_LANES = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """One step: all lines that came, what was decided about which of them, and whether that was all there is."""

    lines: list[Line]
    decided: list[tuple[Line, Decided]]
    is_all: bool
    folded: int = 0


@dataclass(slots=True, kw_only=True)
class _Unwritten:
    step: Step | None
    decisions: list[Decided]
    snapshot: Snapshot | None
    look: Look
    advanced: Advanced
    #: The policy by which it was folded: another one may be in force when it is written at last.
    policy: bytes


@dataclass(slots=True)
class Folder:
    """The state of one node, kept in step with the store. Not for two threads at once."""

    store: Store
    node: str
    setup: Setup
    #: Lowers what the policy's own mode says: off | observe | act.
    ceiling: str
    #: What the log calls this machine.
    names: frozenset[str]
    steer: Steer = field(init=False)
    reader: Reader = field(default_factory=Reader)
    number: int = 0
    last_complaint: int = 0
    last_counts: int = 0
    _lanes: dict[str, object] = field(default_factory=dict)
    _unwritten: _Unwritten | None = None
    _folds: int = 0
    _snapshot_at: datetime | None = None
    _looked_at: datetime | None = None

    def open(self, now: datetime, *, learn_days: int, tell: Callable[[int], None] = lambda count: None) -> str:
        """Where it left off: the last snapshot and the steps behind it; else (`cold`) all of the last days. Raises StoreError.

        Gives `restart` or `cold`; `tell` is told how many attempts were folded.
        """
        with self.store.read() as tx:
            snapshot = steering.find_snapshot(tx, self.node)
            self.number = steering.last_step(tx, self.node)
        begun = None
        if snapshot is not None:
            try:
                begun = resume(self.store, self.setup, snapshot, now=now, tell=tell)
                self.last_counts = snapshot.last_counts
            except UnreadableError as error:
                log.warning("event=steer-state-unreadable note=learning-anew error=%r", str(error))
        if begun is None:
            self._begin(learn_anew(self.store, self.setup, now - timedelta(days=learn_days), tell=tell))
            with self.store.read() as tx:
                imported = steering_inputs.counts_after(tx, 0)
            self._add_counts(imported)
            self._write(self._anew(now), now)
            return "cold"
        self._begin(begun)
        if not begun.is_same:
            log.warning("event=steer-evidence-changed note=it-is-learned-as-it-stands-now")
            self._write(self._anew(now), now)
        return "restart"

    def _begin(self, begun: Begun) -> None:
        self.steer, self.reader, self.last_complaint = begun.steer, begun.reader, begun.last_complaint
        self._folds, self._snapshot_at = begun.folds, begun.stored

    def use(self, setup: Setup) -> None:
        """Decide by this from the next step on."""
        if setup.digest != self.setup.digest:
            self.setup = setup
            self.steer = setup.steer(self.steer.state)
            log.info("event=steer-policy digest=%s", setup.digest[:12])

    def advance(self, now: datetime) -> Advanced:
        """Fold what is new, decide, and write it down. Raises StoreError; nothing is lost by that, and nothing is doubled.

        Raises RelayError where another service steers for this node.
        """
        if self._unwritten is None:
            self._unwritten = self._prepare(now)
        self._write(self._unwritten, now)
        done = self._unwritten.advanced
        self._unwritten = None
        return done

    def snapshot(self, now: datetime) -> None:
        """Write the state whole, as at a stop: the next start has nothing to fold. Raises StoreError."""
        if self._unwritten is None and self._folds:
            with self.store.write() as tx:
                steering.add_snapshot(tx, self._state(now))
            self._folds = 0

    # --- one step

    def _prepare(self, now: datetime) -> _Unwritten:
        with self.store.read() as tx:
            look = self.reader.look(tx, most=_MOST_LINES, now=now.timestamp())
            complaints = sightings.complaints_of(tx, after=self.last_complaint)
            imported = steering_inputs.counts_after(tx, self.last_counts)
        if imported:
            return self._import(imported, now)
        all_lines = [line for line in look.lines if self._is_steered(line)]
        lines = [line for line in all_lines if line.is_evidence]
        name = self.setup.provider_of
        seen = [sightings.seen_of(line, name) for line in lines]
        seen += [sightings.seen_of_complaint(one, name) for one in complaints]
        fold(self.steer, seen)
        if complaints:
            self.last_complaint = complaints[-1].id
        self._folds += len(seen)
        decisions = self._decide(all_lines, lines, seen, now)
        lanes = self._changed_lanes(seen, now)
        step = None
        if seen or lanes:
            self.number += 1
            step = Step(
                node=self.node,
                number=self.number,
                time=now,
                attempts=tuple(line.id for line in lines),
                complaints=tuple(one.id for one in complaints),
                last_attempt=look.top,
                last_complaint=self.last_complaint,
                evidence=evidence_digest(seen),
                lanes=lanes,
                version=self.steer.state.version,
                policy=self.setup.digest,
            )
        decisions = [replace(one, step=self.number) for one in decisions]
        by_id = {line.id: line for line in lines}
        advanced = Advanced(
            lines=all_lines,
            decided=[(by_id[one.attempt_id], one) for one in decisions],
            is_all=look.is_all,
            folded=len(seen),
        )
        due = self._folds >= _SNAPSHOT_FOLDS or (
            self._folds > 0 and (self._snapshot_at is None or now - self._snapshot_at >= _SNAPSHOT_TIME)
        )
        snapshot = self._state(now, top=look.top) if step is not None and due else None
        return _Unwritten(
            step=step, decisions=decisions, snapshot=snapshot, look=look, advanced=advanced, policy=self.setup.content
        )

    def _is_steered(self, line: Line) -> bool:
        """Whether it went by a road of ours or by Postfix's plain one, not by one that the site itself has chosen for it."""
        if line.program != "smtp" or not line.transport or not line.is_of(self.names):
            return True
        return line.lane[0] in {ip.name for ip in self.setup.ips}

    def _decide(self, all_lines: list[Line], lines: list[Line], seen: list[Seen], now: datetime) -> list[Decided]:
        """Plans for this machine's failures that nothing came after in the same look."""
        last = {line.thread: line.id for line in all_lines if line.is_evidence or line.is_end}
        found = []
        for line, one in zip(lines, seen, strict=False):
            if not line.is_of(self.names) or line.outcome is not Outcome.DEFERRED or one.code is None:
                continue
            mode = self.mode(one.code, one.provider)
            if mode == "off" or last[line.thread] != line.id:
                continue
            plan = _plan(self.steer, one)
            if plan is None:
                continue
            found.append(
                Decided(
                    attempt_id=line.id, node=self.node, step=0, time=now, mode=mode, provider=one.provider, plan=plan
                )
            )
        return found

    @property
    def uneven(self) -> tuple[str, ...]:
        """The providers of which a lane is not ordinary, as of the last step."""
        return tuple(self._lanes)

    def mode(self, code: int, provider: str) -> str:
        """What may be done about a code at a provider: the lower of the policy's and the site's."""
        order = ("off", "observe", "act")
        return min(self.setup.policy.rule(code, provider).mode, self.ceiling, key=order.index)

    def _changed_lanes(self, seen: Sequence[Seen], now: datetime) -> str | None:
        """The lanes of the providers whose lanes differ from what the last step that spoke of them said."""
        # All of them are gone through once a minute only: there may be tens of thousands, and most are ordinary.
        providers = {*self._lanes, *(one.provider for one in seen)}
        if self._looked_at is None or now - self._looked_at >= _ALL_LANES:
            self._looked_at = now
            providers.update(self.steer.providers())
        try:
            text, self._lanes = lanes_text(self.steer, providers, self._lanes, now.timestamp())
        except Exception:
            log.exception("event=steer-bug note=no-lanes")
            return None
        return text

    def _import(self, imported: Sequence[steering_inputs.Imported], now: datetime) -> _Unwritten:
        """Counts of another site, added to the state; a step of its own, whose snapshot begins anew."""
        self._add_counts(imported)
        return self._anew(now)

    def _add_counts(self, imported: Sequence[steering_inputs.Imported]) -> None:
        for one in imported:
            try:
                counts = read_counts(one.content)
            except StoreError as error:
                log.error("event=steer-import-failed number=%d error=%r", one.id, str(error))
            else:
                self.steer = self.setup.steer(import_counts(self.steer.state, counts))
                log.info("event=steer-import number=%d levels=%d", one.id, len(counts.cells))
            self.last_counts = one.id

    def _anew(self, now: datetime) -> _Unwritten:
        self.number += 1
        step = Step(
            node=self.node,
            number=self.number,
            time=now,
            attempts=(),
            complaints=(),
            last_attempt=self.reader.top,
            last_complaint=self.last_complaint,
            evidence=NO_EVIDENCE,
            lanes=None,
            version=self.steer.state.version,
            policy=self.setup.digest,
        )
        look = Look(lines=[], top=self.reader.top, is_all=False)
        done = Advanced(lines=[], decided=[], is_all=False)
        return _Unwritten(
            step=step, decisions=[], snapshot=self._state(now), look=look, advanced=done, policy=self.setup.content
        )

    def _state(self, now: datetime, *, top: int | None = None) -> Snapshot:
        return Snapshot(
            node=self.node,
            number=self.number,
            time=now,
            version=self.steer.state.version,
            last_attempt=self.reader.top if top is None else top,
            last_complaint=self.last_complaint,
            last_counts=self.last_counts,
            policy=self.setup.digest,
            state=encode_state(self.steer.state),
        )

    def _write(self, one: _Unwritten, now: datetime) -> None:
        if one.step is not None:
            try:
                with self.store.write() as tx:
                    steering_inputs.add_policy(tx, one.step.policy, one.policy, now=now)
                    steering.add_step(tx, one.step, one.decisions, one.snapshot)
                    if one.snapshot is not None:
                        steering.thin_snapshots(tx, self.node, before=now - _THIN_AFTER)
            except StoreError:
                if not self._is_written(one.step):
                    raise
            if one.snapshot is not None:
                self._folds, self._snapshot_at = 0, now
        self.reader.took(one.look, now=now.timestamp())

    def _is_written(self, step: Step) -> bool:
        """Whether a write that failed was done all the same (a connection that broke at its end). Raises RelayError."""
        found = next(steering.steps_after(self.store, self.node, step.number - 1, upto=step.number), None)
        if found is not None and found != step:
            raise RelayError(
                f"another steering service writes for `{self.node}`: stop one of them, or give each its own `steer.machine`."
            )
        return found is not None


def _plan(steer: Steer, one: Seen) -> Plan | None:
    """The plan for a failure; None after a fault of ours: Postfix then goes on by its own schedule."""
    try:
        return steer.plan(one)
    except Exception:
        log.exception("event=steer-bug attempt=%d note=not-planned", one.id)
        return None
