"""Splitting a mail into parts without recursion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.mime import DEPTH_LIMIT, PART_LIMIT, split_mail

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


def leaves(raw: bytes) -> list[tuple[str, str, int]]:
    return [
        (part.content_type, part.text.strip(), part.level) for part in split_mail(raw)[0][1:] if not part.is_message
    ]


EXPECTED = [
    ("text/plain", "one", 0),
    ("text/html", "<p>two</p>", 0),
    ("text/plain", "three", 1),
    ("text/rfc822-headers", "Subject: last", 0),
]


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_parts_in_order_with_their_level(ends: bytes) -> None:
    assert leaves(MIXED.replace(b"\n", ends)) == EXPECTED


def test_embedded_message_has_its_own_head() -> None:
    messages = [part for part in split_mail(MIXED)[0] if part.is_message]
    assert [(part.head.get("subject"), part.level) for part in messages] == [("inner", 1)]


def test_mbox_line_and_blank_lines_before_the_header_are_skipped() -> None:
    (whole, _), _ = split_mail(b"\r\n\nFrom ann@example.com Tue Mar  3\nSubject: x\n\nbody\n")
    assert (whole.head.get("subject"), whole.text) == ("x", "body\n")


def test_header_alone() -> None:
    assert split_mail(b"Subject: x")[0][0].head.get("subject") == "x"


def test_boundary_inside_a_part_without_blank_line_ends_it() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n--b\n\ntwo\n--b--\n"
    assert [text for _, text, _ in leaves(raw)] == ["", "two"]


def test_missing_closing_boundary_loses_nothing() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo"
    assert [text for _, text, _ in leaves(raw)] == ["one", "two"]


def test_outer_boundary_closes_an_inner_multipart_that_was_left_open() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=c\n\n"
        b"--c\n\none\n--b\n\ntwo\n--b--\n"
    )
    assert [text for _, text, _ in leaves(raw)] == ["one", "two"]


def test_line_that_only_begins_like_a_boundary_is_text() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bar\n-- \n--b--\n"
    assert [text for _, text, _ in leaves(raw)] == ["--bar\n--"]


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
    assert all(part.level <= DEPTH_LIMIT for part in found)
