"""One mail's way from its final dot to our answer: booked, signed, handed over, written down.

The order is the promise (invariant 1): intent, Postfix's answer, our record of it, our answer. Whatever goes wrong on the
way is told to the client as 451, and what is known by then is in the store.
Left to others: who may send (handler.py), SQL (ledger.py), the dialogue with Postfix (next_hop.py).
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from omicard_relay.classify import Judge
from omicard_relay.mail import Stage, Submission, Verdict, one_line
from omicard_relay.services.relay.content import Trace, trace_line, without_field
from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.services.relay.hop_line import NextHopError
from omicard_relay.services.relay.ledger import Booking, Kept, Ledger
from omicard_relay.services.relay.next_hop import Fate, FateKind, Transaction
from omicard_relay.services.relay.notice import Failure, failure_notice
from omicard_relay.services.relay.parameters import MailCommand, RcptCommand
from omicard_relay.services.relay.pool import NextHopPool
from omicard_relay.services.relay.verdicts import COME_AGAIN, client_reply
from omicard_relay.signing import DkimSigner
from omicard_relay.tables.settings import Settings

__all__ = ["Carrier", "Incoming"]

#: Octets from which signing is done in a thread, so that one big mail does not stop all the others.
_THREAD_LIMIT = 262_144
_SENT_WITHOUT_CAUSE = Verdict(bounce_code=900, rule_id="no-cause", confidence=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A mail that is here whole. `xforward` is what Postfix is told of its client, IDENT excepted.

    `is_untouched`: a null reverse-path, or an answer to one of our own signed reverse-paths: it passes as it is but for
    the trace line. `missing` are the header fields that a submission lacks, ready to stand in front.
    """

    mail: MailCommand
    recipients: tuple[RcptCommand, ...]
    rejected: tuple[str, ...]
    content: bytes
    submission: Submission
    trace: Trace
    xforward: Mapping[str, bytes]
    is_untouched: bool
    missing: bytes = b""


class Carrier:
    """Carries mails; one for all connections."""

    def __init__(
        self,
        settings: Settings,
        pool: NextHopPool,
        ledger: Ledger,
        dkim: DkimSigner,
        judge: Callable[[], Judge],
        *,
        hostname: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._ledger = ledger
        self._dkim = dkim
        self._judge = judge
        self._hostname = hostname
        self._clock = clock

    async def carry(self, incoming: Incoming) -> str:
        """The reply to the final dot. Raises what is our own fault (StoreError, bugs): the client hears 451."""
        booking = await self._ledger.book(
            incoming.submission,
            incoming.recipients,
            rejected=incoming.rejected,
            scrubbed=not incoming.is_untouched,
        )
        name = incoming.submission.submission_id
        if not booking.kept:
            self._ledger.finish(name)
            event = Event.IN_DOUBT if booking.in_doubt else Event.MAIL_DROPPED
            log_event(event, submission=name, taken_before=booking.taken, dropped=len(booking.drops))
            return client_reply(booking, (), name)
        try:
            transactions = await self._transactions(incoming, booking.kept)
        except Exception:
            fate = Fate(kind=FateKind.NOT_TAKEN, text=COME_AGAIN)
            await self._ledger.settle(name, [(kept, fate) for kept in booking.kept], {})
            raise
        fates = await self._hand_over(transactions)
        pairs = list(zip(booking.kept, fates, strict=True))
        stored = await self._ledger.settle(name, pairs, await self._verdicts(fates))
        self._tell(name, booking, fates)
        if not stored:
            return COME_AGAIN
        reply = client_reply(booking, fates, name)
        refused = [(kept, fate) for kept, fate in pairs if fate.kind is FateKind.REFUSED]
        if reply.startswith("250") and refused and not await self._notify(incoming, refused):
            return COME_AGAIN
        return reply

    # ------------------------------------------------------------ what is sent

    async def _transactions(self, incoming: Incoming, kept: Sequence[Kept]) -> list[Transaction]:
        """One transaction for each reverse-path: one for all, or one for each recipient where they are signed."""
        content = incoming.content
        if not incoming.is_untouched and self._settings.campaign.remove_header:
            for name in filter(None, (self._settings.campaign.header, self._settings.campaign.kind_header)):
                content = without_field(content, name)
        content = incoming.missing + content if incoming.missing else content
        signatures = b"" if incoming.is_untouched else await self._sign(content)
        pieces = (trace_line(incoming.trace) + signatures, content)
        is_8bit = not content.isascii()
        groups: dict[str, list[Kept]] = {}
        for one in kept:
            groups.setdefault(one.hand_over, []).append(one)
        return [
            Transaction(
                mail=replace(incoming.mail, reverse_path=group[0].reverse_path),
                recipients=tuple(one.recipient for one in group),
                content=pieces,
                xforward={**incoming.xforward, "IDENT": hand_over.encode()},
                is_8bit=is_8bit,
            )
            for hand_over, group in groups.items()
        ]

    async def _sign(self, content: bytes) -> bytes:
        now = int(self._clock().timestamp())
        if len(content) < _THREAD_LIMIT:
            return self._dkim.sign(content, now=now)
        return await asyncio.to_thread(self._dkim.sign, content, now=now)

    async def _hand_over(self, transactions: Sequence[Transaction]) -> list[Fate]:
        """The fates of all recipients, in the transactions' order; several connections at once."""
        found: list[tuple[Fate, ...]] = [()] * len(transactions)
        todo = iter(range(len(transactions)))
        down: NextHopError | None = None

        async def work() -> None:
            nonlocal down
            for number in todo:
                transaction = transactions[number]
                if down is None:
                    try:
                        found[number] = await self._pool.deliver(transaction)
                        continue
                    except NextHopError as error:
                        down = error  # the others need not wait for the same
                fate = Fate(kind=FateKind.NOT_TAKEN, text=f"451 4.3.2 {down}")
                found[number] = tuple(fate for _ in transaction.recipients)

        await asyncio.gather(*(work() for _ in range(min(self._pool.size, len(transactions)))))
        return [fate for fates in found for fate in fates]

    async def _verdicts(self, fates: Sequence[Fate]) -> dict[str, Verdict]:
        """The cause of each refusal, by its text. A judge that fails costs a verdict, never a mail."""
        texts = {fate.text: fate.stage for fate in fates if fate.kind is FateKind.REFUSED}
        if not texts:
            return {}
        try:
            judge = self._judge()  # one set of rules for the whole mail
            return await asyncio.to_thread(
                lambda: {text: judge.judge_text(text, stage=stage) for text, stage in texts.items()}
            )
        except Exception as error:
            log_event(Event.OWN_FAULT, level=40, error=error, where="classify")
            return dict.fromkeys(texts, _SENT_WITHOUT_CAUSE)

    # ------------------------------------------------------------ what is told

    async def _notify(self, incoming: Incoming, refused: Sequence[tuple[Kept, Fate]]) -> bool:
        """Tell the sender which recipients were refused; False when the notice must be tried again."""
        failures = [
            Failure(recipient=kept.recipient, reply=fate.text)
            for kept, fate in refused
            if kept.recipient.wants_failure_notice
        ]
        if incoming.is_untouched or not failures:
            return True
        name = incoming.submission.submission_id
        content = failure_notice(
            incoming.mail,
            failures,
            incoming.content,
            hostname=self._hostname,
            next_host=self._settings.relay.next_host,
            submission_id=name,
            token=secrets.token_hex(8),
            received=incoming.submission.received,
            now=self._clock(),
        )
        is_8bit = not content.isascii()
        notice = Transaction(
            mail=MailCommand(
                reverse_path="",
                body="8BITMIME" if is_8bit else None,
                smtputf8=not incoming.mail.reverse_path.isascii(),
            ),
            # RFC 3461 §6.2: a notice asks for no notice itself.
            recipients=(RcptCommand(forward_path=incoming.mail.reverse_path, notify="NEVER"),),
            content=(content,),
            xforward={},
            is_8bit=is_8bit,
        )
        (fate,) = await self._hand_over([notice])
        log_event(
            Event.NOTICE_SENT,
            submission=name,
            queue_id=fate.queue_id,
            fate=fate.kind,
            recipients=len(failures),
            reply=fate.text if fate.kind is not FateKind.TAKEN else None,
        )
        # A notice that is refused for good has nobody left to go to (RFC 5321 §6.1).
        return fate.kind in (FateKind.TAKEN, FateKind.REFUSED)

    def _tell(self, name: str, booking: Booking, fates: Sequence[Fate]) -> None:
        """One line for each different fate."""
        counts: dict[Fate, int] = {}
        for fate in fates:
            counts[fate] = counts.get(fate, 0) + 1
        events = {
            FateKind.TAKEN: Event.HANDED_OVER,
            FateKind.REFUSED: Event.MAIL_REFUSED,
            FateKind.NOT_TAKEN: Event.NOT_TAKEN,
            FateKind.UNKNOWN: Event.IN_DOUBT,
        }
        for fate, count in counts.items():
            log_event(
                events[fate.kind],
                submission=name,
                queue_id=fate.queue_id,
                recipients=count,
                dropped=len(booking.drops) or None,
                taken_before=booking.taken or None,
                stage=fate.stage if fate.kind is not FateKind.TAKEN and fate.stage is not Stage.UNKNOWN else None,
                reply=one_line(fate.text, 300) if fate.kind is not FateKind.TAKEN else None,
            )
