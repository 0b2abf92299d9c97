"""The notices of our own Postfix prove themselves, though no token came with them (invariant 3).

A bounce mail that our own Postfix made is known by what nobody can write from outside: the topmost trace line of a mail is
Postfix's own and has the mail's queue id N; the log that we follow says that N is a notice about the mail Q; the report
names Q; and the recipient that it names is one of ours under Q. The log and the mail come in any order: whoever is second
applies it.
Known limits: whoever can hand a mail to the ingester past Postfix, on this machine, can write the trace line himself, but
must know a notice's queue id; a short queue id is used again within seconds (enable_long_queue_ids).
"""

import sqlalchemy as sa

from omicard_relay.mail import Road, Trust, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.fates import find_recipient, fold_reports, owe_report
from omicard_relay.store.schema import bounce_mail, bounce_report, queue

__all__ = ["prove_notices"]

_CLAIMED = (
    sa.select(bounce_report, bounce_mail.c.own_queue_id, bounce_mail.c.trust.label("mail_trust"))
    .join(bounce_mail)
    .join(queue, queue.c.queue_id == bounce_mail.c.own_queue_id)
    .where(
        bounce_report.c.queue_id == sa.bindparam("queue"),
        queue.c.notice_of == sa.bindparam("queue"),
        bounce_report.c.trust == Trust.CLAIMED,
        bounce_report.c.road == Road.DSN,
    )
    .order_by(bounce_report.c.id)
)


def prove_notices(tx: Tx, queue_id: str) -> set[int]:
    """Make the claimed reports about this mail of ours proven, as far as log and recipients show that they are our Postfix's.

    Gives the recipients of whom they speak.
    """
    spoken_of = set[int]()
    for row in tx.execute(_CLAIMED, {"queue": queue_id}).all():
        original = address_key(row.original_address) if row.original_address else row.address_key
        ours = find_recipient(tx, queue_id, row.address_key, original)
        if ours is None:
            continue
        told = bounce_report.update().where(bounce_report.c.id == row.id)
        tx.execute(told.values(trust=Trust.PROVEN, recipient_id=ours.recipient_id))
        owe_report(tx, row.id, dsn_action=row.dsn_action, bounce_code=row.bounce_code)
        if row.mail_trust != Trust.PROVEN:
            reason = f"our own Postfix made it: its log names {row.own_queue_id} as the notice about {queue_id}"
            mail = bounce_mail.update().where(bounce_mail.c.digest == row.mail_digest)
            tx.execute(mail.values(trust=Trust.PROVEN, trust_reason=reason))
        fold_reports(tx, ours.recipient_id)
        spoken_of.add(ours.recipient_id)
    return spoken_of
