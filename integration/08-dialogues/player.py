"""Plays a written SMTP dialogue against the relay, and checks where its mails have arrived.

A file holds dialogues; `--- name` begins one. Its lines:

    # a remark
    from 127.0.3.1      the client's address (127.0.0.1 when it is not said)
    > text              say this and CRLF
    ! octets            send exactly this
    tls                 the TLS handshake, after a 220 to STARTTLS
    < text              the next reply begins so; lines of one reply are joined by LF
    x                   the relay has closed the connection
    = taken address     exactly one mail has arrived for this address; the lines below speak of it
    = mail word         ... MAIL had this parameter
    = rcpt word         ... RCPT had this parameter
    = octets text       ... it holds these octets
    = lacks text        ... it does not hold these octets
    = as sent           ... under the Received fields it is, octet for octet, what was sent after the last 354
    = untaken address   no receiver knows this address
    = nowhere address   ... and no line of Postfix's log knows it either

Python's escapes hold in what is sent and in `octets`; `{x*999}` stands for 999 times x, `\\{` for a brace.
"""

import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from lab.books import BookEntry
from lab.line import Line
from lab.waiting import wait_until

__all__ = ["Dialogue", "play", "read_dialogues"]

RELAY = ("127.0.0.1", 10025)
_TIMES = re.compile(r"(?<!\\)\{(.)\*(\d+)\}")
_RECEIVED = re.compile(rb"(?:Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+")
_PROBES = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """One dialogue: its lines, each a mark and a text."""

    name: str
    steps: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Talk:
    """One connection, and what was sent as the last mail's content."""

    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    content: bytes = b""
    in_content: bool = False

    def send(self, octets: bytes) -> None:
        self.connection.sendall(octets)
        if self.in_content:
            self.content += octets

    def reply(self) -> str:
        """One reply, its lines joined by LF; "" when the connection is closed."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            while (end := self.received.find(b"\r\n")) < 0:
                try:
                    octets = self.connection.recv(65_536)
                except ConnectionResetError:
                    octets = b""
                if not octets:
                    assert not self.received, f"half a reply: {bytes(self.received)!r}"
                    return "\n".join(lines)
                self.received += octets
            lines.append(self.received[:end].decode("ascii"))
            del self.received[: end + 2]
        self.in_content = lines[-1].startswith("354")
        if self.in_content:
            self.content = b""
        return "\n".join(lines)


def read_dialogues(folder: Path) -> list[Dialogue]:
    """All dialogues of all `*.dialogue` files, in order; names are `file/dialogue`."""
    return [dialogue for path in sorted(folder.glob("*.dialogue")) for dialogue in _of_file(path)]


def _of_file(path: Path) -> Iterator[Dialogue]:
    title, steps = "", list[tuple[str, str]]()
    for line in [*path.read_text("utf-8").splitlines(), "---"]:
        mark, _, text = line.strip().partition(" ")
        if mark == "---":
            if steps:
                yield Dialogue(name=f"{path.stem}/{title}", steps=tuple(steps))
            title, steps = text, []
        elif mark and not mark.startswith("#"):
            steps.append((mark, text))


def octets_of(text: str) -> bytes:
    """What a line stands for: escapes and repetitions are carried out, all other characters are UTF-8."""
    text = _TIMES.sub(lambda found: found[1] * int(found[2]), text).replace("\\{", "{")
    return text.encode("utf-8").decode("unicode_escape").encode("latin-1")


def play(dialogue: Dialogue, line: Line) -> None:
    """Play one dialogue to its end. Raises AssertionError where it goes otherwise than written."""
    source = next((text for mark, text in dialogue.steps if mark == "from"), "127.0.0.1")
    with socket.create_connection(RELAY, timeout=20, source_address=(source, 0)) as connection:
        talk = _Talk(connection)
        try:
            assert talk.reply().startswith("220 relay.lab.test ESMTP")
            for mark, text in dialogue.steps:
                _step(talk, mark, text)
        finally:
            talk.connection.close()
    _check(dialogue, line, talk.content)


def _step(talk: _Talk, mark: str, text: str) -> None:
    if mark == ">":
        talk.send(octets_of(text) + b"\r\n")
    elif mark == "!":
        talk.send(octets_of(text))
    elif mark == "<":
        reply = talk.reply()
        assert reply.startswith(text), f"expected `{text}`, heard `{reply}`"
    elif mark == "x":
        reply = talk.reply()
        assert reply == "", f"the connection is not closed: `{reply}`"
    elif mark == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        talk.connection = context.wrap_socket(talk.connection)
    else:
        assert mark in ("=", "from"), f"`{mark}` is no mark"


def _check(dialogue: Dialogue, line: Line, sent: bytes) -> None:
    """The `=` lines."""
    entry: BookEntry | None = None
    untaken: dict[str, bool] = {}
    for text in (text for mark, text in dialogue.steps if mark == "="):
        what, _, value = text.partition(" ")
        if what == "taken":
            entry = _taken(line, value)
        elif what in ("nowhere", "untaken"):
            untaken[value] = what == "nowhere"
        else:
            assert entry is not None, f"`= {text}` stands before any `= taken`"
            content = Path(entry.path).read_bytes()
            if what == "octets":
                assert octets_of(value) in content, f"{value} is not in\n{content!r}"
            elif what == "as":
                trace = _RECEIVED.match(content)
                assert trace is not None
                assert content[trace.end() :] == _unstuffed(sent)
            elif what == "lacks":
                assert octets_of(value) not in content, f"{value} is in\n{content!r}"
            else:
                words = entry.mail_parameters if what == "mail" else entry.rcpt_parameters
                assert value in words.split(), f"{value} is not in `{words}`"
    if untaken:
        _settle(line)
        log = line.postfix.log.read_text(errors="replace")
        for address, is_nowhere in untaken.items():
            assert not line.internet.books().entries(recipient=address), f"{address} is in a receiver's book"
            assert not is_nowhere or address not in log, f"{address} is in Postfix's log"


def _taken(line: Line, recipient: str) -> BookEntry:
    """The only entry for this recipient, once its mail is there and the queue is empty."""
    books = line.internet.books()
    there = books.wait_until(lambda: bool(books.entries(recipient=recipient)), 20)
    assert there, f"nothing has come for {recipient}"
    _settle(line)
    entries = books.entries(recipient=recipient)
    assert [entry.accepted for entry in entries] == [True], entries
    return entries[0]


def _settle(line: Line) -> None:
    """Until a later mail has arrived and Postfix has no other: what should have come by then has come."""
    probe = f"probe.{next(_PROBES)}@good.test"
    with smtplib.SMTP(*RELAY, local_hostname="probe.lab.test", timeout=20) as client:
        client.sendmail("news@shop.test", [probe], b"From: news@shop.test\r\nSubject: probe\r\n\r\nprobe\r\n")
    books = line.internet.books()
    assert books.wait_until(lambda: bool(books.entries(recipient=probe)), 20), "the probe has not arrived"
    wait_until(lambda: not line.postfix.queue(), "Postfix's queue is empty")


def _unstuffed(content: bytes) -> bytes:
    """The mail in what was sent after a 354."""
    mail = b"\r\n" + content
    rows = mail[2 : mail.index(b"\r\n.\r\n") + 2].split(b"\r\n")
    return b"\r\n".join(row.removeprefix(b".") for row in rows)
