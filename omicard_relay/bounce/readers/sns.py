"""Amazon SES notifications that SNS sends by mail: a JSON object -> one Evidence a recipient.

Known by a readable text that begins with `{` and has a `notificationType` (or `eventType`) of Bounce or Complaint, as
Amazon documents it under "Amazon SNS notification contents for Amazon SES"; also inside the envelope of a topic
(`"Type": "Notification"`, the object as the text of `Message`). A bounce has `bouncedRecipients` with action, status and
diagnosticCode; a complaint has `complainedRecipients` and a feedback type.
Known limits: at most JSON_LIMIT characters; other types (Send, Open, Click …) are no failure.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from omicard_relay.bounce.fields import RECIPIENT_LIMIT, typed
from omicard_relay.bounce.letter import TEXT_LIMIT, Letter
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import has_words
from omicard_relay.mail import Evidence, MailKind, Road, read_reply

__all__ = ["Sns"]

JSON_LIMIT = TEXT_LIMIT
#: Section -> (key of its recipients, kind, road).
_SECTIONS = {
    "bounce": ("bouncedRecipients", MailKind.DSN, Road.DSN),
    "complaint": ("complainedRecipients", MailKind.ARF, Road.ARF),
}

Object = Mapping[str, object]


class Sns:
    """The reader of these notifications."""

    def read(self, letter: Letter) -> MailReading | None:
        # sendmail breaks a line of more than 990 octets with "!", a line end and a space.
        text = letter.text.lstrip()[:JSON_LIMIT].replace("!\n ", "")
        if not text.startswith("{"):
            return None
        whole = _parsed(text)
        if _text(whole, "Type") == "Notification":
            whole = _parsed(_text(whole, "Message", JSON_LIMIT))
        kind_name = _text(whole, "notificationType") or _text(whole, "eventType")
        if kind_name.lower() not in _SECTIONS:
            return None
        listed, kind, road = _SECTIONS[kind_name.lower()]
        section, mail = _object(whole.get(kind_name.lower())), _object(whole.get("mail"))
        recipients = section.get(listed)
        names = [_object(item) for item in recipients[:RECIPIENT_LIMIT]] if isinstance(recipients, list) else []
        return reading(letter, kind, [_evidence(letter, road, section, mail, item) for item in names or [{}]])


def _evidence(letter: Letter, road: Road, section: Object, mail: Object, item: Object) -> Evidence:
    _, diagnostic = typed(_text(item, "diagnosticCode"))
    time = _time(_text(section, "timestamp")) or letter.time
    recipient = _text(item, "emailAddress")
    _, host = typed(_text(section, "reportingMTA"))
    is_bounce = road is Road.DSN
    return Evidence(
        road=road,
        recipient=recipient,
        original_recipient="" if is_bounce else recipient,
        replies=(read_reply(diagnostic, time=time),) if has_words(diagnostic) else (),
        dsn_action=(_text(item, "action") or "failed").lower() if is_bounce else None,
        status=_text(item, "status") or None,
        reporting_mta=host or None,
        message_id=_text(_object(mail.get("commonHeaders")), "messageId") or _text(mail, "messageId") or None,
        feedback_type=None if is_bounce else (_text(section, "complaintFeedbackType") or "abuse").lower(),
        time=time,
        notes=() if recipient else ("the report names no recipient",),
    )


def _parsed(text: str) -> Object:
    """The object at the beginning of a text, whatever follows it; {} when there is none."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return _object(found)


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def _text(source: Object, key: str, limit: int = 10_000) -> str:
    value = source.get(key)
    return value[:limit] if isinstance(value, str) else ""


def _time(value: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
