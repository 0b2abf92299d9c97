"""RFC 8098 (RFC 3798) disposition notifications: a read receipt is no bounce, an automatic refusal is one.

Known by a message/disposition-notification part or report-type=disposition-notification. A refusal is an `automatic-action`
whose disposition is `failed`, or `deleted`, `denied` or `processed` with an `error` or `failure` modifier: a robot threw the
mail away and says why in Error or Failure. So is Sieve's `reject` (RFC 5429 §2.1): a deletion that the owner's filter sent for
"rejected". Everything else tells that the mail arrived.
"""

from omicard_relay.bounce.fields import Group, field_groups, plain_address
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import has_words
from omicard_relay.mail import Evidence, MailKind, Road, Stage, read_reply

__all__ = ["Mdn"]

_HUMAN_LIMIT = 2_000


class Mdn:
    """The reader of disposition notifications."""

    def read(self, letter: Letter) -> MailReading | None:
        texts = [part.text for part in letter.leaves if part.content_type == "message/disposition-notification"]
        if not texts and letter.report_type != "disposition-notification":
            return None
        fields: dict[str, str] = {}
        for group in field_groups("\n".join(texts)):
            fields = {**group, **fields}
        disposition = " ".join(fields.get("disposition", "").lower().split())
        note = f"disposition notification: {disposition[:100] or 'without a disposition'}"
        if not _refuses(disposition) and not _is_sieve_reject(letter, disposition):
            return reading(letter, MailKind.NOT_A_BOUNCE, (), note)
        return reading(letter, MailKind.DSN, (_evidence(letter, fields, note),))


def _refuses(disposition: str) -> bool:
    mode, _, rest = disposition.partition(";")
    kind, _, modifiers = rest.strip().partition("/")
    if not mode.strip().startswith("automatic-action"):
        return False
    return kind.strip() == "failed" or any(word in modifiers for word in ("error", "failure"))


def _is_sieve_reject(letter: Letter, disposition: str) -> bool:
    """Dovecot writes `Auto-Submitted: auto-replied (rejected)`, Cyrus and others say it in the text."""
    if "deleted" not in disposition or "mdn-sent-automatically" not in disposition:
        return False
    told = f"{letter.head.get('auto-submitted')} {letter.subject[:100]} {letter.own_words[:500]}".lower()
    return (
        "(rejected)" in told or "automatically rejected" in told or "was refused by the recipient's mail filter" in told
    )


def _evidence(letter: Letter, fields: Group, note: str) -> Evidence:
    told = [value for name in ("error", "failure", "warning") if has_words(value := fields.get(name, ""))]
    words = "\n".join([letter.own_words.strip()[:_HUMAN_LIMIT], *told]).strip()
    recipient = plain_address(fields.get("final-recipient", "")) or plain_address(fields.get("original-recipient", ""))
    return Evidence(
        road=Road.DSN,
        recipient=recipient or letter.sender,
        original_recipient=plain_address(fields.get("original-recipient", "")),
        replies=(read_reply(words, stage=Stage.LATER, time=letter.time),) if has_words(words) else (),
        reporting_mta=fields.get("reporting-ua", "")[:255] or None,
        message_id=fields.get("original-message-id") or letter.returned_id,
        time=letter.time,
        notes=(note,),
    )
