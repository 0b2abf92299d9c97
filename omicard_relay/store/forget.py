"""One address is forgotten: in the lists its keyed digest stays, in the evidence a name made of it, all else of it goes.

Rows that figures are counted from stay, with code, rule, times and servers; their texts go whole, for a reply may name a
person in more ways than by the address. Other rows that mention the address keep all but that. Each step is one short
transaction and finds what is left, so that a run that was stopped is taken up by the next one.
A recipient that a client may still bring again (no 250 was recorded for it) is left as it is: without its address the
second try would be a second mail (invariant 1).
Not here: the key (services/forgetkey.py), files, and the order of the steps (services/forgetting.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from omicard_relay.mail import RecipientState
from omicard_relay.steering.values import thread_of
from omicard_relay.store.engine import Tx
from omicard_relay.store.hidden import GHOST, Hider
from omicard_relay.store.mails import delete_contents
from omicard_relay.store.priors import RETRY_WINDOW
from omicard_relay.store.schema import (
    attempt,
    bounce_mail,
    bounce_report,
    campaign_claim,
    forgetting,
    list_change,
    list_entry,
    recipient,
    rejudgement,
    steering_decision,
    submission,
    suppression_due,
)
from omicard_relay.store.steering import rename_thread

__all__ = [
    "Known",
    "add_forgetting",
    "erase_contents",
    "find_forgetting",
    "find_known",
    "forget_evidence",
    "forget_lists",
    "keys_used",
    "note_amounts",
]

#: Recipients, or rows without one, that are changed in one transaction: some ten milliseconds.
_BATCH = 50
#: What takes the place of a reason that somebody wrote about the address.
_REASON = "forgotten"
_IN_QUEUE = (RecipientState.QUEUED, RecipientState.RESTING)
_MAY_BE_IN_POSTFIX = (RecipientState.HANDING_OVER, *_IN_QUEUE, RecipientState.DELIVERED, RecipientState.RETURNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known under an address: numbers of rows. `waiting`: recipients that have to keep it for now, of `recipients`;
    `under_way`: those that Postfix still has."""

    recipients: int = 0
    attempts: int = 0
    reports: int = 0
    entries: int = 0
    waiting: int = 0
    under_way: int = 0

    @property
    def is_nothing(self) -> bool:
        """Whether no row is about it."""
        return not (self.recipients or self.attempts or self.reports or self.entries)


def find_known(tx: Tx, key: str, *, now: datetime) -> Known:
    """What is known of an address key; rows that only mention it are not among it."""
    ours = recipient.c.address_key == key
    own = sa.select(recipient.c.id).where(ours)
    return Known(
        recipients=_count(tx, recipient, ours),
        attempts=_count(tx, attempt, sa.or_(attempt.c.address_key == key, attempt.c.recipient_id.in_(own))),
        reports=_count(tx, bounce_report, _is_report_of(key, own)),
        entries=_count(tx, list_entry, list_entry.c.value == key),
        waiting=_count(tx, recipient, ours, _may_come_again(now)),
        under_way=_count(tx, recipient, ours, recipient.c.state.in_(_IN_QUEUE)),
    )


def find_forgetting(tx: Tx, hidden: str) -> datetime | None:
    """When this address was forgotten last; None: never, by this key."""
    found: datetime | None = tx.execute(
        sa.select(sa.func.max(forgetting.c.time)).where(forgetting.c.value == hidden)
    ).scalar()
    return found


def keys_used(tx: Tx) -> set[str]:
    """The ids of the keys by which addresses were forgotten that still stand in the lists; empty: none does."""
    is_listed = sa.exists().where(list_entry.c.value == forgetting.c.value)
    return set(tx.execute(sa.select(forgetting.c.key_id).where(is_listed).distinct()).scalars())


def add_forgetting(tx: Tx, hider: Hider, key: str, *, who: str, now: datetime) -> int:
    """Write down that it is done; gives the row's id."""
    row = {"time": now, "who": who, "value": hider.hide(key), "key_id": hider.key_id, "changed": 0, "contents": 0}
    made = tx.execute(forgetting.insert().values(row)).inserted_primary_key
    assert made is not None  # noqa: S101  an insert of one row always has one
    return int(made[0])


def note_amounts(tx: Tx, forgetting_id: int, *, changed: int, contents: int) -> None:
    """How much it was, in the end."""
    tx.execute(forgetting.update().where(forgetting.c.id == forgetting_id).values(changed=changed, contents=contents))


def forget_lists(tx: Tx, hider: Hider, key: str) -> int:
    """The entries of an address take its digest, and lose what was written about it; gives how many."""
    rows = tx.execute(sa.select(list_entry.c.id, list_entry.c.reason).where(list_entry.c.value == key)).all()
    hidden = hider.hide(key)
    for row in rows:
        # `902 by rule-id: the words that decided`: what comes after the rule is of the mail.
        by_rule = row.reason.partition(":")[0]
        reason = by_rule if by_rule[:3].isdecimal() and by_rule[3:7] == " by " else _REASON
        tx.execute(list_entry.update().where(list_entry.c.id == row.id).values(value=hidden, reason=reason))
        tx.execute(
            list_change.update().where(list_change.c.entry_id == row.id, list_change.c.note != "").values(note="")
        )
    return len(rows)


def forget_evidence(tx: Tx, hider: Hider, key: str, *, now: datetime) -> dict[str, int]:
    """Some of the rows that are about an address lose it and their texts; gives how many by table, none at the end."""
    people = tx.execute(
        sa.select(recipient.c.id, recipient.c.submission_id)
        .where(recipient.c.address_key == key, ~_may_come_again(now))
        .limit(_BATCH)
    ).all()
    if people:
        return _forget_recipients(
            tx, hider, key, [row.id for row in people], {row.submission_id for row in people}, now
        )
    # What belongs to recipients that have to wait waits with them.
    lines = _ids(tx, attempt, attempt.c.address_key == key, attempt.c.recipient_id.is_(None))
    if lines:
        return {"attempt": _forget_attempts(tx, hider.ghost(key), key, lines)}
    waiting = sa.select(recipient.c.id).where(recipient.c.address_key == key)
    of_nobody = sa.or_(bounce_report.c.recipient_id.is_(None), bounce_report.c.recipient_id.not_in(waiting))
    told = _ids(tx, bounce_report, bounce_report.c.address_key == key, of_nobody)
    if told:
        return _forget_reports(tx, hider.ghost(key), told, now)
    lines = _ids(tx, attempt, attempt.c.address_key == key, attempt.c.recipient_id.not_in(waiting))
    return {"attempt": _forget_attempts(tx, hider.ghost(key), key, lines)} if lines else {}


def erase_contents(tx: Tx, mail_digests: Sequence[str], *, now: datetime) -> tuple[int, int]:
    """Delete what these mails hold, and what others hold that hold the same; gives the mails, and those that waited to be
    handed on: they never will be."""
    held = sa.select(bounce_mail.c.content_digest).where(bounce_mail.c.digest.in_(list(mail_digests)))
    meant = tx.execute(sa.select(bounce_mail.c.digest).where(bounce_mail.c.content_digest.in_(held))).scalars().all()
    waited = tx.execute(
        bounce_mail.update()
        .where(bounce_mail.c.digest.in_(meant), bounce_mail.c.hand_on_after.is_not(None))
        .values(hand_on_after=None, hand_on_note="forgotten before it was handed on")
    ).rowcount
    delete_contents(tx, meant, now=now)
    return len(meant), int(waited)


def _forget_recipients(
    tx: Tx, hider: Hider, key: str, ids: Sequence[int], mails: set[str], now: datetime
) -> dict[str, int]:
    ghost = hider.ghost(key)
    lines = _all_ids(tx, attempt, attempt.c.recipient_id.in_(ids))
    told = _all_ids(tx, bounce_report, bounce_report.c.recipient_id.in_(ids))
    done = {"recipient": len(ids)}
    tx.execute(
        campaign_claim.update()
        .where(campaign_claim.c.recipient_id.in_(ids), campaign_claim.c.address_key == key)
        .values(address_key=hider.hide(key))
    )
    tx.execute(recipient.update().where(recipient.c.id.in_(ids)).values(address=ghost, address_key=ghost, detail=None))
    if lines:
        done["attempt"] = _forget_attempts(tx, ghost, key, lines)
    if told:
        done |= _forget_reports(tx, ghost, told, now)
    # Of a mail that was for nobody else nothing stays that tells of a person; for others it is theirs, too.
    others = sa.exists().where(
        recipient.c.submission_id == submission.c.id, recipient.c.address_key.not_like(f"{GHOST}%")
    )
    gone = dict.fromkeys(("subject", "client_ip", "client_name", "login", "envid"))
    own = submission.update().where(submission.c.id.in_(mails), ~others).values(gone)
    done["submission"] = int(tx.execute(own).rowcount)
    return done


def _forget_attempts(tx: Tx, ghost: str, key: str, ids: Sequence[int]) -> int:
    _clear_judgements(tx, rejudgement.c.attempt_id, suppression_due.c.attempt_id, ids)
    lines = tx.execute(
        sa.select(attempt.c.queue_id, attempt.c.address_key).where(attempt.c.id.in_(ids)).distinct()
    ).all()
    rename_thread(tx, ((thread_of(row.queue_id, row.address_key), thread_of(row.queue_id, ghost)) for row in lines))
    tx.execute(steering_decision.delete().where(steering_decision.c.attempt_id.in_(ids)))
    original = sa.case((attempt.c.original_key.is_(None), None), else_=ghost)
    changed = tx.execute(
        attempt.update()
        .where(attempt.c.id.in_(ids))
        .values(address=ghost, address_key=ghost, original_key=original, reply="", words=None, reasons=None)
    )
    return int(changed.rowcount)


def _forget_reports(tx: Tx, ghost: str, ids: Sequence[int], now: datetime) -> dict[str, int]:
    _clear_judgements(tx, rejudgement.c.bounce_report_id, suppression_due.c.bounce_report_id, ids)
    mails = tx.execute(sa.select(bounce_report.c.mail_digest).where(bounce_report.c.id.in_(ids)).distinct())
    contents, waited = erase_contents(tx, mails.scalars().all(), now=now)
    gone: dict[str, object] = {"original_address": "", "new_address": None, "reply": "", "words": None, "reasons": None}
    tx.execute(
        bounce_report.update().where(bounce_report.c.id.in_(ids)).values(address=ghost, address_key=ghost, **gone)
    )
    return {"bounce_report": len(ids), "mail_content": contents, "waited": waited}


def _clear_judgements(
    tx: Tx, reread: sa.ColumnElement[int | None], due: sa.ColumnElement[int | None], ids: Sequence[int]
) -> None:
    """Earlier verdicts lose their words, and nothing waits for suppress.toml any more."""
    names = [f"{which}_{name}" for which in ("old", "new") for name in ("words", "reasons")]
    tx.execute(rejudgement.update().where(reread.in_(ids)).values(dict.fromkeys(names)))
    tx.execute(suppression_due.delete().where(due.in_(ids)))


def _is_report_of(key: str, own: sa.Select[tuple[int]]) -> sa.ColumnElement[bool]:
    return sa.or_(bounce_report.c.address_key == key, bounce_report.c.recipient_id.in_(own))


def _may_come_again(now: datetime) -> sa.ColumnElement[bool]:
    """Whether the client was not told 250 although Postfix may have it: by the address its next try is known."""
    unanswered = sa.exists().where(
        submission.c.id == recipient.c.submission_id,
        submission.c.answered.is_(None),
        submission.c.received > now - RETRY_WINDOW,
    )
    return sa.and_(recipient.c.state.in_(_MAY_BE_IN_POSTFIX), unanswered)


def _ids(tx: Tx, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> list[int]:
    return list(tx.execute(sa.select(table.c.id).where(*conditions).limit(_BATCH)).scalars())


def _all_ids(tx: Tx, table: sa.Table, condition: sa.ColumnElement[bool]) -> list[int]:
    return list(tx.execute(sa.select(table.c.id).where(condition)).scalars())


def _count(tx: Tx, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return int(tx.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one())
