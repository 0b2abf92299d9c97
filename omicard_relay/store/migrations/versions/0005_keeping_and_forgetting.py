"""Contents of bounce mails stand once and can be deleted; who was forgotten; which work one process does for all."""

import hashlib
import zlib

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

#: Mails whose contents are in memory at once.
_PAGE = 50


def upgrade() -> None:
    op.create_table(
        "mail_content",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_mail_content")),
    )
    # In words: SQLite adds a column together with its reference only so, and PostgreSQL reads the same.
    op.execute(
        "ALTER TABLE bounce_mail ADD COLUMN content_digest VARCHAR(64) "
        "CONSTRAINT fk_bounce_mail_content_digest REFERENCES mail_content (digest)"
    )
    op.add_column("bounce_mail", sa.Column("content_deleted", sa.DateTime(), nullable=True))
    _move_contents()
    op.drop_column("bounce_mail", "raw")
    op.create_index(op.f("ix_bounce_mail_content_digest"), "bounce_mail", ["content_digest"], unique=False)
    op.create_index(op.f("ix_submission_received"), "submission", ["received"], unique=False)
    op.create_table(
        "forgetting",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("contents", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forgetting")),
    )
    op.create_index(op.f("ix_forgetting_value"), "forgetting", ["value"], unique=False)
    op.create_table(
        "housekeeping",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("until", sa.DateTime(), nullable=True),
        sa.Column("done", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_housekeeping")),
    )


def downgrade() -> None:
    op.drop_table("housekeeping")
    op.drop_table("forgetting")
    op.drop_index(op.f("ix_submission_received"), table_name="submission")
    connection = op.get_bind()
    # What was deleted comes back as an empty mail.
    op.add_column("bounce_mail", sa.Column("raw", sa.LargeBinary(), nullable=True))
    connection.execute(
        sa.text(
            "UPDATE bounce_mail SET raw = COALESCE("
            "(SELECT c.raw FROM mail_content c WHERE c.digest = bounce_mail.content_digest), :empty)"
        ),
        {"empty": zlib.compress(b"")},
    )
    op.drop_index(op.f("ix_bounce_mail_content_digest"), table_name="bounce_mail")
    if connection.dialect.name == "sqlite":
        _rebuild_without_content(connection)
    else:
        op.drop_column("bounce_mail", "content_digest")
        op.drop_column("bounce_mail", "content_deleted")
        op.alter_column("bounce_mail", "raw", nullable=False)
    op.drop_table("mail_content")


def _move_contents() -> None:
    """Each mail's content to its own table, the same one once; mail by mail, for all of them may be many gigabytes."""
    connection = op.get_bind()
    mails = sa.table("bounce_mail", *map(sa.column, ("digest", "raw", "size", "content_digest")))
    contents = sa.table("mail_content", *map(sa.column, ("digest", "raw", "size")))
    last = ""
    while True:
        page = connection.execute(
            sa.select(mails.c.digest, mails.c.raw, mails.c.size)
            .where(mails.c.digest > last)
            .order_by(mails.c.digest)
            .limit(_PAGE)
        ).all()
        if not page:
            return
        for row in page:
            try:
                raw = zlib.decompress(row.raw)
            except zlib.error:  # damaged, and left as it is
                raw = row.raw
            digest = hashlib.sha256(raw.replace(b"\r\n", b"\n")).hexdigest()
            known = sa.select(contents.c.digest).where(contents.c.digest == digest)
            if connection.execute(known).first() is None:
                connection.execute(contents.insert().values(digest=digest, raw=row.raw, size=len(raw)))
            connection.execute(mails.update().where(mails.c.digest == row.digest).values(content_digest=digest))
        last = page[-1].digest


def _rebuild_without_content(connection: sa.Connection) -> None:
    """SQLite drops no column that refers to another table: the table is made anew, under the reports that refer to it."""
    # What a report refers to is away in between; it has to be there at the end of the transaction only.
    op.execute("PRAGMA defer_foreign_keys=ON")
    columns = [
        column["name"]
        for column in sa.inspect(connection).get_columns("bounce_mail")
        if column["name"] not in ("content_digest", "content_deleted")
    ]
    names = ", ".join(columns)
    op.execute(f"CREATE TABLE kept_mail AS SELECT {names} FROM bounce_mail")  # noqa: S608 - names of our own columns
    op.drop_table("bounce_mail")
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
        sa.Column("own_queue_id", sa.String(length=32), nullable=True),
        sa.Column("hand_on_after", sa.DateTime(), nullable=True),
        sa.Column("handed_on", sa.DateTime(), nullable=True),
        sa.Column("hand_on_tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("hand_on_note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_bounce_mail")),
    )
    op.create_index(op.f("ix_bounce_mail_received"), "bounce_mail", ["received"], unique=False)
    op.create_index(op.f("ix_bounce_mail_hand_on_after"), "bounce_mail", ["hand_on_after"], unique=False)
    op.execute(f"INSERT INTO bounce_mail ({names}) SELECT {names} FROM kept_mail")  # noqa: S608
    op.drop_table("kept_mail")
