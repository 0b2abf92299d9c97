"""What is older than it may be goes: contents of mails, evidence, the history of lists. Page by page, oldest first.

A page is found without a lock, and deleted in one short transaction that looks again, so that a writer waits some ten
milliseconds at most. What refers to others goes before them; what was stopped half-way is found again.
Kept longer: what waits to be handed on; entries that hold, whose reason stays though the proof is gone; and who was first
with an address in a campaign that still runs, for he must not get it twice.
Not here: the order of the days, the lease and the rests between (services/housekeeping.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.mails import delete_contents
from omicard_relay.store.purge_steering import delete_steps
from omicard_relay.store.schema import (
    attempt,
    bounce_mail,
    bounce_report,
    campaign_claim,
    list_change,
    list_entry,
    queue,
    recipient,
    rejudgement,
    steering_decision,
    steering_step,
    submission,
    suppression_due,
)

__all__ = ["Cutoffs", "Part", "Place", "all_parts", "count_old", "delete_page", "find_page", "running_campaigns"]

Key = tuple[Any, ...]


class Part(StrEnum):
    """What is purged, in the order in which it must go."""

    CONTENTS = "mail_content"
    ATTEMPTS = "attempt"
    BOUNCES = "bounce_mail"
    SUBMISSIONS = "submission"
    QUEUE = "queue"
    STEPS = "steering_step"
    LISTS = "list_entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutoffs:
    """Before which moment each kind of thing is old; None: never."""

    contents: datetime | None = None
    evidence: datetime | None = None
    lists: datetime | None = None
    steering: datetime | None = None

    def of(self, part: Part) -> datetime | None:
        """That of a part."""
        if part is Part.CONTENTS:
            return self.contents
        if part is Part.STEPS:
            return self.steering
        return self.lists if part is Part.LISTS else self.evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a part has been looked through; a page that keeps some of its rows is not found again."""

    part: Part
    last: Key | None = None


def all_parts(cutoffs: Cutoffs) -> Iterator[tuple[Part, datetime]]:
    """The parts of which something may go, in order, with their moments."""
    for part in Part:
        before = cutoffs.of(part)
        if before is not None:
            yield part, before


def find_page(store: Store, place: Place, before: datetime, *, most: int) -> tuple[Place, list[Any]]:
    """The keys of the next old rows of a part, at most so many, and the place behind them; none at the end."""
    query, order = _old(place.part, before)
    if place.last is not None:
        query = query.where(
            sa.tuple_(*order)
            > sa.tuple_(*(sa.literal(value, one.type) for value, one in zip(place.last, order, strict=True)))
        )
    with store.read() as tx:
        rows = tx.execute(query.order_by(*order).limit(most)).all()
    if not rows:
        return place, []
    return replace(place, last=tuple(rows[-1])), [row[-1] for row in rows]


def delete_page(
    tx: Tx, part: Part, keys: list[Any], before: datetime, *, running: frozenset[str], now: datetime
) -> dict[str, int]:
    """Delete these rows, and what hangs on them, where they are still old; gives how many went, by table.

    `running` are the campaigns that still run (`running_campaigns`).
    """
    if part is Part.CONTENTS:
        return {"mail_content": delete_contents(tx, _still(tx, part, keys, before), now=now)}
    if part is Part.ATTEMPTS:
        return _delete_attempts(tx, keys)
    if part is Part.BOUNCES:
        return _delete_bounces(tx, _still(tx, part, keys, before), now)
    if part is Part.SUBMISSIONS:
        return _delete_submissions(tx, keys, before, running)
    if part is Part.STEPS:
        return delete_steps(tx, keys, before)
    if part is Part.QUEUE:
        return {"queue": _delete(tx, queue, queue.c.queue_id.in_(keys), queue.c.seen < before)}
    return _delete_entries(tx, _still(tx, part, keys, before))


def count_old(store: Store, cutoffs: Cutoffs) -> dict[str, int]:
    """How many rows would go, by table."""
    found: dict[str, int] = {}
    evidence = cutoffs.evidence
    with store.read() as tx:
        for part in Part:
            before = cutoffs.of(part)
            if before is None or part is Part.SUBMISSIONS:
                continue
            query = _old(part, before)[0]
            found[part.value] = _number(tx, sa.select(sa.func.count()).select_from(query.subquery()))
        if cutoffs.lists is not None:
            of_old = list_change.c.entry_id.in_(sa.select(list_entry.c.id).where(_is_over(cutoffs.lists)))
            found["list_change"] = _number(tx, sa.select(sa.func.count()).select_from(list_change).where(of_old))
        if evidence is not None:
            reports = sa.select(bounce_report.c.id).join(bounce_mail).where(_is_old_mail(evidence))
            found["bounce_report"] = _number(tx, sa.select(sa.func.count()).select_from(reports.subquery()))
            later = sa.exists().where(attempt.c.recipient_id == recipient.c.id, attempt.c.time >= evidence)
            told = (
                sa.exists()
                .where(bounce_report.c.recipient_id == recipient.c.id)
                .where(bounce_mail.c.digest == bounce_report.c.mail_digest, ~_is_old_mail(evidence))
            )
            newer = sa.alias(submission)
            running = sa.select(newer.c.campaign).where(newer.c.received >= evidence, newer.c.campaign.is_not(None))
            people = _old_people(evidence, running).where(~later, ~told)
            found["recipient"] = _number(tx, sa.select(sa.func.count()).select_from(people.subquery()))
            kept = sa.exists().where(
                recipient.c.submission_id == submission.c.id, recipient.c.id.not_in(people.correlate(None))
            )
            mails = sa.select(submission.c.id).where(submission.c.received < evidence, ~kept)
            found[Part.SUBMISSIONS.value] = _number(tx, sa.select(sa.func.count()).select_from(mails.subquery()))
    return {name: count for name, count in found.items() if count}


def running_campaigns(tx: Tx, before: datetime) -> frozenset[str]:
    """The campaigns of which a mail came at that moment or later."""
    newest = sa.select(submission.c.campaign).where(submission.c.received >= before, submission.c.campaign.is_not(None))
    return frozenset(tx.execute(newest.distinct()).scalars())


def _old(part: Part, before: datetime) -> tuple[sa.Select[Any], list[sa.ColumnElement[Any]]]:
    """The old rows of a part as (time, key) or (key,), and by what they are ordered: an index where there is one."""
    if part is Part.CONTENTS:
        order: list[sa.ColumnElement[Any]] = [bounce_mail.c.received, bounce_mail.c.digest]
        condition = sa.and_(_is_old_mail(before), bounce_mail.c.content_digest.is_not(None))
    elif part is Part.ATTEMPTS:
        order, condition = [attempt.c.time, attempt.c.id], attempt.c.time < before
    elif part is Part.BOUNCES:
        order, condition = [bounce_mail.c.received, bounce_mail.c.digest], _is_old_mail(before)
    elif part is Part.SUBMISSIONS:
        order, condition = [submission.c.received, submission.c.id], submission.c.received < before
    elif part is Part.STEPS:
        order, condition = [steering_step.c.time, steering_step.c.id], steering_step.c.time < before
    elif part is Part.QUEUE:
        order, condition = [queue.c.queue_id], queue.c.seen < before
    else:
        order, condition = [list_entry.c.id], _is_over(before)
    return sa.select(*order).where(condition), order


def _is_old_mail(before: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(bounce_mail.c.received < before, bounce_mail.c.hand_on_after.is_(None))


def _is_over(before: datetime) -> sa.ColumnElement[bool]:
    """An entry that was taken off, or ran out, before that moment."""
    return sa.or_(list_entry.c.removed < before, list_entry.c.expires < before)


def _old_people(before: datetime, running: sa.Select[Any] | list[str]) -> sa.Select[Any]:
    """Recipients of old mails with whom nothing happened since, and who are not who was first in a running campaign."""
    claims = sa.exists().where(campaign_claim.c.recipient_id == recipient.c.id, campaign_claim.c.campaign.in_(running))
    return (
        sa.select(recipient.c.id)
        .join(submission)
        .where(submission.c.received < before, recipient.c.state_since < before, ~claims)
    )


def _still(tx: Tx, part: Part, keys: list[Any], before: datetime) -> list[Any]:
    """Those of the keys that are old now."""
    query, order = _old(part, before)
    return [row[-1] for row in tx.execute(query.where(order[-1].in_(keys)))]


def _delete_attempts(tx: Tx, ids: list[int]) -> dict[str, int]:
    return {
        "rejudgement": _delete(tx, rejudgement, rejudgement.c.attempt_id.in_(ids)),
        "suppression_due": _delete(tx, suppression_due, suppression_due.c.attempt_id.in_(ids)),
        "steering_decision": _delete(tx, steering_decision, steering_decision.c.attempt_id.in_(ids)),
        "attempt": _delete(tx, attempt, attempt.c.id.in_(ids)),
    }


def _delete_bounces(tx: Tx, digests: list[str], now: datetime) -> dict[str, int]:
    told = sa.select(bounce_report.c.id).where(bounce_report.c.mail_digest.in_(digests))
    return {
        "mail_content": delete_contents(tx, digests, now=now),
        "rejudgement": _delete(tx, rejudgement, rejudgement.c.bounce_report_id.in_(told)),
        "suppression_due": _delete(tx, suppression_due, suppression_due.c.bounce_report_id.in_(told)),
        "bounce_report": _delete(tx, bounce_report, bounce_report.c.mail_digest.in_(digests)),
        "bounce_mail": _delete(tx, bounce_mail, bounce_mail.c.digest.in_(digests)),
    }


def _delete_submissions(tx: Tx, ids: list[str], before: datetime, running: frozenset[str]) -> dict[str, int]:
    told_of = sa.or_(
        sa.exists().where(attempt.c.recipient_id == recipient.c.id),
        sa.exists().where(bounce_report.c.recipient_id == recipient.c.id),
    )
    # Of all that run, those of this page: there may be as many as mails.
    campaigns = set(tx.execute(sa.select(submission.c.campaign).where(submission.c.id.in_(ids))).scalars())
    people = list(
        tx.execute(_old_people(before, sorted(running & campaigns)).where(submission.c.id.in_(ids), ~told_of)).scalars()
    )
    found = {"campaign_claim": 0, "recipient": 0}
    for start in range(
        0, len(people), 500
    ):  # a mail may have a thousand; databases bound the parameters of a statement
        some = people[start : start + 500]
        found["campaign_claim"] += _delete(tx, campaign_claim, campaign_claim.c.recipient_id.in_(some))
        found["recipient"] += _delete(tx, recipient, recipient.c.id.in_(some))
    is_empty = ~sa.exists().where(recipient.c.submission_id == submission.c.id)
    found["submission"] = _delete(tx, submission, submission.c.id.in_(ids), submission.c.received < before, is_empty)
    return found


def _delete_entries(tx: Tx, ids: list[int]) -> dict[str, int]:
    return {
        "list_change": _delete(tx, list_change, list_change.c.entry_id.in_(ids)),
        "list_entry": _delete(tx, list_entry, list_entry.c.id.in_(ids)),
    }


def _delete(tx: Tx, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
    return int(tx.execute(table.delete().where(*conditions)).rowcount)


def _number(tx: Tx, query: sa.Select[Any]) -> int:
    return int(tx.execute(query).scalar_one())
