"""How much unproven bounce mail was kept lately: where the ingester's bound begins after a start.

Not here: the bound (services/ingest_flood.py), and the mails themselves (store/bounces.py).
"""

from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import Trust
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import bounce_mail

__all__ = ["CONTENT_LEFT_OUT", "OVER_BOUND", "come_to", "unproven_since"]

#: The note of a mail of which only the start is kept: such mails fill no bound.
OVER_BOUND = "over the bound of unproven mails: only the start of its head is kept"


#: The note of a proven mail whose statements alone are kept.
CONTENT_LEFT_OUT = "over the octets of one token: its statements and the start of its head are kept"
#: A null reverse-path as it comes here.
_NULL = ("", "<>", "MAILER-DAEMON")


def come_to(tx: Tx, envelope_recipient: str) -> tuple[int, int]:
    """(mails, octets) that have come to this address and are not purged, by an index."""
    row = tx.execute(_COME_TO, {"to": envelope_recipient}).one()
    return int(row[0]), int(row[1])


def unproven_since(tx: Tx, since: datetime, *, is_null: bool) -> tuple[int, int]:
    """(mails, octets) that came since then, were not proven, and are kept whole: those with a null reverse-path or the others.

    One walk over the index of `received`.
    """
    row = tx.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(bounce_mail.c.size), 0)).where(
            bounce_mail.c.received >= since,
            (sa.func.upper(bounce_mail.c.sender).in_(_NULL)).is_(is_null),
            bounce_mail.c.trust != Trust.PROVEN,
            bounce_mail.c.notes != OVER_BOUND,
        )
    ).one()
    return int(row[0]), int(row[1])


_COME_TO = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(bounce_mail.c.size), 0)).where(
    bounce_mail.c.envelope_recipient == sa.bindparam("to")
)
