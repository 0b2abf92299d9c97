"""The line to Postfix: replies in any chunking, and whatever a broken server says is an error, never an exception of ours."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.relay.hop_line import HopLine, NextHopError


class Transport:
    """Remembers what was written, and that it was closed."""

    def __init__(self):
        self.written, self.closed = b"", False

    def write(self, octets):
        self.written += octets

    def abort(self):
        self.closed = True

    close = abort

    def is_closing(self):
        return self.closed


def line():
    one = HopLine()
    transport = Transport()
    one.connection_made(transport)
    return one, transport


def replies(octets, step):
    async def read():
        one, _ = line()
        for place in range(0, len(octets), step):
            one.data_received(octets[place : place + step])
        one.connection_lost(None)
        found = []
        while True:
            try:
                found.append(await one.reply(1))
            except NextHopError as error:
                return [reply.text for reply in found], str(error)

    return asyncio.run(read())


@pytest.mark.parametrize("step", [1, 2, 7, 1000], ids=str)
def test_replies_under_every_split(step):
    octets = b"220 hop\r\n250-one\r\n250-two words\r\n250 three\r\n354\r\n550 5.1.1 \xff\n"

    found, error = replies(octets, step)

    assert found == ["220 hop", "250 one two words three", "354", "550 5.1.1 \ufffd"]
    assert "closed by the server" in error


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"hello\r\n", id="no-code"),
        pytest.param(b"999 x\r\n", id="no-such-code"),
        pytest.param(b"250_x\r\n", id="no-separator"),
        pytest.param(b"250-x\r\n" * 20_000, id="reply-without-end"),
        pytest.param(b"2" * 100_000, id="line-without-end"),
    ],
)
def test_what_is_no_reply_ends_the_connection(octets):
    one, transport = line()

    one.data_received(octets)

    assert transport.closed
    assert not one.usable


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_octets_are_taken_without_an_exception(chunks):
    one, _ = line()
    for chunk in chunks:
        one.data_received(chunk)
    one.connection_lost(None)
    assert not one.usable


def test_what_comes_unasked_makes_the_connection_unusable():
    one, _ = line()
    one.rest()
    assert one.usable

    one.data_received(b"421 4.4.2 idle\r\n")

    assert not one.usable


@pytest.mark.parametrize(("resting", "said"), [(True, b"QUIT\r\n"), (False, b"")], ids=["resting", "in-a-mail"])
def test_quit_is_said_between_mails_only(resting, said):
    one, transport = line()
    if resting:
        one.rest()

    one.close()

    assert (transport.written, transport.closed) == (said, True)
