"""Notices that systems write in their own words: hosters, schools, offices, gateways, portals -> one Evidence a recipient.

They follow no form and come from no mailer-daemon. A notice needs a machine's mark (null reverse-path, Auto-Submitted, the
returned mail, a sender that is a system, a server's reply in the text) *and* words of non-delivery in many languages
(policies/formats/notices.toml). Words that only say that an account is closed or full need more marks than words that say
that a mail was not delivered. A responder of a person, a challenge, a lure and an answer of a person are none.
A mail for the owner of a mailbox (nearly full, digest, test) is `other`.
Known limits: without a mark a notice is a person's mail, whatever it says.
"""

import re
from collections.abc import Mapping

from omicard_relay.bounce.human import HumanPart
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.readers.plain import general_stanzas, report_evidence
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.stanzas import Stanza, has_code
from omicard_relay.bounce.systems import is_by_person, is_system
from omicard_relay.bounce.text import addresses_in, unquoted
from omicard_relay.mail import MailKind
from omicard_relay.tables.responders import Means, Responders, Where

__all__ = ["Notice"]

#: Characters of the words that are looked at.
_LIMIT = 2_000
#: Marks that words need which say it of a mail, and words that say it of an account.
_ENOUGH, _MORE = 2, 4
_QUEUES = ("bulk", "junk", "list", "auto_reply")
_PROGRAM_FIELDS = ("user-agent", "x-originating-ip", "list-unsubscribe", "list-post")
#: Roles (RFC 2142) in which people write about a delivery that failed.
_ROLES = frozenset(
    {"admin", "administrator", "it", "edv", "helpdesk", "hostmaster", "webmaster", "root", "mail", "postmaster", "list"}
)
#: Said by responders of people; a notice that says so too must come from a system.
_RESPONDS = frozenset({Means.AUTOMATIC, Means.ABSENT, Means.LEFT, Means.CLOSED, Means.RECEIVED, Means.RETURNS})
_HOLDS = frozenset({Means.CHALLENGE, Means.HELD, Means.LURE})
# A mail's identity, or fields of it, that a notice quotes.
_QUOTES = re.compile(
    r"message-id|^\W{0,10}(?:subject|betreff|objet|asunto|assunto|oggetto|主旨|主題|主题|件名|제목|тема)\s{0,5}[:：|]",
    re.I | re.M,
)


class Notice:
    """The reader of notices; without a table it knows none."""

    def __init__(self, responders: Responders | None = None) -> None:
        self._responders = responders or Responders()

    def read(self, letter: Letter) -> MailReading | None:
        marks = _marks(letter)
        if not marks:
            return None
        words = unquoted(letter.own_words)[:_LIMIT].replace("\n", " ")
        text = " ".join(f"{letter.subject[:300]} {words}".split())
        said = self._responders.said(Where.NOTICE, text)
        if not said:
            return None
        stated = self._responders.said(Where.TEXT, text)
        if not _HOLDS.isdisjoint(stated):
            return None
        told = said.get(Means.UNDELIVERED)
        if told is None and Means.DELAYED not in said and Means.DELIVERED not in said:
            return self._of_owner(letter, said, bool(marks))
        if Means.OWNER in said and Means.OWNER in self._responders.said(
            Where.NOTICE, " ".join(letter.subject[:300].split())
        ):
            return self._of_owner(letter, said, bool(marks))
        if _is_for_administrator(letter):
            return reading(letter, MailKind.OTHER, (), "a notice to an administrator")
        stanzas = tuple(stanza for stanza in general_stanzas(letter) if stanza.recipient)
        if Means.OWNER in said and not stanzas:
            return self._of_owner(letter, said, bool(marks))
        if not _is_enough(letter, marks, told is not False, bool(stanzas), stated):
            return None
        action = _action(said)
        if action == "delivered" and not stanzas:
            return None
        human = HumanPart(letter, len(stanzas) or 1)
        evidence = [report_evidence(letter, human, one, action) for one in stanzas or (Stanza(recipient="", words=""),)]
        return reading(letter, MailKind.DSN, evidence, "a notice in a system's own words")

    def _of_owner(self, letter: Letter, said: Mapping[Means, bool], marked: bool) -> MailReading | None:
        if Means.OWNER in said and marked:
            return reading(letter, MailKind.OTHER, (), "a notice to the owner of a mailbox")
        return None


def _marks(letter: Letter) -> int:
    """How much speaks for a machine as the writer; 0 for a person's mail and a mailing."""
    head = letter.head
    automatic = letter.auto_submitted.startswith("auto-")
    if not (letter.null_reverse_path or automatic or is_system(letter)):
        return 0
    queued = head.get("precedence").lower() in _QUEUES
    if not letter.null_reverse_path and any(head.get(name) for name in _PROGRAM_FIELDS):
        return 0
    if letter.is_answer and not (letter.null_reverse_path or (queued and is_system(letter))):
        # A script may keep the subject behind a `Re:`; then it must say twice that it is one.
        return 0
    returned = bool(letter.returned.get("from") or letter.returned.get("subject"))
    if is_by_person(letter):
        return 0
    if not (letter.null_reverse_path or automatic or returned) and letter.sender.partition("@")[0].lower() in _ROLES:
        return 0
    marks = 2 * letter.null_reverse_path + (2 if letter.auto_submitted == "auto-generated" else automatic)
    marks += bool(head.get("x-auto-response-suppress")) or queued
    marks += is_system(letter) + letter.tells_failure
    marks += 2 * returned
    own = letter.own_words[:_LIMIT]
    return marks + has_code(own) + (_QUOTES.search(own) is not None)


def _is_for_administrator(letter: Letter) -> bool:
    """Whether it is addressed to the very mailbox that it comes from: our own system tells of a mail of others."""
    sender = letter.sender.lower()
    return any(found.address.lower() == sender for found in addresses_in(letter.head.get("to")[:2_000]))


def _is_enough(letter: Letter, marks: int, told: bool, named: bool, stated: Mapping[Means, bool]) -> bool:
    """Whether the marks carry the words: more are needed where the words are weaker or a responder's, or name nobody."""
    responds = any(means in stated for means in _RESPONDS)
    answers = letter.auto_submitted.startswith("auto-replied")
    returned = bool(letter.returned.get("from") or letter.returned.get("subject"))
    if (responds or answers) and not (told and (is_system(letter) or (named and returned))):
        return False
    if not named and not letter.null_reverse_path:
        return False
    return marks >= (_ENOUGH if told and named else _MORE if not told else _ENOUGH + 1)


def _action(said: Mapping[Means, bool]) -> str:
    """A failure unless the words tell of a delay, or of nothing but a delivery."""
    if Means.DELAYED in said:
        return "delayed"
    return "failed" if Means.UNDELIVERED in said else "delivered"
