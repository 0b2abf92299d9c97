"""The tables of steering: what was folded in which order, what was decided, and by what; a part of schema.py, which
gives them on.

A node is a machine with a steering service. Its steps are numbered from 1; a snapshot is the state behind the step
whose number it has, so that a snapshot and the steps behind it tell every later state bit for bit.
"""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from omicard_relay.store.columns import Moment, metadata

__all__ = ["steering_counts", "steering_decision", "steering_policy", "steering_snapshot", "steering_step"]

#: What was folded in one transaction, together with what was decided then.
steering_step = Table(
    "steering_step",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("node", String(80), nullable=False),
    Column("number", Integer, nullable=False),
    Column("time", Moment, nullable=False, index=True),  # the moment that it reckoned with
    Column("attempts", Text, nullable=False, default=""),  # ids in the order of folding: `5-9,12`
    Column("complaints", Text, nullable=False, default=""),  # ids of bounce_report, folded behind them
    Column("last_attempt", Integer, nullable=False),  # the highest id that had been read by then
    Column("last_complaint", Integer, nullable=False),
    Column("evidence", String(32), nullable=False),  # digest of what was folded; empty: the state was made anew
    Column("lanes", Text),  # lanes that changed, as JSON
    Column("version", Integer, nullable=False),  # of the state behind it
    Column("policy", ForeignKey("steering_policy.digest"), nullable=False),
    UniqueConstraint("node", "number"),
)

#: What steering decided after one failed attempt of this node; goes with the attempt.
steering_decision = Table(
    "steering_decision",
    metadata,
    Column("attempt_id", ForeignKey("attempt.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("node", String(80), nullable=False),
    Column("step", Integer, nullable=False),
    Column("time", Moment, nullable=False),
    Column("mode", String(8), nullable=False),  # observe | act
    Column("provider", String(255), nullable=False),
    Column("action", String(8), nullable=False),  # return | retry
    Column("at", Float, nullable=False),  # when to try again, Unix seconds; 0 for a return
    Column("ip", String(32), nullable=False),  # from which; empty: any
    Column("chance", Float, nullable=False),
    Column("attempts_left", Integer, nullable=False),
    Column("explores", Boolean, nullable=False),
    Column("reasons", Text, nullable=False),  # [[key, {name: figure}], …] as JSON
    Index("ix_steering_decision_step", "node", "step"),
)

#: The whole state behind a step.
steering_snapshot = Table(
    "steering_snapshot",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("node", String(80), nullable=False),
    Column("number", Integer, nullable=False),
    Column("time", Moment, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("last_attempt", Integer, nullable=False),
    Column("last_complaint", Integer, nullable=False),
    Column("last_counts", Integer, nullable=False),  # the newest of steering_counts that is in it
    Column("policy", ForeignKey("steering_policy.digest"), nullable=False),
    Column("state", LargeBinary, nullable=False),  # msgpack, zlib
    UniqueConstraint("node", "number"),
)

#: By what was decided: the policy with all its layers, the source IPs and the seed.
steering_policy = Table(
    "steering_policy",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("created", Moment, nullable=False),
    Column("content", LargeBinary, nullable=False),  # JSON, zlib
)

#: Counts of another site that were imported; every node adds them to its state.
steering_counts = Table(
    "steering_counts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),  # the same file twice is added once
    Column("time", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),  # JSON, zlib
)
