"""What another set of rules would find of the stored replies: counts by cause, rule and action, with samples.

Both sets judge every reply as it stands in the store; what was found of it then plays no part. Equal replies are judged
once. Nothing is written.
"""

import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from msgspec.structs import replace

from omicard_relay.bounce import MailReader
from omicard_relay.classify.forward import is_forward
from omicard_relay.mail import Decision, Evidence, Verdict, domain_of
from omicard_relay.services.rulebook import RuleSet
from omicard_relay.store.engine import Store
from omicard_relay.store.replies import Period, ReplyKind, StoredReply, stored_replies

__all__ = ["Difference", "EvidenceReader", "Reading", "Sample", "Shift", "compare"]

#: Replies whose two readings are remembered: a few ten megabytes at most.
_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one set finds: all None where it finds that nothing failed."""

    bounce_code: int | None
    rule_id: str | None
    action: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """From one reading to another."""

    before: Reading
    after: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reply that is read otherwise; `text` is as it came, not safe to print."""

    kind: ReplyKind
    row_id: int
    recipient: str
    text: str


@dataclass(slots=True, kw_only=True)
class Difference:
    """`read` replies in the store, `touched` of them read otherwise; `counts` and `samples` by shift."""

    read: int = 0
    touched: int = 0
    recoded: int = 0
    new_actions: int = 0
    counts: dict[Shift, int] = field(default_factory=dict)
    samples: dict[Shift, list[Sample]] = field(default_factory=dict)


class EvidenceReader:
    """A stored reply -> the evidence as the follower or the ingester had it."""

    def __init__(self, mails: MailReader) -> None:
        self._mails = mails
        self._digest, self._read = "", tuple[Evidence, ...]()

    def read(self, stored: StoredReply) -> Evidence:
        """For a bounce mail's statement, that mail is read; where it reads otherwise today, the columns speak."""
        if not stored.mail:
            return stored.evidence
        if stored.mail_digest != self._digest:
            self._digest = stored.mail_digest
            self._read = self._mails.read(zlib.decompress(stored.mail)).evidence
        if stored.number < len(self._read):
            found = self._read[stored.number]
            if found.road is stored.evidence.road and found.recipient in ("", stored.evidence.recipient):
                # Whose mail it answers is more than the mail itself may say: the ingester knew that by its reverse-path.
                return replace(found, original_recipient=stored.evidence.original_recipient)
        return stored.evidence


def compare(
    store: Store,
    before: RuleSet,
    after: RuleSet,
    *,
    period: Period | None = None,
    limit: int | None = None,
    samples: int = 3,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Difference:
    """The difference over the newest `limit` log replies and as many bounce reports (None: all). Raises StoreError.

    `on_progress` hears how many were read since it was last called.
    """
    reader, found = EvidenceReader(after.reader), Difference()
    known: dict[Hashable, Shift] = {}
    for kind in ReplyKind:
        for page in stored_replies(store, period or Period(), kind=kind, newest_first=True, limit=limit):
            for stored in page:
                evidence = reader.read(stored)
                key = _key(evidence)
                shift = known.get(key)
                if shift is None:
                    if len(known) >= _REMEMBERED:
                        known.clear()
                    shift = Shift(before=_reading(*before.judged(evidence)), after=_reading(*after.judged(evidence)))
                    known[key] = shift
                found.read += 1
                if shift.before != shift.after:
                    _add(found, shift, stored, evidence, samples)
            on_progress(len(page))
    found.counts = dict(sorted(found.counts.items(), key=lambda item: -item[1]))
    return found


def _add(found: Difference, shift: Shift, stored: StoredReply, evidence: Evidence, samples: int) -> None:
    found.touched += 1
    found.recoded += shift.before.bounce_code != shift.after.bounce_code
    found.new_actions += shift.before.action != shift.after.action
    found.counts[shift] = found.counts.get(shift, 0) + 1
    kept = found.samples.setdefault(shift, [])
    text = evidence.reply.text if evidence.reply else ""
    if len(kept) < samples and all(text != sample.text for sample in kept):
        kept.append(Sample(kind=stored.kind, row_id=stored.row_id, recipient=evidence.recipient, text=text))


def _reading(verdict: Verdict | None, decision: Decision | None) -> Reading:
    return Reading(
        bounce_code=verdict.bounce_code if verdict else None,
        rule_id=verdict.rule_id if verdict else None,
        action=decision.action if decision else None,
    )


def _key(evidence: Evidence) -> Hashable:
    """All that a judge looks at: times, ids and the recipient's own name are not among it."""
    return (
        evidence.road,
        domain_of(evidence.recipient),
        domain_of(evidence.original_recipient),
        bool(evidence.original_recipient) and is_forward(evidence.original_recipient, evidence.recipient),
        evidence.dsn_action,
        evidence.status,
        evidence.remote_mta,
        evidence.feedback_type,
        bool(evidence.new_address),
        *((r.text, r.innermost, r.reply_code, r.enhanced_status, r.stage, r.host) for r in evidence.replies),
    )
