"""What all connections share: settings in the form in which they are asked, the memory budget, who is connected.

Left to others: the dialogue (server.py, commands.py).
"""

import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from omicard_relay.services.relay.logins import Logins
from omicard_relay.services.relay.memory import MemoryBudget
from omicard_relay.tables.settings import RelaySettings

if TYPE_CHECKING:
    from omicard_relay.services.relay.server import Conversation

__all__ = ["Door", "contains"]

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


@dataclass(slots=True, kw_only=True)
class Door:
    """One relay's front door."""

    settings: RelaySettings
    hostname: str
    budget: MemoryBudget
    networks: Networks
    xforward_networks: Networks
    tls: ssl.SSLContext | None = None
    logins: Logins | None = None
    is_stopping: bool = False
    connected: "set[Conversation]" = field(default_factory=set)

    @classmethod
    def of(cls, settings: RelaySettings, *, tls: ssl.SSLContext | None, logins: Logins | None) -> "Door":
        """The door that these settings describe."""
        return cls(
            settings=settings,
            hostname=settings.hostname or socket.getfqdn(),
            budget=MemoryBudget(settings.memory_limit),
            networks=tuple(ipaddress.ip_network(text) for text in settings.networks),
            xforward_networks=tuple(ipaddress.ip_network(text) for text in settings.xforward_networks),
            tls=tls,
            logins=logins,
        )


def contains(networks: Networks, address: str) -> bool:
    """Whether one of the networks has this address; False for no address at all."""
    if not address:
        return False
    ip = ipaddress.ip_address(address)
    return any(ip.version == network.version and ip in network for network in networks)
