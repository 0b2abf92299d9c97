"""What a bounce mail proves, and its statements into the store and onto the lists, in the transaction that keeps the mail.

Trust (invariant 3). A signed reverse-path of ours that verifies and is young proves whose mail was answered: the one to
which the bounce came, or the one in the mail that a complaint returns, for only who got the mail can know it. It speaks
for its own recipient alone. Without one, only the notice of our own Postfix proves itself (store/notices.py). All else is
recorded and counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from omicard_relay.mail import Decision, Evidence, Road, Trust, Verdict, address_key
from omicard_relay.services.rulebook import RuleSet
from omicard_relay.services.suppression import COMPLAINTS, look_at, settle
from omicard_relay.signing.return_path import ReturnPathSigner, TokenReading
from omicard_relay.store import bounces
from omicard_relay.store.due import told_now
from omicard_relay.store.engine import Tx
from omicard_relay.store.notices import prove_notices

__all__ = ["Judged", "Proof", "proof_of", "record_statements"]

Judged = tuple[Evidence, Verdict | None, Decision | None]

#: Before the reverse-path of the mail that a complaint returns (bounce/readers/arf.py).
_RETURNED = "reverse-path "


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The reverse-path by which a mail is judged, and what its token says; `token` None: reverse-paths are not signed."""

    path: str
    token: TokenReading | None
    is_returned: bool = False

    @property
    def trust(self) -> Trust:
        return Trust.PROVEN if self.token is not None and self.token.valid else Trust.CLAIMED

    @property
    def reason(self) -> str:
        """In words, for people."""
        if self.token is None:
            return "signed reverse-paths are off"
        if not self.token.valid:
            return self.token.reason
        return f"the signed reverse-path{' of the returned mail' if self.is_returned else ''} verifies"

    @property
    def may_be_ours(self) -> bool:
        """Whether a recipient of ours can have this reverse-path: it has a token, or we cannot tell."""
        return self.token is None or self.token.nonce is not None

    @property
    def counter(self) -> str:
        """What a mail counts as that proves nothing: no token at all, one of ours that is too old, or an invented one."""
        if self.token is None or self.token.nonce is None:
            return "bounce.unproven"
        return "bounce.too-old" if self.token.reason.startswith("older") else "bounce.forged"


def proof_of(
    signer: ReturnPathSigner | None,
    recipient: str,
    token: TokenReading | None,
    evidence: Iterable[Evidence],
    *,
    today: int,
) -> Proof:
    """The envelope recipient, whose token has been read; a complaint also by its returned mail. `today`: days since 1970."""
    envelope = Proof(path=recipient, token=token)
    if signer is None or envelope.trust is Trust.PROVEN:
        return envelope
    for item in evidence:
        for note in item.notes if item.road is Road.ARF else ():
            if note.startswith(_RETURNED):
                path = note.removeprefix(_RETURNED)
                returned = Proof(path=path, token=signer.verify(path, today=today), is_returned=True)
                if returned.trust is Trust.PROVEN:
                    return returned
    return envelope


def record_statements(
    tx: Tx,
    digest: str,
    mail: bounces.BounceMail,
    judged: Sequence[Judged],
    *,
    rules: RuleSet,
    signer: ReturnPathSigner | None,
    proof: Proof,
    signed: bounces.Owner | None,
    now: datetime,
) -> None:
    """Write a new mail's statements down, and let what is proven act once; `signed` is whose the proof's path is."""
    counted = [f"bounce.{mail.kind}"]
    touched, waiting, reported = set[int](), set[int](), set[str]()
    for number, (evidence, verdict, decision) in enumerate(judged):
        owner = bounces.find_owner(tx, evidence, signed)
        is_named = owner is not None and _speaks_of(evidence, owner)
        if owner is not None and owner.found_by == "reverse-path" and len(judged) > 1 and not is_named:
            owner = None  # a token speaks for one recipient: what the same mail says of others is a claim
        if owner is not None and not is_named and evidence.recipient and evidence.road is Road.DSN:
            # It names another mailbox than ours: where our recipient's mail goes on to, or only another spelling of it.
            evidence = replace(evidence, original_recipient=owner.address)
            verdict, decision = rules.judged(evidence)
        is_proven = owner is not None and proof.trust is Trust.PROVEN and _names(signer, proof, owner)
        trust = Trust.PROVEN if is_proven else Trust.CLAIMED
        look = bounces.add_report(
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
        if owner is not None and is_proven:
            touched.add(owner.recipient_id)
            if look is bounces.Look.NOW:
                look_at(tx, told_now(digest, evidence, verdict, owner, now=now), rules.suppress, now=now)
            if look is bounces.Look.LATER or owner.owes:
                waiting.add(owner.recipient_id)
        elif evidence.road is Road.ARF and evidence.feedback_type in COMPLAINTS:
            counted.append("complaint.claimed")
        elif evidence.queue_id and mail.own_queue_id:
            reported.add(evidence.queue_id)
    for queue_id in sorted(reported):
        waiting.update(prove_notices(tx, queue_id))
    if mail.trust is not Trust.PROVEN and not touched and not waiting:
        counted.append(proof.counter)
    bounces.count_each(tx, counted)
    for recipient_id in sorted(waiting):
        settle(tx, rules.suppress, now=now, recipient_id=recipient_id)


def _names(signer: ReturnPathSigner | None, proof: Proof, owner: bounces.Owner) -> bool:
    """Whether the token was made for this very recipient."""
    return signer is not None and proof.token is not None and signer.names(proof.token, owner.address)


def _speaks_of(evidence: Evidence, owner: bounces.Owner) -> bool:
    named = {address_key(address) for address in (evidence.recipient, evidence.original_recipient)}
    return address_key(owner.address) in named
