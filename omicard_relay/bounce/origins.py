"""Where a report tells from which address of ours a mail was forwarded: the original recipient beside the final one.

Postfix and qmail write "(expanded from <ann@example.com>)", Sendmail "(expanded from: <ann@example.com>)", Exim
"(generated from ann@example.com)" or "(ultimately generated from ann@example.com)", others "was forwarded to", "forwarded
from", "Original recipient:". RFC 3464 §2.3.1 has a field for it, which the reader of that form reads itself.
`verp_recipient` undoes a variable envelope return path (`news-ann=example.com@list.example.net`).
Known limits: only addresses with a domain; a chain of aliases gives the address that is named first.
"""

import re

from omicard_relay.bounce.says import Says
from omicard_relay.bounce.text import first_address

__all__ = ["original_of", "tells_origin", "verp_recipient"]

#: Characters of the words about one recipient that are searched.
_WORDS_LIMIT = 4_000
#: One of these is in every wording; most reports have none.
_HINTS = ("ed from", "ed to", "ed by", "riginal", "riginated", "alias", "轉寄", "转发", "転送")
_ADDRESS = r"[<\"'(]{0,3}(?:mailto:)?([^\s<>()\"',;:]{1,128}@[^\s<>()\"',;:]{1,255})"
_FROM = re.compile(
    r"(?:(?:ultimately )?generated (?:from|by)|expanded from"
    r"|(?:auto-?|automatically )?(?:re)?(?:forwarded|directed) (?:from|by)"
    r"|alias(?: of| for|ed from)|(?:message )?originally (?:sent |addressed )?to"
    r"|original[ -](?:recipient|address|addressee|rcpt|to)(?: address)?(?: was| is)?)[\s:=]{1,10}(?:rfc822;\s?)?"
    + _ADDRESS,
    re.I,
)
_FORWARDED = re.compile(
    _ADDRESS
    + r"[>\"')]{0,3},?\s{1,5}(?:was|is|has been|had been|were)\s{1,5}(?:automatically )?(?:re)?(?:forwarded|directed)"
    r"\s{1,5}(?:on )?to\s{1,5}" + _ADDRESS,
    re.I,
)
# The separator of a VERP address and what is the recipient's `@`; the local part before it is the list's or campaign's.
_VERP = re.compile(r"[^\s@]{0,120}?[+-]([^\s@+=]{1,100})=([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5})@")


#: Whether a text may say that a mail was forwarded.
tells_origin = Says(
    r"(?:generated|expanded|forwarded|directed) (?:from|to|by)|original(?:ly)?[ -]|alias(?:ed)? (?:of|for|from)"
)


def original_of(words: str, recipient: str) -> str:
    """The address that was written to, when the words say that it is another one than `recipient`; else ""."""
    if not words or not any(hint in words for hint in _HINTS):
        return ""
    text = words[:_WORDS_LIMIT]
    known = recipient.lower()
    for match in _FORWARDED.finditer(text):
        before, after = _clean(match.group(1)), _clean(match.group(2))
        if before and before.lower() != known and (not known or after.lower() == known):
            return before
    for match in _FROM.finditer(text):
        name = _clean(match.group(1))
        if name and name.lower() != known:
            return name
    return ""


def verp_recipient(address: str) -> str:
    """`ann@example.com` of `news-ann=example.com@list.example.net`; "" when the address is none of that kind."""
    if "=" not in address:
        return ""
    match = _VERP.match(first_address(address) or address)
    return f"{match.group(1)}@{match.group(2)}" if match else ""


def _clean(name: str) -> str:
    return name.rstrip(".>]").strip("'\"") if "." in name.rpartition("@")[2] else ""
