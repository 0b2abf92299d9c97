"""What steering decided, beside what came of it: for `explain` one by one, for `report --steering` in figures.

What came of a decision are the later attempts of the same queue id and address. In mode `observe` they are Postfix's own, so
that the two can be compared.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import Outcome
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.schema import attempt, steering_decision
from omicard_relay.store.steering import Decided, read_decision

__all__ = ["Followed", "decisions_for", "followed"]

_PAGE = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A decision with the failure that it was for and the attempts that came behind it, as (time, outcome), in order."""

    decided: Decided
    time: datetime
    code: int
    later: tuple[tuple[datetime, str], ...]

    @property
    def was_delivered(self) -> bool:
        """Whether it was delivered later."""
        return any(outcome == Outcome.SENT for _, outcome in self.later)


def decisions_for(tx: Tx, attempt_ids: Collection[int]) -> dict[int, Decided]:
    """What was decided about these attempts."""
    found: dict[int, Decided] = {}
    ids = sorted(attempt_ids)
    for start in range(0, len(ids), _PAGE):
        rows = tx.execute(
            sa.select(steering_decision).where(steering_decision.c.attempt_id.in_(ids[start : start + _PAGE]))
        )
        found |= {row.attempt_id: read_decision(row) for row in rows}
    return found


def followed(store: Store, *, since: datetime | None = None) -> Iterator[Followed]:
    """The decisions in the order of their attempts, with what came of them; in pages of their own transactions."""
    place = 0
    while True:
        query = (
            sa.select(steering_decision, attempt.c.time.label("failed"), attempt.c.bounce_code)
            .add_columns(attempt.c.queue_id, attempt.c.address_key)
            .join(attempt, attempt.c.id == steering_decision.c.attempt_id)
            .where(steering_decision.c.attempt_id > place)
            .order_by(steering_decision.c.attempt_id)
            .limit(_PAGE)
        )
        if since is not None:
            query = query.where(steering_decision.c.time >= since)
        with store.read() as tx:
            rows = tx.execute(query).all()
            later = _later(tx, rows)
        for row in rows:
            behind = [
                (time, outcome)
                for number, time, outcome in later.get((row.queue_id, row.address_key), ())
                if number > row.attempt_id
            ]
            yield Followed(
                decided=read_decision(row), time=row.failed, code=row.bounce_code or 900, later=tuple(behind)
            )
        if len(rows) < _PAGE:
            return
        place = rows[-1].attempt_id


def _later(tx: Tx, rows: Collection[sa.Row[Any]]) -> dict[tuple[str, str], list[tuple[int, datetime, str]]]:
    """The true attempts, and the ends, of the mails of these rows."""
    found: dict[tuple[str, str], list[tuple[int, datetime, str]]] = {}
    wanted = sorted({row.queue_id for row in rows})
    lines = tx.execute(
        sa.select(attempt.c.id, attempt.c.time, attempt.c.outcome, attempt.c.queue_id, attempt.c.address_key)
        .where(attempt.c.queue_id.in_(wanted))
        .where(sa.or_(attempt.c.is_attempt, attempt.c.outcome.in_((Outcome.BOUNCED, Outcome.EXPIRED))))
        .order_by(attempt.c.id)
    )
    for line in lines:
        found.setdefault((line.queue_id, line.address_key), []).append((line.id, line.time, line.outcome))
    return found
