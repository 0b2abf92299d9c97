"""A text as reported -> `Reply`: the innermost remote words, reply code, enhanced status code, stage, host.

The same function reads a log line's parentheses, a DSN's Diagnostic-Code and a text that a person pastes, so that the
same reply gets the same verdict everywhere. RFC 5321 §4.2, RFC 3463 §2.
Not here: what the words mean (classify/).
"""

import re
from datetime import datetime

from omicard_relay.mail.reply import Reply, Stage

__all__ = ["read_reply"]

#: Longer texts are read up to here: the longest reply that Postfix keeps is far shorter, and time stays bounded.
TEXT_LIMIT = 20_000

_STAGES = {
    "CONNECT": Stage.CONNECT,
    "HELO": Stage.HELO,
    "EHLO": Stage.HELO,
    "LHLO": Stage.HELO,
    "STARTTLS": Stage.STARTTLS,
    "AUTH": Stage.AUTH,
    "MAIL FROM": Stage.MAIL,
    "RCPT TO": Stage.RCPT,
    "DATA": Stage.DATA,
    "END OF DATA": Stage.END_OF_DATA,
    "QUIT": Stage.QUIT,
}
_POSTFIX_SAID = re.compile(r"host (\S+?)\[([0-9A-Fa-f.:]+)\](?::\d+)? (said|refused to talk to me): ")
_POSTFIX_STAGE = re.compile(r"\s*\(in reply to (end of DATA|[A-Z]+(?: FROM| TO)?) command\)\s*$")
_CODES = re.compile(r"^\W{0,3}([245]\d\d)(?:[ -]|$)(?:\W{0,2}([245]\.\d{1,3}\.\d{1,3})(?![\d.]))?")
_BARE_STATUS = re.compile(r"^\W{0,3}([245]\.\d{1,3}\.\d{1,3})(?![\d.])")


def read_reply(
    text: str, *, stage: Stage | None = None, host: str | None = None, time: datetime | None = None
) -> Reply:
    """The reply that a text reports; never raises, whatever the text. `stage` and `host`, when given, win."""
    inner = " ".join(text[:TEXT_LIMIT].split())
    found_stage, found_host, ip = Stage.UNKNOWN, None, None
    ending = _POSTFIX_STAGE.search(inner)
    if ending:
        found_stage = _STAGES.get(ending.group(1).upper(), Stage.UNKNOWN)
        inner = inner[: ending.start()]
    said = _POSTFIX_SAID.search(inner)
    if said:
        found_host, ip = said.group(1), said.group(2)
        if said.group(3) != "said":
            found_stage = Stage.CONNECT
        inner = inner[said.end() :]
    codes = _CODES.match(inner)
    bare = None if codes else _BARE_STATUS.match(inner)
    return Reply(
        text=text,
        innermost=inner,
        reply_code=int(codes.group(1)) if codes else None,
        enhanced_status=(codes.group(2) if codes else bare.group(1) if bare else None),
        stage=stage or found_stage,
        host=host or found_host,
        ip=ip,
        time=time,
    )
