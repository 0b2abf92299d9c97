"""How far folders of mails were imported, and which mails of people wait to be handed on."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("bounce_mail", sa.Column("hand_on_after", sa.DateTime(), nullable=True))
    op.add_column("bounce_mail", sa.Column("handed_on", sa.DateTime(), nullable=True))
    op.add_column("bounce_mail", sa.Column("hand_on_tries", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("bounce_mail", sa.Column("hand_on_note", sa.Text(), nullable=True))
    op.create_index(op.f("ix_bounce_mail_hand_on_after"), "bounce_mail", ["hand_on_after"], unique=False)
    op.create_table(
        "import_place",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("moved", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_import_place")),
    )
    op.create_table(
        "import_done",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "name", name=op.f("pk_import_done")),
    )


def downgrade() -> None:
    op.drop_table("import_done")
    op.drop_table("import_place")
    op.drop_index(op.f("ix_bounce_mail_hand_on_after"), "bounce_mail")
    for name in ("hand_on_note", "hand_on_tries", "handed_on", "hand_on_after"):
        op.drop_column("bounce_mail", name)
