"""Splitting a mail into parts without recursion."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.mime import DEPTH_LIMIT, PART_LIMIT, head_of, split_mail

MIXED = b"""Content-Type: multipart/mixed; boundary="b"

preamble
--b
Content-Type: text/plain

one
--b
Content-Type: multipart/alternative; boundary=bb

--bb
Content-Type: text/html

<p>two</p>
--bb--
--b
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/mixed; boundary=c

--c

three
--c--
--b
Content-Type: text/rfc822-headers

Subject: last
--b--
epilogue
"""


def leaves(raw: bytes) -> list[tuple[str, str]]:
    return [(part.content_type, part.text.strip()) for part in split_mail(raw)[0][1:] if not part.is_message]


EXPECTED = [
    ("text/plain", "one"),
    ("text/html", "<p>two</p>"),
    ("text/rfc822-headers", "Subject: last"),
]


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_parts_in_order_without_those_of_the_embedded_message(ends: bytes) -> None:
    assert leaves(MIXED.replace(b"\n", ends)) == EXPECTED


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_embedded_message_is_one_part_with_its_own_head_and_parts(ends: bytes) -> None:
    (message,) = [part for part in split_mail(MIXED.replace(b"\n", ends))[0] if part.is_message]
    assert head_of(message.message).get("subject") == "inner"
    assert leaves(message.message) == [("text/plain", "three")]


def test_embedded_message_in_base64_is_opened_too() -> None:
    inner = base64.b64encode(b"Subject: inner\n\nhello")
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n"
        b"Content-Transfer-Encoding: base64\n\n" + inner + b"\n--b--\n"
    )
    (message,) = [part for part in split_mail(raw)[0] if part.is_message]
    assert head_of(message.message).get("subject") == "inner"


def test_part_that_is_no_message_has_none() -> None:
    assert [part.message for part in split_mail(b"Subject: x\n\nbody")[0]] == [b"", b""]


@pytest.mark.parametrize(
    "blank",
    [b"\n\n", b"\r\n\r\n", b"\n \t\n", b"\r\n  \r\n", b"\n\r\n"],
    ids=["lf", "crlf", "white", "crlf-white", "mixed"],
)
def test_header_ends_at_a_blank_line_however_it_is_written(blank: bytes) -> None:
    (whole, _), _ = split_mail(b"Subject: x" + blank + b"body\n\nmore")
    assert (whole.head.get("subject"), whole.text) == ("x", "body\n\nmore")


def test_mbox_line_and_blank_lines_before_the_header_are_skipped() -> None:
    (whole, _), _ = split_mail(b"\r\n\nFrom ann@example.com Tue Mar  3\nSubject: x\n\nbody\n")
    assert (whole.head.get("subject"), whole.text) == ("x", "body\n")


def test_header_alone() -> None:
    assert split_mail(b"Subject: x")[0][0].head.get("subject") == "x"


def test_boundary_inside_a_part_without_blank_line_ends_it() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n--b\n\ntwo\n--b--\n"
    assert [text for _, text in leaves(raw)] == ["", "two"]


def test_missing_closing_boundary_loses_nothing() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo"
    assert [text for _, text in leaves(raw)] == ["one", "two"]


def test_outer_boundary_closes_an_inner_multipart_that_was_left_open() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n"
        b"--c\n\none\n--b\n\ntwo\n--b--\n"
    )
    assert [text for _, text in leaves(raw)] == ["one", "two"]


def test_line_that_only_begins_like_a_boundary_is_text() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bar\n-- \n--b--\n"
    assert [text for _, text in leaves(raw)] == ["--bar\n--"]


@pytest.mark.parametrize("parts", [PART_LIMIT - 1, PART_LIMIT * 3])
def test_number_of_parts_is_limited(parts: int) -> None:
    found, notes = split_mail(b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * parts)
    assert len(found) <= PART_LIMIT + 1
    assert bool(notes) is (parts > PART_LIMIT)


@given(st.lists(st.sampled_from([b"--b\n", b"--b--\n", b"--c\n", b"\n", b"x\n", b"Content-Type: message/rfc822\n",
                                 b"Content-Type: multipart/mixed; boundary=c\n"]), max_size=60))  # fmt: skip
def test_no_octet_of_a_body_is_in_two_leaves(pieces: list[bytes]) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"".join(pieces)
    found, _ = split_mail(raw)
    assert sum(len(part.body) for part in found[1:]) <= len(raw)
    assert len(found) <= PART_LIMIT + 1


def test_depth_is_limited() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(DEPTH_LIMIT + 3))
    found, notes = split_mail(deep + b"\nhello")
    assert [part.content_type for part in found[1:]] == ["multipart/mixed"]
    assert notes == (f"nesting deeper than {DEPTH_LIMIT} was not opened",)
