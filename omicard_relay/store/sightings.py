"""Stored log lines and complaints as steering reads them: in the order of their ids, each once, none forgotten.

On PostgreSQL a transaction that took lower ids may commit behind one that took higher ones. So a reader remembers the
ids that were missing below what it has read, and asks for them for `GAP_SECONDS` more; what a conflict or a rollback
has used up never comes. A verdict is read as it was at a moment: `rules rejudge` changes a row, and `rejudgement`
tells what it was before. Not here: the provider's name (steering/providers.py), which the caller puts to it.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from omicard_relay.mail import Action, Outcome, Road, Trust, domain_of
from omicard_relay.steering.values import Seen, thread_of
from omicard_relay.store.engine import Tx
from omicard_relay.store.schema import attempt, bounce_report, rejudgement
from omicard_relay.wire.transports import read_transport

__all__ = [
    "GAP_SECONDS",
    "Complaint",
    "Line",
    "Look",
    "Reader",
    "complaints_of",
    "lines_of",
    "lines_since",
    "seen_of",
    "seen_of_complaint",
]

#: Longer than any transaction of a follower lasts: a batch of some hundred lines, and a lock that is waited for.
GAP_SECONDS = 60.0
#: Ids that are looked for below what was read; a jump of a sequence (a server that was killed) is not looked through.
_MOST_GAPS = 5_000
#: Characters of a reply that are read: as many as a return carries. In the first of them stands the host, where Postfix
#: tells it: `connect to mx.example[192.0.2.1]:25: …`.
_HEAD = 900
_HOST_IN = 300
_HOST = re.compile(r"\b(?:connect to|with|host) ([^\s\[\]]{1,255})\[[^\s\[\]]{1,60}\]")
_OWN_WORDS = re.compile(r"\[9[0-3][0-9]\] ")
_DELIVERIES = (Outcome.SENT, Outcome.DEFERRED, Outcome.BOUNCED)
_ENDS = (Outcome.SENT, Outcome.BOUNCED, Outcome.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One stored line; `head` is the beginning of its reply."""

    id: int
    time: datetime
    queue_id: str
    address: str
    address_key: str
    outcome: Outcome
    is_attempt: bool
    is_hop: bool
    program: str
    transport: str
    machine: str
    relay_host: str
    delay: float
    code: int | None
    rule_id: str
    action: Action | None
    reply_code: int
    enhanced_status: str
    head: str

    @property
    def thread(self) -> str:
        """The name of this recipient of this mail."""
        return thread_of(self.queue_id, self.address_key)

    def is_of(self, names: Collection[str]) -> bool:
        """Whether it is of the machine of these names; one without a dot stands for the whole name, too."""
        return self.machine in names or self.machine.partition(".")[0] in names

    @property
    def is_evidence(self) -> bool:
        """Whether something is learned from it: smtp(8) spoke, or tried to speak, with a server of others."""
        return self.is_attempt and not self.is_hop and self.program == "smtp" and self.outcome in _DELIVERIES

    @property
    def is_rest(self) -> bool:
        """Whether Postfix repeated our own words: the exceptions table let this mail rest."""
        return (
            self.program in ("error", "retry")
            and self.outcome is Outcome.DEFERRED
            and _OWN_WORDS.match(self.head) is not None
        )

    @property
    def is_end(self) -> bool:
        """Whether this recipient has its fate."""
        return self.outcome in _ENDS and not self.is_hop

    @property
    def host(self) -> str:
        """The server that was spoken with, or tried; "" where none was found, as after a failed look-up in the DNS."""
        if self.relay_host and not self.relay_host.startswith("/"):
            return self.relay_host.partition("[")[0].lower().rstrip(".")
        found = _HOST.search(self.head[:_HOST_IN])
        return found[1].lower().rstrip(".") if found else ""

    @property
    def domain(self) -> str:
        """Of the recipient; "" for a forgotten one."""
        return domain_of(self.address_key)

    @property
    def lane(self) -> tuple[str, int]:
        """Source IP and speed class by the transport's name; ("", 0) for any other transport."""
        return read_transport(self.transport) or ("", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A proven feedback report, and the delivery that it complains of."""

    id: int
    time: datetime
    delivery: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came since the last look. `top` is the highest id now known, `missing` the ids below it that did not come."""

    lines: list[Line]
    top: int
    missing: frozenset[int] = frozenset()
    is_all: bool = True


@dataclass(slots=True, kw_only=True)
class Reader:
    """How far the lines were read. `look` changes nothing; `took` does, once what came of a look is on the disk."""

    top: int = 0
    gaps: dict[int, float] = field(default_factory=dict)

    def look(self, tx: Tx, *, most: int, now: float) -> Look:
        """The lines behind `top` and those of the gaps, in the order of their ids, at most so many new ones."""
        fresh = _lines(tx, attempt.c.id > self.top, most=most)
        open_gaps = [one for one, since in self.gaps.items() if now - since < GAP_SECONDS]
        late = _lines(tx, attempt.c.id.in_(open_gaps)) if open_gaps else []
        top = fresh[-1].id if fresh else self.top
        came = {line.id for line in fresh}
        start = max(self.top + 1, top - _MOST_GAPS)
        missing = frozenset(one for one in range(start, top) if one not in came) if self.top else frozenset()
        return Look(lines=late + fresh, top=top, missing=missing, is_all=len(fresh) < most)

    def took(self, look: Look, *, now: float) -> None:
        """What this look gave is on the disk."""
        self.top = look.top
        for line in look.lines:
            self.gaps.pop(line.id, None)
        self.gaps = {one: since for one, since in self.gaps.items() if now - since < GAP_SECONDS}
        for one in sorted(look.missing)[-_MOST_GAPS:]:
            self.gaps.setdefault(one, now)


_COLUMNS = (
    attempt.c.id,
    attempt.c.time,
    attempt.c.queue_id,
    attempt.c.address,
    attempt.c.address_key,
    attempt.c.outcome,
    attempt.c.is_attempt,
    attempt.c.is_hop,
    attempt.c.program,
    attempt.c.transport,
    attempt.c.machine,
    attempt.c.relay_host,
    attempt.c.delay,
    attempt.c.bounce_code,
    attempt.c.rule_id,
    attempt.c.action,
    attempt.c.reply_code,
    attempt.c.enhanced_status,
    sa.func.substr(attempt.c.reply, 1, _HEAD).label("head"),
)


def lines_of(tx: Tx, ids: Collection[int], *, as_of: datetime | None = None) -> dict[int, Line]:
    """These lines by id, with the verdicts that they had at a moment; those that are gone are missing."""
    found: dict[int, Line] = {}
    wanted = sorted(ids)
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        earlier = _verdicts_before(tx, part, as_of) if as_of is not None else {}
        for line in _lines(tx, attempt.c.id.in_(part), earlier=earlier):
            found[line.id] = line
    return found


def lines_since(tx: Tx, since: datetime, *, after: int, most: int) -> list[Line]:
    """Lines from a moment on, for a cold start, in the order of their ids."""
    return _lines(tx, attempt.c.id > after, attempt.c.time >= since, most=most)


def complaints_of(tx: Tx, *, after: int = 0, ids: Collection[int] | None = None, most: int = 500) -> list[Complaint]:
    """Proven complaints behind an id, or of these ids, whose delivery is known."""
    query = sa.select(bounce_report.c.id, bounce_report.c.time, bounce_report.c.recipient_id).where(
        bounce_report.c.road == Road.ARF,
        bounce_report.c.trust == Trust.PROVEN,
        bounce_report.c.recipient_id.is_not(None),
        bounce_report.c.id > after if ids is None else bounce_report.c.id.in_(list(ids)),
    )
    found = []
    for row in tx.execute(query.order_by(bounce_report.c.id).limit(most)).all():
        sent = _lines(
            tx,
            attempt.c.recipient_id == row.recipient_id,
            attempt.c.outcome == Outcome.SENT,
            attempt.c.is_hop.is_(False),
        )
        if sent:
            found.append(Complaint(id=row.id, time=row.time, delivery=sent[-1]))
    return found


def seen_of(line: Line, provider_of: Callable[[str, str], str]) -> Seen:
    """A line that is evidence, as steering sees it; `provider_of` names the provider by the server's host and the domain."""
    ip, speed = line.lane
    is_failure = line.outcome is not Outcome.SENT
    time = line.time.timestamp()
    return Seen(
        id=line.id,
        time=time,
        queued=time - line.delay,
        thread=line.thread,
        domain=line.domain,
        provider=provider_of(line.host, line.domain),
        ip=ip,
        speed=speed,
        outcome=line.outcome,
        code=line.code if is_failure else None,
        rule_id=line.rule_id if is_failure else "",
        action=line.action if is_failure else None,
        reply_class=line.reply_code // 100,
    )


def seen_of_complaint(one: Complaint, provider_of: Callable[[str, str], str]) -> Seen:
    """A complaint: about the server that took the mail, at the time of the complaint."""
    line = one.delivery
    ip, speed = line.lane
    return Seen(
        id=one.id,
        time=one.time.timestamp(),
        queued=line.time.timestamp() - line.delay,
        thread=line.thread,
        domain=line.domain,
        provider=provider_of(line.host, line.domain),
        ip=ip,
        speed=speed,
        outcome=Outcome.SENT,
        is_complaint=True,
    )


_Verdict = tuple[int | None, str, Action | None]


def _lines(
    tx: Tx,
    *conditions: sa.ColumnElement[bool],
    most: int | None = None,
    earlier: dict[int, _Verdict] | None = None,
) -> list[Line]:
    query = sa.select(*_COLUMNS).where(*conditions).order_by(attempt.c.id)
    rows = tx.execute(query.limit(most) if most is not None else query).all()
    return [_line(row._mapping, (earlier or {}).get(row.id)) for row in rows]


def _line(row: Mapping[Any, Any], verdict: _Verdict | None) -> Line:
    code, rule_id, action = verdict or (row["bounce_code"], row["rule_id"] or "", _action(row["action"]))
    return Line(
        id=row["id"],
        time=row["time"],
        queue_id=row["queue_id"],
        address=row["address"],
        address_key=row["address_key"],
        outcome=Outcome(row["outcome"]),
        is_attempt=row["is_attempt"],
        is_hop=row["is_hop"],
        program=row["program"],
        transport=row["transport"] or "",
        machine=row["machine"] or "",
        relay_host=row["relay_host"] or "",
        delay=row["delay"] or 0.0,
        code=code,
        rule_id=rule_id,
        action=action,
        reply_code=row["reply_code"] or 0,
        enhanced_status=row["enhanced_status"] or "",
        head=row["head"] or "",
    )


def _verdicts_before(tx: Tx, ids: Sequence[int], moment: datetime) -> dict[int, _Verdict]:
    """The verdicts that were replaced after that moment: the first replacement tells what stood there."""
    rows = tx.execute(
        sa.select(
            rejudgement.c.attempt_id,
            rejudgement.c.old_bounce_code,
            rejudgement.c.old_rule_id,
            rejudgement.c.old_action,
        )
        .where(rejudgement.c.attempt_id.in_(ids), rejudgement.c.time > moment)
        .order_by(rejudgement.c.time.desc(), rejudgement.c.id.desc())
    )
    return {row[0]: (row[1], row[2] or "", _action(row[3])) for row in rows}


def _action(text: str | None) -> Action | None:
    return Action(text) if text else None
