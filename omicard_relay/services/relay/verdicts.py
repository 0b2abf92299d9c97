"""What the client hears of a mail, from what became of its recipients: 250, 4xx or 5xx is decided here alone. Pure.

One reply speaks for all recipients (RFC 5321 §4.2.5): any that may still be taken makes it 4xx, since only the client can
come again; the others are remembered, and skipped then. A 5xx needs that nobody has got the mail or will get it.
"""

import re
from collections.abc import Sequence

from omicard_relay.mail import one_line
from omicard_relay.scrub import smtp_reply
from omicard_relay.services.relay.ledger import Booking
from omicard_relay.services.relay.next_hop import Fate, FateKind

__all__ = ["COME_AGAIN", "IN_DOUBT", "accepted", "client_reply", "passed_on"]

#: Our own fault, or one that is not told.
COME_AGAIN = "451 4.3.0 Something is wrong here, come again"
IN_DOUBT = "451 4.3.0 It is not known yet whether an earlier try was taken, come again"
_BUSY = "451 4.3.2 The next server is busy or down, come again"

_REPLY = re.compile(r"([245])([0-9]{2})[ -]?([245]\.[0-9]{1,3}\.[0-9]{1,3})?[ ]?")
#: Octets of a reply that we pass on: the line has 512 with its CRLF (RFC 5321 §4.5.3.1.5).
_LIMIT = 480


def client_reply(booking: Booking, fates: Sequence[Fate], submission_id: str) -> str:
    """The whole reply to the final dot."""
    if booking.in_doubt:
        return IN_DOUBT
    for fate in fates:
        if fate.kind is FateKind.UNKNOWN:
            return _BUSY
    waiting = [fate for fate in fates if fate.kind is FateKind.NOT_TAKEN]
    if waiting:
        told = [fate for fate in waiting if fate.text.startswith("4") and fate.stage.value != "unknown"]
        return passed_on(told[0].text) if told else _BUSY
    if not fates and not booking.taken and booking.drops and all(drop.reject for drop in booking.drops):
        return smtp_reply(booking.drops[0])
    if fates and not booking.taken and all(fate.kind is FateKind.REFUSED for fate in fates):
        return passed_on(fates[0].text)
    return accepted(submission_id)


def accepted(submission_id: str) -> str:
    """The one reply by which we take the responsibility."""
    return f"250 2.0.0 Ok: {submission_id}"


def passed_on(text: str) -> str:
    """The next server's reply as our own: one line of printable ASCII with an enhanced status code.

    A 421 becomes 451: it is the other connection that ends, not this one.
    """
    match = _REPLY.match(text)
    if match is None:
        return COME_AGAIN
    code = match.group(1) + match.group(2)
    status = match.group(3)
    if status is None or status[0] != code[0]:
        status = f"{code[0]}.0.0"
    words = one_line(text[match.end() :]).encode("ascii", "backslashreplace").decode("ascii")
    return f"{'451' if code == '421' else code} {status} {words}"[:_LIMIT].rstrip()
