"""The failure notice for recipients that Postfix refused while it took others (RFC 3464, RFC 6522, RFC 3461 §6.2). Pure.

It goes to the mail's own reverse-path, from the null one, never for a null one, and names only recipients whose NOTIFY
allows it. With RET=FULL it returns a mail up to a limit, else the header.
Left to others: handing it over (carry.py). Known limits: in English; a non-ASCII address is written as RFC 6533's utf-8 type.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from omicard_relay.mail import one_line
from omicard_relay.services.relay.parameters import MailCommand, RcptCommand
from omicard_relay.services.relay.xtext import decode_xtext

__all__ = ["Failure", "failure_notice"]

#: Octets of a mail that is returned whole.
FULL_LIMIT = 262_144
#: Octets of a header that is returned.
HEADER_LIMIT = 65_536
_STATUS = re.compile(r"[45][0-9]{2}[ -](5\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One recipient and the reply that refused it."""

    recipient: RcptCommand
    reply: str


def failure_notice(
    mail: MailCommand,
    failures: Sequence[Failure],
    content: bytes,
    *,
    hostname: str,
    next_host: str,
    submission_id: str,
    token: str,
    received: datetime,
    now: datetime,
) -> bytes:
    """The notice's octets, lines ending in CRLF; `token` is random and makes the boundary. 8-bit when `content` is."""
    boundary = f"=_{submission_id}_{token}"
    full = (mail.ret or "").upper() == "FULL" and len(content) <= FULL_LIMIT
    returned = content if full else _header(content)
    kind = "message/rfc822" if full else "text/rfc822-headers"
    encoding = "7bit" if returned.isascii() else "8bit"
    words = "\n".join(f"  {_shown(one.recipient.forward_path)}\n    {_shown(one.reply)}" for one in failures)
    head = f"""\
From: Mail Delivery System <MAILER-DAEMON@{hostname}>
To: <{mail.reverse_path}>
Subject: Undelivered Mail Returned to Sender
Date: {format_datetime(now)}
Message-ID: <{submission_id}.{token}@{hostname}>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="{boundary}"

This is a MIME-encapsulated message.

--{boundary}
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Your mail could not be delivered to these recipients; to the others
of the same mail it is on its way.

{words}

--{boundary}
Content-Description: Delivery report
Content-Type: message/delivery-status

{_report(mail, failures, hostname, next_host, received)}
--{boundary}
Content-Description: {"Undelivered mail" if full else "Undelivered mail's header"}
Content-Type: {kind}
Content-Transfer-Encoding: {encoding}

"""
    end = f"\n--{boundary}--\n"
    return _octets(head) + returned + _octets(end)


def _report(mail: MailCommand, failures: Sequence[Failure], hostname: str, next_host: str, received: datetime) -> str:
    lines = [f"Reporting-MTA: dns; {hostname}"]
    if mail.envid is not None:
        lines.append(f"Original-Envelope-Id: {_ascii(decode_xtext(mail.envid).decode('utf-8', 'replace'))}")
    lines += [f"Arrival-Date: {format_datetime(received)}", ""]
    for one in failures:
        if one.recipient.orcpt is not None:
            kind, _, address = one.recipient.orcpt.partition(";")
            lines.append(f"Original-Recipient: {kind}; {_ascii(decode_xtext(address).decode('utf-8', 'replace'))}")
        found = _STATUS.match(one.reply)
        lines += [
            f"Final-Recipient: {_final(one.recipient.forward_path)}",
            "Action: failed",
            f"Status: {found.group(1) if found else '5.0.0'}",
            f"Remote-MTA: dns; {next_host}",
            f"Diagnostic-Code: smtp; {_ascii(one.reply)}",
            "",
        ]
    return "\n".join(lines)


def _final(path: str) -> str:
    if path.isascii():
        return f"rfc822; {_ascii(path)}"
    return "utf-8; " + "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in one_line(path))


def _ascii(text: str) -> str:
    return one_line(text, 800).encode("ascii", "backslashreplace").decode("ascii")


def _shown(text: str) -> str:
    return one_line(text, 800)


def _header(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n")
    header = content[: end + 2] if end >= 0 else content
    if len(header) > HEADER_LIMIT:
        header = header[: header.rfind(b"\r\n", 0, HEADER_LIMIT) + 2]
    return header


def _octets(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8", "backslashreplace")
