"""A text as reported -> `Reply`: the innermost remote words, reply code, enhanced status code, stage, host.

The same function reads a log line's parentheses, a DSN's Diagnostic-Code and a text that a person pastes, so that the
same reply gets the same verdict everywhere. RFC 5321 §4.2, RFC 3463 §2. An enhanced status code stands right after
the reply code or alone at the start, and its class agrees with the reply's digit: `[5.1.1.7]` is an IP address.
Not here: the wrappers (mail/wrappers.py), what the words mean (classify/). Known limits: one reply a text; where a
transcript holds several, the first refusal is read.
"""

import re
from datetime import datetime

from omicard_relay.mail.hints import may_be_wrapped
from omicard_relay.mail.reply import Reply, Stage
from omicard_relay.mail.wrappers import peel

__all__ = ["read_reply"]

#: Longer texts are read up to here: the longest reply that Postfix keeps is far shorter, and time stays bounded.
TEXT_LIMIT = 20_000

_REPLY_CODE = r"(?:2[0-5]|4[2-7]|5[0-7])\d"
_STATUS = r"[245]\.\d{1,3}\.\d{1,3}(?!\d|\.\d)"
# `550 5.1.1`, `550-5.1.1`, `550: 5.1.1`, `550 #5.1.1`, `(550 5.1.1)`; the digits must end there, so no IP address and no date.
_AT_START = re.compile(rf"\W{{0,3}}({_REPLY_CODE})(?![\d.]\d|\d|@)(?:[\s:#(\[-]{{0,3}}({_STATUS}))?")
_STATUS_AT_START = re.compile(rf"[\s#(\[<\"'-]{{0,3}}({_STATUS})")
# qmail's own form of an enhanced status code, wherever it stands: `(#5.1.1)`.
_QMAIL_STATUS = re.compile(rf"\(#({_STATUS})\)")
# Further inside: a code and a status of the same class, side by side ...
_PAIR = re.compile(rf"\b({_REPLY_CODE})[ -]#?({_STATUS})")
# ... or a refusal's code where a quotation begins.
_QUOTED_CODE = re.compile(r"(?:[:;'\"\[(<]|\berror)\s?((?:4[2-5]|5[0-7])\d)[ -]+(?=[^\d\s])")
# `550 550 5.1.1 …`: a relay puts its own copy of the code in front.
_TWICE = re.compile(r"^([245]\d\d)[ -]\1(?=[ -])")
_AFTER_GREETING = re.compile(r"(?<=\s)(?:4[2-5]|5[0-7])\d[ -](?=\S)")
_DIGITS = re.compile(r"[245]\d\d")
_ESCAPED_BREAK = re.compile(r"(?:\\r)?\\n")
_NUL = str.maketrans({"\x00": " "})


def read_reply(
    text: str, *, stage: Stage | None = None, host: str | None = None, time: datetime | None = None
) -> Reply:
    """The reply that a text reports; never raises, whatever the text. `stage` and `host`, when given, win."""
    line = _one_line(text)
    if not may_be_wrapped(line):
        # Most replies are bare: nothing to peel, and asking is far cheaper than trying.
        reply_code, enhanced_status, inner = _codes(line, None)
        if stage is None:
            stage = Stage.UNKNOWN
        return Reply(text, inner, reply_code, enhanced_status, stage, host, None, time)
    peeled = peel(line)
    reply_code, enhanced_status, inner = _codes(peeled.text, peeled.reply_code)
    if stage is None or stage is Stage.UNKNOWN:
        stage = peeled.stage
    return Reply(text, inner, reply_code, enhanced_status, stage, host or peeled.host, peeled.ip, time)


def _one_line(text: str) -> str:
    """The start of the text with white space folded, line breaks written as `\\n` among it."""
    limited = text[:TEXT_LIMIT]
    if "\\n" in limited:
        limited = _ESCAPED_BREAK.sub(" ", limited)
    if limited.isprintable() and "  " not in limited and limited[:1] != " " and limited[-1:] != " ":
        return limited
    return " ".join(limited.translate(_NUL).split())


def _codes(line: str, outer_code: str | None) -> tuple[int | None, str | None, str]:
    """Reply code, enhanced status code of the same class, and the text with the repeats of a multi-line reply taken out."""
    inner = _TWICE.sub(r"\1", line) if line[:3] == line[4:7] else line
    code: str | None = None
    status: str | None = None
    start = _AT_START.match(inner)
    if start and start.group(1)[0] == "2":
        # `220-mx1 421 4.2.1 …`: a greeting, and then the refusal.
        refusal = _AFTER_GREETING.search(inner, start.end())
        inner, start = (
            (inner[refusal.start() :], _AT_START.match(inner[refusal.start() :])) if refusal else (inner, start)
        )
    if start:
        code, status = start.group(1), start.group(2)
        inner = _fold_lines(inner, start)
    else:
        alone = _STATUS_AT_START.match(inner)
        status = alone.group(1) if alone else None
        if _DIGITS.search(inner):
            pair = _PAIR.search(inner)
            if pair and pair.group(1)[0] == pair.group(2)[0]:
                code, status = pair.group(1), pair.group(2)
            else:
                quoted = _QUOTED_CODE.search(inner)
                code = quoted.group(1) if quoted and (not status or status[0] == quoted.group(1)[0]) else None
    if status is None and "(#" in inner:
        ending = _QMAIL_STATUS.search(inner)
        status = ending.group(1) if ending else None
    code = code or outer_code
    if code and status and status[0] != code[0]:
        status = None
    return int(code) if code else None, status, inner


def _fold_lines(inner: str, start: re.Match[str]) -> str:
    """`550-a 550 b` -> `550 a b`: the codes that a multi-line reply repeats on every line (RFC 5321 §4.2.1)."""
    code, status = start.group(1), start.group(2)
    rest = inner[start.end() :]
    if code not in rest:
        return inner
    if inner[start.end(1) : start.end(1) + 1] == "-":
        repeat = rf"(?<=[\s|/]){code}(?:[ -]+|$)" + (rf"(?:{re.escape(status)}(?!\.?\d)\s?)?" if status else "")
    elif status:
        repeat = rf"(?<=[\s|/]){code}[ -]{re.escape(status)}(?!\.?\d)\s?"
    else:
        return inner
    head = f"{code} {status}" if status else code
    folded = " ".join(re.sub(repeat, "", rest).split())
    return f"{head} {folded.lstrip('- :')}".rstrip()
