"""What receivers send after they have accepted a mail: failure reports, automatic replies, complaints; and the postman.

RFC 3464 reports, RFC 3834 automatic replies, RFC 5965 complaints, each with a null reverse-path and Auto-Submitted, so
that nothing ever answers them. The postman finds the reverse-path's server as every MTA does: MX in the DNS, port 25.
Not here: when to send one (lab/receivers.py).
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime

import aiosmtplib
import dns.asyncresolver
import dns.exception
import dns.rdatatype

from lab.behaviour import Envelope
from lab.books import Books, LaterMail

__all__ = ["Postman", "automatic_reply", "complaint", "failure_report"]

#: Tries of one later mail, and seconds between them: long enough to outlive a service that is killed and started anew.
TRIES, REST_SECONDS = 30, 2.0


class Postman:
    """Delivers later mails by the lab's DNS, and books what became of them."""

    def __init__(self, books: Books, *, dns_host: str, dns_port: int = 53, smtp_port: int = 25) -> None:
        self._books = books
        self._smtp_port = smtp_port
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = [dns_host]
        self._resolver.port = dns_port

    async def send(self, envelope: Envelope, kind: str, recipient: str, content: bytes, hostname: str) -> None:
        """Send `content` to the envelope's reverse-path, from the null one; 4xx and lost connections are tried anew."""
        reply, delivered = "", False
        for number in range(TRIES):
            if number:
                await asyncio.sleep(REST_SECONDS)
            reply = await self._try(envelope.reverse_path, content, hostname)
            delivered = reply.startswith("2")
            if delivered or reply.startswith("5"):
                break
        self._books.append(
            LaterMail(
                receiver=envelope.receiver,
                time=datetime.now(UTC),
                kind=kind,
                recipient=recipient,
                reverse_path=envelope.reverse_path,
                message_id=envelope.message_id,
                reply=reply,
                delivered=delivered,
            )
        )

    async def _try(self, reverse_path: str, content: bytes, hostname: str) -> str:
        """The last server's reply, or `400 ` and why none could be asked."""
        domain = reverse_path.rpartition("@")[2]
        try:
            answer = await self._resolver.resolve(domain, dns.rdatatype.MX)
            host = min(answer, key=lambda record: record.preference).exchange.to_text()
            address = (await self._resolver.resolve(host, dns.rdatatype.A))[0].to_text()
        except dns.exception.DNSException as error:
            return f"400 no address for {domain}: {error}"
        try:
            async with aiosmtplib.SMTP(
                hostname=address, port=self._smtp_port, local_hostname=hostname, timeout=20, start_tls=False
            ) as client:
                await client.ehlo()
                await client.mail("", options=[] if content.isascii() else ["BODY=8BITMIME"])
                await client.rcpt(reverse_path)
                response = await client.data(content)
                return f"{response.code} {response.message}"
        except aiosmtplib.SMTPResponseException as error:
            return f"{error.code} {error.message}"
        except (aiosmtplib.SMTPException, OSError) as error:
            return f"400 {error or type(error).__name__}"
        except ValueError as error:
            return f"500 {error}"  # a reverse-path that cannot stand in a command


def failure_report(envelope: Envelope, recipient: str, *, hostname: str, reply: str, status: str) -> bytes:
    """An RFC 3464 report that `recipient` could not be reached; `reply` is what the mailbox's own server said."""
    boundary = _boundary(envelope)
    head = _head(
        envelope,
        recipient,
        hostname,
        sender=f"Mail Delivery System <MAILER-DAEMON@{hostname}>",
        subject="Undelivered mail returned",
        auto_submitted="auto-replied",
        content_type=f'multipart/report; report-type=delivery-status; boundary="{boundary}"',
    )
    said = reply.replace("\n", "\n    ")
    text = (
        f"Your mail to <{recipient}> was accepted by {hostname},\n"
        f"but it could not be put into the mailbox:\n\n    {said}\n\nIt will not be tried again.\n"
    )
    report = (
        f"Reporting-MTA: dns; {hostname}\nArrival-Date: {_now()}\n\n"
        f"Original-Recipient: rfc822;{recipient}\nFinal-Recipient: rfc822;{recipient}\nAction: failed\n"
        f"Status: {status}\nRemote-MTA: dns; store.{hostname}\nDiagnostic-Code: smtp; {said}\nLast-Attempt-Date: {_now()}\n"
    )
    original_head = envelope.content.partition(b"\r\n\r\n")[0] + b"\r\n"
    return _join(
        head,
        boundary,
        ("text/plain; charset=us-ascii", text.encode()),
        ("message/delivery-status", report.encode()),
        ("text/rfc822-headers", original_head),
    )


def automatic_reply(envelope: Envelope, recipient: str, *, hostname: str, subject: str, text: str) -> bytes:
    """An RFC 3834 automatic reply from the recipient; `text` is UTF-8."""
    head = _head(
        envelope,
        recipient,
        hostname,
        sender=f"<{recipient}>",
        subject=subject,
        auto_submitted="auto-replied (vacation)",
        content_type="text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit",
        more=f"In-Reply-To: {envelope.message_id}\nReferences: {envelope.message_id}\nPrecedence: bulk\n",
    )
    return _lines(head + "\n" + text).encode()


def complaint(envelope: Envelope, recipient: str, *, hostname: str, source_ip: str) -> bytes:
    """An RFC 5965 report that the recipient called the mail abuse; the whole mail is attached."""
    boundary = _boundary(envelope)
    head = _head(
        envelope,
        recipient,
        hostname,
        sender=f"Feedback loop <complaints@{hostname}>",
        subject="Complaint about a mail of yours",
        auto_submitted="auto-generated",
        content_type=f'multipart/report; report-type=feedback-report; boundary="{boundary}"',
    )
    text = f"A user of {hostname} marked the attached mail as unwanted.\n"
    report = (
        f"Feedback-Type: abuse\nUser-Agent: Lab-Feedback/1.0\nVersion: 1\nOriginal-Mail-From: <{envelope.reverse_path}>\n"
        f"Original-Rcpt-To: <{recipient}>\nArrival-Date: {_now()}\nReporting-MTA: dns; {hostname}\nSource-IP: {source_ip}\n"
    )
    return _join(
        head,
        boundary,
        ("text/plain; charset=us-ascii", text.encode()),
        ("message/feedback-report", report.encode()),
        ("message/rfc822", envelope.content),
    )


def _head(
    envelope: Envelope,
    recipient: str,
    hostname: str,
    *,
    sender: str,
    subject: str,
    auto_submitted: str,
    content_type: str,
    more: str = "",
) -> str:
    """Header lines with LF; the Message-ID is made from the mail that is answered, so that it is the same on each try."""
    token = hashlib.sha256(repr((envelope.message_id, recipient, subject)).encode()).hexdigest()[:24]
    return (
        f"From: {sender}\nTo: <{envelope.reverse_path}>\nSubject: {subject}\nDate: {_now()}\n"
        f"Message-ID: <{token}@{hostname}>\nAuto-Submitted: {auto_submitted}\n{more}"
        f"MIME-Version: 1.0\nContent-Type: {content_type}\n"
    )


def _join(head: str, boundary: str, *parts: tuple[str, bytes]) -> bytes:
    """A multipart mail with CRLF; a part that is bytes of another mail stays as it is."""
    octets = _lines(head).encode() + b"\r\n"
    for content_type, body in parts:
        eight_bit = "" if body.isascii() else "Content-Transfer-Encoding: 8bit\n"
        part = body if b"\r\n" in body else _lines(body.decode()).encode()
        octets += _lines(f"--{boundary}\nContent-Type: {content_type}\n{eight_bit}\n").encode() + part + b"\r\n"
    return octets + f"--{boundary}--\r\n".encode()


def _boundary(envelope: Envelope) -> str:
    return "part-" + hashlib.sha256(envelope.content).hexdigest()[:24]


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _now() -> str:
    return format_datetime(datetime.now(UTC))
