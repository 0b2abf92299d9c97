"""`smtp_reply`: what a client hears when a recipient is refused before sending (RFC 5321 §4.2, RFC 3463, RFC 5248).

One line such as `550 5.7.1 [926] unsubscribed: by link`; the bounce code in brackets tells programs what words may not.
"""

from omicard_relay.mail import one_line
from omicard_relay.scrub.candidate import Drop

__all__ = ["smtp_reply"]

#: A reply line has at most 512 octets with its CRLF (RFC 5321 §4.5.3.1.5).
LINE_LIMIT = 510

#: The enhanced status code that says the same as the bounce code; every other refusal is one of policy.
_ENHANCED = {
    901: "5.2.2",
    902: "5.1.1",
    903: "5.1.1",
    905: "5.1.2",
    908: "5.1.6",
    910: "5.4.1",
    912: "5.2.1",
    920: "5.1.1",
    927: "5.4.4",
    934: "5.2.1",
}
_POLICY = "5.7.1"


def smtp_reply(drop: Drop) -> str:
    """The reply for RCPT, without CRLF: one ASCII line of at most 510 octets, whatever the reason holds."""
    if drop.step == "syntax":
        head = "553 5.1.3"
    elif drop.bounce_code is None:
        head = f"550 {_POLICY}"
    else:
        head = f"550 {_ENHANCED.get(drop.bounce_code, _POLICY)}"
    code = "" if drop.bounce_code is None else f" [{drop.bounce_code}]"
    reason = one_line(drop.reason).encode("ascii", "backslashreplace").decode("ascii")
    return f"{head}{code} {reason}"[:LINE_LIMIT].rstrip()
