"""Releases of the rules, which of them judged a reply, and replies that were judged again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_JUDGED = ("attempt", "bounce_report")


def upgrade() -> None:
    for table in _JUDGED:
        op.add_column(table, sa.Column("rules_release", sa.Integer(), nullable=True))
    op.create_table(
        "rule_release",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("rollback_of", sa.Integer(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("shipped_digest", sa.String(length=64), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rule_release")),
    )
    op.create_table(
        "rejudgement",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=True),
        sa.Column("bounce_report_id", sa.Integer(), nullable=True),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("old_release", sa.Integer(), nullable=True),
        sa.Column("old_bounce_code", sa.Integer(), nullable=True),
        sa.Column("old_rule_id", sa.String(length=80), nullable=True),
        sa.Column("old_confidence", sa.Float(), nullable=True),
        sa.Column("old_words", sa.Text(), nullable=True),
        sa.Column("old_action", sa.String(length=8), nullable=True),
        sa.Column("old_reasons", sa.Text(), nullable=True),
        sa.Column("new_release", sa.Integer(), nullable=True),
        sa.Column("new_bounce_code", sa.Integer(), nullable=True),
        sa.Column("new_rule_id", sa.String(length=80), nullable=True),
        sa.Column("new_confidence", sa.Float(), nullable=True),
        sa.Column("new_words", sa.Text(), nullable=True),
        sa.Column("new_action", sa.String(length=8), nullable=True),
        sa.Column("new_reasons", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"], name=op.f("fk_rejudgement_attempt_id")),
        sa.ForeignKeyConstraint(
            ["bounce_report_id"], ["bounce_report.id"], name=op.f("fk_rejudgement_bounce_report_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejudgement")),
    )
    op.create_index(op.f("ix_rejudgement_attempt_id"), "rejudgement", ["attempt_id"], unique=False)
    op.create_index(op.f("ix_rejudgement_bounce_report_id"), "rejudgement", ["bounce_report_id"], unique=False)


def downgrade() -> None:
    op.drop_table("rejudgement")
    op.drop_table("rule_release")
    for table in _JUDGED:
        op.drop_column(table, "rules_release")
