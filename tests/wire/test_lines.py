"""The splitter: whole lines and exact offsets under every chunking."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.wire import LINE_LIMIT, Line, LineSplitter

STREAMS = st.lists(st.sampled_from([b"\n", b"\r", b"a", b"bc d", b"\xff\x00", b"x" * 40])).map(b"".join)


def chunks_of(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(places)]


@given(STREAMS, st.lists(st.integers(min_value=0)))
def test_any_chunking_gives_the_lines_of_a_plain_split(stream: bytes, cuts: list[int]) -> None:
    splitter = LineSplitter()
    lines = [line for chunk in chunks_of(stream, cuts) for line in splitter.feed(chunk)]
    whole, _, rest = stream.rpartition(b"\n")
    assert [line.data for line in lines] == ([part + b"\n" for part in whole.split(b"\n")] if b"\n" in stream else [])
    assert sum(line.size for line in lines) + splitter.pending == len(stream)
    last = splitter.rest()
    assert (last.data if last else b"") == rest
    assert splitter.pending == 0


def test_a_partial_line_waits_and_is_not_whole() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == [Line(data=b"one\n", size=4)]
    assert splitter.pending == 2
    assert splitter.feed(b"o\n") == [Line(data=b"two\n", size=4)]
    splitter.feed(b"thr")
    rest = splitter.rest()
    assert rest == Line(data=b"thr", size=3)
    assert rest is not None
    assert not rest.is_whole
    assert splitter.rest() is None


def test_a_line_at_the_limit_is_whole_and_one_byte_more_is_cut() -> None:
    fits, over = b"x" * (LINE_LIMIT - 1) + b"\n", b"x" * LINE_LIMIT + b"\n"
    lines = LineSplitter().feed(fits + over + b"next\n")
    assert [(line.size, line.cut, line.is_whole) for line in lines] == [
        (LINE_LIMIT, False, True),
        (LINE_LIMIT + 1, True, False),
        (5, False, True),
    ]
    assert lines[1].data == b"x" * LINE_LIMIT


def test_an_endless_line_keeps_memory_bounded_and_is_given_once() -> None:
    splitter = LineSplitter()
    for _ in range(64):
        assert splitter.feed(b"y" * 65_536) == []
    assert len(splitter._held) == LINE_LIMIT
    (line,) = splitter.feed(b"end\nz")
    assert (line.size, line.cut, len(line.data)) == (64 * 65_536 + 4, True, LINE_LIMIT)
    assert splitter.pending == 1
