"""How much unproven bounce mail was kept lately: where the ingester's bound begins after a start.

Not here: the bound (services/ingest_flood.py), and the mails themselves (store/bounces.py).
"""

from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import Trust
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import bounce_mail

__all__ = ["OVER_BOUND", "unproven_since"]

#: The note of a mail of which only the start is kept: such mails fill no bound.
OVER_BOUND = "over the bound of unproven mails: only the start of its head is kept"


def unproven_since(tx: Tx, since: datetime) -> tuple[int, int]:
    """(mails, octets) that came since then, were not proven, and are kept whole. One walk over the index of `received`."""
    row = tx.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(bounce_mail.c.size), 0)).where(
            bounce_mail.c.received >= since,
            bounce_mail.c.trust != Trust.PROVEN,
            bounce_mail.c.notes != OVER_BOUND,
        )
    ).one()
    return int(row[0]), int(row[1])
