"""The private internet's DNS: one authority for every name, over UDP and TCP (RFC 1035, RFC 6891).

A table of records that may change while the server runs; a name without any record is NXDOMAIN, a name with other
records only has no data, and chosen names answer SERVFAIL. Each A record below 127/8 gets a PTR by itself. RFC 7505
null MX is the record `0 .`.
Not here: delegation, CNAME, DNSSEC, zone transfer.
"""

import asyncio
import contextlib
import ipaddress
import struct
import threading

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from omicard_relay.mail import RelayError

__all__ = ["DnsServer", "Records"]

#: Short, so that a record that is added while the lab runs is seen at once by whoever caches.
TTL_SECONDS = 1
#: Without EDNS a UDP answer has at most this many octets (RFC 1035 §4.2.1).
PLAIN_UDP_OCTETS = 512
#: A TXT record's strings have at most this many octets each (RFC 1035 §3.3.14).
_TXT_STRING_OCTETS = 255


class Records:
    """The table of names, safe to change from any thread. Types are written as in a zone file: `MX`, `A`, `TXT`, `PTR`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rdatas: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], list[dns.rdata.Rdata]] = {}
        self._names: set[dns.name.Name] = set()
        self._failing: set[dns.name.Name] = set()

    def add(self, name: str, rdtype: str, *values: str) -> None:
        """Add records: `add("good.test", "MX", "10 mx.good.test.")`; a TXT value is its plain text, of any length."""
        owner, kind = dns.name.from_text(name), dns.rdatatype.from_text(rdtype)
        rdatas = [dns.rdata.from_text(dns.rdataclass.IN, kind, _presentation(kind, value)) for value in values]
        with self._lock:
            self._rdatas.setdefault((owner, kind), []).extend(rdatas)
            self._add_name(owner)
            for value in values if kind == dns.rdatatype.A and values[0].startswith("127.") else ():
                reverse = dns.name.from_text(ipaddress.ip_address(value).reverse_pointer)
                pointer = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.PTR, owner.to_text())
                self._rdatas.setdefault((reverse, dns.rdatatype.PTR), [pointer])
                self._add_name(reverse)

    def remove(self, name: str, rdtype: str) -> None:
        """Take all records of a type away; the name itself stays known (no data, not NXDOMAIN)."""
        with self._lock:
            self._rdatas.pop((dns.name.from_text(name), dns.rdatatype.from_text(rdtype)), None)

    def fail(self, name: str) -> None:
        """Answer SERVFAIL for the name, whatever is asked of it."""
        with self._lock:
            self._failing.add(dns.name.from_text(name))

    def find(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> tuple[dns.rcode.Rcode, list[dns.rdata.Rdata]]:
        """The answer's code and records; names compare without case."""
        with self._lock:
            if name in self._failing:
                return dns.rcode.SERVFAIL, []
            if name not in self._names:
                return dns.rcode.NXDOMAIN, []
            return dns.rcode.NOERROR, list(self._rdatas.get((name, kind), ()))

    def _add_name(self, name: dns.name.Name) -> None:
        """A name exists with all names above it (RFC 8020), so that `mx.good.test` makes `good.test` no NXDOMAIN."""
        while name != dns.name.root:
            self._names.add(name)
            name = name.parent()


class DnsServer:
    """Answers from `records` on one address, UDP and TCP. To be started in a running event loop."""

    def __init__(self, records: Records, host: str, port: int = 53) -> None:
        self.records = records
        self.host, self.port = host, port
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; port 0 takes a free one, told in `port`. Raises RelayError when the address is taken."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await asyncio.start_server(self._serve_tcp, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Udp(self.records), local_addr=(self.host, self.port)
            )
        except OSError as error:
            await self.stop()
            raise RelayError(
                f"The lab's DNS server cannot listen on {self.host}:{self.port} ({error.strerror})."
            ) from None

    async def stop(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Messages with a length in front, one after the other (RFC 1035 §4.2.2)."""
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answer = _answer(await reader.readexactly(length), self.records, 65_535)
                if answer is None:
                    break
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, records: Records) -> None:
        self._records = records
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = _answer(data, self._records, None)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _answer(wire: bytes, records: Records, limit: int | None) -> bytes | None:
    """The answer's octets; None for what is no query. `limit` None: what the asker's EDNS allows."""
    try:
        query = dns.message.from_wire(wire)
    except (dns.exception.DNSException, ValueError):
        return None
    if query.flags & dns.flags.QR or len(query.question) != 1:
        return None
    question = query.question[0]
    response = dns.message.make_response(query, recursion_available=True)
    code, rdatas = records.find(question.name, question.rdtype)
    response.set_rcode(code)
    if rdatas:
        response.answer.append(dns.rrset.from_rdata_list(question.name, TTL_SECONDS, rdatas))
    limit = limit or max(query.payload, PLAIN_UDP_OCTETS)
    octets = response.to_wire(max_size=65_535)
    if len(octets) > limit:
        response.answer.clear()
        response.flags |= dns.flags.TC
        octets = response.to_wire()
    return octets


def _presentation(kind: dns.rdatatype.RdataType, value: str) -> str:
    """A value as a zone file writes it: a TXT text is quoted and cut into strings."""
    if kind != dns.rdatatype.TXT:
        return value
    octets = value.encode()
    parts = [octets[at : at + _TXT_STRING_OCTETS] for at in range(0, len(octets), _TXT_STRING_OCTETS)] or [b""]
    return " ".join('"' + "".join(_escaped(octet) for octet in part) + '"' for part in parts)


def _escaped(octet: int) -> str:
    return chr(octet) if 32 <= octet < 127 and octet not in b'"\\' else f"\\{octet:03d}"
