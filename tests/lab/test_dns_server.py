"""The private internet's DNS server, asked by dnspython over UDP and TCP."""

import asyncio
import socket
from collections.abc import AsyncIterator

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from lab.dns_server import DnsServer, Records
from omicard_relay.mail import RelayError


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    records = Records()
    records.add("good.test", "MX", "20 second.good.test.", "10 mx.good.test.")
    records.add("mx.good.test", "A", "127.0.1.1")
    records.add("null.test", "MX", "0 .")
    records.add("key._domainkey.good.test", "TXT", 'v=DKIM1; p="\\' + "A" * 700)
    records.fail("broken.test")
    server = DnsServer(records, "127.0.0.1", 0)
    await server.start()
    yield server
    await server.stop()


async def _ask(server: DnsServer, name: str, kind: str) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    return await dns.asyncquery.udp(query, server.host, port=server.port, timeout=5)


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [
        pytest.param("good.test", "MX", "NOERROR", ["10 mx.good.test.", "20 second.good.test."], id="MX"),
        pytest.param("GOOD.Test", "MX", "NOERROR", ["10 mx.good.test.", "20 second.good.test."], id="any case"),
        pytest.param("mx.good.test", "A", "NOERROR", ["127.0.1.1"], id="A"),
        pytest.param("null.test", "MX", "NOERROR", ["0 ."], id="null MX"),
        pytest.param("1.1.0.127.in-addr.arpa", "PTR", "NOERROR", ["mx.good.test."], id="PTR comes with A"),
        pytest.param("mx.good.test", "AAAA", "NOERROR", [], id="no data"),
        pytest.param("_domainkey.good.test", "TXT", "NOERROR", [], id="an empty name above another"),
        pytest.param("nx.test", "MX", "NXDOMAIN", [], id="unknown name"),
        pytest.param("broken.test", "A", "SERVFAIL", [], id="chosen to fail"),
    ],
)
async def test_answers(server: DnsServer, name: str, kind: str, code: str, answers: list[str]) -> None:
    response = await _ask(server, name, kind)
    assert dns.rcode.to_text(response.rcode()) == code
    assert sorted(item.to_text().lower() for rrset in response.answer for item in rrset) == answers


async def test_a_record_added_while_running_is_seen_at_once_and_can_be_taken_away(server: DnsServer) -> None:
    assert (await _ask(server, "new.test", "MX")).rcode() is dns.rcode.NXDOMAIN
    server.records.add("new.test", "MX", "10 mx.good.test.")
    assert (await _ask(server, "new.test", "MX")).answer
    server.records.remove("new.test", "MX")
    response = await _ask(server, "new.test", "MX")
    assert (response.rcode(), response.answer) == (dns.rcode.NOERROR, [])


async def test_a_long_text_is_cut_into_strings_and_comes_back_whole(server: DnsServer) -> None:
    query = dns.message.make_query("key._domainkey.good.test", "TXT", use_edns=True, payload=1232)
    response = await dns.asyncquery.udp(query, server.host, port=server.port, timeout=5)
    (record,) = response.answer[0]
    assert b"".join(record.strings) == b'v=DKIM1; p="\\' + b"A" * 700
    assert len(record.strings) == 3


async def test_what_does_not_fit_into_udp_is_cut_off_and_comes_by_tcp(server: DnsServer) -> None:
    query = dns.message.make_query("key._domainkey.good.test", "TXT", use_edns=False)
    short = await dns.asyncquery.udp(query, server.host, port=server.port, timeout=5)
    assert short.flags & dns.flags.TC
    assert not short.answer
    whole = await dns.asyncquery.tcp(query, server.host, port=server.port, timeout=5)
    assert whole.answer


@pytest.mark.parametrize("junk", [b"", b"\0", b"\xff" * 40, b"\0" * 12], ids=["empty", "short", "noise", "no question"])
async def test_junk_gets_no_answer_and_the_server_lives_on(server: DnsServer, junk: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(junk, (server.host, server.port))
        client.setblocking(False)
        assert (await _ask(server, "good.test", "MX")).answer
        with pytest.raises(BlockingIOError):
            client.recv(512)


async def test_a_taken_address_is_a_clear_error(server: DnsServer) -> None:
    second = DnsServer(Records(), server.host, server.port)
    with pytest.raises(RelayError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        await second.start()
    assert asyncio.get_running_loop().is_running()
