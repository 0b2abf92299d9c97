"""Header reading and relaxed canonicalisation: the same as dkimpy's, in linear time."""

import hashlib
import time

import pytest
from dkim.canonicalization import Relaxed
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.signing import canonical
from omicard_relay.signing.canonical import body_hash, canonical_fields, read_header

bodies = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n", b"\xe9", b"  b"]), max_size=60).map(b"".join)


def whole(body: bytes) -> bytes:
    """dkimpy's own answer; a last line without CRLF gets the one that SMTP gives it."""
    complete = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    return hashlib.sha256(Relaxed.canonicalize_body(complete) if complete else b"").digest()


@given(bodies, st.integers(1, 20))
def test_a_body_in_pieces_hashes_as_in_one(body: bytes, piece: int) -> None:
    message = b"A: b\r\n\r\n" + body
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canonical, "PIECE", piece)
        assert body_hash(message, 8) == whole(body)


@pytest.mark.parametrize(
    ("body", "canonical_form"),
    [
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"\r\n\r\n", b"", id="only-empty-lines"),
        pytest.param(b" \t\r\n", b"", id="only-blanks"),
        pytest.param(b"a", b"a\r\n", id="no-line-end"),
        pytest.param(b"a\r\n  ", b"a\r\n", id="blanks-without-line-end"),
        pytest.param(b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n", id="rfc-6376-3.4.5"),
        pytest.param(b"a" + b" " * 500 + b"b" + b"\t" * 500 + b"\r\n", b"a b\r\n", id="long-runs"),
    ],
)
def test_the_relaxed_body(body: bytes, canonical_form: bytes) -> None:
    assert body_hash(body, 0) == hashlib.sha256(canonical_form).digest()


def test_the_relaxed_header_of_the_rfc() -> None:
    message = b"A: X\r\nB: Y\t\r\n\tZ  \r\n\r\nbody"
    header = read_header(message)
    assert header is not None
    assert canonical_fields(header.fields) == [b"a:X\r\n", b"b:Y Z\r\n"]
    assert message[header.body_start :] == b"body"


@pytest.mark.parametrize(
    ("message", "names"),
    [
        pytest.param(b"A: b\r\nC: d\r\n\r\n", [b"a", b"c"], id="no-body"),
        pytest.param(b"A: b\r\nC: d\r\n", [b"a", b"c"], id="no-empty-line"),
        pytest.param(b"A: b", [b"a"], id="no-line-end"),
        pytest.param(b"\r\nA: b\r\n", [], id="no-header"),
        pytest.param(b"A:\r\n \r\n\tx\r\n\r\n", [b"a"], id="blank-fold"),
        pytest.param(b"A: \xff\xfe\r\n\r\n", [b"a"], id="8-bit-value"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b" x\r\nA: b\r\n\r\n", None, id="fold-first"),
        pytest.param(b"A: b\r\nno colon\r\n\r\n", None, id="no-colon"),
        pytest.param(b"From ann Mon Jan 1\r\nA: b\r\n\r\n", None, id="mbox"),
        pytest.param(b"\xc3\x84: b\r\n\r\n", None, id="8-bit-name"),
        pytest.param(b": b\r\n\r\n", None, id="no-name"),
        pytest.param(b"A : b\r\n\r\n", None, id="blank-before-colon"),
        pytest.param(b"A: b\n\r\n\r\n", None, id="bare-lf"),
        pytest.param(b"A: b\r\n\r\nx\ny", None, id="bare-lf-in-body"),
        pytest.param(b"A: b\r\n\r\nx\ry", None, id="bare-cr-in-body"),
        pytest.param(b"A: b\r\n\r\nx\n\ry", None, id="lf-cr"),
    ],
)
def test_a_header_is_read_strictly(message: bytes, names: list[bytes] | None) -> None:
    header = read_header(message)
    assert (None if header is None else [name for name, _ in header.fields]) == names


@given(st.binary(max_size=200))
def test_any_octets_are_read_without_raising(message: bytes) -> None:
    header = read_header(message)
    assert header is None or 0 <= header.body_start <= len(message)


@pytest.mark.parametrize(
    "body",
    [b" " * 2_000_000 + b"x", (b" " * 63 + b"x") * 30_000, b"\r\n" * 1_000_000 + b"x", b" \r\n" * 700_000],
    ids=["one-run", "many-runs", "empty-lines", "blank-lines"],
)
def test_a_hostile_body_takes_linear_time(body: bytes) -> None:
    start = time.process_time()
    body_hash(body, 0)
    assert time.process_time() - start < 5
