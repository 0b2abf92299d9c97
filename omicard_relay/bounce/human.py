"""`HumanPart`: what a report's readable text says about each recipient, beside its fields (RFC 3464 §2, first part).

The text is walked once for all recipients. It completes a Diagnostic-Code: Postfix writes the stage only here ("in reply
to RCPT TO command"), sendmail writes a transcript, Exchange tells what the server answered while a mail was waiting.
Not here: reading the fields (readers/dsn.py).
"""

import re
from collections.abc import Mapping
from itertools import takewhile

import re2
from msgspec.structs import replace

from omicard_relay.bounce.lazily import once
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.noise import without_noise
from omicard_relay.bounce.origins import ORIGIN_MARKS, original_of, tells_origin
from omicard_relay.bounce.says import Says
from omicard_relay.bounce.stanzas import Stanza, read_stanzas, remote_words
from omicard_relay.bounce.text import first_address, has_words, split_returned, words_about
from omicard_relay.bounce.transcript import Exchange, read_transcript
from omicard_relay.mail import Reply, Stage, read_reply
from omicard_relay.mail.stagewords import stage_of

__all__ = ["STATUS_FIELDS", "HumanPart"]

#: Lines that begin a status part; a gateway that takes the report apart leaves them in the text.
STATUS_FIELDS = re2.compile(r"(?im)^(?:Final-Recipient|Reporting-MTA|Original-Recipient)[ \t]{0,5}:")
# Postfix, folded or not: "(in reply to RCPT TO command)", "host mx.example.com[192.0.2.1] refused to talk to me: 554 …".
_IN_REPLY_TO = re.compile(r"\(in\s{1,10}reply\s{1,10}to\s{1,10}([A-Za-z\s]{3,60}?)(?:\s{1,10}command)?\)")
_REFUSED = re.compile(r"refused\s{1,10}to\s{1,10}talk\s{1,10}to\s{1,10}me:")
_HOST_SAID = re.compile(r"\bhost\s{1,10}([^\s\[\]]{1,255})\[([0-9A-Fa-f.:]{2,45})\]")
#: Octets without which no such remark, and no transcript, can stand in a part.
_REMARK_MARKS = {
    b"(in": (b"(in reply", b"(in\n", b"(in\r", b"(in  ", b"(in&", b"(in\t"),
    b"refused": (b"refused to", b"refused\n", b"refused\r", b"refused  ", b"refused&", b"refused\t"),
}
_TRANSCRIPT_MARKS = {b"<<<": (b"<<<",), b"&lt;&lt;": (b"&lt;&lt;",)}
#: Characters before such a remark in which the host is named; the longest replies are near 2,000.
_SAID_LIMIT = 2_500
#: Postfix, smtpd.c: its answer to DATA when no recipient was taken.
_NOBODY_LEFT = "no valid recipients"
#: Characters of the text that stand in where nothing speaks of the recipient.
WHOLE_LIMIT = 2_000
#: Characters of the subject that may name the cause.
_SUBJECT_LIMIT = 300
#: Up to so many recipients are looked for line by line; the text of a longer list names them in a form that is known.
_SEARCHED_RECIPIENTS = 50


class HumanPart:
    """The readable part of one report that is about `recipients` recipients. Never changes."""

    def __init__(self, letter: Letter, recipients: int) -> None:
        self.letter = letter
        self.recipients = recipients

    @once
    def text(self) -> str:
        """The report's own words, without status fields."""
        own = self.letter.own_words
        fields = STATUS_FIELDS.search(own)
        before = own[: fields.start()] if fields else own
        return before if has_words(before) else own

    @once
    def exchanges(self) -> tuple[Exchange, ...]:
        """The session that it retells."""
        if not self._may_have(_TRANSCRIPT_MARKS):
            return ()
        text = self.letter.text
        last = text.rfind("<<<")
        # Nothing below the last answer is read, and the returned mail is further below.
        return read_transcript(split_returned(text[: text.find("\n", last) + 1 or None])[0]) if last >= 0 else ()

    @once
    def _stanzas(self) -> dict[str, Stanza]:
        return {stanza.recipient.lower(): stanza for stanza in read_stanzas(self.text)}

    def _words(self, recipient: str) -> str:
        stanza = self._stanzas.get(recipient.lower())
        return stanza.words if stanza else ""

    @once
    def _octets(self) -> bytes | None:
        """The readable parts without their transfer encoding; None where a charset hides what they say."""
        found: list[bytes] = []
        for part in self.letter.leaves:
            if part.content_type in ("text/plain", "text/html"):
                if part.head.is_seven_bit:
                    return None
                found.append(part.octets)
        octets = b"\n".join(found) if len(found) != 1 else found[0]
        return None if b"\x1b" in octets else octets

    def _may_have(self, marks: Mapping[bytes, tuple[bytes, ...]]) -> bool:
        """False where no part has any of these octets: then the text need not even be decoded."""
        octets = self._octets
        if octets is None:
            return True
        return any(mark in octets for common in marks if common in octets for mark in marks[common])

    @once
    def _dialogue(self) -> tuple[tuple[str, Stage], ...]:
        """Postfix's remarks on where a dialogue stood: (where the text says so, stage), in order."""
        if not self._may_have(_REMARK_MARKS):
            return ()
        text = self.letter.text
        found = [(match.start(), stage_of(" ".join(match.group(1).split()))) for match in _IN_REPLY_TO.finditer(text)]
        found += [(match.start(), Stage.CONNECT) for match in _REFUSED.finditer(text)]
        return tuple((text[max(0, at - _SAID_LIMIT) : at], stage) for at, stage in found[:_SEARCHED_RECIPIENTS])

    def origin(self, recipient: str) -> str:
        """The address that was written to, where the text says that it is another one than this recipient; else ""."""
        if not self._tells_origin:
            return ""
        stanza = self._stanzas.get(recipient.lower())
        told = stanza.original if stanza else ""
        return told or (original_of(self.text, recipient) if self.recipients == 1 else "")

    @once
    def _tells_origin(self) -> bool:
        # Marks in other alphabets are not looked for in octets.
        octets = self._octets
        may = octets is None or not octets.isascii() or self._may_have(ORIGIN_MARKS)
        return may and tells_origin(self.letter.text)

    def names(self) -> list[str]:
        """The recipients that the text names, in order."""
        ours = {first_address(self.letter.head.get(name)).lower() for name in ("to", "from", "delivered-to")}
        return [stanza.recipient for stanza in read_stanzas(self.text, not_these=ours - {""})]

    def about(self, recipient: str) -> str:
        """The words about one recipient; "" when there are none."""
        words = self._words(recipient)
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
        # 503 "need RCPT", and Postfix's 554 "no valid recipients" to a DATA sent ahead, only follow from the refusal before.
        telling = (
            item for item in found if not item.reply.startswith("503") and _NOBODY_LEFT not in item.reply.lower()
        )
        return next(telling, found[0] if found else None)

    def remote(self, unless: Says | None = None) -> str:
        """A server's own words that stand apart; only where one recipient leaves no doubt of whom they speak."""
        return remote_words(self.text, unless=unless) if self.recipients == 1 else ""

    def program_words(self) -> str:
        """What a delivery program said (procmail, mail.local): the lines of sendmail's transcript above its own."""
        _, heading, below = self.text.partition("Transcript of session follows")
        lines = below.partition("\n")[2].lstrip("\n").partition("\n\n")[0].split("\n")
        told = list(
            takewhile(lambda line: line[:1] not in "45.<>", (line.strip() for line in lines if has_words(line)))
        )
        return "\n".join(told)[:WHOLE_LIMIT] if heading and self.recipients == 1 else ""

    def about_program(self, name: str) -> str:
        """What sendmail says of a pipe or file: what the shell said of the program, else the indented lines below its own."""
        _, found, below = self.text.partition(name) if name else ("", "", "")
        program = name.lstrip("|\"' ").partition(" ")[0].rpartition("/")[2]
        if not found or not program:
            return ""
        lines = below.partition("\n")[2].split("\n")
        said = [line for line in lines if program in line and name not in line and has_words(line.replace(program, ""))]
        told = said or takewhile(lambda line: line[:1] in " \t" and has_words(line), lines)
        return "\n".join(line.strip() for line in told)[:WHOLE_LIMIT]

    def whole(self) -> str:
        """The beginning of the text, where one recipient leaves no doubt."""
        return self.text.strip()[:WHOLE_LIMIT] if self.recipients == 1 else ""

    def with_context(self, replies: tuple[Reply, ...], status: str | None = None) -> tuple[Reply, ...]:
        """Around words without any code, all that the report says: its subject may tell the cause, or another paragraph.

        `status` is the report's own Status field: it weighs beside the general words of a report.
        """
        if self.recipients != 1 or any(reply.reply_code or reply.enhanced_status for reply in replies):
            return replies
        context = f"{self.letter.subject[:_SUBJECT_LIMIT]}\n{without_noise(self.whole())}".strip()
        if not has_words(context) or any(context in reply.text for reply in replies):
            return replies
        outer = read_reply(context, time=self.letter.time)
        return (outer if outer.enhanced_status else replace(outer, enhanced_status=status), *replies)

    def with_stage(self, reply: Reply, recipient: str) -> Reply:
        """The reply with the stage and host that the human part tells of the same words."""
        if reply.stage is not Stage.UNKNOWN:
            return reply
        for item in self.exchanges:
            if item.reply in reply.innermost or reply.innermost in item.reply:
                return replace(reply, stage=item.stage, host=reply.host or item.host)
        told = self._dialogue
        if not told:
            return reply
        if self.recipients == len(told) == 1:
            # One recipient and one such remark: it can only speak of these words.
            before, stage = told[0]
            host = _HOST_SAID.search(before)
            if host is None:
                return replace(reply, stage=stage)
            return replace(reply, stage=stage, host=reply.host or host.group(1), ip=reply.ip or host.group(2))
        words = self._words(recipient)
        if _IN_REPLY_TO.search(words) or _REFUSED.search(words):
            same = read_reply(words)
            if reply.innermost in same.innermost or same.innermost in reply.innermost:
                return replace(reply, stage=same.stage, host=reply.host or same.host, ip=reply.ip or same.ip)
        return reply
