"""HTML, quoting, the returned mail below a report, addresses, paragraphs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.text import (
    addresses_in,
    first_address,
    has_words,
    html_to_text,
    split_returned,
    unquoted,
    words_about,
)


def test_html_becomes_lines_and_keeps_addresses() -> None:
    source = (
        "<html><head><title>t</title></head><style>p{}</style>"
        "<p>No&nbsp;mailbox<br>for <ann@example.com>:</p><!-- x -->550"
    )
    assert [line for line in html_to_text(source).split("\n") if line] == [
        "No mailbox",
        "for <ann@example.com>:",
        "550",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("to <ann@example.com>: gone", ["ann@example.com"]),
        ("a@b.example,c@d.example", ["a@b.example", "c@d.example"]),
        ("mailto:ann@example.com.", ["ann@example.com"]),
        ('"ann b"@example.com', ['"ann b"@example.com']),
        ("ann+tag=x@example.com", ["ann+tag=x@example.com"]),
        ("給王小明@example.tw", ["給王小明@example.tw"]),
        ("信箱是ann@example.com請記下", ["ann@example.com"]),
        ("josé@example.com", ["josé@example.com"]),
        ("host user@localhost", []),
        ("@example.com a@ @ a@.", []),
    ],
)
def test_addresses(text: str, found: list[str]) -> None:
    assert [item.address for item in addresses_in(text)] == found


@given(st.text(alphabet='a@.<>" \n', max_size=200))
def test_addresses_stand_where_they_are_said_to(text: str) -> None:
    for found in addresses_in(text):
        assert text[found.start : found.end] == found.address


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("Ann <ann@example.com>", "ann@example.com"),
        ('"a@b.example" <ann@example.com>', "ann@example.com"),
        ("ann@example.com (Ann)", "ann@example.com"),
        ("MAILER-DAEMON <>", ""),
        ("", ""),
    ],
)
def test_address_of_a_field(value: str, address: str) -> None:
    assert first_address(value) == address


@pytest.mark.parametrize(
    ("text", "has"), [("550 5.1.1", False), ("550 no way", True), ("信箱", True), ("(#5.1.1)", False)]
)
def test_words_beside_codes(text: str, has: bool) -> None:
    assert has_words(text) is has


@pytest.mark.parametrize(
    "mark",
    [
        "> quoted",
        "-----Original Message-----\nquoted",
        "On Tue, 3 Mar 2026 at 09:15, Ann <ann@example.com> wrote:\nquoted",
        "Am 3. März 2026 um 09:15 schrieb Ann:\nquoted",
        "----- 原始郵件 -----\nquoted",
    ],
)
def test_quoted_mail_is_left_out(mark: str) -> None:
    assert "quoted" not in unquoted(f"own words\n{mark}")
    assert "own words" in unquoted(f"own words\n{mark}")


@pytest.mark.parametrize(
    "mark",
    [
        "--- Below this line is a copy of the message.",
        "------ This is a copy of the message, including all the headers. ------",
        "   ----- Original message follows -----",
        "|------------- Message text follows: ------------|",
        "Message headers follow.",
        "----- Returned Message -----",
        "Original message headers:",
        "Received: from a\nFrom: b\nDate: c",
    ],
)
def test_returned_mail_is_cut_off(mark: str) -> None:
    own, below = split_returned(f"own words\n\n{mark}\nreturned words")
    assert "returned words" in below
    assert own.strip() == "own words"


def test_transcript_is_no_returned_mail() -> None:
    text = "words\n   ----- Transcript of session follows -----\n>>> DATA\n<<< 550 no"
    assert split_returned(text) == (text, "")


def test_paragraph_about_a_recipient() -> None:
    text = "hello\n\n<ann@example.com>: host said:\n  550 no\n\n<bob@example.com>: 452 full\n"
    assert words_about(text, "Ann@Example.com") == "<ann@example.com>: host said:\n550 no"
    assert words_about(text, "carl@example.com") == ""


@given(st.text(max_size=400), st.text(max_size=20))
def test_any_text_never_raises(text: str, recipient: str) -> None:
    html_to_text(text)
    split_returned(text)
    unquoted(text)
    words_about(text, recipient)
