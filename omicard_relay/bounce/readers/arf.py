"""RFC 5965 feedback reports (ARF; RFC 6591 authentication failures) -> one Evidence a recipient.

Known by a message/feedback-report part, by report-type=feedback-report, or by the `X-HmXmrOriginalRecipient` field that
Outlook.com's junk reporting adds to the mail it returns. The recipient is Original-Rcpt-To, else what the returned mail tells.
Known limits: receivers that hide the recipient give one Evidence with an empty recipient; the signed reverse-path
(Original-Mail-From, returned Return-Path) then names it, which is the services' part.
"""

from omicard_relay.bounce.fields import Group, field_groups, plain_address
from omicard_relay.bounce.headers import Head, parse_date
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import addresses_in, has_words
from omicard_relay.mail import Evidence, MailKind, Road, Stage, read_reply

__all__ = ["Arf"]

_HUMAN_LIMIT = 1_000
_RECIPIENT_LIMIT = 100


class Arf:
    """The reader of complaints."""

    def read(self, letter: Letter) -> MailReading | None:
        texts = [part.text for part in letter.leaves if part.content_type == "message/feedback-report"]
        hotmail = letter.returned.get("x-hmxmroriginalrecipient")
        if not texts and letter.report_type != "feedback-report" and not hotmail:
            return _unsubscribe(letter)
        groups = field_groups("\n".join(texts))
        fields: Group = groups[0] if groups else {}
        recipients = _recipients("\n".join(texts), letter.returned)
        notes = () if recipients else ("the report names no recipient",)
        return reading(letter, MailKind.ARF, (_evidence(letter, fields, name) for name in recipients or ("",)), *notes)


def _unsubscribe(letter: Letter) -> MailReading | None:
    """A mail program's answer to `List-Unsubscribe: <mailto:…>` (RFC 2369 §3.2), sent for its owner: an opt-out."""
    if letter.subject.strip().lower() != "unsubscribe" or not letter.auto_submitted.startswith("auto-"):
        return None
    evidence = Evidence(
        road=Road.ARF,
        recipient=letter.sender,
        original_recipient=letter.sender,
        feedback_type="opt-out",
        time=letter.time,
        notes=("a mail program's unsubscribe request",),
    )
    return reading(letter, MailKind.ARF, (evidence,))


def _evidence(letter: Letter, fields: Group, recipient: str) -> Evidence:
    words = letter.own_words.strip()[:_HUMAN_LIMIT]
    time = letter.time or parse_date(fields.get("arrival-date", "") or fields.get("received-date", ""))
    sender = plain_address(fields.get("original-mail-from", "")) or plain_address(letter.returned.get("return-path"))
    return Evidence(
        road=Road.ARF,
        recipient=recipient,
        original_recipient=recipient,
        replies=(read_reply(words, stage=Stage.LATER, time=time),) if has_words(words) else (),
        reporting_mta=plain_address(fields.get("reporting-mta", "")) or None,
        message_id=letter.returned_id,
        envelope_id=fields.get("original-envelope-id") or None,
        feedback_type=(fields.get("feedback-type") or "abuse").lower()[:40],
        time=time,
        notes=(f"reverse-path {sender}",) if sender else (),
    )


def _recipients(text: str, returned: Head) -> tuple[str, ...]:
    """Who complained: the report's fields first, then what the returned mail carries; each once, in order."""
    named = [
        plain_address(line.partition(":")[2])
        for line in text.split("\n")
        if line[:40].lower().startswith(("original-rcpt-to:", "removal-recipient:"))
    ]
    if not any("@" in name for name in named):
        fields = ("x-hmxmroriginalrecipient", "x-original-to", "delivered-to", "to")
        source = next((value for name in fields if "@" in (value := returned.get(name))), "")
        named = [found.address for found in addresses_in(source)]
    return tuple(dict.fromkeys(name for name in named if "@" in name))[:_RECIPIENT_LIMIT]
