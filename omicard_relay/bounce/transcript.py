"""A session that a report retells: `>>> RCPT To:<…>` and `<<< 550 …` lines -> `Exchange` values.

sendmail writes such a transcript below "while talking to HOST"; MailEnable, qmail patches and several gateways do the same.
The commands tell the stage (RFC 5321 §4.1.1) that a Diagnostic-Code leaves out.
"""

import re
from dataclasses import dataclass

from omicard_relay.mail import Stage

__all__ = ["Exchange", "read_transcript"]

_STAGES = {
    "HELO": Stage.HELO,
    "EHLO": Stage.HELO,
    "STARTTLS": Stage.STARTTLS,
    "AUTH": Stage.AUTH,
    "MAIL": Stage.MAIL,
    "RCPT": Stage.RCPT,
    "DATA": Stage.DATA,
    "QUIT": Stage.QUIT,
}
_TALKING = re.compile(r"\.{2,3} while talking to (\S{1,255}?)[.:]{0,2}\s{0,5}$", re.I)
#: Exchanges that are kept; a report has a handful.
_LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What the client said last and what the server answered; `command` is empty where the greeting was the answer."""

    command: str
    reply: str
    stage: Stage
    host: str | None


def read_transcript(text: str) -> tuple[Exchange, ...]:
    """The exchanges that ended in a 4xx or 5xx reply, in order; lines of one reply are joined."""
    found: list[Exchange] = []
    host, command, stage = None, "", Stage.CONNECT
    answer: list[str] = []
    for line in text.split("\n"):
        said = line.lstrip()
        mark = said[:3]
        if mark == "<<<":
            answer.append(said[3:].strip())
            continue
        if answer:
            _add(found, command, answer, stage, host)
            answer = []
        if mark == ">>>":
            command = said[3:].strip()
            verb = command[:8].split(" ")[0].split(":")[0].upper()
            stage = Stage.END_OF_DATA if verb in (".", "BDAT") else _STAGES.get(verb, Stage.UNKNOWN)
        elif mark[:2] == ".." and (talking := _TALKING.match(said[:300])):
            host, command, stage = talking.group(1).rstrip(".:"), "", Stage.CONNECT
    _add(found, command, answer, stage, host)
    return tuple(found)


def _add(found: list[Exchange], command: str, answer: list[str], stage: Stage, host: str | None) -> None:
    if answer and answer[-1][:1] in ("4", "5") and len(found) < _LIMIT:
        found.append(Exchange(command=command, reply=" ".join(answer), stage=stage, host=host))
