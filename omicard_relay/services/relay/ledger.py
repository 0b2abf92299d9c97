"""What the relay asks of the store and tells it, each in one job of the writing thread (store/submissions.py has the order).

Left to others: SQL (store/), failing writes (debts.py), what a drop or a fate means for the client (verdicts.py).
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from omicard_relay.mail import ListName, Reply, Submission, Verdict, address_key, domain_of
from omicard_relay.scrub import Candidate, Drop, scrub
from omicard_relay.scrub.syntax import wire_fault
from omicard_relay.services.relay.debts import AGAIN_SECONDS, FLUSH_SECONDS, Debts
from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.services.relay.next_hop import Fate, FateKind
from omicard_relay.services.relay.parameters import RcptCommand
from omicard_relay.signing import NONCE_OCTETS, ReturnPathSigner
from omicard_relay.store import lists, submissions
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.priors import PriorState, find_priors
from omicard_relay.store.writer import Writer
from omicard_relay.tables.settings import Settings, StepName

__all__ = ["Booking", "Kept", "Ledger", "new_submission_id"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
#: Threads that read for RCPT.
_READERS = 2
_LIST_STEPS: tuple[StepName, ...] = ("unsubscribed", "blacklist", "known-bounce")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A recipient that is handed over: its row, its reverse-path, and our name for the transaction."""

    recipient: RcptCommand
    row: int
    reverse_path: str
    hand_over: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What is to be done with a mail. `in_doubt`: nothing was written, the client must come again."""

    in_doubt: bool = False
    kept: tuple[Kept, ...] = ()
    taken: int = 0
    drops: tuple[Drop, ...] = ()


class Ledger:
    """The store, as the relay needs it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        writer: Writer,
        return_path: ReturnPathSigner | None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._store = store
        self._debts = Debts(writer)
        self._return_path = return_path
        self._clock = clock
        self._run = secrets.token_hex(8)
        self._running: set[str] = set()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="relay-reader")
        modes = {
            "unsubscribed": settings.scrub.unsubscribed,
            "blacklist": settings.scrub.blacklist,
            "known-bounce": settings.scrub.known_bounce,
        }
        self._asks_lists_early = any(modes[name] == "reject" for name in _LIST_STEPS if name in settings.scrub.order)

    async def judge_early(self, address: str, reverse_path: str) -> Drop | None:
        """The drop that is to be answered at RCPT, before the campaign is known; None: wait for the content."""
        scrubbing = self._settings.scrub
        sender = domain_of(reverse_path)
        can_stand = wire_fault(address) is None
        drop = scrub(Candidate(address=address, sender_domain=sender), scrubbing).drop
        if drop is not None and ("syntax" not in scrubbing.whitelist_wins_over or not can_stand):
            return drop if drop.reject else None
        if drop is None and not self._asks_lists_early:
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._look_up, address, sender)

    def _look_up(self, address: str, sender: str) -> Drop | None:
        now = self._clock()
        with self._store.read() as tx:
            entries = lists.covering_entries(tx, address, sender_domain=sender, campaign=None, now=now)
            outcome = scrub(Candidate(address=address, sender_domain=sender, entries=entries), self._settings.scrub)
            if outcome.drop is None or not outcome.drop.reject:
                return None
            # A whitelist entry of one campaign or kind could still win; that is seen when the campaign is known.
            for value in (address, f"@{domain_of(address)}"):
                for entry in lists.entries(tx, ListName.WHITELIST, now=now, value=value):
                    if entry.scope.startswith(("campaign:", "kind:")):
                        return None
            return outcome.drop

    async def record_rejected(self, mail: Submission, address: str, drop: Drop) -> None:
        """A list refused a recipient at RCPT. Raises StoreError."""

        def job(tx: Tx) -> None:
            submissions.add_submission(tx, mail)
            self._drop(tx, mail, address, None, drop, self._clock())

        await self._debts.write(job)

    async def book(
        self, mail: Submission, recipients: Sequence[RcptCommand], *, rejected: Sequence[str], scrubbed: bool
    ) -> Booking:
        """Decide for every recipient and write it down, all or nothing. Raises StoreError; `finish` ends it."""
        running = frozenset(self._running)
        self._running.add(mail.submission_id)
        try:
            return await self._debts.write(lambda tx: self._book(tx, mail, recipients, rejected, scrubbed, running))
        except BaseException:
            self._running.discard(mail.submission_id)
            raise

    def _book(
        self,
        tx: Tx,
        mail: Submission,
        recipients: Sequence[RcptCommand],
        rejected: Sequence[str],
        scrubbed: bool,
        running: frozenset[str],
    ) -> Booking:
        now = self._clock()
        priors = find_priors(tx, mail, running=running, now=now, doubt_seconds=self._settings.relay.doubt_seconds)
        asked: dict[str, RcptCommand] = {}
        twice: list[RcptCommand] = []
        for recipient in recipients:
            if asked.setdefault(address_key(recipient.forward_path), recipient) is not recipient:
                twice.append(recipient)
        if any(key in priors and priors[key].state is PriorState.IN_DOUBT for key in asked):
            return Booking(in_doubt=True)
        submissions.add_submission(tx, mail, is_new=not rejected)
        kept: list[Kept] = []
        drops: list[Drop] = []
        taken = 0
        for key, recipient in asked.items():
            prior = priors.get(key)
            own_row = prior.recipient_id if prior else None
            if prior is not None and own_row is not None and prior.state is PriorState.TAKEN:
                submissions.adopt(tx, mail, own_row)
                taken += 1
                continue
            drop = self._judge(tx, mail, recipient.forward_path, own_row, now) if scrubbed else None
            if drop is not None:
                drops.append(drop)
                self._drop(tx, mail, recipient.forward_path, own_row, drop, now)
            else:
                kept.append(self._intend(tx, mail, recipient, own_row, len(kept), now))
        for recipient in twice:
            drop = Drop(step="duplicate", reason="stands twice in this mail", bounce_code=None)
            drops.append(drop)
            if address_key(recipient.forward_path) not in priors:  # else the first try has told it
                self._drop(tx, mail, recipient.forward_path, None, drop, now)
        for address in rejected:
            # The first try wrote the same refusal down.
            old = priors.get(address_key(address))
            if old is not None and old.recipient_id is not None and address_key(address) not in asked:
                submissions.forget_dropped(tx, mail, old.recipient_id)
        return Booking(kept=tuple(kept), taken=taken, drops=tuple(drops))

    def _judge(self, tx: Tx, mail: Submission, address: str, own_row: int | None, now: datetime) -> Drop | None:
        sender = domain_of(mail.reverse_path)
        if wire_fault(address):  # no database takes it, and no list has it
            return scrub(Candidate(address=address, sender_domain=sender), self._settings.scrub).drop
        candidate = Candidate(
            address=address,
            sender_domain=sender,
            campaign=mail.campaign,
            already_in_campaign=submissions.is_in_campaign(tx, mail.campaign, address, own_row=own_row),
            entries=lists.covering_entries(
                tx, address, sender_domain=sender, campaign=mail.campaign, kind=mail.kind, now=now
            ),
        )
        return scrub(candidate, self._settings.scrub).drop

    def _drop(self, tx: Tx, mail: Submission, address: str, own_row: int | None, drop: Drop, now: datetime) -> None:
        submissions.add_dropped(
            tx,
            mail,
            address.encode("utf-8", "backslashreplace").decode("utf-8"),
            own_row=own_row,
            step=drop.step,
            reason=drop.reason,
            bounce_code=drop.bounce_code,
            now=now,
        )

    def _intend(
        self, tx: Tx, mail: Submission, recipient: RcptCommand, own_row: int | None, number: int, now: datetime
    ) -> Kept:
        reverse_path = mail.reverse_path
        home = self._settings.return_path.domain.lower()
        # A mail to one of our own signed reverse-paths is an answer: its sender stays who it is.
        answers = bool(home) and domain_of(recipient.forward_path) == home
        signed = self._return_path is not None and self._is_signed_for(reverse_path) and not answers
        if self._return_path is not None and signed:
            day = int(now.timestamp()) // 86_400
            nonce = secrets.token_bytes(NONCE_OCTETS)
            reverse_path = self._return_path.make(recipient.forward_path, day=day, nonce=nonce)
        # One name for one transaction, so that the log can tell them apart; the first queue id stands in front.
        first = mail.first_queue_id or ""
        hand_over = f"{first[:22] if first.isalnum() else ''}{mail.submission_id}{_base36(number if signed else 0)}"
        row = submissions.add_intent(
            tx,
            mail,
            recipient.forward_path,
            own_row=own_row,
            reverse_path=reverse_path,
            hand_over=hand_over,
            relay_run=self._run,
            now=now,
        )
        return Kept(recipient=recipient, row=row, reverse_path=reverse_path, hand_over=hand_over)

    def _is_signed_for(self, reverse_path: str) -> bool:
        """Null reverse-paths stay null, and so do those that the settings name keep their own."""
        if not reverse_path:
            return False
        off_for = {address_key(name) for name in self._settings.return_path.off_for}
        return address_key(reverse_path) not in off_for and domain_of(reverse_path) not in off_for

    async def settle(
        self, submission_id: str, fates: Sequence[tuple[Kept, Fate]], verdicts: Mapping[str, Verdict]
    ) -> bool:
        """Write down what became of a mail's recipients; False when the store failed: then it is owed."""
        now = self._clock()

        def job(tx: Tx) -> None:
            by_fate: dict[Fate, list[int]] = {}
            for kept, fate in fates:
                by_fate.setdefault(fate, []).append(kept.row)
            for fate, rows in by_fate.items():
                if fate.kind is FateKind.TAKEN:
                    submissions.mark_handed_over(tx, rows, fate.queue_id or f"?{submission_id}", now=now)
                elif fate.kind is FateKind.NOT_TAKEN:
                    submissions.mark_not_taken(tx, rows, fate.text, now=now)
                elif fate.kind is FateKind.UNKNOWN:
                    submissions.mark_in_doubt(tx, rows, now=now)
                else:
                    reply = Reply(text=fate.text, innermost=fate.text, stage=fate.stage, time=now)
                    submissions.mark_refused(tx, rows, reply, verdicts[fate.text], now=now)

        try:
            await self._debts.write(job)
        except Exception as error:
            log_event(Event.STORE_OWED, level=40, submission=submission_id, error_text=str(error))
            self._debts.owe(job, AGAIN_SECONDS)
            return False
        finally:
            self._running.discard(submission_id)
        return True

    def finish(self, submission_id: str) -> None:
        """A booking that led to no hand-over is over."""
        self._running.discard(submission_id)

    def answered(self, submission_id: str) -> None:
        """The client is being told 250: from now on the same content is another mail."""
        now = self._clock()
        self._debts.owe(lambda tx: submissions.mark_answered(tx, submission_id, now=now), FLUSH_SECONDS)

    async def close(self) -> None:
        """Write what is owed, and end the reading threads."""
        await self._debts.close()
        self._readers.shutdown(wait=False)


def new_submission_id(now: datetime) -> str:
    """14 characters of 0-9a-z that sort by time: milliseconds, then 31 bits of chance."""
    return _base36(int(now.timestamp() * 1000), 8) + _base36(secrets.randbits(31), 6)


def _base36(number: int, width: int = 2) -> str:
    digits = ""
    while number or len(digits) < width:
        number, rest = divmod(number, 36)
        digits = _DIGITS[rest] + digits
    return digits
