"""The body of a delivery-status or feedback part: groups of fields and their typed values (RFC 3464 §2.1, RFC 6533 §3).

As loosely as the wild writes them: groups without blank lines between them, a Diagnostic-Code that goes on in lines that
are not folded, words encoded by RFC 2047, addresses in angle brackets, types left out.
Not here: what the fields mean for a recipient (readers/dsn.py).
"""

import re
from collections.abc import Iterable, Mapping

from omicard_relay.bounce.charset import decode_words

__all__ = ["RECIPIENT_LIMIT", "Group", "field_groups", "plain_address", "split_recipients", "typed"]

#: One group: field name in lower case -> value, first one wins.
Group = Mapping[str, str]

#: Recipients that are read of one report; Postfix sends at most 50 by default, list hosts up to some thousands.
RECIPIENT_LIMIT = 5_000
#: Characters of one value.
VALUE_LIMIT = 10_000

#: The fields of RFC 3464, RFC 5965 and RFC 8098 whose names have no dash. Others have one: a line such as
#: `Reason: mailbox full` is prose of the Diagnostic-Code before it.
_SHORT_NAMES = frozenset({"action", "status", "version", "incidents", "disposition", "error", "failure", "warning"})
_NAME = r"[A-Za-z][A-Za-z0-9-]{1,60}[ \t]{0,5}:(?!//)"
# A value goes on to the next line that begins with a name, folded or not; behind the colon nothing can fail.
_FIELDS = re.compile(rf"^({_NAME})([^\n]*(?:\n(?!{_NAME})[^\n]*)*)", re.M)
#: Fields of the whole message (RFC 3464 §2.2), beside those of a recipient's group (§2.3).
_OF_MESSAGE = frozenset({"reporting-mta", "original-envelope-id", "dsn-gateway", "received-from-mta", "arrival-date"})
# A type is one word that begins with a letter; `550 user unknown; try again` has none.
_TYPES = frozenset({"rfc822", "smtp", "dns", "x-postfix", "utf-8"})
_TYPE = re.compile(r"[a-z][a-z0-9_-]{0,29}")
# RFC 3461 §4: xtext. Only octets that need it are decoded: `+40` in `ann+40@example.com` is a detail of the address.
_XTEXT = re.compile(r"\+(2B|3D|40|20|2b|3d)")
_UNICODE = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}")


def field_groups(text: str) -> tuple[Group, ...]:
    """The groups of `name: value` lines, blank lines between them, values unfolded and decoded."""
    groups: list[dict[str, str]] = []
    group: dict[str, str] = {}
    gap = False
    last = ""
    for written, value in _FIELDS.findall(text):
        name = written[:-1].rstrip().lower()
        if last and "-" not in name and name not in _SHORT_NAMES:
            if len(group[last]) < VALUE_LIMIT:
                group[last] = f"{group[last]} {' '.join((written + value).split())}"
            continue
        # Where the blank line between two recipients was lost, the second one's name tells.
        if gap or (name in group and name in ("final-recipient", "original-recipient")):
            groups.append(group)
            group, gap = {}, False
            if len(groups) > RECIPIENT_LIMIT * 2:
                break
        if "\n" in value:
            lines = [line.strip() for line in value.split("\n")]
            gap = "" in lines
            value = " ".join([line for line in lines if line])
        if name not in group:
            value = value.strip()[:VALUE_LIMIT]
            # RFC 2047 §5 (3): in an address an encoded word is no word, it is the mailbox's name as it stands.
            as_it_stands = "=?" not in value or ("?=@" in value and name.endswith("recipient"))
            group[name] = value if as_it_stands else decode_words(value)
            last = name
    return tuple(group for group in (*groups, group) if group)


def split_recipients(groups: Iterable[Group]) -> tuple[Group, tuple[Group, ...]]:
    """(the fields of the whole message, one group a recipient), also where the two stand in one group."""
    message: dict[str, str] = {}
    recipients: list[Group] = []
    for group in groups:
        if "final-recipient" in group or "original-recipient" in group or ("action" in group and "status" in group):
            message.update(
                (name, value) for name, value in group.items() if name in _OF_MESSAGE and name not in message
            )
            recipients.append(group)
        elif recipients and not _OF_MESSAGE & group.keys():
            # A blank line inside a recipient's group: what follows still speaks of the same one.
            recipients[-1] = {**group, **recipients[-1]}
        else:
            message.update((name, value) for name, value in group.items() if name not in message)
    return message, tuple(recipients[:RECIPIENT_LIMIT])


def typed(value: str) -> tuple[str, str]:
    """(type in lower case, rest) of `rfc822; ann@example.com`, `smtp; 550 …`, `dns; mx.example.com`; type "" when left out."""
    kind, semicolon, rest = value.partition(";")
    kind = kind.strip().lower()
    if semicolon and (kind in _TYPES or _TYPE.fullmatch(kind)):
        return kind, rest.strip()
    return "", value.strip()


def plain_address(value: str) -> str:
    """The address of a recipient field: type off, xtext and RFC 6533 §3 escapes decoded, brackets and comments off."""
    kind, text = typed(value)
    if kind.startswith("utf-8"):
        text = _UNICODE.sub(_character, text)
    text = text.strip().rstrip(";").strip()
    opened = text.rfind("<")
    if opened >= 0 and "@" in text[opened:]:
        text = text[opened + 1 :].partition(">")[0]
    text = text.strip().strip("<>").removeprefix("mailto:").strip()
    if " (" in text:
        text = text.partition(" (")[0].strip()
    if "+" in text and "=" not in text.partition("@")[0]:
        decoded = _XTEXT.sub(lambda match: chr(int(match.group(1), 16)), text)
        if decoded.count("@") == 1 and " " not in decoded:
            text = decoded
    return text[:320]


def _character(match: re.Match[str]) -> str:
    point = int(match.group(1), 16)
    return chr(point) if point < 0x110000 and not 0xD800 <= point < 0xE000 else "\N{REPLACEMENT CHARACTER}"
