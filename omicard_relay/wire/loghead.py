"""The head of a log line -> `Head`: when and where, which Postfix program, which mail; and the helpers for what follows it.

    Nov 24 08:31:31 out postfix/relay/smtp[123]: 4F9D1zJ9RY: to=<ann@example.com>, …
    stamp           host instance     program    queue id    body

A syslog name is Postfix's when it has a slash and ends in the name of a Postfix program: `postfix-out/smtp`,
`postfix/relay/smtp`. Bytes are UTF-8; broken ones are shown as `\\xNN` (Python's backslashreplace) and so is NUL, so that
any database can store the text: no lone surrogate, no NUL. Postfix itself writes `?` for control characters, and for
8-bit text that is no UTF-8.
Known limits: a line without host name or process id, as `journalctl -o cat` gives, is not read.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from omicard_relay.wire.logstamp import read_stamp

__all__ = ["NO_QUEUE", "Head", "read_address", "read_head"]

#: What Postfix logs in place of a queue id before it has one.
NO_QUEUE = "NOQUEUE"

_AGENTS = ("discard", "error", "lmtp", "local", "pipe", "retry", "smtp", "virtual")
_MANAGERS = ("bounce", "cleanup", "nqmgr", "oqmgr", "pickup", "postscreen", "qmgr", "smtpd", "trivial-rewrite")
_PROGRAMS = frozenset((*_AGENTS, *_MANAGERS))
_TAG = re.compile(r"([^\s\[\]]+) ([^\s\[\]]{1,100})/([a-z-]{1,20})\[[0-9]{1,10}\]: ([0-9A-Za-z]{5,40}): ")
#: `postfix/smtp[1]: warning: …` stands where a queue id would.
_NO_IDS = frozenset(("debug", "error", "fatal", "panic", "warning", "statistics"))
#: RFC 5321 §4.1.2 Quoted-string local part, as Postfix 3.5 and later log it (`info_log_addr_form = external`).
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"[^<>"\s]*', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A line of Postfix, read as far as its queue id ("" for NOQUEUE).

    `machine`: the host name, as logged. `whole`: the line's end was seen, so what is there was not cut by a reader that
    was too early.
    """

    time: datetime
    machine: str
    instance: str
    program: str
    queue_id: str
    body: str
    raw: bytes
    whole: bool

    def digest(self) -> str:
        """SHA-256 of the line without its line end, in hex: the same line read twice is known by it."""
        return hashlib.sha256(self.raw).hexdigest()


def read_head(line: bytes, *, now: datetime, tz: tzinfo = UTC, whole: bool = True) -> Head | None:
    """The head of one line; None when it is not a line of Postfix about a mail or a client."""
    raw = line.rstrip(b"\r\n")
    text = raw.decode("utf-8", "backslashreplace")
    if "\0" in text:
        text = text.replace("\0", "\\x00")
    # The stamp is the dearer part: lines of other programs are sorted out by their tag first.
    bracket = text.find("]: ")
    slash = text.rfind("/", 0, bracket) if bracket > 0 else -1
    if slash < 0 or text[slash + 1 : bracket].partition("[")[0] not in _PROGRAMS:
        return None
    stamp = read_stamp(text, now=now, tz=tz)
    if stamp is None:
        return None
    time, start = stamp
    tag = _TAG.match(text, start)
    if tag is None or tag[3] not in _PROGRAMS or tag[4] in _NO_IDS:
        return None
    return Head(
        time=time,
        machine=tag[1],
        instance=tag[2],
        program=tag[3],
        queue_id="" if tag[4] == NO_QUEUE else tag[4],
        body=text[tag.end() :],
        raw=raw,
        whole=whole,
    )


def read_address(text: str, start: int, *followers: str) -> tuple[str, int] | None:
    """The address that begins behind a `<`, and the offset behind its `>`; None when none of `followers` comes behind that.

    A quoted local part is stepped over as a whole, so `>` and `, relay=` inside it end nothing. An unquoted address ends at the
    first `>` with a follower: with `info_log_addr_form = internal` a local part may hold that too, and is then read short.
    """
    quoted = _QUOTED.match(text, start)
    if quoted and any(text.startswith(">" + follower, quoted.end()) for follower in followers):
        return quoted[0], quoted.end() + 1
    ends = [end for follower in followers if (end := text.find(">" + follower, start)) >= 0]
    if not ends:
        return None
    end = min(ends)
    return text[start:end], end + 1
