"""A refusal by our own Postfix -> `Rejected`: smtpd(8), postscreen(8), milter, proxy, and cleanup's header and body checks.

    reject: RCPT from H[IP]: 450 4.3.2 <A>: Recipient address rejected: WORDS; from=<S> to=<A> proto=ESMTP helo=<N>
    reject: header Subject: ANY from H[IP]; from=<S> to=<A> proto=ESMTP helo=<N>: 5.7.1 WORDS

Here the client speaks on both sides: its addresses and headers stand before the fields, and in them. So the fields count
only where they are complete up to the end of the line (first form), or where the words behind them hold no field (second
form); Postfix takes quotes, brackets and spaces out of the HELO name by itself.
Not here: `warn`, `hold`, `discard` and `redirect` of an access table, for such a mail is not refused.
"""

import re
from collections.abc import Iterator

import msgspec

from omicard_relay.mail import Attempt, Outcome, Stage, read_reply
from omicard_relay.wire.logevents import Rejected
from omicard_relay.wire.loghead import Head

__all__ = ["read_reject"]

#: Places in one line where the fields may begin; a client that writes more of them is not worth the time.
_CANDIDATES = 16
_KIND = re.compile(r"(?:milter-|proxy-)?reject: ")
_COMMAND = re.compile(r"([A-Z]+(?:-[A-Z]+){0,2}(?: content)?) from ([^\s\[\]]*)\[([^\s\[\]]+)\](?::[0-9]{1,5})?: ")
_CHECK = re.compile(r"(?:header|body|mime-header|nested-header) ")
_ORIGIN = re.compile(r"(.*) from (?:([^\s\[\];]*)\[([^\s\[\];]+)\](?::[0-9]{1,5})?|local|unknown)", re.DOTALL)
# RFC 5321 §4.1.2, long enough for any address and short enough that sixteen tries stay cheap.
_ADDRESS = r'(?:"(?:[^"\\]|\\.){0,1000}"[^<>"\s]{0,1000}|[^<>"\s]{0,1000})'
_TAIL = re.compile(
    rf";(?: from=<(?P<sender>{_ADDRESS})>,?)?(?: to=<(?P<recipient>{_ADDRESS})>,?)?(?: proto=[A-Z]{{1,10}},?)?"
    r"(?: helo=<[^<>\s]{0,1000}>)?(?: sasl_username=<[^<>]{0,1000}>)?",
    re.DOTALL,
)
_STAGES = {
    "CONNECT": Stage.CONNECT,
    "HELO": Stage.HELO,
    "EHLO": Stage.HELO,
    "STARTTLS": Stage.STARTTLS,
    "AUTH": Stage.AUTH,
    "MAIL": Stage.MAIL,
    "RCPT": Stage.RCPT,
    "DATA": Stage.DATA,
    "BDAT": Stage.DATA,
    "DATA content": Stage.END_OF_DATA,
    "END-OF-MESSAGE": Stage.END_OF_DATA,
    "QUIT": Stage.QUIT,
}


def read_reject(head: Head) -> Rejected | None:
    """The refusal that a line tells of; None when it is none, or may have been cut."""
    kind = _KIND.match(head.body)
    if kind is None or not head.whole:
        return None
    command = _COMMAND.match(head.body, kind.end())
    if command:
        for tail in _tails(head.body, command.end()):
            if tail.end() == len(head.body):
                stage = _STAGES.get(command[1], Stage.UNKNOWN)
                words = head.body[command.end() : tail.start()]
                return _rejected(head, words, stage, tail, command[2], command[3])
        return None
    check = _CHECK.match(head.body, kind.end())
    if check:
        for tail in _tails(head.body, check.end()):
            words = head.body[tail.end() :]
            origin = _ORIGIN.fullmatch(head.body, check.end(), tail.start())
            if origin and words.startswith(": ") and "; from=<" not in words and "> to=<" not in words:
                return _rejected(head, words[2:], Stage.END_OF_DATA, tail, origin[2] or "", origin[3] or "")
    return None


def _tails(body: str, start: int) -> Iterator[re.Match[str]]:
    """Every place from `start` on where the fields may begin, first to last; of very many, the first and the last few."""
    places = [match.start() for match in re.finditer(r"; (?:from=<|to=<|proto=)", body[start:])]
    if len(places) > _CANDIDATES:
        places = places[: _CANDIDATES // 2] + places[-_CANDIDATES // 2 :]
    for place in places:
        tail = _TAIL.match(body, start + place)
        if tail and tail.end() > tail.start() + 1:
            yield tail


def _rejected(head: Head, words: str, stage: Stage, tail: re.Match[str], host: str, ip: str) -> Rejected:
    # The words are ours, whatever they quote: a `host … said:` in them is the recipient's choice of address.
    reply = msgspec.structs.replace(read_reply(words, stage=stage, time=head.time), host=None, ip=None)
    return Rejected(
        attempt=Attempt(
            time=head.time,
            queue_id=head.queue_id,
            recipient=tail["recipient"] or "",
            outcome=Outcome.REJECTED,
            enhanced_status=reply.enhanced_status or "",
            reply=reply,
            is_attempt=False,
            program=head.program,
            sender=tail["sender"],
            line_digest=head.digest(),
        ),
        client_host=host,
        client_ip=ip,
        instance=head.instance,
    )
