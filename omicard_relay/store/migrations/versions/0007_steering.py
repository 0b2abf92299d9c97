"""Steering: how each attempt went out; what was folded, decided, and by what."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("attempt", sa.Column("transport", sa.String(length=64), nullable=True))
    op.add_column("attempt", sa.Column("machine", sa.String(length=255), nullable=True))
    op.create_table(
        "steering_policy",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_steering_policy")),
    )
    op.create_table(
        "steering_counts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steering_counts")),
        sa.UniqueConstraint("digest", name=op.f("uq_steering_counts_digest")),
    )
    op.create_table(
        "steering_step",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("attempts", sa.Text(), nullable=False),
        sa.Column("complaints", sa.Text(), nullable=False),
        sa.Column("last_attempt", sa.Integer(), nullable=False),
        sa.Column("last_complaint", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.String(length=32), nullable=False),
        sa.Column("lanes", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["policy"], ["steering_policy.digest"], name=op.f("fk_steering_step_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steering_step")),
        sa.UniqueConstraint("node", "number", name=op.f("uq_steering_step_node")),
    )
    op.create_index(op.f("ix_steering_step_time"), "steering_step", ["time"], unique=False)
    op.create_table(
        "steering_snapshot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node", sa.String(length=80), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_attempt", sa.Integer(), nullable=False),
        sa.Column("last_complaint", sa.Integer(), nullable=False),
        sa.Column("last_counts", sa.Integer(), nullable=False),
        sa.Column("policy", sa.String(length=64), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["policy"], ["steering_policy.digest"], name=op.f("fk_steering_snapshot_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steering_snapshot")),
        sa.UniqueConstraint("node", "number", name=op.f("uq_steering_snapshot_node")),
    )
    op.create_index(op.f("ix_steering_snapshot_time"), "steering_snapshot", ["time"], unique=False)
    op.create_table(
        "steering_decision",
        sa.Column("attempt_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(length=80), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("provider", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=8), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("ip", sa.String(length=32), nullable=False),
        sa.Column("chance", sa.Float(), nullable=False),
        sa.Column("attempts_left", sa.Integer(), nullable=False),
        sa.Column("explores", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempt.id"], name=op.f("fk_steering_decision_attempt_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_steering_decision")),
    )
    op.create_index("ix_steering_decision_step", "steering_decision", ["node", "step"], unique=False)


def downgrade() -> None:
    for name in ("steering_decision", "steering_snapshot", "steering_step", "steering_counts", "steering_policy"):
        op.drop_table(name)
    op.drop_column("attempt", "machine")
    op.drop_column("attempt", "transport")
