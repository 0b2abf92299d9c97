"""The ingester: a mail to the return path -> evidence, verdict and perhaps a list entry, in the store.

`Ingester.take` is the one way in, for LMTP, for the pipe's socket and for the pipe itself. It returns when all is on
disk, and raises when it is not: the caller then answers 4xx or 75, and Postfix tries again. What is in no form that we
read is kept and counted.
Trust (invariant 3): only a signed reverse-path that verifies, and is young enough, proves whose mail a bounce answers.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from omicard_relay.mail import Decision, Evidence, MailKind, Trust, Verdict, address_key, one_line, printable
from omicard_relay.services.keyfiles import load_return_path
from omicard_relay.services.rulebook import Rulebook, RuleSet, open_rulebook
from omicard_relay.services.suppression import consider
from omicard_relay.signing.return_path import ReturnPathSigner, TokenReading
from omicard_relay.store import bounces
from omicard_relay.store.engine import Store, Tx
from omicard_relay.tables.settings import Settings

__all__ = ["Ingester", "make_ingester"]

log = logging.getLogger(__name__)

#: A delivered, relayed or expanded DSN and a "still trying" speak of no failure.
_NO_FAILURE = frozenset({"delivered", "relayed", "expanded", "delayed"})


class Ingester:
    """Reads, judges and stores bounce mails. Thread-safe: each call has its own transaction."""

    def __init__(
        self,
        store: Store,
        rulebook: Rulebook,
        signer: ReturnPathSigner | None,
        size_limit: int,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._rulebook = rulebook
        self._signer = signer
        self.size_limit = size_limit
        self._clock = clock

    def take(self, raw: bytes, *, sender: str, recipient: str, cut: bool = False) -> MailKind:
        """Store one mail for one envelope recipient; gives its kind. Raises StoreError when it could not be stored.

        `cut` says that the mail was longer than `size_limit` and only its start is here.
        """
        now = self._clock()
        if len(raw) > self.size_limit:
            raw, cut = raw[: self.size_limit], True
        rules = self._rulebook.current
        reading = rules.reader.read(raw)
        token = self._signer.verify(recipient, today=_day(now)) if self._signer else None
        trust = Trust.PROVEN if token is not None and token.valid else Trust.CLAIMED
        judged = [(evidence, *rules.judged(evidence)) for evidence in reading.evidence]
        mail = bounces.BounceMail(
            raw=raw,
            size=len(raw),
            kind=reading.kind,
            # An argument or an SMTP command may hold octets that are no text, which a database refuses.
            sender=printable(sender),
            envelope_recipient=printable(recipient),
            message_id=reading.message_id,
            trust=trust,
            trust_reason=_trust_reason(token),
            notes=(*reading.notes, *(("longer than the size limit: only its start is kept",) if cut else ())),
        )
        with self._store.write() as tx:
            digest, is_new = bounces.record_mail(tx, mail, now=now)
            if is_new:
                self._record(tx, digest, mail, judged, rules, token, now)
            else:
                bounces.count(tx, "bounce.again")
        log.info(
            "event=bounce kind=%s trust=%s new=%s recipient=%s digest=%s",
            mail.kind,
            trust,
            is_new,
            one_line(recipient),
            digest[:16],
        )
        return reading.kind

    def _record(
        self,
        tx: Tx,
        digest: str,
        mail: bounces.BounceMail,
        judged: list[tuple[Evidence, Verdict | None, Decision | None]],
        rules: RuleSet,
        token: TokenReading | None,
        now: datetime,
    ) -> None:
        bounces.count(tx, f"bounce.{mail.kind}")
        if mail.trust is not Trust.PROVEN:
            bounces.count(tx, _unproven(token))
        only_one = len(judged) == 1
        for number, (evidence, verdict, decision) in enumerate(judged):
            owner = bounces.find_owner(tx, evidence, mail.envelope_recipient)
            trust = mail.trust
            # A token speaks for one recipient: what the same mail says of others, or of another's, is a claim.
            if (
                owner is not None
                and owner.found_by == "reverse-path"
                and not only_one
                and not _speaks_of(evidence, owner)
            ):
                owner = None
            trust = mail.trust if owner is not None and self._names(token, owner) else Trust.CLAIMED
            bounces.add_report(
                tx,
                digest,
                number,
                replace(evidence, trust=trust),
                verdict,
                decision,
                owner=owner,
                trust=trust,
                now=now,
                release=rules.release,
            )
            if owner is None or trust is not Trust.PROVEN or (evidence.dsn_action or "") in _NO_FAILURE:
                continue
            if not bounces.is_echo(tx, evidence, owner):
                source = f"bounce {digest[:16]}"
                consider(tx, owner.address, verdict, rules.suppress, source=source, happened=now, now=now)

    def _names(self, token: TokenReading | None, owner: bounces.Owner) -> bool:
        """Whether the token was made for this very recipient."""
        return token is not None and self._signer is not None and self._signer.names(token, owner.address)


def make_ingester(settings: Settings, store: Store, rulebook: Rulebook | None = None) -> Ingester:
    """An ingester by the settings; `rulebook` None: by the rules that are in force now.

    Raises TableError or SigningError when tables or keys are wrong, StoreError.
    """
    rules = rulebook or open_rulebook(settings, store)
    return Ingester(store, rules, load_return_path(settings), settings.ingest.size_limit)


def _speaks_of(evidence: Evidence, owner: bounces.Owner) -> bool:
    named = {address_key(address) for address in (evidence.recipient, evidence.original_recipient)}
    return address_key(owner.address) in named


def _trust_reason(token: TokenReading | None) -> str:
    if token is None:
        return "signed reverse-paths are off"
    return "the signed reverse-path verifies" if token.valid else token.reason


def _unproven(token: TokenReading | None) -> str:
    """The counter of a mail that proves nothing: no token at all, one of ours that is too old, or an invented one."""
    if token is None or token.nonce is None:
        return "bounce.unproven"
    return "bounce.too-old" if token.reason.startswith("older") else "bounce.forged"


def _day(now: datetime) -> int:
    """Days since 1970-01-01."""
    return int(now.timestamp()) // 86_400
