"""The follower: Postfix's log -> attempts with their verdicts, in the store.

A batch of lines, their verdicts and the new place are one transaction: a kill at any point neither loses nor doubles a
line. A store that is locked or gone is tried again; the log waits on the disk meanwhile. Nothing here can hold Postfix up.
Not here: reading files (logreader.py), and the loop around it (follow_service.py).
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

from omicard_relay.mail import (
    Action,
    Attempt,
    Decision,
    Evidence,
    Outcome,
    Reply,
    Road,
    StoreError,
    Trust,
    Verdict,
    domain_of,
    one_line,
)
from omicard_relay.services.rulebook import Rulebook, RuleSet
from omicard_relay.services.suppression import consider, lift, settle_all
from omicard_relay.steering import expiry_verdict
from omicard_relay.store import attempts
from omicard_relay.store.attempts import Place, Recorded
from omicard_relay.store.bounces import count
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.failures import GIVEN_UP
from omicard_relay.store.notices import prove_notices
from omicard_relay.store.queues import QueueNotes
from omicard_relay.tables.settings import Settings
from omicard_relay.wire.logevents import (
    BounceNotice,
    Client,
    Delivery,
    Expired,
    LogEvent,
    MessageId,
    QueueActive,
    Rejected,
    Removed,
)
from omicard_relay.wire.loglines import parse_line

__all__ = ["Follower"]

log = logging.getLogger(__name__)

#: After a fault of our own in settling: told once a minute, not with every batch.
_REST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Judged:
    event: LogEvent
    verdict: Verdict | None = None
    decision: Decision | None = None
    is_hop: bool = False


class Follower:
    """Judges lines and stores them; one for all logs of a service. Each batch is judged by one set of rules."""

    def __init__(self, settings: Settings, store: Store, rulebook: Rulebook) -> None:
        self._settings = settings
        self._store = store
        self._rulebook = rulebook
        self._rests_until: datetime | None = None

    def take(self, lines: list[bytes], place: Place | None, *, now: datetime) -> int:
        """Store what these lines tell, and the place after them; gives how many of them told something.

        Raises StoreError when nothing of it was stored.
        """
        told = self._store_lines(lines, place, now)
        self._settle(now)
        return told

    def _store_lines(self, lines: list[bytes], place: Place | None, now: datetime) -> int:
        zone = _local_zone()
        rules = self._rulebook.current
        events = [event for line in lines if (event := parse_line(line, now=now, tz=zone)) is not None]
        judged = [self._judged(event, rules) for event in events]
        with self._store.write() as tx:
            self._record(tx, judged, rules, now)
            if place is not None:
                attempts.move_place(tx, place)
        return len(judged)

    def _settle(self, now: datetime) -> None:
        """Let suppress.toml look at what had to wait for these lines, or for the place behind them. Never raises.

        The lines stand in the store by then, whatever happens here.
        """
        if self._rests_until is not None and now < self._rests_until:
            return
        self._rests_until = None
        try:
            settle_all(self._store, self._rulebook.current.suppress, now=now)
        except StoreError as error:
            log.warning("event=suppress-store-failed note=with-the-next-lines error=%r", str(error))
        except Exception:
            self._rests_until = now + _REST
            log.exception("event=suppress-bug")

    def take_singly(self, lines: list[bytes], place: Place | None, *, now: datetime) -> int:
        """The lines alone, after `take` has failed by a fault of our own: one that fails is named, counted and left out.

        For one line must not hold up all that come behind it. Gives how many failed. Raises StoreError as `take` does.
        """
        failed = 0
        for line in lines:
            try:
                self._store_lines([line], None, now)
            except StoreError:
                raise
            except Exception:
                failed += 1
                log.exception("event=follow-bug line=%s", one_line(line.decode("utf-8", "backslashreplace"), 2000))
        with self._store.write() as tx:
            if failed:
                count(tx, "follow.failed-lines", failed)
            if place is not None:
                attempts.move_place(tx, place)
        return failed

    def _judged(self, event: LogEvent, rules: RuleSet) -> _Judged:
        if not isinstance(event, Delivery | Rejected):
            return _Judged(event)
        line = event.attempt
        is_hop = self._is_own_door(line)
        if line.outcome not in attempts.FAILURES:
            return _Judged(event, is_hop=is_hop)
        evidence = Evidence(
            road=Road.LOG,
            recipient=line.recipient,
            original_recipient=line.original_recipient,
            replies=(line.reply,),
            queue_id=line.queue_id,
            time=line.reply.time,
            trust=Trust.PROVEN,
        )
        verdict, decision = rules.judged(evidence)
        return _Judged(event, verdict, decision, is_hop)

    def _is_own_door(self, line: Attempt) -> bool:
        """Postfix hands the mail to our own relay (content filter), or a bounce to our own ingester."""
        relay, domain = self._settings.relay, self._settings.return_path.domain
        if domain and domain_of(line.recipient) == domain.lower():
            return True
        if line.relay_port == relay.port and line.relay_ip in (relay.host, "127.0.0.1", "::1"):
            return True
        return line.relay_host is None and f"[{relay.host}]:{relay.port}:" in line.reply.text

    def _record(self, tx: Tx, judged: list[_Judged], rules: RuleSet, now: datetime) -> None:
        """A batch in the order of its lines; what it tells of queue ids is written at its end, once for each.

        With that, bounce mails of our own Postfix that have come already prove themselves.
        """
        notes, noticed = QueueNotes(tx), set[str]()
        for one in judged:
            self._record_one(tx, notes, noticed, one, rules, now)
        notes.flush()
        for queue_id in sorted(noticed):
            prove_notices(tx, queue_id)

    def _record_one(
        self, tx: Tx, notes: QueueNotes, noticed: set[str], one: _Judged, rules: RuleSet, now: datetime
    ) -> None:
        match one.event:
            case Delivery(attempt=line) | Rejected(attempt=line):
                recorded = attempts.record_attempt(
                    tx, line, one.verdict, one.decision, release=rules.release, is_hop=one.is_hop, notes=notes
                )
                if recorded.is_new and recorded.recipient_id is not None:
                    _apply(tx, recorded, line, one.verdict, rules, now)
            case Expired() as event:
                self._record_expired(tx, event, rules, now)
            case QueueActive(queue_id=queue_id, time=time) as event:
                attempts.record_active(tx, queue_id, time=time, sender=event.sender, nrcpt=event.nrcpt, notes=notes)
            case Client(queue_id=queue_id, time=time, orig_queue_id=origin):
                attempts.record_queue(tx, queue_id, time=time, orig_queue_id=origin, notes=notes)
            case MessageId(queue_id=queue_id, time=time, message_id=message_id):
                attempts.record_queue(tx, queue_id, time=time, message_id=message_id, notes=notes)
            case BounceNotice(queue_id=queue_id, time=time, notice_queue_id=notice):
                attempts.record_queue(tx, notice, time=time, notice_of=queue_id, notes=notes)
                noticed.add(queue_id)
            case Removed(queue_id=queue_id, time=time):
                attempts.record_queue(tx, queue_id, time=time, removed=True, notes=notes)
            case _:
                pass  # Pickup and the like: nothing that is asked for later

    def _record_expired(self, tx: Tx, event: Expired, rules: RuleSet, now: datetime) -> None:
        """Postfix gave up: the last remote cause is the cause; without one the time itself is (931)."""
        text = "the time in the queue ran out (status=expired, returned to sender)"
        reply = Reply(text=text, innermost=text, enhanced_status="5.4.7", time=event.time)
        for waiting in attempts.waiting_recipients(tx, event.queue_id):
            verdict = expiry_verdict(waiting.cause)
            decision = Decision(
                action=Action.RETURN, reasons=("Postfix has given it up: the time in its queue ran out",)
            )
            named = f"{event.queue_id} {event.time.isoformat()} expired {waiting.address}"
            line = Attempt(
                time=event.time,
                queue_id=event.queue_id,
                recipient=waiting.address,
                outcome=Outcome.EXPIRED,
                enhanced_status="5.4.7",
                reply=reply,
                is_attempt=False,
                program="qmgr",
                sender=event.sender,
                line_digest=hashlib.sha256(named.encode()).hexdigest(),
            )
            recorded = attempts.record_expired(tx, waiting.recipient_id, line, verdict, decision, release=rules.release)
            if recorded.is_new:
                _apply(tx, replace(recorded, address=waiting.address), line, verdict, rules, now)


def _apply(tx: Tx, recorded: Recorded, line: Attempt, verdict: Verdict | None, rules: RuleSet, now: datetime) -> None:
    """What a new line about a recipient of ours means for the lists."""
    source, happened, address = f"log {line.queue_id}", line.time, recorded.address
    if line.outcome is Outcome.SENT and recorded.is_listed:
        lift(tx, address, rules.suppress, source=source, happened=happened, now=now)
    elif line.outcome in GIVEN_UP:
        who = recorded.recipient_id
        consider(tx, address, verdict, rules.suppress, source=source, happened=happened, now=now, recipient_id=who)


def _local_zone() -> tzinfo:
    """Traditional time stamps are in the machine's own zone."""
    return datetime.now().astimezone().tzinfo or UTC
