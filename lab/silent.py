"""A host that never answers: a connection to it neither opens nor is refused, as behind a firewall that drops.

Linux drops a SYN when the queue of connections that wait for accept(2) is full. So a listening socket with the
shortest queue, filled by connections of our own that nobody accepts, is a black hole, without any packet filter.
"""

import socket

from omicard_relay.mail import RelayError

__all__ = ["SilentHost"]

#: A queue of length 0 takes one connection on Linux; the others are margin.
_FILLERS = 3


class SilentHost:
    """A black hole at one address."""

    def __init__(self, host: str, port: int = 25) -> None:
        self.host, self.port = host, port
        self._sockets: list[socket.socket] = []

    def start(self) -> None:
        """Listen and fill the queue; port 0 takes a free one, told in `port`. Raises RelayError on a taken address."""
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sockets.append(server)
        try:
            server.bind((self.host, self.port))
        except OSError as error:
            self.stop()
            raise RelayError(f"The silent host cannot listen on {self.host}:{self.port} ({error.strerror}).") from None
        server.listen(0)
        self.port = server.getsockname()[1]
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((self.host, self.port))
            self._sockets.append(filler)

    def stop(self) -> None:
        """Give the address back."""
        while self._sockets:
            self._sockets.pop().close()
