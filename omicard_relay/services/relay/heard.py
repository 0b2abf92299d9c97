"""Whether our last octets reached a client that has closed its half of the connection: it may still listen, or be gone.

Only the kernel can tell: it knows whether the other side acknowledged them, or answered that nobody is there (Linux's
TCP_INFO; elsewhere the client gets the benefit of the doubt).
"""

import asyncio
import socket
import sys

__all__ = ["has_arrived"]

#: struct tcp_info: the state is its first octet (7: closed), `tcpi_unacked` stands at octet 24.
_OCTETS, _CLOSED = 104, 7
#: How often and how far apart the kernel is asked: two seconds in all.
_TRIES, _SECONDS = 200, 0.01


async def has_arrived(transport: asyncio.Transport) -> bool:
    """True once everything is acknowledged; False when the other side is gone, or silent for too long."""
    if not hasattr(socket, "TCP_INFO"):
        return True
    line = transport.get_extra_info("socket")
    for _ in range(_TRIES):
        if transport.is_closing():
            return False
        info = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _OCTETS)
        if info[0] == _CLOSED:
            return False
        if transport.get_write_buffer_size() == 0 and int.from_bytes(info[24:28], sys.byteorder) == 0:
            return True
        await asyncio.sleep(_SECONDS)
    return False
