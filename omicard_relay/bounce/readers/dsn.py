"""RFC 3464 delivery status notifications -> one Evidence a recipient, in the order of the report.

Known by a message/delivery-status or message/global-delivery-status part (RFC 6533) of the mail itself, or by the same
fields in another part of a multipart/report; never by a DSN inside an embedded message: that one was forwarded.
The Diagnostic-Code decides; where it has no words, the human part's paragraph about the recipient does.
Known limits: RECIPIENT_LIMIT recipients; a report that names none gives one Evidence with an empty recipient.
"""

import re
from datetime import datetime

from msgspec.structs import replace

from omicard_relay.bounce.charset import decode_words
from omicard_relay.bounce.fields import RECIPIENT_LIMIT, Group, field_groups, plain_address, split_recipients, typed
from omicard_relay.bounce.headers import parse_date
from omicard_relay.bounce.human import STATUS_FIELDS, HumanPart
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.origins import original_of
from omicard_relay.bounce.recipients import forwarded_from, is_mailbox, returned_recipient
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.says import Says
from omicard_relay.bounce.systems import is_by_person, is_system
from omicard_relay.bounce.text import addresses_in, first_address, has_words
from omicard_relay.mail import Evidence, MailKind, Reply, Road, read_reply

__all__ = ["STATUS_TYPES", "Dsn", "FieldlessReport"]

#: The media types of the fields (RFC 3464 §2.1, RFC 6533 §4).
STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_TRIPLE = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
# Fields that follow one another on one line, and where those of a recipient begin.
_FIELD_INSIDE = re.compile(
    r"\s{1,5}(?=(?:Final-Recipient|Original-Recipient|Reporting-MTA|Arrival-Date|Action|Status|Remote-MTA|Diagnostic-Code"
    r"|Last-Attempt-Date|Will-Retry-Until):\s)"
)
_RECIPIENT_FIELDS = re.compile(r"\n((?:Original-Recipient:[^\n]{0,500}\n)?Final-Recipient:)")
_EXPIRED = Says(r"\bexpired\b|\b[45]\.4\.7\b|delivery time")
_ACTION_WORD = re.compile(r"\s{0,20}([^\s(;]{1,40})")
#: Words of the wild for RFC 3464 §2.3.3's.
_ACTIONS = {
    "failure": "failed",
    "fail": "failed",
    "hard": "failed",
    "error": "failed",
    "soft": "delayed",
    "delay": "delayed",
}
#: Fields that tell as whom we wrote to, who the mailbox really is, and in whose words its address may stand.
_ORIGINALS = ("original-recipient", "x-original-recipient", "x-original-to", "x-original-rcpt-to")
_ACTUALS = ("x-actual-recipient", "x-final-recipient", "x-rfc822-recipient", "x-rcpt-to", "x-recipient")
_NAMING = ("final-recipient", "original-recipient", "x-display-name", "diagnostic-code", "x-supplementary-info")
_NAMING_LIMIT = 1_000
_WORDED = (
    "x-supplementary-info",
    "x-diagnostic-code",
    "x-notes-diagnostic",
    "x-smtp-response",
    "x-error",
    "x-failure-reason",
)
#: Diagnostics that tell nothing: the human part is asked as if there were none. Codes and marks around them do not count.
_EMPTY = frozenset(
    {
        "n/a",
        "none",
        "null",
        "unknown",
        "unknown error",
        "undefined",
        "error",
        "failed",
        "failure",
        "delivery failed",
        "delivery failure",
        "undelivered",
        "undeliverable",
        "not delivered",
        "message not delivered",
        "could not be delivered",
        "permanent error",
        "permanent failure",
        "smtp error",
        "see above",
        "see text",
        "see below",
        "see attached",
        "see transcript",
        "see transcript for details",
        "see returned report",
    }
)
_EMPTY_LIMIT = 60
_CODES = re.compile(r"(?<![\d.])[45](?:\d\d|\.\d{1,3}\.\d{1,3})(?![\d.])")
_AROUND = " \t\r\n-.:;,#()<>[]\"'"
# A refusal without a cause (a filter's or router's own): its report tells people more.
_BARE = re.compile(
    r"(?:smtp;?\s?)?(?:(?:message|mail|e-?mail|envelope|upstream|transaction|request) "
    r"(?:rejected|refused|blocked|denied|error|failed)|rejected|refused|blocked)"
    r"(?:[ ,;:-]{1,4}(?:(?:please )?(?:check|see|visit) )?https?:\S{1,200})?",
    re.I,
)
#: Postfix's word for an address that a probe (`sendmail -bv`) found good: no mail was delivered or refused.
_PROBED = "deliverable"


class Dsn:
    """The reader of the standard form."""

    def read(self, letter: Letter) -> MailReading | None:
        text = _status_text(letter)
        if text is None:
            return None
        message, recipients = split_recipients(field_groups(text))
        human = HumanPart(letter, max(len(recipients), 1))
        found = tuple(_evidence(letter, human, message, group) for group in recipients)
        notes = (f"at most {RECIPIENT_LIMIT} recipients were read",) if len(found) >= RECIPIENT_LIMIT else ()
        if found and all(item.dsn_action == _PROBED for item in found):
            return reading(letter, MailKind.OTHER, found, "an address probe (sendmail -bv), no delivery")
        # A report that names no recipient is kept: its words may still say whose mail it was.
        return reading(letter, MailKind.DSN, found or (_evidence(letter, human, message, {}),), *notes)


class FieldlessReport:
    """The reader of a multipart/report in which no field stands, asked when no reader of plain reports knows its words."""

    def read(self, letter: Letter) -> MailReading | None:
        if letter.report_type != "delivery-status":
            return None
        return reading(letter, MailKind.DSN, (_evidence(letter, HumanPart(letter, 1), {}, {}),))


def _status_text(letter: Letter) -> str | None:
    """The fields' text; None when the mail is no DSN."""
    named = [part.text for part in letter.leaves if part.content_type in STATUS_TYPES]
    if named:
        return "\n\n".join(named)
    if letter.report_type in ("delivery-status", "") and letter.head.content_type == "multipart/report":
        for part in letter.leaves:
            if STATUS_FIELDS.search(part.text):
                return _from_first_field(part.text)
        return None
    # The fields stand in the body of a mail that is no multipart any more: a gateway took it apart, or ran its lines together.
    if letter.looks_like_report and _has_fields(letter.text):
        return _from_first_field(letter.text)
    if _is_flattened(letter):
        return _from_first_field(_RECIPIENT_FIELDS.sub(r"\n\n\1", _FIELD_INSIDE.sub("\n", letter.text)))
    return None


def _has_fields(text: str) -> bool:
    """Whether two lines begin as those of a status part; nearly no other text has their names at all."""
    low = text.lower()
    return low.count("-recipient") + low.count("reporting-mta") >= 2 and len(STATUS_FIELDS.findall(text)) >= 2


def _is_flattened(letter: Letter) -> bool:
    """Whether a system sent on the fields of a report as one paragraph."""
    text = letter.text
    if "Final-Recipient:" not in text or "Action:" not in text or "Status:" not in text or letter.is_answer:
        return False
    return letter.looks_like_report or (letter.tells_failure and is_system(letter) and not is_by_person(letter))


def _from_first_field(text: str) -> str:
    match = STATUS_FIELDS.search(text)
    return text[match.start() :] if match else text


def _evidence(letter: Letter, human: HumanPart, message: Group, group: Group) -> Evidence:
    recipient, original, notes = _recipients(letter, human, group)
    remote = _host(group.get("remote-mta", ""))
    time = parse_date(group.get("last-attempt-date", "")) or letter.time or parse_date(message.get("arrival-date", ""))
    status = _TRIPLE.search(group.get("status", ""))
    return Evidence(
        road=Road.DSN,
        recipient=recipient,
        original_recipient=original,
        replies=_replies(human, group or message, recipient, remote, time),
        dsn_action=_action(group),
        status=status.group(1) if status else None,
        reporting_mta=_host(message.get("reporting-mta", "")),
        remote_mta=remote,
        queue_id=message.get("x-postfix-queue-id") or message.get("x-queue-id") or None,
        message_id=letter.returned_id,
        envelope_id=message.get("original-envelope-id") or None,
        time=time,
        notes=notes,
    )


def _recipients(letter: Letter, human: HumanPart, group: Group) -> tuple[str, str, tuple[str, ...]]:
    """(final recipient, original recipient, notes). Where the fields name no mailbox (an X.400 name, an Exchange directory
    name, a pipe), the other fields do, then the text, then the returned mail."""
    alone = human.recipients == 1
    original = ""
    for key in _ORIGINALS:
        if key in group and (original := plain_address(group[key])):
            break
    final = plain_address(group.get("final-recipient", "")) or original
    notes: tuple[str, ...] = ()
    if not is_mailbox(final):
        named = [original, *(plain_address(group.get(key, "")) for key in _ACTUALS)]
        named += [found.address for key in _NAMING for found in addresses_in(group.get(key, "")[:_NAMING_LIMIT])]
        told = final
        final = next((name for name in named if is_mailbox(name)), final)
        if not is_mailbox(final) and alone:
            said = f"the report says {told[:100]!r}" if told else "the report names no recipient"
            if text := _from_text(letter, human):
                final, notes = text, (f"{said}; taken from the text",)
            elif returned := returned_recipient(letter):
                final, notes = returned, (f"{said}; taken from the returned mail",)
            else:
                notes = (said,)
    if not original and "?=@" in final:
        # The report's own spelling of a mailbox whose name is not ASCII: we wrote to the name itself.
        original = decode_words(final)
    if not is_mailbox(original):
        original = original_of(group.get("diagnostic-code", ""), final) or human.origin(final)
        if not original and alone:
            original = forwarded_from(letter, final)
    return final, original, notes


def _from_text(letter: Letter, human: HumanPart) -> str:
    """The one recipient that the mail's header or its text names."""
    failed = first_address(letter.head.get("x-failed-recipients"))
    names = [failed] if failed else human.names()
    return names[0] if len(names) == 1 and is_mailbox(names[0]) else ""


def _replies(
    human: HumanPart, group: Group, recipient: str, remote: str | None, time: datetime | None
) -> tuple[Reply, ...]:
    """Outermost first. The diagnostic alone when it has words; else the human part's words behind it."""
    kind, diagnostic = typed(group.get("diagnostic-code", ""))
    if len(diagnostic) <= _EMPTY_LIMIT and _CODES.sub("", diagnostic).strip(_AROUND).lower() in _EMPTY:
        diagnostic = ""
    if kind == "x-notes" and has_words(words := human.about(recipient)):
        # Domino cuts the field at any place; the text has the same words whole.
        diagnostic = words if "".join(diagnostic.split()) in "".join(words.split()) else diagnostic
    if not has_words(diagnostic):
        # Exchange's X-Supplementary-Info: < #5.1.1 smtp;550 …>
        diagnostic = next((value for key in _WORDED if has_words(value := group.get(key, ""))), diagnostic)
    if has_words(diagnostic):
        reply = human.with_stage(read_reply(diagnostic, time=time), recipient)
        reply = replace(reply, host=remote) if remote and not reply.host else reply
        # Exchange reports "message expired" and tells only people what the server had answered each time.
        inner = human.remote(unless=_EXPIRED) if _is_expired(reply.innermost) else ""
        if human.recipients == 1 and _BARE.fullmatch(_CODES.sub("", diagnostic).strip(_AROUND)):
            inner = human.remote() or human.about(recipient) or human.whole()
        return (reply, read_reply(inner, time=time)) if has_words(inner) else (reply,)
    outer = (read_reply(diagnostic, host=remote, time=time),) if diagnostic else ()
    if _action(group) in ("delivered", "relayed", "expanded"):
        return outer
    said = human.said_to(recipient)
    if said is not None:
        return (*outer, read_reply(said.reply, stage=said.stage, host=said.host or remote, time=time))
    words = human.about_program(_program(group)) or human.about(recipient) or human.remote() or human.whole()
    if kind == "x-unix" and (said_by_program := human.program_words()):
        return (*outer, read_reply(words, time=time), read_reply(said_by_program, time=time))
    if not has_words(words):
        # `Status: 5.1.1 (bad destination mailbox address)`
        words = group.get("status", "")
    status = _TRIPLE.search(group.get("status", ""))
    told = (*outer, read_reply(words, time=time)) if has_words(words) else outer
    return human.with_context(told, status.group(1) if status else None)


def _program(group: Group) -> str:
    """The pipe or file that a recipient's alias led to (sendmail); "" for a mailbox."""
    name = typed(group.get("x-actual-recipient", ""))[1]
    return name if name[:1] in ("|", "/") else ""


def _is_expired(words: str) -> bool:
    """Whether the words say no more than that trying ended. A look for the plain words is a tenth of the answer's price."""
    low = words.lower()
    return ("expired" in low or ".4.7" in low or "delivery time" in low) and _EXPIRED(words)


def _action(group: Group) -> str | None:
    found = _ACTION_WORD.match(group.get("action", "").lower())
    word = found.group(1) if found else ""
    if not word and group.get("status", "").lstrip().startswith("2."):
        return "delivered"
    return _ACTIONS.get(word, word) or None


def _host(value: str) -> str | None:
    """The name of `dns; mx.example.com (192.0.2.1, …)`."""
    words = typed(value)[1].split()
    return words[0].strip("<>,;").rstrip(".")[:255] or None if words else None
