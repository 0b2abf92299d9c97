"""Header facts, the campaign field's removal, and our trace line."""

from datetime import UTC, datetime
from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.relay.content import Trace, mail_digest, read_facts, trace_line, without_field

MAIL = (
    b"Received: from a\r\n\tby b\r\nreceived : from c\r\nMessage-ID: <1@x.test>\r\nX-Campaign:\r\n  spring\r\n\tsale\r\n"
    b"Subject: hello\r\n\r\nX-Campaign: in the body\r\n"
)


def test_facts_are_read_from_the_header_alone():
    facts = read_facts(MAIL, "x-campaign")

    assert (facts.message_id, facts.subject, facts.campaign, facts.hops) == ("<1@x.test>", "hello", "spring sale", 2)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\r\n", id="blank"),
        pytest.param(b"\r\nSubject: x\r\n", id="no-header"),
        pytest.param(b"just text\r\nSubject: x\r\n", id="text-first"),
        pytest.param(b" folded: first\r\nSubject: x\r\n", id="folding-first"),
    ],
)
def test_what_is_no_header_tells_nothing(content):
    facts = read_facts(content, "X-Campaign")

    assert (facts.message_id, facts.subject, facts.campaign, facts.hops) == (None, None, None, 0)


def test_a_header_without_a_body_is_read():
    assert read_facts(b"Subject: x\r\n", "X-Campaign").subject == "x"


def test_facts_are_safe_to_show():
    assert read_facts(b"Subject: a\x1b[31mb\xff\r\n", "").subject == "a\\x1b[31mb\ufffd"


def test_every_field_of_the_name_goes_and_nothing_else():
    content = b"X-Campaign: a\r\nA: 1\r\nx-campaign : b\r\n folded\r\nB: 2\r\n\r\nX-Campaign: body\r\n"

    assert without_field(content, "X-Campaign") == b"A: 1\r\nB: 2\r\n\r\nX-Campaign: body\r\n"


@given(st.binary())
def test_any_octets_are_read_and_kept(content):
    read_facts(content, "X-Campaign")
    if b":" not in content:
        assert without_field(content, "X-Campaign") == content


def line(**changes):
    values = {
        "helo": "client.test",
        "client_ip": "192.0.2.1",
        "hostname": "relay.test",
        "protocol": "ESMTPSA",
        "submission_id": "abc",
        "recipient": "ann@a.test",
        "time": datetime(2026, 11, 24, 9, 0, tzinfo=UTC),
    }
    return trace_line(Trace(**{**values, **changes}))


def test_trace_line():
    assert line() == (
        b"Received: from client.test ([192.0.2.1])\r\n"
        b"\tby relay.test (OMICARD Relay) with ESMTPSA id abc\r\n"
        b"\tfor <ann@a.test>;\r\n"
        b"\tTue, 24 Nov 2026 09:00:00 +0000\r\n"
    )


@given(st.text(), st.text())
def test_nothing_a_client_says_breaks_out_of_the_trace_line(helo, recipient):
    octets = line(helo=helo, recipient=recipient)

    message = message_from_bytes(octets + b"\r\nbody")
    assert message.keys() == ["Received"]
    assert octets.isascii()
    assert b"(" not in helo.encode("utf-8", "replace") or b"from unknown " in octets


def test_an_ipv6_client_stands_as_rfc_5321_wants_it():
    assert b"([IPv6:2001:db8::1])" in line(client_ip="2001:db8::1")


def test_the_digest_tells_reverse_path_and_content_apart():
    digests = {mail_digest("a", b"b"), mail_digest("", b"ab"), mail_digest("ab", b""), mail_digest("a", b"c")}

    assert len(digests) == 4
