"""What the relay knows of a client's connection and of the mail that is being named: aiosmtpd's values, with ours added.

`Hooks` is what the server asks of its handler, in aiosmtpd's manner. A hook that is missing or misspelt is never a 250:
the server answers 451 (commands.py), and the type checker finds it before.
"""

import asyncio
import ipaddress
from typing import Any, Protocol

from aiosmtpd.smtp import Envelope, Session

from omicard_relay.services.relay.memory import Lease
from omicard_relay.services.relay.parameters import MailCommand, RcptCommand

__all__ = ["Hooks", "RelayEnvelope", "RelaySession", "client_address"]


class RelaySession(Session):  # type: ignore[misc, unused-ignore]
    """One connection (after STARTTLS: a new one). `xforward` holds what the client's own client said of itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.xforward: dict[str, bytes] = {}
        self.login: str | None = None

    @property
    def client_ip(self) -> str:
        """The address of the other end; "" when there is none."""
        return client_address(self.peer)

    @property
    def client_port(self) -> int:
        """Its port, 0 when there is none."""
        return int(self.peer[1]) if isinstance(self.peer, tuple) else 0

    @property
    def protocol(self) -> str:
        """RFC 3848's word for how the client speaks."""
        if not self.extended_smtp:
            return "SMTP"
        return "ESMTP" + ("S" if self.ssl is not None else "") + ("A" if self.login is not None else "")


class RelayEnvelope(Envelope):  # type: ignore[misc, unused-ignore]
    """One transaction. `mail` is None before MAIL; `rejected` are forward-paths that a list refused at RCPT."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: MailCommand | None = None
        self.recipients: list[RcptCommand] = []
        self.rejected: list[str] = []
        self.submission_id = ""
        self.body = b""
        self.lease: Lease | None = None


class Hooks(Protocol):
    """What the server asks. Each gives a whole reply; `handle_READY` may give None: go on with 354.

    `handle_TOLD` is called when a client has heard its 250.
    """

    async def handle_MAIL(
        self, server: Any, session: RelaySession, envelope: RelayEnvelope, command: MailCommand
    ) -> str: ...
    async def handle_RCPT(
        self, server: Any, session: RelaySession, envelope: RelayEnvelope, command: RcptCommand
    ) -> str: ...
    async def handle_READY(self, server: Any, session: RelaySession, envelope: RelayEnvelope) -> str | None: ...
    async def handle_DATA(self, server: Any, session: RelaySession, envelope: RelayEnvelope) -> str: ...
    async def handle_TOLD(self, envelope: RelayEnvelope) -> None: ...
    async def handle_exception(self, error: Exception) -> str: ...


def client_address(peer: object) -> str:
    """The IP address of a peer name, IPv4 in its own form when it came mapped into IPv6."""
    if not isinstance(peer, tuple):
        return ""
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
