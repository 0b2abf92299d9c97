"""What steering writes: steps, decisions, snapshots, policies; and what it reads of them, after a restart or to
recompute.

A step, its decisions and its snapshot are one transaction, and a step's number is a key: written before anything is
carried out, once, by one service of a node. Who comes second with the same number gets StoreError. Thread names are
digests (steering/values.py); for a forgotten address they are replaced in the snapshots, octet for octet. Not here:
what is read of the log (sightings.py), and what people ask (decisions.py).
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import Action
from omicard_relay.steering.values import Plan, Reason
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.schema import (
    steering_decision,
    steering_snapshot,
    steering_step,
)

__all__ = [
    "Decided",
    "Snapshot",
    "Step",
    "add_snapshot",
    "add_step",
    "decisions_of",
    "find_snapshot",
    "ids_text",
    "last_step",
    "nodes",
    "read_ids",
    "rename_thread",
    "snapshot_at",
    "snapshots_of",
    "steps_after",
    "thin_snapshots",
]

#: Rows in memory at once.
_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What was folded in one transaction: ids in the order of folding, complaints behind attempts. `lanes` is JSON or None.

    Where `evidence` is empty nothing was folded: the state was made anew (cold start, import) and stands in a snapshot.
    """

    node: str
    number: int
    time: datetime
    attempts: tuple[int, ...]
    complaints: tuple[int, ...]
    last_attempt: int
    last_complaint: int
    evidence: str
    lanes: str | None
    version: int
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A plan for one failed attempt, as it is stored."""

    attempt_id: int
    node: str
    step: int
    time: datetime
    mode: str
    provider: str
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state behind step `number` (0: behind a cold start), as octets."""

    node: str
    number: int
    time: datetime
    version: int
    last_attempt: int
    last_complaint: int
    last_counts: int
    policy: str
    state: bytes


def add_step(tx: Tx, step: Step, decisions: Sequence[Decided] = (), snapshot: Snapshot | None = None) -> None:
    """Write a step with all that belongs to it. Raises StoreError (at the end of the transaction) where its number is taken."""
    tx.execute(
        steering_step.insert().values(
            node=step.node,
            number=step.number,
            time=step.time,
            attempts=ids_text(step.attempts),
            complaints=ids_text(step.complaints),
            last_attempt=step.last_attempt,
            last_complaint=step.last_complaint,
            evidence=step.evidence,
            lanes=step.lanes,
            version=step.version,
            policy=step.policy,
        )
    )
    if decisions:
        # An attempt of which something was decided before (a node that was set up anew) keeps the first decision.
        ids = [one.attempt_id for one in decisions]
        query = sa.select(steering_decision.c.attempt_id).where(steering_decision.c.attempt_id.in_(ids))
        known = set(tx.execute(query).scalars())
        fresh = [_decision_row(one) for one in decisions if one.attempt_id not in known]
        if fresh:
            tx.execute(steering_decision.insert(), fresh)
    if snapshot is not None:
        add_snapshot(tx, snapshot)


def add_snapshot(tx: Tx, one: Snapshot) -> None:
    """Write a state."""
    tx.execute(
        steering_snapshot.insert().values(
            node=one.node,
            number=one.number,
            time=one.time,
            version=one.version,
            last_attempt=one.last_attempt,
            last_complaint=one.last_complaint,
            last_counts=one.last_counts,
            policy=one.policy,
            state=zlib.compress(one.state),
        )
    )


def last_step(tx: Tx, node: str) -> int:
    """The highest number of a node's steps; 0 where there is none."""
    return int(
        tx.execute(sa.select(sa.func.max(steering_step.c.number)).where(steering_step.c.node == node)).scalar() or 0
    )


def nodes(tx: Tx) -> list[str]:
    """The nodes that have a snapshot."""
    return list(tx.execute(sa.select(steering_snapshot.c.node).distinct().order_by(steering_snapshot.c.node)).scalars())


def find_snapshot(tx: Tx, node: str) -> Snapshot | None:
    """The newest state of a node."""
    return _one_snapshot(tx, steering_snapshot.c.node == node)


def snapshot_at(tx: Tx, node: str, number: int) -> Snapshot | None:
    """The state behind this step."""
    return _one_snapshot(tx, steering_snapshot.c.node == node, steering_snapshot.c.number == number)


def snapshots_of(tx: Tx, node: str) -> list[int]:
    """The numbers of a node's snapshots, in order."""
    query = sa.select(steering_snapshot.c.number).where(steering_snapshot.c.node == node)
    return list(tx.execute(query.order_by(steering_snapshot.c.number)).scalars())


def _one_snapshot(tx: Tx, *conditions: sa.ColumnElement[bool]) -> Snapshot | None:
    query = sa.select(steering_snapshot).where(*conditions).order_by(steering_snapshot.c.number.desc()).limit(1)
    row = tx.execute(query).mappings().first()
    if row is None:
        return None
    values = {name: value for name, value in row.items() if name != "id"}
    return Snapshot(**{**values, "state": zlib.decompress(row["state"])})


def steps_after(store: Store, node: str, number: int, *, upto: int | None = None) -> Iterator[Step]:
    """The steps behind a number, in order, in pages of their own transactions."""
    while True:
        query = sa.select(steering_step).where(steering_step.c.node == node, steering_step.c.number > number)
        if upto is not None:
            query = query.where(steering_step.c.number <= upto)
        with store.read() as tx:
            rows = tx.execute(query.order_by(steering_step.c.number).limit(_PAGE)).mappings().all()
        for row in rows:
            texts = {"attempts": read_ids(row["attempts"]), "complaints": read_ids(row["complaints"])}
            yield Step(**{name: value for name, value in {**row, **texts}.items() if name != "id"})
        if len(rows) < _PAGE:
            return
        number = rows[-1]["number"]


def decisions_of(tx: Tx, node: str, first: int, last: int) -> list[Decided]:
    """What was decided in these steps, in the order of step and attempt."""
    found = (
        sa.select(steering_decision)
        .where(steering_decision.c.node == node, steering_decision.c.step.between(first, last))
        .order_by(steering_decision.c.step, steering_decision.c.attempt_id)
    )
    return [read_decision(row) for row in tx.execute(found)]


def rename_thread(tx: Tx, names: Iterable[tuple[str, str]]) -> int:
    """Other names for threads in all snapshots; both are digests of one length, so that the octets stay a state."""
    pairs = [(old.encode("ascii"), new.encode("ascii")) for old, new in names]
    changed = 0
    for key in tx.execute(sa.select(steering_snapshot.c.id)).scalars().all() if pairs else []:
        is_it = steering_snapshot.c.id == key
        packed = tx.execute(sa.select(steering_snapshot.c.state).where(is_it)).scalar()
        if packed is None:
            continue
        state = before = zlib.decompress(packed)
        for old, new in pairs:
            state = state.replace(old, new)
        if state != before:
            tx.execute(steering_snapshot.update().where(is_it).values(state=zlib.compress(state)))
            changed += 1
    return changed


def thin_snapshots(tx: Tx, node: str, *, before: datetime) -> int:
    """Of each older day keep the first snapshot: a recomputation starts there and goes through more steps."""
    made_anew = sa.exists().where(
        steering_step.c.node == node,
        steering_step.c.number == steering_snapshot.c.number,
        steering_step.c.evidence == "",
    )
    rows = tx.execute(
        sa.select(steering_snapshot.c.number, steering_snapshot.c.time)
        .where(steering_snapshot.c.node == node, steering_snapshot.c.time < before, ~made_anew)
        .order_by(steering_snapshot.c.number)
    ).all()
    days: set[date] = set()
    gone: list[int] = []
    for row in rows:
        if row.time.date() in days:
            gone.append(row.number)
        days.add(row.time.date())
    for start in range(0, len(gone), _PAGE):
        part = gone[start : start + _PAGE]
        tx.execute(
            steering_snapshot.delete().where(steering_snapshot.c.node == node, steering_snapshot.c.number.in_(part))
        )
    return len(gone)


def ids_text(ids: Sequence[int]) -> str:
    """Ids in their order, runs of neighbours as one: `5-9,12`."""
    parts: list[str] = []
    start = previous = None
    for one in [*ids, None]:
        if previous is not None and one != previous + 1:
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = one
        elif start is None:
            start = one
        previous = one
    return ",".join(parts)


def read_ids(text: str) -> tuple[int, ...]:
    """The ids of `ids_text`."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def read_decision(row: sa.Row[Any]) -> Decided:
    """A row of `steering_decision`."""
    return Decided(
        attempt_id=row.attempt_id,
        node=row.node,
        step=row.step,
        time=row.time,
        mode=row.mode,
        provider=row.provider,
        plan=Plan(
            action=Action(row.action),
            at=row.at,
            ip=row.ip,
            chance=row.chance,
            attempts_left=row.attempts_left,
            explores=row.explores,
            reasons=tuple(Reason(key=key, figures=figures) for key, figures in json.loads(row.reasons)),
        ),
    )


def _decision_row(one: Decided) -> dict[str, object]:
    plan = one.plan
    return {
        "attempt_id": one.attempt_id,
        "node": one.node,
        "step": one.step,
        "time": one.time,
        "mode": one.mode,
        "provider": one.provider,
        "action": plan.action,
        "at": plan.at,
        "ip": plan.ip,
        "chance": plan.chance,
        "attempts_left": plan.attempts_left,
        "explores": plan.explores,
        "reasons": json.dumps([[one.key, one.figures] for one in plan.reasons], ensure_ascii=False),
    }
