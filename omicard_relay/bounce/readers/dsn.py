"""RFC 3464 delivery status notifications -> one Evidence a recipient, in the order of the report.

Known by a message/delivery-status or message/global-delivery-status part (RFC 6533) of the mail itself, or by the same
fields in another part of a multipart/report; never by a DSN inside an embedded message: that one was forwarded.
The Diagnostic-Code decides; where it has no words, the human part's paragraph about the recipient does.
Known limits: RECIPIENT_LIMIT recipients; a report that names none gives one Evidence with an empty recipient.
"""

import re
from datetime import datetime

from msgspec.structs import replace

from omicard_relay.bounce.fields import RECIPIENT_LIMIT, Group, field_groups, plain_address, split_recipients, typed
from omicard_relay.bounce.headers import parse_date
from omicard_relay.bounce.human import STATUS_FIELDS, HumanPart
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import first_address, has_words
from omicard_relay.mail import Evidence, MailKind, Reply, Road, read_reply

__all__ = ["Dsn"]

_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_TRIPLE = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_EXPIRED = re.compile(r"\bexpired\b|\b[45]\.4\.7\b|delivery time", re.I)
_ACTIONS = ("failed", "delayed", "delivered", "relayed", "expanded")
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


def _status_text(letter: Letter) -> str | None:
    """The fields' text; None when the mail is no DSN."""
    named = [part.text for part in letter.leaves if part.content_type in _STATUS_TYPES]
    if named:
        return "\n\n".join(named)
    if letter.report_type in ("delivery-status", "") and letter.head.content_type == "multipart/report":
        for part in letter.leaves:
            if STATUS_FIELDS.search(part.text):
                return _from_first_field(part.text)
        return "" if letter.report_type else None
    # The fields stand in the body of a mail that is no multipart any more: a gateway took it apart.
    if letter.looks_like_report and len(STATUS_FIELDS.findall(letter.text)) >= 2:
        return _from_first_field(letter.text)
    return None


def _from_first_field(text: str) -> str:
    match = STATUS_FIELDS.search(text)
    return text[match.start() :] if match else text


def _evidence(letter: Letter, human: HumanPart, message: Group, group: Group) -> Evidence:
    recipient, original, notes = _recipients(letter, group, alone=human.recipients == 1)
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


def _recipients(letter: Letter, group: Group, *, alone: bool) -> tuple[str, str, tuple[str, ...]]:
    """(final recipient, original recipient, notes); the returned mail helps where the fields name no mailbox."""
    original = plain_address(group.get("original-recipient", ""))
    final = plain_address(group.get("final-recipient", "")) or original
    actual = plain_address(group.get("x-actual-recipient", ""))
    notes: tuple[str, ...] = ()
    if not _is_mailbox(final):
        final = next((name for name in (original, actual) if _is_mailbox(name)), final)
    if not _is_mailbox(final) and alone:
        told = f"the report says {final[:100]!r}" if final else "the report names no recipient"
        notes = (told,)
        named = first_address(letter.head.get("x-failed-recipients")) or first_address(letter.returned.get("to"))
        if named:
            final, notes = named, (f"{told}; taken from the returned mail",)
    if not original and alone:
        original = first_address(letter.returned.get("x-original-to"))
    return final, original, notes


def _is_mailbox(name: str) -> bool:
    """Whether it is no pipe, no file, no source route (`@relay:ann@example.com`) and no bare user name."""
    return "@" in name[1:] and name[:1] not in "|/:@" and " " not in name and "\t" not in name


def _replies(
    human: HumanPart, group: Group, recipient: str, remote: str | None, time: datetime | None
) -> tuple[Reply, ...]:
    """Outermost first. The diagnostic alone when it has words; else the human part's words behind it."""
    _, diagnostic = typed(group.get("diagnostic-code", ""))
    if has_words(diagnostic):
        reply = human.with_stage(read_reply(diagnostic, time=time), recipient)
        reply = replace(reply, host=remote) if remote and not reply.host else reply
        # Exchange reports "message expired" and tells only people what the server had answered each time.
        inner = human.remote(unless=_EXPIRED) if _EXPIRED.search(reply.innermost) else ""
        return (reply, read_reply(inner, time=time)) if has_words(inner) else (reply,)
    outer = (read_reply(diagnostic, host=remote, time=time),) if diagnostic else ()
    if _action(group) in ("delivered", "relayed", "expanded"):
        return outer
    said = human.said_to(recipient)
    if said is not None:
        return (*outer, read_reply(said.reply, stage=said.stage, host=said.host or remote, time=time))
    words = human.about(recipient) or human.remote() or human.whole()
    if not has_words(words):
        # `Status: 5.1.1 (bad destination mailbox address)`
        words = group.get("status", "")
    return (*outer, read_reply(words, time=time)) if has_words(words) else outer


def _action(group: Group) -> str | None:
    word = re.split(r"[\s(;]", group.get("action", "").strip().lower(), maxsplit=1)[0]
    if word in ("failure", "fail", "hard"):
        return "failed"
    return word if word in _ACTIONS else word[:40] or None


def _host(value: str) -> str | None:
    """The name of `dns; mx.example.com (192.0.2.1, …)`."""
    words = typed(value)[1].split()
    return words[0].strip("<>,;").rstrip(".")[:255] or None if words else None
