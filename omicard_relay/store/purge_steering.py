"""Old steps of steering go, with their decisions, the snapshots that nobody needs any more, and policies that nobody names.

Of each node the newest snapshot from before the moment stays: what was decided behind it is recomputed from there.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import steering_decision, steering_policy, steering_snapshot, steering_step

__all__ = ["delete_steps"]


def delete_steps(tx: Tx, ids: list[Any], before: datetime) -> dict[str, int]:
    """Delete these steps where they are old, and what hangs on them; gives how many rows went, by table."""
    state = sa.alias(steering_snapshot)
    # What stands behind the last state from before the moment is needed to come from there to what is kept.
    is_before_a_state = sa.exists().where(
        state.c.node == steering_step.c.node, state.c.number >= steering_step.c.number, state.c.time < before
    )
    old = sa.and_(steering_step.c.id.in_(ids), steering_step.c.time < before, is_before_a_state)
    made_then = sa.exists().where(
        old, steering_step.c.node == steering_decision.c.node, steering_step.c.number == steering_decision.c.step
    )
    newer = sa.alias(steering_snapshot)
    is_passed = sa.exists().where(
        newer.c.node == steering_snapshot.c.node, newer.c.number > steering_snapshot.c.number, newer.c.time < before
    )
    is_used = sa.or_(
        sa.exists().where(steering_step.c.policy == steering_policy.c.digest),
        sa.exists().where(steering_snapshot.c.policy == steering_policy.c.digest),
    )
    return {
        "steering_decision": _delete(tx, steering_decision, made_then),
        "steering_step": _delete(tx, steering_step, old),
        "steering_snapshot": _delete(tx, steering_snapshot, steering_snapshot.c.time < before, is_passed),
        "steering_policy": _delete(tx, steering_policy, ~is_used, steering_policy.c.created < before),
    }


def _delete(tx: Tx, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return int(tx.execute(table.delete().where(*conditions)).rowcount)
