"""The content after DATA: the same under every chunking, and every smuggling form is a fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.relay.data import DataFault, DataScanner


def scan(octets, sizes=(), limit=10_000_000, reserve=lambda n: True):
    """Feed in chunks of these sizes, then the rest; gives the scanner and what followed the end (None: no end)."""
    scanner = DataScanner(limit, reserve)
    place = 0
    for size in (*sizes, len(octets)):
        chunk = octets[place : place + size]
        place += size
        rest = scanner.feed(chunk) if chunk else None
        if rest is not None:
            return scanner, rest + octets[place:]
        if scanner.fault is not None and scanner.fault.is_smuggling:
            return scanner, None
    return scanner, None


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        pytest.param(b".\r\n", b"", id="empty"),
        pytest.param(b"\r\n.\r\n", b"\r\n", id="blank-line"),
        pytest.param(b"a\r\n.\r\n", b"a\r\n", id="one-line"),
        pytest.param(b"..\r\n.\r\n", b".\r\n", id="dot-line"),
        pytest.param(b"..a\r\n...\r\n.\r\n", b".a\r\n..\r\n", id="dots"),
        pytest.param(b".a\r\n.\r\n", b"a\r\n", id="dot-that-was-not-doubled"),
        pytest.param(b"\xff\x80\x01\r\n.\r\n", b"\xff\x80\x01\r\n", id="8-bit-and-control"),
        pytest.param(b"x" * 998 + b"\r\n.\r\n", b"x" * 998 + b"\r\n", id="longest-line"),
        pytest.param(b".." + b"x" * 997 + b"\r\n.\r\n", b"." + b"x" * 997 + b"\r\n", id="longest-line-with-dot"),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 3, 1000], ids=str)
def test_content(sent, content, step):
    scanner, rest = scan(sent + b"QUIT\r\n", [step] * len(sent))

    assert scanner.fault is None
    assert scanner.content() == content
    assert rest == b"QUIT\r\n"


SMUGGLING = [
    pytest.param(b"a\n.\n", DataFault.BARE_LF, id="lf-dot-lf"),
    pytest.param(b"a\n.\r\nMAIL", DataFault.BARE_LF, id="lf-dot-crlf"),
    pytest.param(b"a\r\n.\nMAIL", DataFault.BARE_LF, id="crlf-dot-lf"),
    pytest.param(b"a\r.\r\nMAIL\r\n", DataFault.BARE_CR, id="cr-dot-crlf"),
    pytest.param(b"a\r\n.\rMAIL\r\n", DataFault.BARE_CR, id="crlf-dot-cr"),
    pytest.param(b"a\r.\rMAIL\r\n", DataFault.BARE_CR, id="cr-dot-cr"),
    pytest.param(b"a\r\r\n.\r\r\nMAIL\r\n", DataFault.BARE_CR, id="crcrlf"),
    pytest.param(b"a\r\n\0.\r\nMAIL\r\n", DataFault.NUL, id="nul-before-dot"),
    pytest.param(b"a\r\n.\0\r\nMAIL\r\n", DataFault.NUL, id="nul-behind-dot"),
    pytest.param(b"\n.\r\n", DataFault.BARE_LF, id="lf-at-the-very-start"),
    pytest.param(b"\r.\r\nx", DataFault.BARE_CR, id="cr-at-the-very-start"),
]


@pytest.mark.parametrize(("sent", "fault"), SMUGGLING)
@pytest.mark.parametrize("step", [1, 2, 3, 1000], ids=str)
def test_smuggling_is_a_fault(sent, fault, step):
    scanner, rest = scan(sent + b"x\r\n", [step] * len(sent))

    assert scanner.fault is fault
    assert rest is None
    assert scanner.content() == b""


def test_a_long_line_is_told_after_the_end():
    scanner, rest = scan(b"ok\r\n" + b"x" * 999 + b"\r\nmore\r\n.\r\nNOOP\r\n", [700] * 3)

    assert (scanner.fault, rest) == (DataFault.LONG_LINE, b"NOOP\r\n")


def test_too_much_is_not_held():
    held = 0

    def reserve(octets):
        nonlocal held
        held += octets
        return True

    scanner, rest = scan((b"x" * 70 + b"\r\n") * 1000 + b".\r\n", [500] * 200, limit=10_000, reserve=reserve)

    assert (scanner.fault, rest) == (DataFault.TOO_BIG, b"")
    assert held <= 10_000
    assert scanner.content() == b""


def test_the_limit_itself_fits():
    scanner, _ = scan(b"x" * 98 + b"\r\n.\r\n", limit=100)

    assert scanner.fault is None


def test_no_memory_is_a_fault_of_the_moment():
    scanner, rest = scan(b"abc\r\n.\r\n", reserve=lambda octets: False)

    assert (scanner.fault, rest) == (DataFault.NO_MEMORY, b"")


_lines = st.lists(st.binary(max_size=30).map(lambda octets: octets.translate(None, b"\r\n\0")), max_size=20)


@given(_lines, st.lists(st.integers(1, 9), max_size=80), st.binary(max_size=10))
def test_stuffing_is_undone_under_every_split(lines, sizes, behind):
    content = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines)

    scanner, rest = scan(stuffed + b".\r\n" + behind, sizes)

    assert scanner.fault is None
    assert scanner.content() == content
    assert rest == behind
    assert scanner.size == len(content)


@given(st.binary(), st.lists(st.integers(1, 9), max_size=80))
def test_any_octets_give_the_same_under_every_split(octets, sizes):
    whole, _ = scan(octets + b"\r\n.\r\n")
    split, _ = scan(octets + b"\r\n.\r\n", sizes)

    assert (whole.fault is None) == (split.fault is None)
    if whole.fault is None:
        assert whole.content() == split.content()
