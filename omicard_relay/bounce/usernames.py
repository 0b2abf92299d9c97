"""Recipients that a plain report names without a domain: a user name below a heading, or behind a label -> `Stanza` values.

Mail systems of one site (schools, offices, cc:Mail, VPOP3) write "Recipient: jdoe", "the mailbox (ann_lee) is full", or list
user names below "could not be delivered to these users:". Asked only where a report names no address at all.
Not here: the domain that completes them (recipients.py).
"""

import re

from omicard_relay.bounce.stanzas import RECIPIENT_LIMIT, WORDS_LIMIT, Stanza

__all__ = ["bare_stanzas"]

#: Lines of a report's own words.
_LINE_LIMIT = 5_000
_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{1,63}")
_ANNOUNCES = re.compile(r"\b(?:recipients?|users?|mailbox(?:es)?|accounts?|address(?:es)?)\b[^:]{0,150}[:：]$", re.I)
# A label or a word for the addressee, then the name, in brackets or bare, with its host in brackets where it is told.
_LABELLED = re.compile(
    r"(?:\b(?:recipient|user|mailbox|account|addressee|message to|deliver(?:ed)? to|destinataire|utilisateur"
    r"|destinatario|destinatário|usuario"
    r"|usuário|buzón|casilla|conta|cuenta|escribió|empfänger|benutzer|postfach|ontvanger|gebruiker|utente|casella"
    r"|odbiorca|użytkownik)"
    r"|получатель|пользовател[ья]|宛先|ユーザー?|收件人|收件者|收信人|使用者|用戶|用户|帳號|账号|對象|对象"
    r"|받는 ?사람|수신자|사용자)"
    r"[\s:：|]{0,6}(?P<opened>[\"'«“「（(\[]?)(?P<name>[A-Za-z0-9][A-Za-z0-9._+-]{1,62}[A-Za-z0-9])(?![\w@.])"
    r"(?:\s?[(（](?P<domain>[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5})[)）])?",
    re.I,
)
#: A user name of several parts or with a number is no word of a sentence; a host's name ends in a short label.
_LOOKS_NAMED = re.compile(r"\d|[a-z][._][a-z]", re.I)
_LOOKS_HOST = re.compile(r"\.[a-z]{2,4}$|^[\d.-]+$", re.I)


def bare_stanzas(text: str) -> tuple[Stanza, ...]:
    """Recipients of a report that names no address: user names alone on the lines below one that announces recipients."""
    found: dict[str, Stanza] = {}
    heading = ""
    for line in text.split("\n")[:_LINE_LIMIT]:
        said = line.strip()
        if heading and _BARE.fullmatch(said):
            found.setdefault(said.lower(), Stanza(recipient=said, words=heading))
        elif said and _ANNOUNCES.search(said[-200:]):
            heading = said[:WORDS_LIMIT]
        elif said:
            heading = ""
        if len(found) >= RECIPIENT_LIMIT:
            break
    return tuple(found.values()) or _labelled_name(text)


def _labelled_name(text: str) -> tuple[Stanza, ...]:
    """The one user name that stands behind a label, or in brackets behind a word for the addressee: "宛先: s1850442"."""
    for match in _LABELLED.finditer(text[:WORDS_LIMIT]):
        name, domain = match.group("name"), match.group("domain")
        if match.group("opened") or (_LOOKS_NAMED.search(name) and not _LOOKS_HOST.search(name)):
            return (Stanza(recipient=f"{name}@{domain}" if domain else name, words=""),)
    return ()
