"""Reports in plain text, as mail systems without RFC 3464 write them -> one Evidence a recipient.

Known by a mail system as its sender (or a null reverse-path, or X-Failed-Recipients) *and* by words of failure in the
mail's own text: qmail ("Hi. This is the qmail-send program"), Exim ("created automatically by mail delivery
software"), old sendmail, Exchange, Domino, Postfix without a status part, OpenSMTPD, dma and their kin; read by one way
(stanzas.py). A quoted report, an answer to one or one on a mailing list is none.
Known limits: the stage is known only where a transcript or the reply tells it.
"""

import re
from dataclasses import replace

from omicard_relay.bounce.fields import RECIPIENT_LIMIT
from omicard_relay.bounce.human import HumanPart
from omicard_relay.bounce.letter import Letter
from omicard_relay.bounce.origins import original_of
from omicard_relay.bounce.recipients import completed, forwarded_from, list_of, our_addresses, returned_recipient
from omicard_relay.bounce.result import MailReading, reading
from omicard_relay.bounce.says import Says
from omicard_relay.bounce.stanzas import Stanza, has_code, read_stanzas
from omicard_relay.bounce.text import addresses_in, has_words, spaced
from omicard_relay.bounce.usernames import bare_stanzas
from omicard_relay.mail import Evidence, MailKind, Reply, Road, Stage, read_reply
from omicard_relay.tables.responders import Means, Responders, Where

__all__ = ["PlainReport", "general_stanzas", "report_evidence"]

#: Characters in which a notice tells that it is for its reader.
_OWNER_LIMIT = 2_000
_STATUS = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![\d.])")

_FAILED = Says(
    r"(?:could|can|was|were|has|have|is|are)(?: ?not|n['’]t)(?: able to)?(?: yet)?(?: been| be)? (?:deliver"
    r"|sent|send|find|found|complete|reach|accept)|"
    r"unable to (?:deliver|send|relay|find|complete)|undeliver|not delivered|non-?delivery|failed|failure"
    r"|fail to|permanent error|fatal error|"
    r"error(?:\(s\)|s)? (?:was|were|while|deliver|occurred|in|sending|:)|returned (?:mail|message"
    r"|to sender)|did not reach|rejected|refused|delivery error|"
    r"was(?: an?)? error|trouble delivering|user unknown|unknown user|no such user|been delayed|still being"
    r"|not yet been delivered|unsuccessful|"
    r"zustell|unzustellbar|n['’]a pas pu|impossible de|échec|échoué|no (?:se )?pud?o|no ha podido"
    r"|non (?:è stato|recapitat)|não (?:foi|pôde)|niet (?:worden )?bezorgd|"
    r"не (?:может быть|был[оа]?|удалось|доставлен)|無法|失敗|退回|退信|无法|失败|送信でき|配信でき|届け"
    r"|エラー|実패|실패|반송|전송되지|전달",
)
_DELAYED = Says(
    r"(?:has|have|been|was|is) delayed|delivery (?:is |has been )?delayed"
    r"|not (?:yet )?been (?:successfully )?(?:sent|delivered)(?: yet)?[^.]{0,80}(?:hours|still|retr)"
    r"|will (?:continue|keep|be retried)|"
    r"do not need to (?:resend|send)|no action is required|warning message only|still (?:trying|being)"
    r"|delayed \d+ hours",
)
_PERMANENT = Says(
    r"permanent(?:ly)? (?:error|fail|fatal)|giving up|given up|too long|will not (?:be )?retr|fatal error"
    r"|failed permanently",
)


class PlainReport:
    """The reader of what mail systems wrote before, or beside, RFC 3464; the table tells a responder's subject."""

    def __init__(self, responders: Responders | None = None) -> None:
        self._responders = responders or Responders()

    def read(self, letter: Letter) -> MailReading | None:
        if not letter.looks_like_report or any(self._responders.said(Where.SUBJECT, letter.subject[:300]).values()):
            return None
        words = letter.own_words
        if not (_FAILED(words) or (letter.tells_failure and has_words(words))):
            return None
        stanzas = general_stanzas(letter)
        if not stanzas and self._is_for_owner(letter, words):
            return reading(letter, MailKind.OTHER, (), "a notice to the owner of a mailbox")
        stanzas = stanzas or (Stanza(recipient="", words=""),)
        human = HumanPart(letter, len(stanzas))
        action = "delayed" if _DELAYED(words) and not _PERMANENT(words) else "failed"
        return reading(letter, MailKind.DSN, (report_evidence(letter, human, stanza, action) for stanza in stanzas))

    def _is_for_owner(self, letter: Letter, words: str) -> bool:
        """Whether it warns the mailbox that it came to (nearly full, a digest), and quotes no server."""
        text = " ".join(f"{letter.subject[:300]} {words[:_OWNER_LIMIT]}".split())
        return Means.OWNER in self._responders.said(Where.NOTICE, text) and not has_code(words)


def general_stanzas(letter: Letter) -> tuple[Stanza, ...]:
    """The header's recipients (Exim, Gmail), else those that the text names, else the one the returned mail went to."""
    failed = [found.address for value in letter.head.all("x-failed-recipients") for found in addresses_in(value)]
    path = {found.address.lower().rpartition("@")[2] for found in addresses_in(letter.head.get("to")[:2_000])}
    told = read_stanzas(letter.own_words, not_these=our_addresses(letter), our_domains=frozenset(path))
    if failed:
        names = tuple(dict.fromkeys(failed))[:RECIPIENT_LIMIT]
        human = HumanPart(letter, len(names))
        by_key = {stanza.recipient.lower(): stanza for stanza in told}
        return tuple(by_key.get(name.lower()) or Stanza(recipient=name, words=human.about(name)) for name in names)
    if told:
        return _without_originals(_of_list(told, list_of(letter.sender)))
    name = returned_recipient(letter) or _named_in_subject(letter) or list_of(letter.sender)
    if not name and not letter.from_daemon and letter.sender.lower() in letter.own_words.lower():
        # The mailbox that answers tells of itself.
        name = letter.sender
    if name:
        return (Stanza(recipient=name, words=""),)
    return tuple(replace(one, recipient=completed(one.recipient, letter)) for one in bare_stanzas(letter.own_words))


def _of_list(told: tuple[Stanza, ...], name: str) -> tuple[Stanza, ...]:
    """The stanzas with the list in the place of its owner, whom its manager names for questions."""
    if not name or not any(list_of(stanza.recipient) == name for stanza in told):
        return told
    return tuple(replace(one, recipient=name) if list_of(one.recipient) == name else one for one in told)


def _named_in_subject(letter: Letter) -> str:
    ours = our_addresses(letter)
    names = [found.address for found in addresses_in(letter.subject[:500]) if found.address.lower() not in ours]
    return names[0] if len(names) == 1 else ""


def _without_originals(told: tuple[Stanza, ...]) -> tuple[Stanza, ...]:
    """Where a mail was forwarded, the words name both addresses: the one that was written to belongs to the other's stanza."""
    if len(told) == 1:
        return told
    origins = {
        stanza.recipient: (stanza.original or original_of(stanza.words, stanza.recipient)).lower() for stanza in told
    }
    names = {stanza.recipient.lower() for stanza in told}
    dropped = {origin for name, origin in origins.items() if origin in names and origins.get(origin) != name.lower()}
    return tuple(
        replace(stanza, original=origins[stanza.recipient]) if origins[stanza.recipient] in dropped else stanza
        for stanza in told
        if stanza.recipient.lower() not in dropped
    )


def report_evidence(letter: Letter, human: HumanPart, stanza: Stanza, action: str) -> Evidence:
    """What a stanza states."""
    stanza = replace(stanza, words=spaced(stanza.words), reply=spaced(stanza.reply))
    told = stanza.status or stanza.words
    status = _STATUS.search(told) if "5." in told or "4." in told else None
    replies = human.with_context(_replies(letter, human, stanza))
    return Evidence(
        road=Road.DSN,
        recipient=stanza.recipient,
        original_recipient=stanza.original
        or human.origin(stanza.recipient)
        or (forwarded_from(letter, stanza.recipient) if human.recipients == 1 else ""),
        replies=replies,
        dsn_action=action,
        status=status.group(1) if status else replies[-1].enhanced_status if replies else None,
        remote_mta=replies[-1].host if replies else None,
        message_id=letter.returned_id,
        time=letter.time,
        notes=() if stanza.recipient else ("the report names no recipient",),
    )


def _replies(letter: Letter, human: HumanPart, stanza: Stanza) -> tuple[Reply, ...]:
    """The words about the recipient; behind them what the server itself said, where the report sets it apart."""
    is_twice = stanza.words == stanza.reply
    outer = (read_reply(stanza.words, time=letter.time),) if has_words(stanza.words) and not is_twice else ()
    if stanza.reply:
        stage = stanza.stage if stanza.stage is not Stage.UNKNOWN else None
        own = read_reply(stanza.reply, stage=stage, host=stanza.host, time=letter.time)
        return (*outer, own)
    said = human.said_to(stanza.recipient)
    if said is not None:
        return (*outer, read_reply(said.reply, stage=said.stage, host=said.host, time=letter.time))
    if outer and has_code(stanza.words):
        return outer
    words = human.remote() or ("" if outer else human.whole())
    return (*outer, read_reply(words, time=letter.time)) if has_words(words) else outer
