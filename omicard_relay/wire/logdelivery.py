"""A delivery line -> `Delivery`: what smtp(8), lmtp, pipe, local, virtual, error, retry and discard tell of one recipient.

    to=<A>, orig_to=<B>, relay=H[IP]:P, conn_use=2, delay=1.2, delays=0/0/1/0.2, tls=none, dsn=2.0.0, status=sent (TEXT)

The order is Postfix's own and fixed. Fields are read from the left, and TEXT, where the remote server speaks, is last and
goes to the closing parenthesis at the end of the line: so no words of a remote server can be taken for a field.
A line that was cut is no event: it lacks the closing parenthesis, or the `(in reply to …)` that smtp(8) puts behind a
server's words; or its end was not seen and its parentheses do not balance. Only what the logger itself cut is taken with the
words that are there, for a remote server could hide its refusal by talking too long: Postfix 3.7 writes 2,000 bytes of a
message into its `maillog_file` and drops the rest.
Known limits: Postfix before 2.3 logged no `dsn=`; such a line has an empty enhanced status code.
"""

import re

from omicard_relay.mail import Attempt, Outcome, read_reply
from omicard_relay.wire.logevents import Delivery
from omicard_relay.wire.loghead import Head, read_address

__all__ = ["read_delivery"]

#: Bytes from which a whole line without its closing parenthesis was cut by the logger, not by a crash.
#: The smallest limit around is the 1,024 bytes of RFC 3164 §4.1, the priority (which is not written) included.
LOGGER_CUT = 1_000

_FIELDS = re.compile(
    r", relay=(?P<relay>[^\s,]+)(?P<more>(?:, (?!dsn=|status=)[a-z_]+=[^\s,]*)*)"
    r"(?:, dsn=(?P<dsn>[245]\.[0-9]{1,3}\.[0-9]{1,3}))?, status=(?P<status>[A-Za-z-]+) \("
)
_RELAY = re.compile(r"([^\[\]]*)\[([^\[\]]+)\](?::([0-9]{1,5}))?")
_IP = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%\w{1,16})?", re.ASCII)
_FIGURE = r"([0-9]{1,10}(?:\.[0-9]{1,6})?)"
_SECONDS = re.compile(_FIGURE)
_DELAYS = re.compile("/".join([_FIGURE] * 4))
_OUTCOMES = {
    "sent": Outcome.SENT,
    "deferred": Outcome.DEFERRED,
    "bounced": Outcome.BOUNCED,
    # soft_bounce = yes: a refusal that stays in the queue.
    "softbounce": Outcome.DEFERRED,
    "expired": Outcome.EXPIRED,
}
#: They speak for others or for nobody: no attempt was made when they write a delivery line.
_NO_ATTEMPT = frozenset(("bounce", "cleanup", "error", "nqmgr", "oqmgr", "qmgr", "retry", "trivial-rewrite"))
# smtp(8) never ends otherwise after this beginning: `host mx.example[192.0.2.1] said: … (in reply to RCPT TO command)`.
# The status filter puts our code before that.
_SAID = re.compile(r"(?:\[9[0-3][0-9]\] )?host [^\s\[\]]+\[[^\s\[\]]+\](?::[0-9]+)? said: ")
_SAID_END = " command)"
_SUSPENDED = "delivery temporarily suspended"
#: local(8) hands an alias on under a new queue id, and the fate is told there.
_FORWARDED = "forwarded as "


def read_delivery(head: Head) -> Delivery | None:
    """The delivery that a line with `to=<` tells of; None when the line was cut or is none."""
    body = head.body
    recipient = read_address(body, len("to=<"), ", orig_to=<", ", relay=")
    if recipient is None:
        return None
    original, end = "", recipient[1]
    if body.startswith(", orig_to=<", end):
        told = read_address(body, end + len(", orig_to=<"), ", relay=")
        if told is None:
            return None
        original, end = told
    fields = _FIELDS.match(body, end)
    text = _words(head, fields.end()) if fields else None
    if fields is None or text is None:
        return None
    host, ip, port, said_by = _relay(fields["relay"])
    more = dict(pair.split("=", 1) for pair in fields["more"].split(", ")[1:])
    forwarded = head.program == "local" and text.startswith(_FORWARDED)
    return Delivery(
        attempt=Attempt(
            time=head.time,
            queue_id=head.queue_id,
            recipient=recipient[0],
            original_recipient=original,
            outcome=Outcome.OTHER if forwarded else _OUTCOMES.get(fields["status"].lower(), Outcome.OTHER),
            enhanced_status=fields["dsn"] or "",
            reply=read_reply(text, host=said_by, time=head.time),
            is_attempt=head.program not in _NO_ATTEMPT and not text.startswith(_SUSPENDED),
            program=head.program,
            relay_host=host,
            relay_ip=ip,
            relay_port=port,
            delay_seconds=_seconds(more.get("delay", "")),
            delays=_delays(more.get("delays", "")),
            line_digest=head.digest(),
            transport=head.instance.rpartition("/")[2] if "/" in head.instance else "",
            machine=head.machine,
        ),
        status=fields["status"],
        instance=head.instance,
    )


def _words(head: Head, start: int) -> str | None:
    """The text between the opening parenthesis and the end of the line; None when the line was cut."""
    words = head.body[start:]
    text = words[:-1]
    if words.endswith(")") and (text.endswith(_SAID_END) or not _SAID.match(text)):
        # In balanced words an inner closing parenthesis leaves one open before it: a cut behind it shows.
        return text if head.whole or text.count("(") == text.count(")") else None
    return words if head.whole and len(head.raw) >= LOGGER_CUT else None


def _relay(relay: str) -> tuple[str | None, str | None, int | None, str | None]:
    """Host, ip and port of `relay=` (`mx.example[192.0.2.1]:25`, `mail[private/lmtp]`, `local`, `none`), and who spoke."""
    if relay == "none":
        return None, None, None, None
    match = _RELAY.fullmatch(relay)
    if match is None:
        return relay, None, None, None
    host, inside, port = match.groups()
    if not _IP.fullmatch(inside):
        return relay, None, None, host or None
    return host or inside, inside, int(port) if port else None, host or inside


def _seconds(figure: str) -> float | None:
    return float(figure) if _SECONDS.fullmatch(figure) else None


def _delays(figures: str) -> tuple[float, ...]:
    """The four figures of `delays=`; empty when they are no four figures."""
    match = _DELAYS.fullmatch(figures)
    return tuple(map(float, match.groups())) if match else ()
