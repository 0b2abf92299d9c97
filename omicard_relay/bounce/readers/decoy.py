"""Mails that only look like reports: newsletters about bounces, and spam in a bounce's clothes -> `not-a-bounce`.

Asked after the standard forms and before those in plain text. A newsletter has RFC 2369's List-Unsubscribe, or comes from an
ordinary address by an ordinary reverse-path (RFC 3464 §2: a report has the null one). Spam asks to click: "release your
pending messages", "verify your mailbox" (policies/formats/responders.toml), and quotes no server's reply.
Known limits: a lure that also quotes a reply code is read as the report that it pretends to be; without our signed
reverse-path it changes no list (mail/evidence.py, Trust).
"""

import re

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import first_address
from omicard_relay.mail import MailKind
from omicard_relay.tables.responders import Means, Responders

__all__ = ["Decoy"]

#: Characters of the text in which a lure is looked for.
_LIMIT = 2_000
#: A server's reply, or the enhanced status code that stands in its place.
_REPLY = re.compile(r"(?<![\d.])[45]\d\d[ -]|(?<![\d.])[45]\.\d{1,3}\.\d{1,3}(?![\d.])")


class Decoy:
    """Knows what is no report although it looks like one; without a table it knows newsletters alone."""

    def __init__(self, responders: Responders | None = None) -> None:
        self._responders = responders or Responders()

    def read(self, letter: Letter) -> MailReading | None:
        if not letter.looks_like_report or letter.report_type or letter.head.get("x-failed-recipients"):
            return None
        if not letter.from_daemon and not letter.null_reverse_path and _is_mailing(letter):
            return reading(letter, MailKind.NOT_A_BOUNCE, (), "a mailing, no report")
        text = f"{letter.subject[:300]} {letter.text[:_LIMIT]}".replace("\n", " ")
        if not self._responders.says(Means.LURE, text) or _REPLY.search(text):
            return None
        return reading(letter, MailKind.NOT_A_BOUNCE, (), "a lure, no report")


def _is_mailing(letter: Letter) -> bool:
    if letter.head.get("list-unsubscribe"):
        return True
    path = first_address(letter.head.get("return-path"))
    return bool(path) and not letter.auto_submitted.startswith("auto-")
