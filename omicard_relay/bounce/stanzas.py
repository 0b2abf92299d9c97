"""A plain-text report -> `Stanza` values: each recipient that it names, and the words that it says about them.

One way to read them all, since mail systems without RFC 3464 differ less than they seem: a recipient stands at the
beginning of a line (`<ann@example.com>:` qmail, Postfix, OpenSMTPD), on a line of its own (Exim, Exchange, Domino),
behind a label (`Recipient: …`), or, where none of these is found, in a sentence ("delivering your mail to <…>", dma).
Its words follow on the line, or in the paragraph below, or stand under a heading of their own ("server message").
Known limits: a report that hides its recipients gives none.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from omicard_relay.bounce.noise import without_noise
from omicard_relay.bounce.origins import original_of, tells_origin
from omicard_relay.bounce.says import Says
from omicard_relay.bounce.text import addresses_in, has_words
from omicard_relay.mail import Stage

__all__ = ["RECIPIENT_LIMIT", "WORDS_LIMIT", "Stanza", "has_code", "read_stanzas", "remote_words"]

#: Characters of the words about one recipient.
WORDS_LIMIT = 4_000
RECIPIENT_LIMIT = 1_000
#: Lines of a report's own words.
_LINE_LIMIT = 5_000

# What may stand before a naming address, and what must stand behind it.
_LABEL = (
    r"(?:final |failed |original |intended |bad |undeliverable |not delivered |delivery |sent |message |mail |email "
    r"|target ){0,2}"
    r"(?:recipient|address|addressee|mailbox|user|account|e-?mail|rcpt|to|for|unknown user|user unknown"
    r"|empfänger|empfaenger|adresse|adressat|destinataire|destinatario|destinatário|destinatari|dirección|direccion"
    r"|indirizzo"
    r"|endereço|ontvanger|geadresseerde|odbiorca|adresat|mottagare|modtager|vastaanottaja|alıcı|alici|címzett|příjemce"
    r"|получатель|адресат|адрес|одержувач|收件人|收件者|收信人|收件地址|收件信箱|收件邮箱"
    r"|受信者|受取人|送信先|宛先|あて先|수신자|수신인|받는 ?사람"
    r"|ผู้รับ|người nhận|penerima|المستلم|הנמען)"
    r"(?:\(s\)|s|es|n|in| address(?:es)?| name| e-?mail|地址|信箱|アドレス| 주소)?(?: is| was)?[ .·…_]{0,40}"
)
_BEFORE = re.compile(
    r"[\s<\[('\"*•·+|=>◆■●・-]{0,20}(?:\d{1,3}[.)] ?|\(\d{1,3}\) ?)?"
    rf"(?:{_LABEL}(?:[ \t]{{0,3}}(?:/|(?!unser|our\b|nos\b|nuestr|nostr|onze\b)[A-Za-z]{{2,20}})[ \t]{{0,3}}){{0,2}}"
    r"(?:\s{0,5}[:：=|]|(?<=\bto))\s{0,10})?"
    r"[<\[('\"]{0,3}\s?(?:mailto:|smtp:|rfc822;\s?)?$",
    re.I,
)
_AFTER = re.compile(
    r"[>\])'\"]{0,3}\s{0,60}(?:$|[:：;,|]|[-–—>]{1,3}\s|\(|<mailto:|\.{3}|\[\d"
    r"|\s(?=[A-Z45\"'\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]))"
)
_BETWEEN = re.compile(r"[>\])'\"]{0,3}\s{0,5}(?:[;,、|]\s{0,5}|<mailto:)[<\[('\"]{0,3}(?:mailto:|smtp:)?")
_REST_BEGIN = re.compile(r"^[>\])'\"]{0,3}(?:<mailto:[^>]{0,320}>)?[\s:：;,|–-]{0,10}")
#: A Message-ID has the shape of an address.
_IDENTITY = re.compile(r"message[ -]?id\W{0,10}$", re.I)
# What reports say beside the reason.
_NEUTRAL = Says(
    r"^[^.:]{0,40}\b(?:original|returned|your|the) (?:message|mail|e-?mail)(?: headers?)? "
    r"(?:is|was|follows|are|has been|will be)? ?"
    r"(?:attached|included|below|follow|enclosed|appended|shown|quoted|returned below)",
    r"do not (?:reply|answer|respond)|^(?:kind |best )?regards|for (?:more|further) (?:information|help)"
    r"|if you have (?:any )?questions|請勿(?:直接)?回[覆復]|请勿(?:直接)?回复|返信しないで",
    r"^\W{0,5}please (?:reply|respond|write) to |feel this message to be in error",
)
#: Lines below a recipient's own in which the address that was written to stands.
_ORIGIN_LINES = 8
# Says from where a mail was forwarded, and nothing about why it failed.
_ORIGIN_LINE = re.compile(
    r"\s{0,20}\(?(?:ultimately )?(?:generated|expanded) (?:from|by):?\s[^\s()]{1,400}\)?\s{0,5}$", re.I
)
# An address to write to, or the person that is spoken to.
_CONTACT = re.compile(
    r"\b(?:contact|adressen uns\w{0,5}|addresses of our|our addresses|adresses de nos"
    r"|help|questions?|support|assistance|write to|e-?mail us|reach us|visit|forward this|report this"
    r"|dear|hello|hi"
    r"|kontakt\w{0,6}|hilfe|fragen|vragen|domande|dudas|dúvidas|contactez|contacte|contatt\w{1,4}|обращайтесь"
    r"|вопрос\w{0,4}"
    r"|pisa[ćc] na adres|pytani\w{1,4})\b[^.;:]{0,60}:?\s?$"
    r"|(?:洽|聯絡|联系|客服|お問い合わせ|문의)[^。；]{0,20}$",
    re.I,
)
# How a line ends when the address on the next one is another that the sender is asked to use.
_ASKS_END = re.compile(
    r"\b(?:(?:please )?(?:contact|write to|e-?mail us at|send (?:it|them|mail|messages) to|new address(?: is)?|use)"
    r"|schreiben sie (?:bitte )?an|wenden sie sich (?:bitte )?an|(?:écri(?:re|vez)|adresse[rz](?:-vous)?) (?:à|au)"
    r"|escriba a|dirigirse a"
    r"|escreva para|scriv(?:a|ere) a|schrijf naar|pisa[ćc] na adres|(?:пишите|обращайтесь) (?:на(?: адрес)?"
    r"|по адресу))\s{0,5}:?\s{0,5}$",
    re.I,
)
_PROSE_SKIP = frozenset(
    {"postmaster", "abuse", "support", "helpdesk", "mailer-daemon", "noreply", "no-reply", "info", "webmaster", "admin"}
)
# The first of these on a line begins a server's own words: a reply code (RFC 5321 §4.2) where a statement begins, an
# enhanced status code, or a transcript's mark. "Call 555 1234" and "550 octets" in a sentence are none.
_REMOTE = re.compile(
    r"(?:^\s{0,20}|[:>(\"'*\[=]\s{0,2}|\b(?:said|says|returned|error|code|reason|reply|response|was) )"
    r"(?:4[2-7]|5[0-7])\d[ -](?=[\s#<A-Za-z\[(\"'*-]|[45]\.|[^\x00-\x7f])"
    r"|(?:^|[\s:>(\"'*#])[45]\.\d{1,2}\.\d{1,3}(?=[ :)]|$)|^\s{0,10}<<<\s",
    re.M,
)
# Without one of these no line begins a server's words.
_MAY_SPEAK = Says(r"[45]\d\d[ -]|[45]\.\d{1,2}\.\d|<<<")
# A line that ends so announces a server's own words (Gmail, Exchange, m-FILTER, IMail).
_HEADING = re.compile(
    r"\W{0,20}(?:technical details|the (?:response|error|reason)|(?:the )?response (?:from|was)|(?:error"
    r"|server|diagnostic) (?:message|details|text)"
    r"|(?:the )?(?:other|remote|receiving|recipient) (?:mail )?server(?:'s)? (?:said|returned|responded"
    r"|response|reply)|reported error|message generated response"
    r"|body of message generated response|for the following reason|伺服器(?:回應|訊息)|服务器(?:返回|响应)"
    r"|エラー内容)",
    re.I,
)
#: "To: …" repeats the returned mail's header (old Exchange); it names the recipient, and nothing is said about it there.
_LABEL_TO = re.compile(r"\W{0,20}to\s{0,5}:", re.I)
#: "Original address: …" below a recipient tells as whom it was written to (Sun, Oracle).
_ORIGINAL_LABEL = re.compile(r"\W{0,20}original(?:ly)?[ -](?:recipient|address|addressee|to|rcpt)", re.I)
#: A drawn line ends what was said about a recipient.
_RULE = re.compile(r"\s{0,20}[-=_*#+|]{4,}\s{0,20}$")
#: A label that is itself the reason: "Unknown user: …", "undeliverable to …".
_LABEL_TELLS = re.compile(r"unknown|undeliverable|not |invalid|bad |rejected", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """One recipient and the report's words about them, line ends kept; "" when there are none.

    `reply` is the remote server's own part where the report sets it apart, with `host`, `status`, reply code and stage as
    far as told; `original` the address that was written to, where it differs.
    """

    recipient: str
    words: str
    original: str = ""
    reply: str = ""
    host: str | None = None
    status: str | None = None
    stage: Stage = Stage.UNKNOWN


def read_stanzas(
    text: str, *, not_these: Iterable[str] = (), our_domains: frozenset[str] = frozenset()
) -> tuple[Stanza, ...]:
    """The stanzas of a report's own words, in order, one a recipient; the stanza with a reply code wins over one without.

    `not_these` are the addresses of the mail's own sender and receiver: named in prose they are no recipients.
    Nor are those at `our_domains`, the return path's, where a sentence names others too.
    """
    if "@" not in text:
        return ()
    lines = text.split("\n")[:_LINE_LIMIT]
    named: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines):
        for address, rest in _named(line):
            if number and _ASKS_END.search(lines[number - 1][-60:]):
                continue
            if named and named[-1][0] == number - 1 and _ORIGINAL_LABEL.match(line):
                continue
            named.append((number, address, rest))
    ours = {name.lower() for name in not_these}
    if any(address.lower() not in ours for _, address, _ in named):
        named = [item for item in named if item[1].lower() not in ours]
    if not named:
        return _from_prose(lines, ours, our_domains)
    stanzas: dict[str, Stanza] = {}
    origins = tells_origin(text)
    lists, below = _lists(lines, named), dict[int, str]()
    for index, (number, address, rest) in enumerate(named):
        end = next((line for line, _, _ in named[index + 1 : index + 50] if line > number), len(lines))
        words = _words_at(lines, number, end, address, rest)
        if not words and (last := lists[index]) > index:
            # What stands below a list is said about each in it.
            if last not in below:
                place, name, more = named[last]
                after = named[last + 1][0] if last + 1 < len(named) else len(lines)
                below[last] = _words_at(lines, place, after, name, more)
            words = below[last]
        key = address.lower()
        old = stanzas.get(key)
        if old is None or _weight(words) > _weight(old.words):
            # Sendmail writes a pipe where it names a recipient: what follows is said of that one.
            region = "\n".join(lines[number : min(end, number + _ORIGIN_LINES)]).split('\n"|')[0] if origins else ""
            stanzas[key] = Stanza(recipient=address, words=words, original=original_of(region, address))
        if len(stanzas) >= RECIPIENT_LIMIT:
            break
    return tuple(stanzas.values())


def remote_words(text: str, *, unless: Says | None = None) -> str:
    """The paragraph in which a server speaks: under a heading that says so, or with a reply code; "" when there is none.

    Paragraphs in which `unless` is found are passed over.
    """
    lines = text.split("\n")[:_LINE_LIMIT]
    told = ""
    for number, line in enumerate(lines):
        if line.rstrip().endswith((":", "：", "message")) and _HEADING.match(line[:200]):
            below = _paragraph(lines[number + 1 : number + 20])
            if unless is not None and unless(below):
                continue
            if has_code(below):
                return below
            told = below if has_words(below) else told
    for number, line in enumerate(lines if _MAY_SPEAK(text) else ()):
        if _REMOTE.search(line[:2_000]):
            said = _paragraph(lines[number : number + 12])
            if unless is None or not unless(said):
                return said
    return told


def has_code(words: str) -> bool:
    """Whether a server speaks: a reply code or an enhanced status code stands before words."""
    return _REMOTE.search(words[:WORDS_LIMIT]) is not None


def _named(line: str) -> list[tuple[str, str]]:
    """(address, rest of the line) where a line begins with recipients; more than one where they are listed (`ann@…; bob@…`)."""
    head = line[:1_000]
    if head.find("@", 0, 300) < 0:
        return []
    found = addresses_in(head)
    first = next(found, None)
    if first is None or not _BEFORE.match(head[: first.start]):
        return []
    names, end = [first.address], first.end
    for more in found:
        if not _BETWEEN.fullmatch(head, end, more.start):
            break
        if more.address.lower() != names[-1].lower():
            names.append(more.address)
        end = more.end
    rest = head[end:]
    if not _AFTER.match(rest):
        return []
    rest = _REST_BEGIN.sub("", rest, count=1).strip() + line[1_000:WORDS_LIMIT].rstrip()
    return [(name, rest) for name in names]


def _words_at(lines: list[str], number: int, end: int, address: str, rest: str) -> str:
    """The words that go with the naming line `number`: behind it, in it, or before it."""
    if _LABEL_TO.match(lines[number]):
        return ""
    words = without_noise(_words(rest, lines[number + 1 : end]))
    if has_words(words) and (has_code(words) or not _NEUTRAL(words)):
        return words
    label = lines[number].replace(address, "")
    if _LABEL_TELLS.search(label):
        return lines[number].strip()
    return _words_before(lines, number) or (lines[number].strip() if has_words(label) else words)


def _words(rest: str, below: list[str]) -> str:
    """What a naming line goes on with: the rest of its line and the paragraph; when it stands alone, the one below it."""
    taken = [rest] if rest else []
    for line in below[:40]:
        if not line.strip():
            # Gmail and Exim leave blank lines between the address and the reply, qmail none.
            if taken and has_words(" ".join(taken)) and not taken[-1].endswith((":", "：")):
                break
            continue
        if _RULE.match(line):
            break
        if _ORIGIN_LINE.match(line):
            continue
        taken.append(line.strip())
    return "\n".join(taken)[:WORDS_LIMIT]


def _lists(lines: list[str], named: list[tuple[int, str, str]]) -> list[int]:
    """For each naming line the last one of the list in which it stands: recipients one below the other, blank lines between."""
    last = list(range(len(named)))
    for index in range(len(named) - 2, -1, -1):
        line, after = named[index][0], named[index + 1][0]
        if after - line <= 2 and not any(part.strip() for part in lines[line + 1 : after]):
            last[index] = last[index + 1]
    return last


def _words_before(lines: list[str], number: int) -> str:
    """Domino names the reason above the recipient: the paragraph just before, unless it is only a heading."""
    taken: list[str] = []
    for line in reversed(lines[max(0, number - 8) : number]):
        if not line.strip():
            if taken:
                break
            continue
        if line.strip()[:2] in ("--", "==", "**") or line.rstrip().endswith((":", "：")):
            break
        if "@" in line and _named(line):
            # What stands there is said about another recipient.
            return ""
        taken.append(line.strip())
    return "\n".join(reversed(taken))[:WORDS_LIMIT]


def _from_prose(lines: list[str], not_these: set[str], our_domains: frozenset[str]) -> tuple[Stanza, ...]:
    """The addresses that sentences name, each with its paragraph and what a server says below."""
    found: dict[str, Stanza] = {}
    for number, line in enumerate(lines):
        # The last address of the line that is only named for contact: others in a row with it are too.
        passed = ""
        for item in addresses_in(line[:2_000]):
            key = item.address.lower()
            if key in not_these or key in found or key.partition("@")[0] in _PROSE_SKIP or len(found) >= 20:
                continue
            before = line[max(0, item.start - 80) : item.start]
            if not before.strip() and number and _ASKS_END.search(lines[number - 1][-60:]):
                continue
            if (
                _CONTACT.search(before)
                or _IDENTITY.search(before)
                or (passed and before.rstrip(" ,;/<").endswith(passed))
            ):
                passed = item.address
                continue
            paragraph = _paragraph(lines[number : number + 20])
            after = "\n".join(lines[number + 1 : number + 60])
            below = "" if has_code(paragraph) else remote_words(after) or after.strip()
            found[key] = Stanza(recipient=item.address, words=f"{paragraph}\n{below}".strip()[:WORDS_LIMIT])
    others = [stanza for key, stanza in found.items() if not _is_at(key.rpartition("@")[2], our_domains)]
    return tuple(others or found.values())


def _is_at(domain: str, ours: frozenset[str]) -> bool:
    """Whether a domain is one of these, or above or below one."""
    return any(domain == own or domain.endswith("." + own) or own.endswith("." + domain) for own in ours)


def _paragraph(lines: list[str]) -> str:
    taken: list[str] = []
    for line in lines:
        if not line.strip():
            if taken:
                break
            continue
        taken.append(line.strip())
    return "\n".join(taken)[:WORDS_LIMIT]


def _weight(words: str) -> int:
    """3: a server speaks with a reply code; 2: with an enhanced status code; 1: words; 0: none."""
    match = _REMOTE.search(words[:WORDS_LIMIT])
    if match:
        return 3 if re.search(r"[45]\d\d", match.group()) else 2
    return 1 if has_words(words) else 0
