"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "bounce_mail",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("received", sa.DateTime(), nullable=False),
        sa.Column("last_seen", sa.DateTime(), nullable=False),
        sa.Column("times_seen", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("envelope_recipient", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("trust", sa.String(length=16), nullable=False),
        sa.Column("trust_reason", sa.Text(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_bounce_mail")),
    )
    op.create_index(op.f("ix_bounce_mail_received"), "bounce_mail", ["received"], unique=False)
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )
    op.create_table(
        "follow_place",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("head_digest", sa.String(length=64), nullable=False),
        sa.Column("head_length", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("read", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_follow_place")),
    )
    op.create_table(
        "list_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("list_name", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("bounce_code", sa.Integer(), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires", sa.DateTime(), nullable=True),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_entry")),
    )
    op.create_index("ix_list_entry_value", "list_entry", ["value", "list_name"], unique=False)
    op.create_table(
        "queue",
        sa.Column("queue_id", sa.String(length=32), nullable=False),
        sa.Column("seen", sa.DateTime(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("orig_queue_id", sa.String(length=40), nullable=True),
        sa.Column("active", sa.DateTime(), nullable=True),
        sa.Column("removed", sa.DateTime(), nullable=True),
        sa.Column("notice_of", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("queue_id", name=op.f("pk_queue")),
    )
    op.create_index(op.f("ix_queue_message_id"), "queue", ["message_id"], unique=False)
    op.create_index(op.f("ix_queue_orig_queue_id"), "queue", ["orig_queue_id"], unique=False)
    op.create_index(op.f("ix_queue_sender"), "queue", ["sender"], unique=False)
    op.create_table(
        "submission",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("received", sa.DateTime(), nullable=False),
        sa.Column("answered", sa.DateTime(), nullable=True),
        sa.Column("way", sa.String(length=8), nullable=False),
        sa.Column("client_ip", sa.String(length=45), nullable=True),
        sa.Column("client_name", sa.String(length=255), nullable=True),
        sa.Column("login", sa.String(length=255), nullable=True),
        sa.Column("reverse_path", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("campaign", sa.Text(), nullable=True),
        sa.Column("envid", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("first_queue_id", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
    )
    op.create_index(op.f("ix_submission_campaign"), "submission", ["campaign"], unique=False)
    op.create_index(op.f("ix_submission_digest"), "submission", ["digest"], unique=False)
    op.create_index(op.f("ix_submission_first_queue_id"), "submission", ["first_queue_id"], unique=False)
    op.create_index(op.f("ix_submission_message_id"), "submission", ["message_id"], unique=False)
    op.create_table(
        "list_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.String(length=8), nullable=False),
        sa.Column("entry_id", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["list_entry.id"], name=op.f("fk_list_change_entry_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_list_change")),
    )
    op.create_index(op.f("ix_list_change_entry_id"), "list_change", ["entry_id"], unique=False)
    op.create_table(
        "recipient",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.String(length=32), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_key", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_since", sa.DateTime(), nullable=False),
        sa.Column("reverse_path", sa.Text(), nullable=True),
        sa.Column("hand_over", sa.String(length=40), nullable=True),
        sa.Column("relay_run", sa.String(length=32), nullable=True),
        sa.Column("queue_id", sa.String(length=32), nullable=True),
        sa.Column("drop_step", sa.String(length=32), nullable=True),
        sa.Column("bounce_code", sa.Integer(), nullable=True),
        sa.Column("rule_id", sa.String(length=80), nullable=True),
        sa.Column("action", sa.String(length=8), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("delivered", sa.DateTime(), nullable=True),
        sa.Column("later_code", sa.Integer(), nullable=True),
        sa.Column("later_kind", sa.String(length=16), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["submission_id"], ["submission.id"], name=op.f("fk_recipient_submission_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipient")),
    )
    op.create_index(op.f("ix_recipient_address_key"), "recipient", ["address_key"], unique=False)
    op.create_index(op.f("ix_recipient_hand_over"), "recipient", ["hand_over"], unique=False)
    op.create_index(op.f("ix_recipient_queue_id"), "recipient", ["queue_id"], unique=False)
    op.create_index("ix_recipient_reverse_path", "recipient", ["reverse_path"], unique=False)
    op.create_index(op.f("ix_recipient_state"), "recipient", ["state"], unique=False)
    op.create_index(op.f("ix_recipient_submission_id"), "recipient", ["submission_id"], unique=False)
    op.create_table(
        "attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_digest", sa.String(length=64), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("queue_id", sa.String(length=40), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_key", sa.Text(), nullable=False),
        sa.Column("original_key", sa.Text(), nullable=True),
        sa.Column("recipient_id", sa.Integer(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("is_attempt", sa.Boolean(), nullable=False),
        sa.Column("is_hop", sa.Boolean(), nullable=False),
        sa.Column("program", sa.String(length=32), nullable=False),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("relay_host", sa.Text(), nullable=True),
        sa.Column("relay_ip", sa.String(length=45), nullable=True),
        sa.Column("relay_port", sa.Integer(), nullable=True),
        sa.Column("delay", sa.Float(), nullable=True),
        sa.Column("delays", sa.String(length=64), nullable=True),
        sa.Column("enhanced_status", sa.String(length=16), nullable=True),
        sa.Column("reply_code", sa.Integer(), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("bounce_code", sa.Integer(), nullable=True),
        sa.Column("rule_id", sa.String(length=80), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("words", sa.Text(), nullable=True),
        sa.Column("action", sa.String(length=8), nullable=True),
        sa.Column("reasons", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["recipient_id"], ["recipient.id"], name=op.f("fk_attempt_recipient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("line_digest", name=op.f("uq_attempt_line_digest")),
    )
    op.create_index(op.f("ix_attempt_address_key"), "attempt", ["address_key"], unique=False)
    op.create_index("ix_attempt_queue_id", "attempt", ["queue_id", "address_key"], unique=False)
    op.create_index(op.f("ix_attempt_recipient_id"), "attempt", ["recipient_id"], unique=False)
    op.create_index(op.f("ix_attempt_time"), "attempt", ["time"], unique=False)
    op.create_table(
        "bounce_report",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mail_digest", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("road", sa.String(length=16), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("address_key", sa.Text(), nullable=False),
        sa.Column("original_address", sa.Text(), nullable=False),
        sa.Column("recipient_id", sa.Integer(), nullable=True),
        sa.Column("queue_id", sa.Text(), nullable=True),
        sa.Column("is_echo", sa.Boolean(), nullable=False),
        sa.Column("trust", sa.String(length=16), nullable=False),
        sa.Column("dsn_action", sa.String(length=16), nullable=True),
        sa.Column("enhanced_status", sa.String(length=16), nullable=True),
        sa.Column("reply_code", sa.Integer(), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("remote_mta", sa.Text(), nullable=True),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("feedback_type", sa.String(length=32), nullable=True),
        sa.Column("new_address", sa.Text(), nullable=True),
        sa.Column("bounce_code", sa.Integer(), nullable=True),
        sa.Column("rule_id", sa.String(length=80), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("words", sa.Text(), nullable=True),
        sa.Column("action", sa.String(length=8), nullable=True),
        sa.Column("reasons", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["mail_digest"], ["bounce_mail.digest"], name=op.f("fk_bounce_report_mail_digest")),
        sa.ForeignKeyConstraint(["recipient_id"], ["recipient.id"], name=op.f("fk_bounce_report_recipient_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounce_report")),
        sa.UniqueConstraint("mail_digest", "number", name=op.f("uq_bounce_report_mail_digest")),
    )
    op.create_index(op.f("ix_bounce_report_address_key"), "bounce_report", ["address_key"], unique=False)
    op.create_index(op.f("ix_bounce_report_recipient_id"), "bounce_report", ["recipient_id"], unique=False)
    op.create_table(
        "campaign_claim",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("address_key", sa.Text(), nullable=False),
        sa.Column("recipient_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["recipient_id"], ["recipient.id"], name=op.f("fk_campaign_claim_recipient_id")),
        sa.PrimaryKeyConstraint("campaign", "address_key", name=op.f("pk_campaign_claim")),
    )
    op.create_index(op.f("ix_campaign_claim_recipient_id"), "campaign_claim", ["recipient_id"], unique=False)


def downgrade() -> None:
    op.drop_table("campaign_claim")
    op.drop_table("bounce_report")
    op.drop_table("attempt")
    op.drop_table("recipient")
    op.drop_table("list_change")
    op.drop_table("submission")
    op.drop_table("queue")
    op.drop_table("list_entry")
    op.drop_table("follow_place")
    op.drop_table("counter")
    op.drop_table("bounce_mail")
