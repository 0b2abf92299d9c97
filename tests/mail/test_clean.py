"""Text from outside, safe to show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import one_line, printable

LINES = {
    "plain": ("550 no", "550 no"),
    "white space": ("  550 \t no\r\n", "550 no"),
    "escape": ("550 \x1b[31mno", r"550 \x1b[31mno"),
    "override": ("550 \u202eno", r"550 \u202eno"),
    "half a character": ("550 \udc80", r"550 \udc80"),
    "no-break space": ("550\u00a0no", "550 no"),
    "Chinese": ("550 信箱 已滿", "550 信箱 已滿"),
    "empty": ("", ""),
    "blank": (" ", ""),
}


@pytest.mark.parametrize(("text", "line"), LINES.values(), ids=LINES.keys())
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_a_long_line_is_cut_with_an_ellipsis() -> None:
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"


def test_tabs_and_line_ends_stay_where_several_lines_are_shown() -> None:
    assert printable("a\tb\r\nc\x07") == "a\tb\nc\\x07"


@given(st.text(max_size=100), st.integers(0, 20))
def test_any_text_is_made_safe_once_and_for_all(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert printable(line) == line
    assert one_line(line, limit) == line or limit
    assert not limit or len(line) <= limit
    assert "\n" not in line
    line.encode()
