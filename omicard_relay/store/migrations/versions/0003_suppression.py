"""Kinds of campaigns, what our own Postfix proves, and what suppress.toml has still to look at."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("submission", sa.Column("kind", sa.String(length=32), nullable=True))
    op.add_column("bounce_mail", sa.Column("own_queue_id", sa.String(length=32), nullable=True))
    op.add_column("list_entry", sa.Column("happened", sa.DateTime(), nullable=True))
    op.create_index(op.f("ix_bounce_report_queue_id"), "bounce_report", ["queue_id"], unique=False)
    op.create_table(
        "suppression_due",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=True),
        sa.Column("bounce_report_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempt.id"], name=op.f("fk_suppression_due_attempt_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["bounce_report_id"],
            ["bounce_report.id"],
            name=op.f("fk_suppression_due_bounce_report_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression_due")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_suppression_due_attempt_id")),
        sa.UniqueConstraint("bounce_report_id", name=op.f("uq_suppression_due_bounce_report_id")),
    )


def downgrade() -> None:
    op.drop_table("suppression_due")
    op.drop_index(op.f("ix_bounce_report_queue_id"), table_name="bounce_report")
    op.drop_column("list_entry", "happened")
    op.drop_column("bounce_mail", "own_queue_id")
    op.drop_column("submission", "kind")
