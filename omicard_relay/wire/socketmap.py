"""The socketmap protocol: requests and answers of a table on a socket, without I/O (Postfix socketmap_table(5)).

A request is a netstring `MAP KEY`, an answer one of `OK VALUE`, `NOTFOUND `, `TEMP WHY`, `TIMEOUT WHY`, `PERM WHY`. Postfix
speaks one request at a time on a connection and keeps the connection; several at once are read all the same.
Keys are octets: what is no UTF-8 comes back as it came (surrogateescape).
Not here: sockets and deadlines (services/statusfilter.py). Known limits: none.
"""

from enum import StrEnum

import msgspec

from omicard_relay.mail.errors import WireError
from omicard_relay.wire.netstring import NetstringReader, encode

__all__ = ["NOT_FOUND", "VALUE_LIMIT", "Request", "RequestReader", "Status", "answer", "read_answer", "request"]

#: Octets of one request or answer; Postfix reads an answer of at most 100,000 (socketmap_max_reply_size).
VALUE_LIMIT = 100_000
#: Octets of a map's name: the names that a main.cf can hold are short.
_NAME_LIMIT = 100


class Status(StrEnum):
    """The first word of an answer."""

    OK = "OK"
    NOT_FOUND = "NOTFOUND"
    TEMPORARY = "TEMP"
    TIMEOUT = "TIMEOUT"
    PERMANENT = "PERM"


#: The answer as it goes over the wire; Postfix wants the blank.
NOT_FOUND = encode(b"NOTFOUND ")

_STATUSES = {status.value.encode(): status for status in Status}


class Request(msgspec.Struct, frozen=True, gc=False):
    """What is asked: the map's name and the key, both as octets."""

    name: bytes
    key: bytes


class RequestReader:
    """Feed octets of any chunking, take whole requests. Raises WireError for what is none; then the connection is done."""

    def __init__(self, limit: int = VALUE_LIMIT) -> None:
        self._netstrings = NetstringReader(limit)

    def feed(self, data: bytes) -> list[Request]:
        """The requests that are complete with this chunk, in order."""
        return [_request(value) for value in self._netstrings.feed(data)]


def _request(value: bytes) -> Request:
    name, blank, key = value.partition(b" ")
    if not blank or not name or len(name) > _NAME_LIMIT:
        raise WireError("the peer sent no socketmap request: a map's name, a blank and a key.")
    return Request(name, key)


def request(name: bytes, key: bytes) -> bytes:
    """A request as it goes over the wire, for clients such as a check of our own."""
    return encode(name + b" " + key)


def answer(status: Status, value: bytes = b"") -> bytes:
    """An answer as it goes over the wire. Raises WireError for a value that Postfix would not take."""
    payload = status.value.encode() + b" " + value
    if len(payload) > VALUE_LIMIT:
        raise WireError(f"an answer of {len(payload)} octets is longer than the {VALUE_LIMIT} that Postfix reads.")
    return encode(payload)


def read_answer(value: bytes) -> tuple[Status, bytes]:
    """Status and value of an answer whose netstring is taken off. Raises WireError."""
    word, blank, rest = value.partition(b" ")
    status = _STATUSES.get(word)
    if status is None or not blank:
        raise WireError("the peer sent no socketmap answer.")
    return status, rest
