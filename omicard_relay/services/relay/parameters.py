"""The arguments of MAIL, RCPT and XFORWARD -> values, or the reply that refuses them. Pure.

RFC 5321 §4.1.2 (paths), RFC 1870 (SIZE), RFC 6152 (BODY), RFC 6531 (SMTPUTF8), RFC 3461 §4 (RET, ENVID, NOTIFY, ORCPT),
RFC 4954 §5 (AUTH: taken, not used), Postfix's XFORWARD_README. DSN parameters keep their spelling: they go on as they came.
A parameter that we know is never answered 555, however wrong it is: Postfix would return the mail.
Left to others: whether an address is a good one (scrub/), who may send (handler.py).
"""

import re
from dataclasses import dataclass

from omicard_relay.services.relay.xtext import decode_xtext, is_xtext

__all__ = [
    "UNAVAILABLE",
    "XFORWARD_NAMES",
    "CommandError",
    "MailCommand",
    "RcptCommand",
    "parse_mail",
    "parse_rcpt",
    "parse_xforward",
]

#: In the order in which they are offered and sent on.
XFORWARD_NAMES = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
#: What stands for an attribute that nobody knows.
UNAVAILABLE = b"[UNAVAILABLE]"
#: Octets of one XFORWARD value (XFORWARD_README: no more than 255).
_XFORWARD_LIMIT = 255
#: RFC 3461 §4.4 and §4.2.
_ENVID_LIMIT, _ORCPT_LIMIT = 100, 500

_MAIL_PARAMETERS = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"})
_RCPT_PARAMETERS = frozenset({"NOTIFY", "ORCPT"})
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
# A control character or a space ends no parameter that we know; other octets than ASCII are for ORCPT=utf-8;… alone.
_VALUE = re.compile(r"[!-~\x80-\U0010ffff]+")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]+")


class CommandError(Exception):
    """A command that is refused; `reply` is the whole answer."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


@dataclass(frozen=True, slots=True, kw_only=True)
class MailCommand:
    """MAIL FROM. `reverse_path` is without brackets, "" for the null one; the rest None where it was not given."""

    reverse_path: str
    size: int | None = None
    body: str | None = None
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RcptCommand:
    """RCPT TO. `notify` and `orcpt` as they came, None where they were not given."""

    forward_path: str
    notify: str | None = None
    orcpt: str | None = None

    @property
    def wants_failure_notice(self) -> bool:
        """Whether a failure may be told to the sender (RFC 3461 §4.1: yes, when nothing is said)."""
        return self.notify is None or "FAILURE" in self.notify.upper().split(",")


def parse_mail(argument: str, *, extended: bool, size_limit: int) -> MailCommand:
    """The argument of MAIL. Raises CommandError: 501, 552 when the announced size is too much, 555 for unknown names."""
    path, rest = _path(argument, "FROM:", "MAIL FROM:<address>")
    given = _parameters(rest, extended, _MAIL_PARAMETERS, _RCPT_PARAMETERS)
    size = given.get("SIZE")
    if size is not None and not re.fullmatch(r"[0-9]{1,20}", size):
        raise CommandError("501 5.5.4 SIZE needs a number of octets")
    if size is not None and int(size) > size_limit:
        raise CommandError(f"552 5.3.4 The mail is too big; this server takes {size_limit} octets")
    body = given.get("BODY")
    if body is not None and body.upper() not in ("7BIT", "8BITMIME"):
        raise CommandError("501 5.5.4 BODY can be 7BIT or 8BITMIME")
    if given.get("SMTPUTF8"):
        raise CommandError("501 5.5.4 SMTPUTF8 takes no value")
    ret = given.get("RET")
    if ret is not None and ret.upper() not in ("FULL", "HDRS"):
        raise CommandError("501 5.5.4 RET can be FULL or HDRS")
    envid = given.get("ENVID")
    if envid is not None and not (envid and is_xtext(envid) and len(decode_xtext(envid)) <= _ENVID_LIMIT):
        raise CommandError("501 5.5.4 ENVID needs xtext of at most 100 octets (RFC 3461)")
    return MailCommand(
        reverse_path=path,
        size=None if size is None else int(size),
        body=body,
        smtputf8="SMTPUTF8" in given,
        ret=ret,
        envid=envid,
    )


def parse_rcpt(argument: str, *, extended: bool) -> RcptCommand:
    """The argument of RCPT. Raises CommandError: 501, 555 for unknown names."""
    path, rest = _path(argument, "TO:", "RCPT TO:<address>")
    if not path:
        raise CommandError("501 5.1.3 RCPT needs an address")
    given = _parameters(rest, extended, _RCPT_PARAMETERS, _MAIL_PARAMETERS)
    notify = given.get("NOTIFY")
    if notify is not None:
        words = notify.upper().split(",")
        if words != ["NEVER"] and not set(words) <= {"SUCCESS", "FAILURE", "DELAY"}:
            raise CommandError("501 5.5.4 NOTIFY can be NEVER, or a list of SUCCESS, FAILURE, DELAY")
    orcpt = given.get("ORCPT")
    if orcpt is not None and not _is_orcpt(orcpt):
        raise CommandError("501 5.5.4 ORCPT needs a type, a semicolon and xtext (RFC 3461)")
    return RcptCommand(forward_path=path, notify=notify, orcpt=orcpt)


def parse_xforward(argument: str) -> dict[str, bytes]:
    """XFORWARD's attributes, decoded. Raises CommandError."""
    found: dict[str, bytes] = {}
    for word in argument.split():
        name, equals, value = word.partition("=")
        if name.upper() not in XFORWARD_NAMES or not equals:
            raise CommandError(
                "501 5.5.4 XFORWARD has NAME, ADDR, PORT, PROTO, HELO, IDENT and SOURCE, each with a value"
            )
        octets = decode_xtext(value)
        if not octets or len(octets) > _XFORWARD_LIMIT:
            raise CommandError(f"501 5.5.4 XFORWARD {name.upper()} has no value, or one of more than 255 octets")
        found[name.upper()] = octets
    if not found:
        raise CommandError("501 5.5.4 XFORWARD needs attributes")
    return found


def _path(argument: str, keyword: str, usage: str) -> tuple[str, str]:
    """The address without brackets and source route (RFC 5321 §4.1.1.3: ignored), and what follows it."""
    if argument[: len(keyword)].upper() != keyword:
        raise CommandError(f"501 5.5.4 Syntax: {usage}")
    text = argument[len(keyword) :].lstrip(" ")
    if not text.startswith("<"):
        # Old programs leave the brackets off.
        path, _, rest = text.partition(" ")
        if not path or "<" in path or ">" in path:
            raise CommandError(f"501 5.5.4 Syntax: {usage}")
        return path, rest
    end = _closing_bracket(text)
    if end < 0 or text[end + 1 : end + 2] not in ("", " "):
        raise CommandError(f"501 5.1.3 Syntax: {usage}")
    path = text[1:end]
    if path.startswith("@") and ":" in path:
        path = path.partition(":")[2]
    return path, text[end + 1 :]


def _closing_bracket(text: str) -> int:
    """Where the path ends: the first `>` outside a quoted local part; -1 when there is none."""
    quoted = escaped = False
    for place, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == ">" and not quoted:
            return place
    return -1


def _parameters(rest: str, extended: bool, known: frozenset[str], elsewhere: frozenset[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in rest.split(" "):
        if not word:
            continue
        name, equals, value = word.partition("=")
        key = name.upper()
        if not extended:
            raise CommandError("501 5.5.4 Parameters need EHLO")
        if not _KEYWORD.fullmatch(name) or (equals and not _VALUE.fullmatch(value)):
            raise CommandError("501 5.5.4 A parameter is malformed")
        if key in elsewhere:
            raise CommandError(f"501 5.5.4 {key} does not belong to this command")
        if key not in known:
            raise CommandError("555 5.5.4 A parameter is not known here")
        if key in given:
            raise CommandError(f"501 5.5.4 {key} stands there twice")
        if not equals and key != "SMTPUTF8":
            raise CommandError(f"501 5.5.4 {key} needs a value")
        given[key] = value
    return given


def _is_orcpt(orcpt: str) -> bool:
    kind, semicolon, address = orcpt.partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(kind) or not address or len(orcpt) > _ORCPT_LIMIT:
        return False
    # RFC 6533 §3: a UTF-8 address may stand there as it is, or as `\x{…}`.
    return kind.lower() == "utf-8" or is_xtext(address)
