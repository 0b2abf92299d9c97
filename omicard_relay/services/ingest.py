"""The ingester: a mail to the return path -> evidence, verdict and perhaps a list entry, in the store.

`Ingester.take` is the one way in, for LMTP, for the pipe's socket and for the pipe itself. It returns when all is on
disk, and raises when it is not: the caller then answers 4xx or 75, and Postfix tries again. What is in no form that we
read is kept and counted. Services use `begin`, and share one transaction among what comes at the same moment.
What a mail proves, and what follows from its statements, is in ingest_record.py.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from omicard_relay.bounce.trace import own_queue_id
from omicard_relay.mail import (
    MailKind,
    RelayError,
    StoreBusyError,
    StoreError,
    Trust,
    one_line,
    printable,
)
from omicard_relay.services.answers import AnswerRule
from omicard_relay.services.ingest_flood import Admission, FloodBound, TokenFinder, flood_bound, tokens_mails
from omicard_relay.services.ingest_record import Judged, Proof, proof_of, record_statements
from omicard_relay.services.keyfiles import load_return_path
from omicard_relay.services.rulebook import Rulebook, RuleSet, open_rulebook
from omicard_relay.signing.return_path import ReturnPathSigner, TokenReading
from omicard_relay.store import bounces
from omicard_relay.store.bounce_flow import CONTENT_LEFT_OUT, OVER_BOUND
from omicard_relay.store.engine import Store, Tx
from omicard_relay.store.writer import Writer
from omicard_relay.tables.settings import Settings

__all__ = ["FloodError", "Ingester", "make_ingester"]

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Octets of a mail over the bound that are kept: who claims to have sent it, and what it says it is.
_HEAD_OCTETS = 1024
#: The null reverse-path, as LMTP and our pipe give it, and as pipe(8) calls it where nobody has set `null_sender`.
_NULL_SENDERS = frozenset({"", "<>", "MAILER-DAEMON"})


#: Mails that are known by their digests; some 250 octets each.
_REMEMBERED = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What a mail says, and what it proves."""

    kind: MailKind
    mail: bounces.BounceMail
    judged: Sequence[Judged]
    proof: Proof
    rules: RuleSet


class FloodError(RelayError):
    """Too much unproven mail now, and this one could be a person's: Postfix keeps it and brings it again."""


class Ingester:
    """Reads, judges and stores bounce mails. Thread-safe: each call has its own transaction, or a share of the writer's.

    `writer` writes for `begin`; None: each call by itself. `flood` bounds what is not proven; None: nothing is bounded.
    `answers` marks what is to be handed on to people; None: nothing is.
    """

    def __init__(
        self,
        store: Store,
        rulebook: Rulebook,
        signer: ReturnPathSigner | None,
        size_limit: int,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        writer: Writer | None = None,
        flood: FloodBound | None = None,
        answers: AnswerRule | None = None,
    ) -> None:
        self._store = store
        self._writer = writer
        self._flood = flood
        self._answers = answers
        self._rulebook = rulebook
        self._signer = signer
        self._tokens = TokenFinder(signer) if signer else None
        self.size_limit = size_limit
        self._clock = clock
        #: By digest, mails that were kept or found kept lately.
        self._kept: dict[str, tuple[MailKind, Trust]] = {}

    def take(self, raw: bytes, *, sender: str, recipient: str, cut: bool = False) -> MailKind:
        """Store one mail for one envelope recipient; gives its kind. Raises StoreError when it could not be stored, FloodError.

        `cut` says that the mail was longer than `size_limit` and only its start is here.
        """
        return self.begin(raw, sender=sender, recipient=recipient, cut=cut).result()

    def begin(self, raw: bytes, *, sender: str, recipient: str, cut: bool = False) -> "Future[MailKind]":
        """Read and judge now, and write soon: the future gives the kind once all is on disk, or raises as `take` does."""
        now = self._clock()
        if len(raw) > self.size_limit:
            raw, cut = raw[: self.size_limit], True
        token = self._signer.verify(recipient, today=_day(now)) if self._signer else None
        admission = Admission.WHOLE
        if token is not None and self._flood is not None and self._tokens is not None:
            # What returns a mail of ours shows that one's token, whatever address it came to.
            inside = None if token.valid else self._tokens.find(raw, today=_day(now))
            is_null = sender.upper() in _NULL_SENDERS
            earlier = (0, 0)
            if token.valid:
                recipient = recipient.lower()  # one token in many spellings is one
                if not self._flood.knows(token):
                    earlier = tokens_mails(self._store, printable(recipient))
            admission = self._flood.admit(inside or token, len(raw), now, is_null=is_null, earlier=earlier)
            if admission not in (Admission.WHOLE, Admission.STATEMENTS):
                return self._over_bound(admission, raw, sender, recipient, token, now)
        is_whole = admission is not Admission.STATEMENTS
        read = partial(self._read, raw, sender, recipient, token, now, is_whole=is_whole, cut=cut)
        digest = bounces.bounce_digest(raw, printable(recipient))
        # A mail that comes again is told by its digest, and is not read again.
        known = self._kept.get(digest)
        told = None if known else read()

        def write(tx: Tx) -> tuple[bool, bool, bool]:
            nonlocal told
            if bounces.seen_again(tx, digest, now=now):
                bounces.count(tx, "bounce.again")
                return True, False, False
            if told is None:  # it was purged meanwhile
                told = read()
            mail, judged, proof = told.mail, told.judged, told.proof
            signed = bounces.find_signed(tx, proof.path) if judged and proof.may_be_ours else None
            # A person's answer has no statements, and is never left out.
            if signed is not None and signed.is_told_enough and proof.trust is Trust.PROVEN:
                bounces.count(tx, "bounce.again")
                return False, False, False
            bounces.keep_mail(tx, digest, mail, now=now)
            record_statements(
                tx, digest, mail, judged, rules=told.rules, signer=self._signer, proof=proof, signed=signed, now=now
            )
            waits = self._answers is not None and self._answers.note(tx, digest, told.kind, raw, now=now)
            return True, True, waits

        def written(result: tuple[bool, bool, bool]) -> MailKind:
            is_kept, is_new, waits = result
            kind, trust = (told.kind, told.proof.trust) if told else known or (MailKind.OTHER, Trust.CLAIMED)
            if is_kept:
                self._remember(digest, kind, trust)
            log.info(
                "event=bounce kind=%s trust=%s new=%s recipient=%s digest=%s",
                kind,
                trust,
                is_new,
                one_line(recipient),
                digest[:16],
            )
            if self._answers is not None and waits:
                self._answers.wake()
            return kind

        return self._write(write, written)

    def _read(
        self,
        raw: bytes,
        sender: str,
        recipient: str,
        token: TokenReading | None,
        now: datetime,
        *,
        is_whole: bool,
        cut: bool,
    ) -> "_Told":
        """Read and judge a mail, by the rules that are in force now."""
        rules = self._rulebook.current
        reading = rules.reader.read(raw)
        proof = proof_of(self._signer, printable(recipient), token, reading.evidence, today=_day(now))
        judged = [(evidence, *rules.judged(evidence)) for evidence in reading.evidence]
        left_out: tuple[str, ...] = () if is_whole else (CONTENT_LEFT_OUT,)
        if cut:
            left_out += ("longer than the size limit: only its start is kept",)
        mail = bounces.BounceMail(
            raw=raw if is_whole else raw[:_HEAD_OCTETS],
            size=len(raw),
            kind=reading.kind,
            # An argument or an SMTP command may hold octets that are no text, which a database refuses.
            sender=printable(sender),
            envelope_recipient=printable(recipient),
            message_id=reading.message_id,
            own_queue_id=own_queue_id(raw),
            trust=proof.trust,
            trust_reason=proof.reason,
            notes=(*reading.notes, *left_out),
        )
        return _Told(kind=reading.kind, mail=mail, judged=judged, proof=proof, rules=rules)

    def _remember(self, digest: str, kind: MailKind, trust: Trust) -> None:
        """Keep in mind that this mail is kept; a full memory begins anew, which costs no more than reading some again."""
        if len(self._kept) >= _REMEMBERED:
            self._kept.clear()
        self._kept[digest] = kind, trust

    def _over_bound(
        self, admission: Admission, raw: bytes, sender: str, recipient: str, token: TokenReading, now: datetime
    ) -> "Future[MailKind]":
        """What the bound leaves of a mail: nothing of it is parsed, and a person's is left to Postfix for a while."""
        mail = bounces.BounceMail(
            raw=raw[:_HEAD_OCTETS],
            size=len(raw),
            kind=MailKind.OTHER,
            sender=printable(sender),
            envelope_recipient=printable(recipient),
            message_id=None,
            trust=Trust.CLAIMED,
            trust_reason=Proof(path=recipient, token=token).reason,
            notes=(OVER_BOUND,),
        )
        # A report has a null reverse-path (RFC 3464 §2), and a person's mail never: that one must not be dropped.
        is_deferred = sender.upper() not in _NULL_SENDERS

        def write(tx: Tx) -> None:
            bounces.count(tx, "bounce.flood-deferred" if is_deferred else "bounce.flood")
            if admission is Admission.NOTE and not is_deferred:
                bounces.record_mail(tx, mail, now=now)

        def written(_: None) -> MailKind:
            report = self._flood.report(now) if self._flood else None
            if report:
                log.warning("event=bounce-flood mails=%d octets=%d", report.mails, report.octets)
            if is_deferred:
                raise FloodError("too much unproven mail at the moment; this one is taken later.")
            return MailKind.OTHER

        return self._write(write, written)

    def _write(self, job: Callable[[Tx], T], finish: Callable[[T], MailKind]) -> "Future[MailKind]":
        """Run the job in a transaction; the future gives what `finish` makes of its result after the commit."""
        outcome: Future[MailKind] = Future()
        outcome.set_running_or_notify_cancel()  # what is under way is written, whether or not somebody still waits

        def alone() -> T:
            with self._store.write() as tx:
                return job(tx)

        def settle(result: Callable[[], T]) -> None:
            try:
                outcome.set_result(finish(result()))
            except BaseException as error:  # whatever it is, the caller waits for it
                outcome.set_exception(error)

        def shared(done: "Future[T]") -> None:
            error = done.exception()
            # One mail that the database cannot take fails all of its batch: each is then tried by itself.
            is_batch_fault = isinstance(error, StoreError) and not isinstance(error, StoreBusyError)
            settle(alone if is_batch_fault else done.result)

        if self._writer is None:
            settle(alone)
        else:
            self._writer.submit(job).add_done_callback(shared)
        return outcome


def make_ingester(
    settings: Settings,
    store: Store,
    rulebook: Rulebook | None = None,
    *,
    writer: Writer | None = None,
    wake: Callable[[], None] = lambda: None,
) -> Ingester:
    """An ingester by the settings; `rulebook` None: by the rules that are in force now.

    `wake` is called when a mail has come that waits to be handed on, in whatever thread that is.

    Raises TableError or SigningError when tables or keys are wrong, StoreError.
    """
    own, signer = settings.ingest, load_return_path(settings)
    rules = rulebook or open_rulebook(settings, store)
    flood = None
    if signer is not None:
        flood = flood_bound(
            store, mails_per_minute=own.unproven_per_minute, octets_per_hour=own.unproven_octets_per_hour
        )
    answers = AnswerRule(settings.answers, wake)
    return Ingester(store, rules, signer, own.size_limit, writer=writer, flood=flood, answers=answers)


def _day(now: datetime) -> int:
    """Days since 1970-01-01."""
    return int(now.timestamp()) // 86_400
