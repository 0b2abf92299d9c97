"""Netstrings both ways, in every chunking, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import WireError
from omicard_relay.wire.netstring import NetstringReader, encode


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 7))
def test_values_survive_any_chunking(values: list[bytes], chunk: int) -> None:
    stream = b"".join(map(encode, values))
    reader = NetstringReader(100)
    got: list[bytes] = []
    for start in range(0, len(stream), chunk):
        got += reader.feed(stream[start : start + chunk])
    assert got == values


def test_truncated_netstring_waits_for_more() -> None:
    reader = NetstringReader(100)
    assert reader.feed(b"5:hel") == []
    assert reader.feed(b"lo,3:") == [b"hello"]


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(b"x:", id="no-digits"),
        pytest.param(b":,", id="no-length"),
        pytest.param(b"01:a,", id="leading-zero"),
        pytest.param(b"1:ab", id="no-comma"),
        pytest.param(b"101:", id="over-the-limit"),
        pytest.param(b"99999999999", id="endless-digits"),
    ],
)
def test_what_is_no_netstring_is_refused(junk: bytes) -> None:
    with pytest.raises(WireError):
        NetstringReader(100).feed(junk)


@given(st.binary(max_size=60))
def test_any_bytes_give_values_or_a_wire_error(data: bytes) -> None:
    try:
        NetstringReader(20).feed(data)
    except WireError:
        return
