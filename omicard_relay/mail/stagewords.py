"""Words about the dialogue -> `Stage`: "in reply to RCPT TO command", "while receiving the initial server greeting".

RFC 5321 §3. Used by mail/wrappers.py; the first entry that stands in the words decides.
"""

import re
from functools import lru_cache

from omicard_relay.mail.reply import Stage

__all__ = ["stage_of"]

_STAGE_WORDS: tuple[tuple[re.Pattern[str], Stage], ...] = tuple(
    (re.compile(words, re.IGNORECASE), stage)
    for words, stage in (
        (r"sender was rejected", Stage.MAIL),
        (r"does not like recipient", Stage.RCPT),
        (r"name was rejected", Stage.HELO),
        (r"end[ _]of[ _]data|message body|terminating dot", Stage.END_OF_DATA),
        (r"rcpt", Stage.RCPT),
        (r"mail from|mail_from|^mail\b", Stage.MAIL),
        (r"starttls|tls", Stage.STARTTLS),
        (r"[eh]{2}lo|lhlo|helo", Stage.HELO),
        (r"auth", Stage.AUTH),
        (r"data", Stage.DATA),
        (r"greeting|initial connection|\bconnect(?:ion|ing)?\b|banner|handshake", Stage.CONNECT),
        (r"quit", Stage.QUIT),
    )
)


@lru_cache(maxsize=512)
def stage_of(words: str) -> Stage:
    """The stage that the words name; UNKNOWN when they name none."""
    return next((stage for pattern, stage in _STAGE_WORDS if pattern.search(words)), Stage.UNKNOWN)
