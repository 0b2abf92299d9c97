"""flufl.bounce as the last reader: the addresses that its detectors find, without their causes.

Asked only for mails that look like a report and that no other reader knows; it walks the standard library's message
object, so it gets a flat mail (own header, readable text) of at most FLUFL_OCTETS and any exception of it is a "no".
"""

import logging
from email import message_from_bytes
from email.errors import MessageError

from flufl.bounce import all_failures

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.text import has_words, words_about
from omicard_relay.mail import Evidence, MailKind, Road, read_reply

__all__ = ["Flufl"]

#: Its detectors match many patterns against every line.
FLUFL_OCTETS = 65_536
#: Its detectors follow MIME recursively; real reports have a handful of parts.
FLUFL_PARTS = 30

# It logs every detector it tries; its opinion is a value here.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


class Flufl:
    """The reader of what is left."""

    def read(self, letter: Letter) -> MailReading | None:
        if not letter.looks_like_report or len(letter.parts) > FLUFL_PARTS:
            return None
        try:
            message = message_from_bytes(letter.raw[:FLUFL_OCTETS])
            temporary, permanent = all_failures(message)
        except (MessageError, LookupError, ValueError, TypeError, AttributeError, AssertionError, RecursionError):
            return None
        evidence = [_evidence(letter, name, "failed") for name in _names(permanent)]
        evidence += [_evidence(letter, name, "delayed") for name in _names(temporary)]
        if not evidence:
            return None
        return reading(letter, MailKind.DSN, evidence, "recipients found by flufl.bounce, cause not read")


def _evidence(letter: Letter, recipient: str, dsn_action: str) -> Evidence:
    words = words_about(letter.own_words, recipient)
    return Evidence(
        road=Road.DSN,
        recipient=recipient,
        replies=(read_reply(words, time=letter.time),) if has_words(words) else (),
        dsn_action=dsn_action,
        message_id=letter.returned_id,
        time=letter.time,
    )


def _names(found: object) -> list[str]:
    names = found if isinstance(found, set | frozenset | list | tuple) else ()
    texts = (name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)
    return sorted(text for text in texts if "@" in text)
