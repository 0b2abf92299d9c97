"""What a fault of ours put aside waits; how much came to one address is found without reading all mails."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("suppression_due", sa.Column("not_before", sa.DateTime(), nullable=True))
    op.create_index(op.f("ix_bounce_mail_envelope_recipient"), "bounce_mail", ["envelope_recipient"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_bounce_mail_envelope_recipient"), table_name="bounce_mail")
    op.drop_column("suppression_due", "not_before")
