"""Netstrings: bytes to values and back, without I/O (D. J. Bernstein, 1997).

Used between the pipe's light client and the running ingester. The limit is the caller's: it says what a peer may make us hold.
Not here: sockets and timeouts (services/ingest_socket.py).
"""

from omicard_relay.mail.errors import WireError

__all__ = ["NetstringReader", "encode"]

#: More digits than any length we accept: a longer run of digits is no netstring.
_MAX_DIGITS = 10


def encode(value: bytes) -> bytes:
    """`hello` becomes `5:hello,`."""
    return b"%d:%s," % (len(value), value)


class NetstringReader:
    """Feed bytes of any chunking, take whole values. Raises WireError for anything that is no netstring of this limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The values that are complete with this chunk, in order."""
        self._buffer += data
        values: list[bytes] = []
        start = 0
        while (end := self._end_of_one(start)) is not None:
            colon = self._buffer.index(b":", start)
            values.append(bytes(self._buffer[colon + 1 : end - 1]))
            start = end
        del self._buffer[:start]
        return values

    def _end_of_one(self, start: int) -> int | None:
        colon = self._buffer.find(b":", start, start + _MAX_DIGITS + 1)
        digits = bytes(self._buffer[start : colon if colon >= 0 else start + _MAX_DIGITS + 1])
        if digits and not digits.isdigit():
            raise WireError("the peer sent no netstring: digits and a colon must come first.")
        if colon < 0:
            if len(digits) > _MAX_DIGITS:
                raise WireError("the peer sent a netstring whose length has too many digits.")
            return None
        if not digits or (len(digits) > 1 and digits.startswith(b"0")):
            raise WireError("the peer sent a netstring without a proper length.")
        length = int(digits)
        if length > self._limit:
            raise WireError(f"the peer sent a netstring of {length} octets; {self._limit} are allowed.")
        end = colon + 1 + length
        if len(self._buffer) <= end:
            return None
        if self._buffer[end : end + 1] != b",":
            raise WireError("the peer sent a netstring without its final comma.")
        return end + 1
