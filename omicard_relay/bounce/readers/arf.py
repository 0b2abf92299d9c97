"""RFC 5965 feedback reports (ARF; RFC 6591 authentication failures) and their relatives -> one Evidence a recipient.

Known by a message/feedback-report part, by report-type=feedback-report, by the `X-HmXmrOriginalRecipient` field that
Outlook.com's junk reporting adds to the mail it returns, by X-ARF's field (a YAML part tells the kind), or by a mail
program's unsubscribe request (RFC 2369 §3.2). The recipient is Original-Rcpt-To, else what the returned mail tells: its
reverse-path where the list wrote the recipient into it, its one `To`, the trace of its delivery.
DMARC aggregate reports (RFC 7489 §7.2) speak of no mail: `other`, as TLS reports (RFC 8460) are.
Known limits: receivers that hide the recipient give one Evidence with an empty recipient; the signed reverse-path
(Original-Mail-From, returned Return-Path) then names it, which is the services' part.
"""

import re
from collections.abc import Iterable, Iterator

from omicard_relay.bounce.fields import Group, field_groups, plain_address
from omicard_relay.bounce.headers import Head, parse_date
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import addresses_in, has_words
from omicard_relay.mail import Evidence, MailKind, Road, Stage, read_reply

__all__ = ["Arf", "complaint"]

_HUMAN_LIMIT = 1_000
_RECIPIENT_LIMIT = 100
_FEEDBACK = "message/feedback-report"
#: Fields of the report that name who complained.
_NAMING_FIELDS = ("original-rcpt-to:", "removal-recipient:", "removed-recipient:", "original-recipient:")
#: Fields that the way to the mailbox left in the returned mail, the surest first.
_TRACE_FIELDS = ("x-original-to", "envelope-to", "x-envelope-to", "x-rcpt-to", "x-original-recipient", "delivered-to")
#: What receivers write in an address's place.
_REDACTED = re.compile(
    r"redacted|undisclosed|hidden|removed|masked|x{3,}|\*+|_+|-+|[0-9a-f]{32,}|unknown|anonymous|nobody", re.I
)
# `list-return-12-ann=example.com@…` (qmail, ezmlm), `list-bounces+ann=example.com@…` (Mailman), `bounce-ann=example.com@…`.
# Not: `SRS0=…` and `prvs=…`, which hold the sender.
_VERP = re.compile(
    r"(?!srs[01]|prvs=|btv1)[^=@]{0,60}?(?:-return-\d{1,12}-|-bounces?\+|^bounces?[-+](?:\d{1,20}[-+])?|^verp[-+])"
    r"([^=@\s]{1,64})=([a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8})@",
    re.I,
)
_RECEIVED_FOR = re.compile(r"\sfor\s<?([^\s<>;]{1,128}@[^\s<>;]{1,255})>?\s?;")
_AGGREGATE = re.compile(r"\s{0,3}\[?(?:preview\]? ?)?report[- ]domain:", re.I)
_YAML_LINE = re.compile(r"^[ \t]{0,4}([A-Za-z][A-Za-z-]{1,40})[ \t]{0,4}:[ \t]{0,4}([^\n]{1,200})", re.M)
#: X-ARF's kinds (v0.2 `Report-Type`) that are about a mail; the others are about attacks on a host.
_XARF_MAIL = {
    "spam": "abuse",
    "abuse": "abuse",
    "phishing": "fraud",
    "fraud": "fraud",
    "malware": "virus",
    "virus": "virus",
}


class Arf:
    """The reader of complaints."""

    def read(self, letter: Letter) -> MailReading | None:
        texts = [part.text for part in letter.leaves if part.content_type == _FEEDBACK]
        if not texts and letter.report_type == "feedback-report":
            # Some say text/plain of the second part.
            texts = [part.text for part in letter.leaves if "feedback-type:" in part.text[:2_000].lower()]
        elif not texts and not letter.returned.get("x-hmxmroriginalrecipient"):
            return _xarf(letter) or _unsubscribe(letter) or _aggregate(letter)
        groups = field_groups("\n".join(texts))
        fields: Group = groups[0] if groups else {}
        return complaint(letter, fields, _named(texts))


def complaint(letter: Letter, fields: Group, named: Iterable[str], *more: str) -> MailReading:
    """A complaint: `fields` of RFC 5965 §3 by their small names, `named` the recipients that it names; `more` are notes."""
    recipients = tuple(dict.fromkeys(named)) or tuple(dict.fromkeys(_told_by_mail(letter.returned, fields)))
    notes = () if recipients else ("the report names no recipient",)
    evidence = (_evidence(letter, fields, name) for name in recipients[:_RECIPIENT_LIMIT] or ("",))
    return reading(letter, MailKind.ARF, evidence, *more, *notes)


def _xarf(letter: Letter) -> MailReading | None:
    """X-ARF v0.1 and v0.2: a field `X-ARF` or `X-XARF`, and a part of `Name: value` lines that has a Report-Type."""
    if not letter.head.mentions(b"x-arf", b"x-xarf") or not (letter.head.get("x-arf") or letter.head.get("x-xarf")):
        return None
    for part in letter.leaves:
        values = {name.lower(): value.strip(" \"'") for name, value in _YAML_LINE.findall(part.text[:10_000])}
        if "report-type" in values and ("category" in values or "source" in values):
            about = _XARF_MAIL.get(values["report-type"].lower())
            if about is None:
                return reading(letter, MailKind.OTHER, (), f"X-ARF report of {values['report-type'][:40]}")
            fields = {"feedback-type": about, "arrival-date": values.get("date", "")}
            return complaint(letter, fields, ())
    return None


def _unsubscribe(letter: Letter) -> MailReading | None:
    """A mail program's answer to `List-Unsubscribe: <mailto:…>` (RFC 2369 §3.2), sent for its owner: an opt-out."""
    subject = letter.subject.strip().lower()
    by_program = (
        (subject == "unsubscribe" and letter.auto_submitted.startswith("auto-"))
        or bool(letter.head.get("x-apple-unsubscribe"))
        or (subject.startswith("unsubscribe") and "automatically generated by gmail" in letter.text[:500].lower())
    )
    if not by_program:
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


def _aggregate(letter: Letter) -> MailReading | None:
    """RFC 7489 §7.2.1.1: `Subject: Report Domain: … Submitter: … Report-ID: …` with a packed XML file."""
    if _AGGREGATE.match(letter.subject[:100]) is None or "submitter:" not in letter.subject.lower():
        return None
    return reading(letter, MailKind.OTHER, (), "DMARC aggregate report")


def _evidence(letter: Letter, fields: Group, recipient: str) -> Evidence:
    words = letter.own_words.strip()[:_HUMAN_LIMIT]
    time = letter.time or parse_date(fields.get("arrival-date", "") or fields.get("received-date", ""))
    sender = _reverse_path(letter.returned, fields)
    return Evidence(
        road=Road.ARF,
        recipient=recipient,
        original_recipient=recipient,
        replies=(read_reply(words, stage=Stage.LATER, time=time),) if has_words(words) else (),
        reporting_mta=plain_address(fields.get("reporting-mta", "")) or None,
        message_id=letter.returned_id,
        envelope_id=fields.get("original-envelope-id") or None,
        feedback_type=_feedback_type(fields.get("feedback-type", "")),
        time=time,
        notes=(f"reverse-path {sender}",) if sender else (),
    )


def _feedback_type(value: str) -> str:
    """RFC 5965 §7.3 in lower case, spaces as the dashes they stand for; a report without one is about abuse."""
    return "-".join(value.lower().replace("_", "-").split())[:40] or "abuse"


def _named(texts: Iterable[str]) -> Iterator[str]:
    """The recipients that the report itself names, in order."""
    for line in "\n".join(texts).split("\n"):
        if line[:40].lower().startswith(_NAMING_FIELDS):
            address = plain_address(line.partition(":")[2])
            if _is_told(address):
                yield address


def _told_by_mail(returned: Head, fields: Group) -> Iterator[str]:
    """The recipient by the returned mail; several only where its `To` has several and nothing else tells."""
    junk = plain_address(returned.get("x-hmxmroriginalrecipient"))
    verp = _VERP.match(_reverse_path(returned, fields)[:320])
    listed = [found.address for found in addresses_in(returned.get("to")) if _is_told(found.address)]
    if _is_told(junk):
        yield junk
    elif verp is not None:
        yield f"{verp.group(1)}@{verp.group(2)}"
    elif len(listed) == 1:
        yield listed[0]
    elif traced := next(_traced(returned), ""):
        yield traced
    else:
        yield from listed


def _traced(returned: Head) -> Iterator[str]:
    for name in _TRACE_FIELDS:
        if _is_told(address := plain_address(returned.get(name))):
            yield address
    for value in returned.all("received")[:20]:
        found = _RECEIVED_FOR.search(value[:1_000])
        if found is not None and _is_told(found.group(1)):
            yield found.group(1)


def _reverse_path(returned: Head, fields: Group) -> str:
    return plain_address(fields.get("original-mail-from", "")) or plain_address(returned.get("return-path"))


def _is_told(address: str) -> bool:
    """Whether an address names somebody: `redacted@…`, `xxxxx@…` and `***@…` do not."""
    local, at, domain = address.partition("@")
    return bool(at and local and "." in domain) and _REDACTED.fullmatch(local) is None
