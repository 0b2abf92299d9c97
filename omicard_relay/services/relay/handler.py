"""The hooks behind the commands: who may send, which recipient is refused at once, and a whole mail handed to its carrier.

Never an open relay: a client that is neither in `relay.networks` nor logged in gets no further than MAIL. Whatever fails
here is our own fault and answered 451, never 5xx.
Left to others: the dialogue (commands.py), one mail's way (carry.py).
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from omicard_relay.mail import RelayError, Submission, Way, domain_of, one_line
from omicard_relay.scrub import smtp_reply
from omicard_relay.scrub.syntax import wire_fault
from omicard_relay.services.relay.carry import Carrier, Incoming
from omicard_relay.services.relay.content import HOP_LIMIT, HeaderFacts, Trace, mail_digest, missing_fields, read_facts
from omicard_relay.services.relay.door import Door, contains
from omicard_relay.services.relay.events import Event, log_event
from omicard_relay.services.relay.kinds import kind_of
from omicard_relay.services.relay.ledger import Ledger, new_submission_id
from omicard_relay.services.relay.parameters import UNAVAILABLE, MailCommand, RcptCommand
from omicard_relay.services.relay.pool import NextHopPool
from omicard_relay.services.relay.server import Conversation
from omicard_relay.services.relay.session import RelayEnvelope, RelaySession
from omicard_relay.services.relay.verdicts import COME_AGAIN
from omicard_relay.services.relay.xtext import decode_xtext
from omicard_relay.tables.settings import Settings

__all__ = ["RelayHandler"]

_NEEDS_SMTPUTF8 = "553 5.6.7 An address that is not ASCII needs SMTPUTF8"


class RelayHandler:
    """Implements session.Hooks."""

    def __init__(
        self,
        settings: Settings,
        door: Door,
        pool: NextHopPool,
        ledger: Ledger,
        carrier: Carrier,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._door = door
        self._pool = pool
        self._ledger = ledger
        self._carrier = carrier
        self._clock = clock
        #: Mails on their way: they go on when their client goes away.
        self.running: set[asyncio.Task[str]] = set()

    async def handle_MAIL(
        self, server: Conversation, session: RelaySession, envelope: RelayEnvelope, command: MailCommand
    ) -> str:
        if session.login is None and not contains(self._door.networks, session.client_ip):
            log_event(Event.DENIED, client=session.client_ip)
            if self._door.logins is not None:
                return "530 5.7.0 Log in first"
            return "554 5.7.1 Relay access denied"
        if not command.reverse_path.isascii() and not command.smtputf8:
            return _NEEDS_SMTPUTF8
        if command.reverse_path and wire_fault(command.reverse_path):
            return f"553 5.1.7 The reverse-path is wrong: {wire_fault(command.reverse_path)}"
        envelope.submission_id = new_submission_id(self._clock())
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: Conversation, session: RelaySession, envelope: RelayEnvelope, command: RcptCommand
    ) -> str:
        assert envelope.mail is not None  # noqa: S101  MAIL came before
        address = command.forward_path
        if not address.isascii() and not envelope.mail.smtputf8:
            return _NEEDS_SMTPUTF8
        if self._is_untouched(envelope.mail.reverse_path, address):
            fault = wire_fault(address)
            return f"553 5.1.3 {fault}" if fault else "250 2.1.5 Ok"
        drop = await self._ledger.judge_early(address, envelope.mail.reverse_path)
        if drop is None:
            return "250 2.1.5 Ok"
        mail = self._submission(session, envelope, None)
        await self._ledger.record_rejected(mail, address, drop)
        envelope.rejected.append(address)
        log_event(Event.RECIPIENT_REJECTED, submission=mail.submission_id, step=drop.step, code=drop.bounce_code)
        return smtp_reply(drop)

    async def handle_READY(self, server: Conversation, session: RelaySession, envelope: RelayEnvelope) -> str | None:
        if self._pool.is_stalled:
            return "451 4.3.2 The next server is busy or down, come again"
        announced = (envelope.mail.size or 0) if envelope.mail is not None else 0
        if self._door.budget.used + announced >= self._door.budget.limit:
            return "452 4.3.1 Too much mail at once, come again"
        return None

    async def handle_DATA(self, server: Conversation, session: RelaySession, envelope: RelayEnvelope) -> str:
        assert envelope.mail is not None  # noqa: S101  MAIL came before
        facts = read_facts(envelope.body, self._settings.campaign.header, self._settings.campaign.kind_header)
        if facts.hops > HOP_LIMIT:
            return "554 5.4.6 Too many hops: the mail goes round in circles"
        incoming = self._incoming(session, envelope, facts)
        lease, envelope.lease, envelope.body = envelope.lease, None, b""
        task = asyncio.create_task(self._carrier.carry(incoming))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        if lease is not None:
            task.add_done_callback(lambda _: lease.release())
        del incoming
        reply = await asyncio.shield(task)
        log_event(Event.ANSWERED, submission=envelope.submission_id, reply=reply)
        return reply

    async def handle_TOLD(self, envelope: RelayEnvelope) -> None:
        self._ledger.answered(envelope.submission_id)

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, RelayError):
            # Foreseen, and told in a sentence (a store that is locked or full): a traceback for each mail would hide it.
            log_event(Event.OWN_FAULT, level=40, kind=type(error).__name__, error_text=str(error))
        else:
            log_event(Event.OWN_FAULT, level=40, error=error, kind=type(error).__name__)
        return COME_AGAIN

    def _incoming(self, session: RelaySession, envelope: RelayEnvelope, facts: HeaderFacts) -> Incoming:
        assert envelope.mail is not None  # noqa: S101
        mail = self._submission(session, envelope, facts)
        untouched = self._is_untouched(
            envelope.mail.reverse_path, *(recipient.forward_path for recipient in envelope.recipients)
        )
        missing = b""
        if mail.way is Way.DIRECT and not untouched and self._settings.relay.add_missing_headers:
            missing = missing_fields(facts, message_id=mail.message_id or "", now=mail.received)
        only = envelope.recipients[0].forward_path if len(envelope.recipients) == 1 else None
        protocol = session.protocol
        if envelope.mail.smtputf8:
            protocol = protocol.replace("ESMTP", "UTF8SMTP")
        return Incoming(
            mail=envelope.mail,
            recipients=tuple(envelope.recipients),
            rejected=tuple(envelope.rejected),
            content=envelope.body,
            submission=mail,
            trace=Trace(
                helo=session.host_name or "",
                client_ip=session.client_ip,
                hostname=self._door.hostname,
                protocol=protocol,
                submission_id=mail.submission_id,
                recipient=only,
                time=mail.received,
            ),
            xforward=self._xforward(session),
            is_untouched=untouched,
            missing=missing,
        )

    def _is_untouched(self, reverse_path: str, *forward_paths: str) -> bool:
        """Whether a mail is somebody's notice: from the null reverse-path, or to our own signed reverse-paths.

        The second kind is an auto-reply with a sender, which Postfix gives to its content filter like any other mail.
        """
        home = self._settings.return_path.domain.lower()
        if not reverse_path:
            return True
        return bool(home and forward_paths) and all(domain_of(path) == home for path in forward_paths)

    def _submission(self, session: RelaySession, envelope: RelayEnvelope, facts: HeaderFacts | None) -> Submission:
        """What is known of the mail: at RCPT, its content not yet."""
        assert envelope.mail is not None  # noqa: S101
        told = session.xforward
        ident = _text(told.get("IDENT"))
        envid = None if envelope.mail.envid is None else decode_xtext(envelope.mail.envid).decode("utf-8", "replace")
        campaign = facts.campaign if facts is not None else None
        if campaign is None and self._settings.campaign.envid and envid:
            # At RCPT this is a guess that the header may correct; a mail of which nothing is left never has one.
            campaign = one_line(envid, 500)
        if self._is_untouched(envelope.mail.reverse_path, *(one.forward_path for one in envelope.recipients)):
            campaign = None
        message_id = facts.message_id if facts is not None else None
        if facts is not None and message_id is None and not ident and self._settings.relay.add_missing_headers:
            message_id = f"<{envelope.submission_id}@{self._door.hostname}>"
        return Submission(
            submission_id=envelope.submission_id,
            digest=mail_digest(envelope.mail.reverse_path, envelope.body) if facts is not None else "",
            received=self._clock(),
            way=Way.FILTER if ident else Way.DIRECT,
            client_ip=_text(told.get("ADDR")).removeprefix("IPV6:")[:45] or session.client_ip,
            client_name=(_text(told.get("NAME")) or _text(told.get("HELO")) or one_line(session.host_name or ""))[:255],
            login=session.login,
            reverse_path=envelope.mail.reverse_path,
            message_id=message_id,
            subject=facts.subject if facts is not None else None,
            campaign=campaign,
            kind=kind_of(campaign, facts.kind if facts is not None else None, self._settings.campaign),
            envid=one_line(envid, 500) if envid else None,
            size=len(envelope.body),
            first_queue_id=ident[:32] or None,
        )

    @staticmethod
    def _xforward(session: RelaySession) -> dict[str, bytes]:
        """What Postfix is told: what the client told us of its own client, else what we see ourselves.

        SOURCE=REMOTE keeps Postfix from completing addresses in a header that is signed already.
        """
        if session.xforward:
            return dict(session.xforward)
        ip = session.client_ip
        return {
            "NAME": UNAVAILABLE,
            "ADDR": (f"IPV6:{ip}" if ":" in ip else ip).encode() or UNAVAILABLE,
            "PORT": str(session.client_port).encode() if session.client_port else UNAVAILABLE,
            "PROTO": b"ESMTP" if session.extended_smtp else b"SMTP",
            "HELO": (session.host_name or "").encode("utf-8", "surrogateescape")[:255] or UNAVAILABLE,
            "SOURCE": b"REMOTE",
        }


def _text(value: bytes | None) -> str:
    """An attribute as text, "" when it is missing or unavailable."""
    if value is None or value in (UNAVAILABLE, b"[TEMPUNAVAIL]"):
        return ""
    return one_line(value.decode("utf-8", "replace"), 255)
