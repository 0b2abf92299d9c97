"""The topmost trace line of a mail -> the queue id under which our own Postfix made it (RFC 5321 §4.4).

Whatever comes to Postfix from outside gets a `Received: from …` on top, before all that a stranger wrote. A mail that
Postfix itself made (bounce(8)) has `Received: by relay.example.com (Postfix) id 4QAAAAA1; …` there, and neither pipe(8) nor
lmtp(8) puts another above it. So this is a fact only of a mail that came through our own Postfix.
"""

import re

from omicard_relay.bounce.headers import parse_head

__all__ = ["own_queue_id"]

#: Octets that are looked at: fields that a site prepends, and the trace line.
_OCTETS = 16_384
#: `mail_name` may be another word than Postfix, without a comma: `(Postfix, from userid 33)` is sendmail(1), at anyone's
#: call. A queue id is short (hexadecimal) or long (base 52).
_MADE_HERE = re.compile(r"by [A-Za-z0-9._:\[\]-]{1,255} \([ -'*+\--~]{1,100}\) id ([0-9A-Za-z]{5,30})\s?;")


def own_queue_id(raw: bytes) -> str | None:
    """The queue id; None where the mail came from anywhere else."""
    end = min(place for place in (raw.find(b"\n\n"), raw.find(b"\n\r\n"), _OCTETS) if place >= 0)
    found = _MADE_HERE.match(parse_head(raw[: min(end, _OCTETS)]).get("received"))
    return found.group(1) if found else None
