"""Submits a campaign over SMTP as an application would, and tells per recipient what it was told.

N connections at once, one transaction a recipient or many recipients in one. A 4xx or a lost connection is tried
again with growing rests, as RFC 5321 §4.5.4.1 demands of every client: so a campaign outlives a relay that is killed and
started anew. A connection that is lost between the end of data and its reply leaves a doubt that SMTP cannot
resolve (§4.1.1.4, §6.1): it is submitted again, with the same Message-ID, and `in_doubt` counts it.
"""

import contextlib
import queue
import smtplib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from lab.campaign import Campaign, Planned
from lab.domains import BIG_OCTETS
from omicard_relay.mail import Stage

__all__ = ["Submission", "Told", "submit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """How to submit. Rests double from `rest_seconds` up to five seconds; `tries` counts the first one too."""

    host: str
    port: int
    reverse_path: str
    connections: int = 8
    recipients_per_transaction: int = 1
    #: The header that names the campaign; empty: none.
    campaign_header: str = "X-Campaign"
    #: MAIL's DSN parameters; ENVID names the campaign too.
    envelope_id: bool = True
    #: RCPT's NOTIFY; empty: none. Sent only where the server offers DSN.
    notify: str = "FAILURE"
    tries: int = 12
    rest_seconds: float = 0.2
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the server last said of one recipient; `reply` has code and text, and is empty when no server answered."""

    planned: Planned
    message_id: str
    reply: str
    stage: Stage
    accepted: bool
    tries: int
    in_doubt: int = 0


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Recipients of one transaction, the mail, and how it went so far."""

    recipients: list[Planned]
    message_id: str
    content: bytes
    tries: int = 0
    in_doubt: int = 0
    last: dict[int, tuple[str, Stage]] = field(default_factory=dict)


class _LostError(Exception):
    """The connection is gone; `after_data` when the mail was out and its reply was not in."""

    def __init__(self, reason: str, *, after_data: bool = False) -> None:
        super().__init__(reason)
        self.after_data = after_data


def submit(campaign: Campaign, how: Submission, *, on_told: Callable[[Told], None] | None = None) -> list[Told]:
    """Submit all, and return what was told, one per line of the campaign, in no particular order.

    `on_told` is called for each as it comes, one at a time. A server that never answers ends in `Told`s with an empty reply.
    """
    waiting: queue.SimpleQueue[_Batch] = queue.SimpleQueue()
    for batch in _batches(campaign, how):
        waiting.put(batch)
    told: list[Told] = []
    lock = threading.Lock()

    def tell(result: Told) -> None:
        with lock:
            told.append(result)
            if on_told is not None:
                on_told(result)

    workers = [
        threading.Thread(target=_work, args=(waiting, how, campaign.name, tell), name=f"submit-{number}", daemon=True)
        for number in range(how.connections)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return told


def _work(waiting: "queue.SimpleQueue[_Batch]", how: Submission, campaign: str, tell: Callable[[Told], None]) -> None:
    """One connection's life: batch after batch, each until it is settled or has been tried often enough."""
    client: smtplib.SMTP | None = None
    while True:
        try:
            batch = waiting.get_nowait()
        except queue.Empty:
            break
        while batch.recipients and batch.tries < how.tries:
            if batch.tries:
                time.sleep(min(how.rest_seconds * 2 ** (batch.tries - 1), 5.0))
            batch.tries += 1
            try:
                client = client or _connect(how)
                _transact(client, batch, how, campaign, tell)
            except (_LostError, smtplib.SMTPException, OSError) as problem:
                batch.in_doubt += isinstance(problem, _LostError) and problem.after_data
                if client is not None:
                    client.close()
                client = None
        for planned in batch.recipients:
            reply, stage = batch.last.get(id(planned), ("", Stage.CONNECT))
            tell(_told(batch, planned, reply, stage))
    if client is not None:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            client.quit()


def _connect(how: Submission) -> smtplib.SMTP:
    client = smtplib.SMTP(how.host, how.port, local_hostname="client.lab.test", timeout=how.timeout_seconds)
    client.command_encoding = "utf-8"  # RFC 6531: addresses are UTF-8 once SMTPUTF8 was said
    client.ehlo()
    return client


def _transact(
    client: smtplib.SMTP, batch: _Batch, how: Submission, campaign: str, tell: Callable[[Told], None]
) -> None:
    """One transaction; settled recipients leave the batch. Raises _LostError when the connection ended or must."""
    dsn = client.has_extn("dsn")
    reply = _say(client, f"MAIL FROM:<{how.reverse_path}>{_mail_parameters(client, batch, how, campaign)}")
    if not reply.startswith("2"):
        _settle(batch, batch.recipients, reply, Stage.MAIL, tell)
        _end(client, reply)
        return
    taken = []
    for planned in list(batch.recipients):
        notify = f" NOTIFY={how.notify}" if how.notify else ""
        parameters = f"{notify} ORCPT={_original(planned.address)}" if dsn else ""
        reply = _say(client, f"RCPT TO:<{planned.address}>{parameters}")
        if reply.startswith("2"):
            taken.append(planned)
        else:
            _settle(batch, [planned], reply, Stage.RCPT, tell)
            if reply.startswith("421"):
                raise _LostError(reply)
    if not taken:
        _end(client, reply)
        return
    reply = _say(client, "DATA")
    if reply.startswith("354"):
        try:
            client.send(_stuffed(batch.content))
            code, text = client.getreply()
        except (smtplib.SMTPException, OSError) as problem:
            raise _LostError(str(problem), after_data=True) from None
        reply = _joined(code, text)
        if not reply[:1].isdigit() or code < 0:
            raise _LostError("no reply to the end of data", after_data=True)
        _settle(batch, taken, reply, Stage.END_OF_DATA, tell)
    else:
        _settle(batch, taken, reply, Stage.DATA, tell)
    if not reply.startswith("2"):
        _end(client, reply)


def _settle(
    batch: _Batch, recipients: Sequence[Planned], reply: str, stage: Stage, tell: Callable[[Told], None]
) -> None:
    """A 2xx or 5xx is the end of it; after a 4xx the recipient stays in the batch."""
    for planned in list(recipients):
        batch.last[id(planned)] = (reply, stage)
        if reply.startswith(("2", "5")):
            batch.recipients.remove(planned)
            tell(_told(batch, planned, reply, stage))


def _told(batch: _Batch, planned: Planned, reply: str, stage: Stage) -> Told:
    return Told(
        planned=planned,
        message_id=batch.message_id,
        reply=reply,
        stage=stage,
        accepted=stage is Stage.END_OF_DATA and reply.startswith("2"),
        tries=batch.tries,
        in_doubt=batch.in_doubt,
    )


def _end(client: smtplib.SMTP, reply: str) -> None:
    """Leave a transaction that came to nothing; after a 421 the connection is over (RFC 5321 §3.8)."""
    if reply.startswith("421"):
        raise _LostError(reply)
    _say(client, "RSET")


def _say(client: smtplib.SMTP, command: str) -> str:
    code, text = client.docmd(command)
    if code < 0:
        raise _LostError("the server said something that is no reply")
    return _joined(code, text)


def _joined(code: int, text: bytes) -> str:
    return f"{code} {text.decode('utf-8', 'backslashreplace')}"


def _mail_parameters(client: smtplib.SMTP, batch: _Batch, how: Submission, campaign: str) -> str:
    words = [f" SIZE={len(batch.content)}"] if client.has_extn("size") else []
    if client.has_extn("8bitmime"):
        words.append(" BODY=8BITMIME")
    if not "".join(planned.address for planned in batch.recipients).isascii():
        words.append(" SMTPUTF8")
    if client.has_extn("dsn") and how.envelope_id:
        words.append(f" RET=HDRS ENVID={campaign}")
    return "".join(words)


def _original(address: str) -> str:
    """ORCPT's value: xtext (RFC 3461 §4.2), or utf-8 addresses in their own form (RFC 6533 §3)."""
    kind = "rfc822" if address.isascii() else "utf-8"
    return f"{kind};" + "".join(
        f"+{ord(letter):02X}" if letter in "+=" or (not "!" <= letter <= "~" and letter.isascii()) else letter
        for letter in address
    )


def _stuffed(content: bytes) -> bytes:
    """With dots doubled at line beginnings, and the end of data (RFC 5321 §4.5.2)."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


def _batches(campaign: Campaign, how: Submission) -> Iterator[_Batch]:
    """Transactions in the campaign's order; big mails are alone."""
    step = how.recipients_per_transaction
    ordinary = [planned for planned in campaign.recipients if not planned.big or step == 1]
    groups = [ordinary[at : at + step] for at in range(0, len(ordinary), step)]
    groups += [[planned] for planned in campaign.recipients if planned.big and step > 1]
    date = format_datetime(datetime.now(UTC))
    domain = how.reverse_path.rpartition("@")[2]
    for number, group in enumerate(groups, 1):
        message_id = f"<{campaign.name}.{number}@{domain}>"
        yield _Batch(recipients=group, message_id=message_id, content=_mail(campaign, how, group, message_id, date))


def _mail(campaign: Campaign, how: Submission, group: list[Planned], message_id: str, date: str) -> bytes:
    """A small newsletter, UTF-8, with CRLF."""
    to = f"<{group[0].address}>" if len(group) == 1 else "undisclosed-recipients:;"
    header = f"{how.campaign_header}: {campaign.name}\n" if how.campaign_header else ""
    filler = "This line makes the mail a big one, as a picture would.\n"
    body = (
        "Hello,\n\nautumn has come, and everything in our shop is cheaper until Sunday.\n"
        "秋天到了，本週日以前全館特價。\n\n.. and this line begins with dots.\n"
    ) + (filler * (2 * BIG_OCTETS // len(filler)) if group[0].big else "")
    text = (
        f"From: Autumn Shop <{how.reverse_path}>\nTo: {to}\nSubject: Autumn sale\nDate: {date}\n"
        f"Message-ID: {message_id}\n{header}List-Unsubscribe: <mailto:{how.reverse_path}?subject=unsubscribe>\n"
        f"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{body}"
    )
    return text.replace("\n", "\r\n").encode()
