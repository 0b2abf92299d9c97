"""The socketmap protocol both ways, in every chunking, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import WireError
from omicard_relay.wire.netstring import NetstringReader, encode
from omicard_relay.wire.socketmap import NOT_FOUND, Request, RequestReader, Status, answer, read_answer, request

NAMES = st.from_regex(rb"[a-z]{1,20}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=5), st.integers(1, 7))
def test_requests_survive_any_chunking(asked: list[tuple[bytes, bytes]], chunk: int) -> None:
    stream = b"".join(request(name, key) for name, key in asked)
    reader = RequestReader()
    got: list[Request] = []
    for start in range(0, len(stream), chunk):
        got += reader.feed(stream[start : start + chunk])
    assert got == [Request(name, key) for name, key in asked]


@given(st.sampled_from(Status), st.binary(max_size=60))
def test_answers_come_back_as_they_went(status: Status, value: bytes) -> None:
    (payload,) = NetstringReader(200).feed(answer(status, value))
    assert read_answer(payload) == (status, value)


def test_not_found_has_the_blank_that_postfix_wants() -> None:
    assert NOT_FOUND == b"9:NOTFOUND ," == answer(Status.NOT_FOUND)


def test_the_key_is_all_behind_the_first_blank() -> None:
    (one,) = RequestReader().feed(b"28:statusfilter 5.1.1 a  b  c  ,")
    assert one == Request(b"statusfilter", b"5.1.1 a  b  c  ")


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(encode(b"statusfilter"), id="no-key"),
        pytest.param(encode(b" key"), id="no-name"),
        pytest.param(encode(b"x" * 101 + b" key"), id="a-name-too-long"),
        pytest.param(encode(b""), id="nothing"),
        pytest.param(b"100001:", id="too-long"),
        pytest.param(b"GET / HTTP/1.0\r\n\r\n", id="no-netstring"),
    ],
)
def test_what_is_no_request_is_refused(junk: bytes) -> None:
    with pytest.raises(WireError):
        RequestReader().feed(junk)


def test_an_answer_that_postfix_would_not_read_is_refused() -> None:
    with pytest.raises(WireError):
        answer(Status.OK, b"x" * 100_000)


@given(st.binary(max_size=80))
def test_any_octets_give_requests_or_a_wire_error(data: bytes) -> None:
    try:
        RequestReader(40).feed(data)
        RequestReader(40).feed(encode(data[:40]))
        read_answer(data)
    except WireError:
        return
