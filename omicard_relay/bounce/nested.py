"""A report inside a report: the inner one names the recipient and the words that count.

It happens where a gateway or a list host could not hand a bounce on, and returns it: then the outer report's recipient is the
return path, ours, and the mail that it returns is the bounce. Or a gateway wraps a report into one of its own about the same
recipient; then the innermost words decide (Evidence.replies, from the outermost to the innermost).
Not here: what a person forwards; that is no report at all. Known limit: LEVELS levels.
"""

from collections.abc import Callable

from msgspec.structs import replace

from omicard_relay.bounce.headers import Head
from omicard_relay.bounce.letter import Letter, open_letter
from omicard_relay.bounce.result import MailReading
from omicard_relay.bounce.text import addresses_in, first_address
from omicard_relay.mail import Evidence, MailKind

__all__ = ["LEVELS", "with_inner"]

#: Reports inside one another that are opened; each holds the next one whole, so that the octets are bounded too.
LEVELS = 3

#: Where the outer report came to: an address of ours that it also calls undeliverable.
_TO_US = ("to", "delivered-to", "x-original-to", "envelope-to")
_NOTE = "the report inside the report decides"


def with_inner(letter: Letter, outer: MailReading, read: Callable[[Letter], MailReading]) -> MailReading:
    """The outer reading, with what the report that it returns says; `read` reads that one."""
    if not _may_be_report(letter.returned):
        return outer
    message = next((part.message for part in letter.parts[1:] if part.is_message), b"")
    if not message:
        return outer
    opened = open_letter(message)
    if not opened.looks_like_report:
        return outer
    inner = read(opened)
    if inner.kind is not MailKind.DSN or not any(evidence.recipient for evidence in inner.evidence):
        return outer
    path = {found.address.lower() for name in _TO_US for found in addresses_in(letter.head.get(name)[:10_000])}
    # A gateway that sends on what came back to itself names itself, where its own words name nobody.
    ends = {letter.sender.lower(), first_address(opened.head.get("to")).lower()}
    if all(
        not one.recipient or one.recipient.lower() in path or (one.recipient.lower() in ends and not _has_reply(one))
        for one in outer.evidence
    ):
        return MailReading(
            kind=MailKind.DSN,
            evidence=inner.evidence,
            message_id=outer.message_id,
            notes=(*outer.notes, *inner.notes, _NOTE),
        )
    by_name = {evidence.recipient.lower(): evidence for evidence in inner.evidence}
    merged = tuple(_merged(evidence, by_name.get(evidence.recipient.lower())) for evidence in outer.evidence)
    return MailReading(kind=outer.kind, evidence=merged, message_id=outer.message_id, notes=outer.notes)


def _has_reply(evidence: Evidence) -> bool:
    return any(reply.reply_code or reply.enhanced_status for reply in evidence.replies)


def _merged(outer: Evidence, inner: Evidence | None) -> Evidence:
    if inner is None or not inner.replies:
        return outer
    return replace(
        outer,
        replies=(*outer.replies, *inner.replies),
        status=inner.status or outer.status,
        remote_mta=inner.remote_mta or outer.remote_mta,
        message_id=inner.message_id or outer.message_id,
        notes=(*outer.notes, _NOTE),
    )


def _may_be_report(head: Head) -> bool:
    """Whether it is worth while to open the returned mail: mailings are no reports."""
    if not head.mentions(b"daemon", b"postmaster", b"mail delivery", b"multipart/report", b"<>"):
        return False
    if head.content_type == "multipart/report":
        return True
    sender = head.get("from").lower()
    return sender.endswith("<>") or any(name in sender for name in ("daemon", "postmaster", "mail delivery"))
