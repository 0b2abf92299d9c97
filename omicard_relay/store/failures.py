"""How often mail to an address failed: what suppress.toml counts, each mail of ours once.

However many lines and bounce mails tell of one mail, in whatever words and however late, it is one failure, at the moment
of the first of them: a bounce that comes ten thousand times counts once, and again weeks later not at all.
Not here: whether that is enough (services/suppression.py).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import Outcome, Road, Trust, address_key
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import attempt, bounce_mail, bounce_report, recipient, submission, suppression_due

__all__ = ["GIVEN_UP", "complaints", "failure_times", "sent_as", "tellings"]

#: Outcomes after which Postfix has given a recipient up.
GIVEN_UP = (Outcome.BOUNCED, Outcome.EXPIRED)

# Asked for every failure, so they are made once: making a statement costs as much as running it.
_OURS = sa.select(recipient.c.id).where(recipient.c.address_key == sa.bindparam("key"))
#: A mail that came back later was not delivered; an automatic answer or a complaint says that it was.
_LAST_DELIVERY = sa.select(sa.cast(sa.null(), sa.Integer), sa.func.max(attempt.c.time)).where(
    attempt.c.recipient_id.in_(
        _OURS.where(sa.or_(recipient.c.later_kind.is_(None), recipient.c.later_kind != Road.DSN))
    ),
    attempt.c.outcome == Outcome.SENT,
)
_SENDER, _KIND = sa.bindparam("sender", type_=sa.String), sa.bindparam("kind", type_=sa.String)
_AMONG = _OURS.join(submission).where(
    sa.or_(_SENDER.is_(None), sa.func.lower(submission.c.reverse_path).like(_SENDER, escape="/")),
    sa.or_(_KIND.is_(None), submission.c.kind == _KIND),
)
_HARD = (
    sa.select(attempt.c.recipient_id, sa.func.min(attempt.c.time).label("time"))
    .where(
        attempt.c.recipient_id.in_(_AMONG),
        attempt.c.bounce_code == sa.bindparam("bounce_code"),
        attempt.c.outcome.in_(GIVEN_UP),
    )
    .group_by(attempt.c.recipient_id)
)
#: Bounce mails count by when they came: their own dates are foreign.
_SOFT = (
    sa.select(bounce_report.c.recipient_id, sa.func.min(bounce_mail.c.received).label("time"))
    .join(bounce_mail)
    .where(
        bounce_report.c.recipient_id.in_(_AMONG),
        bounce_report.c.bounce_code == sa.bindparam("bounce_code"),
        bounce_report.c.is_echo.is_(False),
        bounce_report.c.trust == Trust.PROVEN,
    )
    .group_by(bounce_report.c.recipient_id)
)
_TIMES = sa.union_all(_HARD, _SOFT, _LAST_DELIVERY)
_LINES = sa.select(sa.func.count()).where(
    attempt.c.recipient_id == sa.bindparam("own"),
    attempt.c.bounce_code == sa.bindparam("bounce_code"),
    attempt.c.outcome.in_(GIVEN_UP),
    ~sa.exists().where(suppression_due.c.attempt_id == attempt.c.id),
)
_STATEMENTS = sa.select(sa.func.count(bounce_report.c.id)).where(
    bounce_report.c.recipient_id == sa.bindparam("own"),
    bounce_report.c.trust == Trust.PROVEN,
    ~sa.exists().where(suppression_due.c.bounce_report_id == bounce_report.c.id),
)
_OF_CODE = _STATEMENTS.where(bounce_report.c.bounce_code == sa.bindparam("bounce_code"))
_TELLINGS = sa.select(_LINES.scalar_subquery() + _OF_CODE.scalar_subquery())
_COMPLAINTS = _STATEMENTS.where(
    bounce_report.c.road == Road.ARF, bounce_report.c.feedback_type.in_(sa.bindparam("types", expanding=True))
)
_SENT_AS = (
    sa.select(submission.c.reverse_path, submission.c.kind).join(recipient).where(recipient.c.id == sa.bindparam("own"))
)


def failure_times(
    tx: Tx,
    address: str,
    bounce_code: int,
    *,
    since: datetime,
    sender_domain: str | None = None,
    kind: str | None = None,
) -> list[datetime]:
    """When mail to this address failed with this code since then and since its last delivery, on proven evidence.

    One moment for each mail of ours, in order; with `sender_domain` or `kind`, of such mail alone. Echoes of our own
    Postfix do not count again.
    """
    key = address_key(address)
    sender = None
    if sender_domain is not None:
        # `_` and `%` stand for others in SQL.
        sender = "%@" + "".join(f"/{char}" if char in "/_%" else char for char in sender_domain.lower())
    named = {"key": key, "bounce_code": bounce_code, "sender": sender, "kind": kind}
    first: dict[int, datetime] = {}
    start = since
    for recipient_id, time in tx.execute(_TIMES, named):
        if recipient_id is not None:
            first[recipient_id] = min(time, first.get(recipient_id, time))
        elif time is not None:
            start = max(start, time)
    return sorted(time for time in first.values() if time >= start)


def tellings(tx: Tx, recipient_id: int, bounce_code: int) -> int:
    """By how many lines and statements that suppress.toml has looked at it was told that this mail failed so.

    One: it is told for the first time. An echo counts here, for it may have come before the line that it repeats.
    """
    return _number(tx, _TELLINGS, {"own": recipient_id, "bounce_code": bounce_code})


def complaints(tx: Tx, recipient_id: int, feedback_types: frozenset[str]) -> int:
    """The same for complaints of these types about this mail."""
    return _number(tx, _COMPLAINTS, {"own": recipient_id, "types": sorted(feedback_types)})


def sent_as(tx: Tx, recipient_id: int) -> tuple[str, str | None]:
    """The reverse-path that the client gave to this recipient's mail, and the kind of its campaign."""
    row = tx.execute(_SENT_AS, {"own": recipient_id}).one()
    return row.reverse_path, row.kind


def _number(tx: Tx, query: sa.Select[Any], named: Mapping[str, object]) -> int:
    return int(tx.execute(query, named).scalar_one())
