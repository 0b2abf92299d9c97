"""`HumanPart`: what a report's readable text says about each recipient, beside its fields (RFC 3464 §2, first part).

The text is walked once for all recipients. It completes a Diagnostic-Code: Postfix writes the stage only here ("in reply
to RCPT TO command"), sendmail writes a transcript, Exchange tells what the server answered while a mail was waiting.
Not here: reading the fields (readers/dsn.py).
"""

import re
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import replace

from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.stanzas import read_stanzas, remote_words
from omicard_relay.bounce.text import has_words, words_about
from omicard_relay.bounce.transcript import Exchange, read_transcript
from omicard_relay.mail import Reply, Stage, read_reply

__all__ = ["STATUS_FIELDS", "HumanPart"]

#: Lines that begin a status part; a gateway that takes the report apart leaves them in the text.
STATUS_FIELDS = re.compile(r"^(?:Final-Recipient|Reporting-MTA|Original-Recipient)[ \t]{0,5}:", re.I | re.M)
#: Characters of the text that stand in where nothing speaks of the recipient.
WHOLE_LIMIT = 2_000
#: Up to so many recipients are looked for line by line; the text of a longer list names them in a form that is known.
_SEARCHED_RECIPIENTS = 50


@dataclass(frozen=True)
class HumanPart:
    """The readable part of one report that is about `recipients` recipients."""

    letter: Letter
    recipients: int

    @cached_property
    def text(self) -> str:
        """The report's own words, without status fields."""
        own = self.letter.own_words
        fields = STATUS_FIELDS.search(own)
        before = own[: fields.start()] if fields else own
        return before if has_words(before) else own

    @cached_property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The session that it retells."""
        return read_transcript(self.letter.own_words)

    @cached_property
    def _stanzas(self) -> dict[str, str]:
        return {stanza.recipient.lower(): stanza.words for stanza in read_stanzas(self.text)}

    def about(self, recipient: str) -> str:
        """The words about one recipient; "" when there are none."""
        words = self._stanzas.get(recipient.lower(), "")
        if not has_words(words) and self.recipients <= _SEARCHED_RECIPIENTS:
            words = words_about(self.text, recipient)
        return words

    def said_to(self, recipient: str) -> Exchange | None:
        """The last exchange of the transcript that is about a recipient: with several hosts the last one decided."""
        alone = self.recipients == 1
        found = [
            item
            for item in reversed(self.exchanges)
            if (alone or (recipient and recipient in item.command)) and has_words(item.reply)
        ]
        # 503 "need RCPT" only follows from the refusal before it.
        return next((item for item in found if not item.reply.startswith("503")), found[0] if found else None)

    def remote(self, unless: re.Pattern[str] | None = None) -> str:
        """A server's own words that stand apart; only where one recipient leaves no doubt of whom they speak."""
        return remote_words(self.text, unless=unless) if self.recipients == 1 else ""

    def whole(self) -> str:
        """The beginning of the text, where one recipient leaves no doubt."""
        return self.text.strip()[:WHOLE_LIMIT] if self.recipients == 1 else ""

    def with_stage(self, reply: Reply, recipient: str) -> Reply:
        """The reply with the stage and host that the human part tells of the same words."""
        if reply.stage is not Stage.UNKNOWN:
            return reply
        for item in self.exchanges:
            if item.reply in reply.innermost or reply.innermost in item.reply:
                return replace(reply, stage=item.stage, host=reply.host or item.host)
        words = self._stanzas.get(recipient.lower(), "")
        if "in reply to" in words or "refused to talk" in words:
            same = read_reply(words)
            if reply.innermost in same.innermost or same.innermost in reply.innermost:
                return replace(reply, stage=same.stage, host=reply.host or same.host, ip=reply.ip or same.ip)
        return reply
