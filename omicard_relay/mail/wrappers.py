"""Peeling: what mail systems put around a remote server's words, taken off layer by layer.

Postfix, Exim, sendmail, qmail, Exchange, IronPort and the usual sentences of relays ("Remote server returned …",
"last transfail: …"). Each layer may tell the stage and the host. Every expression is bounded and every layer makes the
text shorter; there are at most `MAX_LAYERS` of them, so time is linear.
Not here: codes (mail/reading.py). Known limit: a text on one line cannot show where a quotation without marks ends.
"""

import re
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from omicard_relay.mail.hints import may_be_wrapped
from omicard_relay.mail.reply import Stage
from omicard_relay.mail.stagewords import stage_of

__all__ = ["MAX_LAYERS", "Peeled", "may_be_wrapped", "peel"]

#: Real reports nest three or four deep; more is somebody playing.
MAX_LAYERS = 8


class Peeled(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The innermost text and what the layers around it told; `reply_code` where it stood outside the quoted words."""

    text: str
    stage: Stage = Stage.UNKNOWN
    host: str | None = None
    ip: str | None = None
    reply_code: str | None = None


def peel(line: str) -> Peeled:
    """The innermost words of a text that is on one line already."""
    peeled = Peeled(text=line)
    for _ in range(MAX_LAYERS):
        before = peeled.text
        for layer in _LAYERS:
            found = layer(peeled)
            if found is not None and found.text:
                peeled = found
        if peeled.text == before or not may_be_wrapped(peeled.text):
            break
    return peeled


def _inner(
    peeled: Peeled, text: str, stage: Stage = Stage.UNKNOWN, host: str | None = None, ip: str | None = None
) -> Peeled:
    """The next layer: what an inner layer tells wins over what an outer one told."""
    return replace(
        peeled,
        text=text.strip(),
        stage=stage if stage is not Stage.UNKNOWN else peeled.stage,
        host=host or peeled.host,
        ip=ip or peeled.ip,
    )


# RFC 3464 §2.3.6: `smtp; 550 …`, `X-Postfix; …`. A few systems write the type twice.
_TYPE = re.compile(
    r"(?:diagnostic-code: ?)?(?:smtp|lmtp|esmtp|dns|unknown|rfc822|x-[a-z0-9-]{1,30}) ?; ?", re.IGNORECASE
)
_OWN_ANSWER = re.compile(r"\[9[0-3]\d\] (?=\S)")
# ASCII, as `may_be_wrapped` sees it: else a dotless i or a long s would be an i and an s.
_INTERNAL = re.compile(r"^(.{0,60}?)\[internal\] ?", re.IGNORECASE | re.ASCII)
_SUSPENDED = re.compile(r"delivery temporarily suspended: ", re.IGNORECASE | re.ASCII)


def _prefixes(peeled: Peeled) -> Peeled | None:
    text = peeled.text
    start = text[:80]
    found = None
    if ";" in start:
        found = _TYPE.match(text)
    if found is None and start[:1] == "[":
        found = _OWN_ANSWER.match(text)
    if found is None and start[:1] in "dD":
        found = _SUSPENDED.match(text)
    if found is None and "[" in start:
        found = _INTERNAL.match(text)
    return _inner(peeled, text[found.end() :]) if found else None


_DIAGNOSTIC = re.compile(r"\bdiagnostic-code: ?", re.IGNORECASE)
_REMOTE_MTA = re.compile(r"\bremote-mta: ?(?:dns ?; ?)?([^\s;]{1,255})", re.IGNORECASE)
_NEXT_FIELD = re.compile(
    r"\s(?:last-attempt-date|will-retry-until|final-log-id|final-recipient|original-recipient|action|status|remote-mta"
    r"|reporting-mta|arrival-date|x-[a-z-]{1,40}): ",
    re.IGNORECASE,
)


def _report_fields(peeled: Peeled) -> Peeled | None:
    """The fields of a DSN pasted as they are (RFC 3464 §2.3): what stands behind Diagnostic-Code, up to the next field."""
    found = _DIAGNOSTIC.search(peeled.text) if "iagnostic-" in peeled.text else None
    if not found:
        return None
    rest = peeled.text[found.end() :]
    end = _NEXT_FIELD.search(rest)
    host = _REMOTE_MTA.search(peeled.text)
    return _inner(peeled, rest[: end.start()] if end else rest, host=host.group(1) if host else None)


_REPLY_TO = re.compile(
    r"[(\[](?:in reply to |in response to |error following |step: )?"
    r"(end of data|[A-Z]{4,8}(?:[ _](?:FROM|TO|SEND|HELO))?)(?: command)?[)\]]\s*$",
    re.IGNORECASE,
)
_REPLY_TO_START = re.compile(
    r"(?:in reply to|in response to|error following|step:|\[(?:rcpt_to|mail_from|data|helo|ehlo))", re.I
)


def _reply_to(peeled: Peeled) -> Peeled | None:
    """Postfix: `… (in reply to RCPT TO command)`; others: `[RCPT_TO]`."""
    text = peeled.text
    if not text.endswith((")", "]")):
        return None
    start = max(text.rfind("(", -60), text.rfind("[", -60))
    found = _REPLY_TO.match(text, start) if start >= 0 else None
    if not found or not _REPLY_TO_START.search(found.group()):
        return None
    return _inner(peeled, text[:start], stage_of(found.group(1)))


_HOST = r"([^\s\[\]:,;()<>]{1,255})"
_ADDRESS = r"\[([0-9A-Fa-f.:]{2,45})\]"
_POSTFIX = re.compile(
    rf"\b(?:host|server) {_HOST} ?{_ADDRESS}(?::\d{{1,5}})? (?:said|says|responded|refused to talk to me): ",
    re.IGNORECASE,
)
_HOST_SAYS = re.compile(rf"\bhost {_HOST} (?:said|says): ", re.IGNORECASE)


def _postfix(peeled: Peeled) -> Peeled | None:
    if ": " not in peeled.text or not any(
        hint in peeled.text for hint in (" said", " says", "talk to me", "responded")
    ):
        return None
    found = _POSTFIX.search(peeled.text)
    if found and "sender address rejected" in peeled.text[: found.start()].lower():
        # What the sender's own server said of the sender is no word about the recipient (reject_unverified_sender).
        return None
    if found:
        stage = Stage.CONNECT if "talk to me" in found.group().lower() else Stage.UNKNOWN
        return _inner(peeled, peeled.text[found.end() :], stage, found.group(1), found.group(2))
    found = _HOST_SAYS.search(peeled.text)
    return _inner(peeled, peeled.text[found.end() :], host=found.group(1)) if found else None


_POSTFIX_PATH = re.compile(
    rf"(?:lost connection with|conversation with|connect to) {_HOST}{_ADDRESS}(?::\d{{1,5}})?"
    r"(?: timed out)?(?: while ([a-z A-Z-]{3,60}))?"
)


def _postfix_path(peeled: Peeled) -> Peeled | None:
    """Nothing remote was said, but the text tells where the dialogue stood. The words stay."""
    if peeled.host or peeled.text[:1] not in ("l", "c"):
        return None
    found = _POSTFIX_PATH.match(peeled.text)
    if not found:
        return None
    stage = Stage.CONNECT if found.group().startswith("connect to") else stage_of(found.group(3) or "")
    return _inner(peeled, peeled.text, stage, found.group(1), found.group(2))


_EXIM = re.compile(
    r"SMTP error from remote (?:mail server|mailer|server) after "
    r"(initial connection|end of data|(?:pipelined |sending )?[A-Z]{4,8}(?: FROM| TO)?(?: end of data)?)"
    r"(?::?<[^<>]{0,320}>)?(?: SIZE=\d{1,12})?[^:]{0,40}:{1,2} ?",
    re.IGNORECASE,
)
_HOST_ALONE = re.compile(rf"host {_HOST} ?{_ADDRESS}(?::\d{{1,5}})?: (?=[45]\d\d[ -])", re.IGNORECASE)
_EXIM_HOST = re.compile(rf"host {_HOST} {_ADDRESS}(?::\d{{1,5}})?:? ?", re.IGNORECASE)


def _exim(peeled: Peeled) -> Peeled | None:
    """`SMTP error from remote mail server after RCPT TO:<…>: host H [IP]: 550 …`, or the host first."""
    found = _EXIM.search(peeled.text) if " error from remote " in peeled.text else None
    if not found:
        # The sentence before it stands elsewhere, or was cut away.
        alone = _HOST_ALONE.match(peeled.text) if peeled.text[:1] in ("h", "H") else None
        return _inner(peeled, peeled.text[alone.end() :], host=alone.group(1), ip=alone.group(2)) if alone else None
    before, rest = peeled.text[: found.start()], peeled.text[found.end() :]
    host = _EXIM_HOST.match(rest)
    if host:
        return _inner(peeled, rest[host.end() :], stage_of(found.group(1)), host.group(1), host.group(2))
    host = _EXIM_HOST.search(before[-400:])
    return _inner(peeled, rest, stage_of(found.group(1)), *(host.groups() if host else (None, None)))


_TRANSCRIPT = re.compile(r"(<<<|>>>) ?")
_REFUSAL = re.compile(r"[45]\d\d(?!\d)")
_TALKING_TO = re.compile(rf"while talking to {_HOST}")


def _sendmail(peeled: Peeled) -> Peeled | None:
    """`>>> RCPT To:<x> <<< 550 …`: the first refusal; a 503 after it only follows from it."""
    if "<<< " not in peeled.text:
        return None
    talking = _TALKING_TO.search(peeled.text)
    pieces = _TRANSCRIPT.split(peeled.text)
    stage, answers = Stage.UNKNOWN, []
    for mark, piece in zip(pieces[1::2], pieces[2::2], strict=False):
        if mark == ">>>":
            stage = stage_of(piece[:40]) if piece.strip() != "." else Stage.END_OF_DATA
        elif _REFUSAL.match(piece):
            answers.append((piece, stage))
    chosen = next((answer for answer in answers if not answer[0].startswith("503")), answers[0] if answers else None)
    if chosen is None:
        return None
    first = chosen[0].strip()[:3]
    if chosen[1] is Stage.DATA and any(piece.startswith("503") for piece, _ in answers):
        # "503 need RCPT" after it: the refusal answered RCPT, which had been sent ahead together with DATA (RFC 2920).
        chosen = chosen[0], Stage.RCPT
        answers = [(piece, Stage.RCPT if said_at is Stage.DATA else said_at) for piece, said_at in answers]
    same = " ".join(piece.strip() for piece, said_at in answers if said_at is chosen[1] and piece.startswith(first))
    return _inner(peeled, same, chosen[1], talking.group(1).rstrip(".") if talking else None)


_EXCHANGE_SMTP = re.compile(r"#< ?(?:#?\d\.\d{1,3}\.\d{1,3} )?|#<\S{1,255} #\d\.\d{1,3}\.\d{1,3} ", re.IGNORECASE)
_EXCHANGE = re.compile(r"^#(?=[245]\d\d[ -])")
_EXCHANGE_NAMED = re.compile(rf"{_HOST} (?=#[245]\d\d[ -#])|{_HOST} #<")


def _exchange(peeled: Peeled) -> Peeled | None:
    """`#550 5.1.1 … ##rfc822;x` and `#<host #5.1.1 smtp;550 …> #SMTP#`."""
    text = peeled.text
    if text.endswith("#SMTP#"):
        found = _EXCHANGE_SMTP.search(text)
        inner = text[found.end() if found else 0 : -len("#SMTP#")].strip().rstrip(">#").strip()
        return _inner(peeled, inner)
    if _EXCHANGE.match(text):
        return _inner(peeled, text[1:].partition("##")[0])
    return None


# Sentences after which the remote server's own words follow. The last one in the text is the innermost.
_MARK = (
    r"(?:last transfail: ?|last error(?: was)?: ?|remote[ _]host[ _]said: ?"
    r"|remote server (?:returned|said|responded|answered)(?: with)?:? ?(?:message)?:? ?(?=['\"<\[(]?\s?[#245])"
    r"|remote server returned [^>]{0,80}-> ?(?=[245]\d\d)|l(?<=\bl)ed= ?(?=[245]\d\d)"
    r"|(?:response|error|reply|answer)"
    r"(?: (?:that|from|of|the|other|remote|receiving|recipient|mail|server|host|returned|gave)){0,7} was: ?"
    r"|(?:server|host) (?:responded|replied)(?: with)?: ?|responded as follows: ?"
    r"|following (?:error|response)(?: message)?: ?|\(reason: ?|smtp error \(state \d{1,3}\): ?"
    r"|error_code ?: ?(?=[245]\d\d)|reported error: ?|remote server message is:? ?"
    r"|a(?<=\ba)nswered(?: with)?:? ?(?=['\"<(]?[45]\d\d[ -])|could not be delivered: ?(?=[45]\d\d[ -])"
    r"|unable to deliver in \d{1,6} minutes\.? ?(?=<[45]\d\d[ -]))"
)
# Each begins with a plain letter, so that `re` passes over most places of a text at a glance; blind to case it cannot.
_MARKS, _MARKS_IN_LOWER = re.compile(_MARK, re.IGNORECASE), re.compile(_MARK)
# One of these stands in each of the marks; asking for them first is a hundred times as fast as the expression.
_MARK_WORDS = (
    *("transfail", "last error", "host said", "host_said", "remote server", " was:", "responded", "replied"),
    *("(reason:", "(state ", "error_code", "reported error", "led=", "answered"),
)
_MARK_HINT = re.compile(r"following [er]|delivered: ?[45]|minutes\.<[45]")
_CLOSERS = {"'": "'", '"': '"', "<": ">", "[": "]", "(": ")"}
# An address or a host name at the start of the remote words, no quotation of them.
_IN_BRACKETS = re.compile(r"<[^<>\s]{1,320}>|\[[^\[\]\s]{1,255}\]")


def _marks(peeled: Peeled) -> Peeled | None:
    text = peeled.text
    low = text.lower()
    for word in _MARK_WORDS:
        if word in low:
            break
    else:
        if not _MARK_HINT.search(low):
            return None
    found = list(_MARKS_IN_LOWER.finditer(low) if text.isascii() else _MARKS.finditer(text))
    if not found:
        return None
    last = found[-1]
    rest = text[last.end() :].strip()
    closer = ")" if text.startswith(("(", "last transfail"), last.start()) else ""
    if rest[:1] in _CLOSERS and not closer and not _IN_BRACKETS.match(rest):
        closer, rest = _CLOSERS[rest[0]], rest[1:]
    if closer and closer in rest[4:]:
        rest = rest[: rest.rindex(closer)]
    return _inner(peeled, rest, stage_of(text[max(0, last.start() - 60) : last.start()]))


_IRONPORT = re.compile(
    r"\b([245])\.\d{1,3}\.\d{1,3} - [A-Za-z ]{3,40}[\"']? ?(?:response: ?)?"
    r"(?:(?=\1\d\d-')(\d{3})-'|[\"']?\([\"'](?=\1\d\d)(\d{3})[\"'], ?\[)",
    re.IGNORECASE,
)


def _ironport(peeled: Peeled) -> Peeled | None:
    """`5.1.0 - Unknown address error 550-'No such user' (delivery attempts: 0)`; its log: `… ('550', ['No such user'])`."""
    found = _IRONPORT.search(peeled.text) if " - " in peeled.text else None
    if not found:
        return None
    rest = peeled.text[found.end() :]
    if found.group(3):
        inner = " ".join(piece.strip(" '\",[)") for piece in re.split(r"['\"], ?['\"]", rest.partition("]")[0]))
    else:
        inner = rest.partition(" (delivery attempts:")[0].rstrip(" '\"")
    return replace(_inner(peeled, inner), reply_code=found.group(2) or found.group(3))


_QMAIL = (
    (re.compile(r"does not like recipient\b", re.IGNORECASE), Stage.RCPT),
    (re.compile(r"but sender was rejected\b", re.IGNORECASE), Stage.MAIL),
    (re.compile(r"(?:but greeting failed|failed after i sent the message)", re.IGNORECASE), Stage.END_OF_DATA),
    (re.compile(r"failed on data command", re.IGNORECASE), Stage.DATA),
)
_GIVING_UP = re.compile(r"\s*Giving[ _]up[ _]on[ _]([0-9A-Fa-f.:]{2,45}?)\.?(?=\s|$)")
_TOO_LONG = re.compile(r"\s*I'm not going to try again; this message has been in the queue too long\.", re.IGNORECASE)


def _qmail(peeled: Peeled) -> Peeled | None:
    """`… does not like recipient. Remote host said: 550 … Giving up on IP.`"""
    text = peeled.text
    if "iving" not in text and "not going to try" not in text:
        return None
    given_up, too_long = _GIVING_UP.search(text), _TOO_LONG.search(text)
    if not given_up and not too_long:
        return None
    stage = next((stage for pattern, stage in _QMAIL if pattern.search(text)), Stage.UNKNOWN)
    if "greeting failed" in text:
        stage = Stage.CONNECT
    inner = _GIVING_UP.sub("", text)
    inner = _TOO_LONG.sub("", inner) or text
    return None if inner == text else _inner(peeled, inner, stage, ip=given_up.group(1) if given_up else None)


_LAYERS: tuple[Callable[[Peeled], Peeled | None], ...] = (
    _report_fields,
    _prefixes,
    _reply_to,
    _qmail,
    _sendmail,
    _postfix,
    _exim,
    _exchange,
    _marks,
    _ironport,
    _postfix_path,
)
