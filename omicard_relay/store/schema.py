"""The tables. docs/store.md has the picture; migrations/ makes and changes them, never this module by itself.

Times are aware UTC in, aware UTC out (`Moment`). Addresses stand twice: as they were written, and as `address_key`, by
which everything is looked up.
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
from omicard_relay.store.schema_places import follow_place, housekeeping, import_done, import_place
from omicard_relay.store.schema_steering import (
    steering_counts,
    steering_decision,
    steering_policy,
    steering_snapshot,
    steering_step,
)

__all__ = [
    "SCHEMA_VERSION",
    "attempt",
    "bounce_mail",
    "bounce_report",
    "campaign_claim",
    "counter",
    "follow_place",
    "forgetting",
    "housekeeping",
    "import_done",
    "import_place",
    "list_change",
    "list_entry",
    "mail_content",
    "metadata",
    "queue",
    "recipient",
    "rejudgement",
    "rule_release",
    "steering_counts",
    "steering_decision",
    "steering_policy",
    "steering_snapshot",
    "steering_step",
    "submission",
    "suppression_due",
]

#: The newest migration; tests/store/test_migrations.py holds that it is Alembic's head.
SCHEMA_VERSION = "0007"


#: One mail that a client brought, as far as the relay saw it.
submission = Table(
    "submission",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", String(64), index=True),  # SHA-256 of reverse-path and content: names a client's second try
    Column("received", Moment, nullable=False, index=True),
    Column("answered", Moment),  # when the client was told 250; until then the same digest is the same mail
    Column("way", String(8), nullable=False),  # direct | filter
    Column("client_ip", String(45)),
    Column("client_name", String(255)),
    Column("login", String(255)),
    Column("reverse_path", Text, nullable=False),
    Column("message_id", Text, index=True),
    Column("subject", Text),
    Column("campaign", Text, index=True),
    Column("kind", String(32)),  # of the campaign: marketing, transactional, …; null: written before kinds were
    Column("envid", Text),
    Column("size", Integer),
    Column("first_queue_id", String(32), index=True),  # before re-injection: XFORWARD IDENT
)

#: One recipient of one submission, and where it stands now.
recipient = Table(
    "recipient",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("submission_id", ForeignKey("submission.id"), nullable=False, index=True),
    Column("address", Text, nullable=False),
    Column("address_key", Text, nullable=False, index=True),
    Column("state", String(16), nullable=False, index=True),
    Column("state_since", Moment, nullable=False),
    Column("reverse_path", Text),  # as sent; lower case, so that a bounce finds it
    Column("hand_over", String(40), index=True),  # our IDENT towards Postfix
    Column("relay_run", String(32)),  # which run of the relay began the hand-over
    Column("queue_id", String(32), index=True),
    Column("drop_step", String(32)),
    Column("bounce_code", Integer),
    Column("rule_id", String(80)),
    Column("action", String(8)),
    Column("detail", Text),  # the reply, or the reason of the drop
    Column("stage", String(16)),
    Column("delivered", Moment),
    Column("later_code", Integer),  # what came back after delivery
    Column("later_kind", String(16)),
    Column("attempts", Integer, nullable=False, default=0),
    Index("ix_recipient_reverse_path", "reverse_path"),
)

#: Who was first with an address in a campaign: the duplicate check, atomic by its key.
campaign_claim = Table(
    "campaign_claim",
    metadata,
    Column("campaign", Text, primary_key=True),
    Column("address_key", Text, primary_key=True),
    Column("recipient_id", ForeignKey("recipient.id"), nullable=False, index=True),
)

#: One delivery line of Postfix's log, with the whole reply and our verdict.
attempt = Table(
    "attempt",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_digest", String(64), nullable=False, unique=True),
    Column("time", Moment, nullable=False, index=True),
    Column("queue_id", String(40), nullable=False),
    Column("address", Text, nullable=False),
    Column("address_key", Text, nullable=False, index=True),
    Column("original_key", Text),  # of `orig_to=`, where an alias changed the address
    Column("recipient_id", ForeignKey("recipient.id"), index=True),
    Column("number", Integer, nullable=False, default=0),  # from 1; 0 where no attempt was made
    Column("outcome", String(16), nullable=False),
    Column("is_attempt", Boolean, nullable=False),
    Column("is_hop", Boolean, nullable=False, default=False),  # Postfix's hand-over to our own content filter
    Column("program", String(32), nullable=False),
    Column("sender", Text),
    Column("relay_host", Text),
    Column("relay_ip", String(45)),
    Column("relay_port", Integer),
    Column("delay", Float),
    Column("delays", String(64)),
    Column("enhanced_status", String(16)),
    Column("reply_code", Integer),
    Column("stage", String(16)),
    Column("reply", Text, nullable=False),
    Column("bounce_code", Integer),
    Column("rule_id", String(80)),
    Column("confidence", Float),
    Column("words", Text),
    Column("action", String(8)),
    Column("reasons", Text),
    Column("rules_release", Integer),  # which release of the rules judged it; null: none had been published
    Column("transport", String(64)),  # which entry of master.cf sent it: `ip1-s3`; null: plain `smtp`
    Column("machine", String(255)),  # on which host
    Index("ix_attempt_queue_id", "queue_id", "address_key"),
)

#: What the log tells of a queue id: how a mail in doubt is found again, and how two queue ids are joined.
queue = Table(
    "queue",
    metadata,
    Column("queue_id", String(32), primary_key=True),
    Column("seen", Moment, nullable=False),
    Column("message_id", Text, index=True),
    Column("sender", Text, index=True),
    Column("orig_queue_id", String(40), index=True),
    Column("active", Moment),
    Column("removed", Moment),
    Column("notice_of", String(32)),  # this queue id carries the bounce of that one
)

#: The content of a mail to the return path, once, whoever it came for.
mail_content = Table(
    "mail_content",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the content with LF as line end
    Column("raw", LargeBinary, nullable=False),  # zlib
    Column("size", Integer, nullable=False),  # octets before that
)

#: One mail to the return path; its content is in `mail_content` until that is deleted.
bounce_mail = Table(
    "bounce_mail",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("received", Moment, nullable=False, index=True),
    Column("last_seen", Moment, nullable=False),
    Column("times_seen", Integer, nullable=False, default=1),
    Column("kind", String(16), nullable=False),
    Column("size", Integer, nullable=False),
    Column("sender", Text, nullable=False),
    Column("envelope_recipient", Text, nullable=False, index=True),
    Column("message_id", Text),
    Column("own_queue_id", String(32)),  # under which our own Postfix made it, as its topmost trace line says
    Column("trust", String(16), nullable=False),
    Column("trust_reason", Text, nullable=False),
    Column("notes", Text, nullable=False, default=""),
    Column("content_digest", ForeignKey("mail_content.digest"), index=True),  # null: deleted, by age or by `db forget`
    Column("content_deleted", Moment),
    Column("hand_on_after", Moment, index=True),  # waits to be handed on, not before; null: nothing is to be done
    Column("handed_on", Moment),
    Column("hand_on_tries", Integer, nullable=False, default=0, server_default="0"),
    Column("hand_on_note", Text),  # where it went, or why not yet, or why never
)

#: One statement of a bounce mail about one recipient.
bounce_report = Table(
    "bounce_report",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mail_digest", ForeignKey("bounce_mail.digest"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("time", Moment, nullable=False),
    Column("road", String(16), nullable=False),
    Column("address", Text, nullable=False),
    Column("address_key", Text, nullable=False, index=True),
    Column("original_address", Text, nullable=False, default=""),
    Column("recipient_id", ForeignKey("recipient.id"), index=True),
    Column("queue_id", Text, index=True),  # of the Postfix that reports, as the report says
    Column("is_echo", Boolean, nullable=False, default=False),  # our own Postfix repeats what its log told
    Column("trust", String(16), nullable=False),  # a proven mail may also claim things of others
    Column("dsn_action", String(16)),
    Column("enhanced_status", String(16)),
    Column("reply_code", Integer),
    Column("stage", String(16)),
    Column("remote_mta", Text),
    Column("reply", Text, nullable=False, default=""),
    Column("feedback_type", String(32)),
    Column("new_address", Text),
    Column("bounce_code", Integer),
    Column("rule_id", String(80)),
    Column("confidence", Float),
    Column("words", Text),
    Column("action", String(8)),
    Column("reasons", Text),
    Column("rules_release", Integer),
    UniqueConstraint("mail_digest", "number"),
)

#: The lists; an entry that was taken off stays, with `removed`.
list_entry = Table(
    "list_entry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("list_name", String(16), nullable=False),
    Column("value", Text, nullable=False),
    Column("scope", Text, nullable=False, default="all"),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("bounce_code", Integer),
    Column("created", Moment, nullable=False),
    Column("created_by", Text, nullable=False, default=""),
    Column("happened", Moment),  # when the failure was that proved it; null: put there by hand
    Column("expires", Moment),
    Column("removed", Moment),
    Index("ix_list_entry_value", "value", "list_name"),
)

#: Who changed which list entry, when, and how to undo it.
list_change = Table(
    "list_change",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", String(8), nullable=False),  # add | remove
    Column("entry_id", ForeignKey("list_entry.id"), nullable=False, index=True),
    Column("note", Text, nullable=False, default=""),
)

#: Proven failures and deliveries that suppress.toml has still to look at; each row goes in the transaction that does it.
suppression_due = Table(
    "suppression_due",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("attempt_id", ForeignKey("attempt.id", ondelete="CASCADE"), unique=True),  # this one or the other
    Column("bounce_report_id", ForeignKey("bounce_report.id", ondelete="CASCADE"), unique=True),
    Column("not_before", Moment),  # put aside until then, after a fault of our own
)

#: Things that are only counted, such as forged bounces.
counter = Table(
    "counter",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Integer, nullable=False, default=0),
)

#: The published sets of rules, oldest first; a row is never changed. A number is taken once, by its key.
rule_release = Table(
    "rule_release",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("created", Moment, nullable=False),
    Column("author", Text, nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("kind", String(16), nullable=False),  # publish | rollback | upgrade
    Column("rollback_of", Integer),  # whose files these are; 0: none, the shipped tables alone
    Column("digest", String(64), nullable=False),  # of the files
    Column("shipped_digest", String(64), nullable=False),  # of the tables in the program that wrote this row
    Column("files", LargeBinary, nullable=False),  # {path: text} as JSON, zlib
)

#: A stored reply that was judged again with another verdict: both of them. The reply's own row has the newest.
rejudgement = Table(
    "rejudgement",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("attempt_id", ForeignKey("attempt.id"), index=True),  # this one or the other
    Column("bounce_report_id", ForeignKey("bounce_report.id"), index=True),
    Column("time", Moment, nullable=False),
    *(
        Column(f"{which}_{name}", kind)
        for which in ("old", "new")
        for name, kind in (
            ("release", Integer),
            ("bounce_code", Integer),
            ("rule_id", String(80)),
            ("confidence", Float),
            ("words", Text),
            ("action", String(8)),
            ("reasons", Text),
        )
    ),
)

#: Who was forgotten when: the address stands here as its keyed digest alone.
forgetting = Table(
    "forgetting",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("who", Text, nullable=False),
    Column("value", Text, nullable=False, index=True),  # as in list_entry: `hmac:` and the digest
    Column("key_id", String(16), nullable=False),  # of the key that made it: another one finds nobody
    Column("changed", Integer, nullable=False),  # rows that were changed
    Column("contents", Integer, nullable=False),  # mails whose content was deleted
)
