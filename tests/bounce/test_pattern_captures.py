"""Captures are those of google-re2, whether a text is plain ASCII (searched as octets) or not."""

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.patterns import Pattern

EXPRESSION = r"(?im)^(?P<recipient>[a-z]+@[a-z.é]+)(?: said (?P<reply>[^\n]+))?"


@pytest.mark.parametrize("before", ["", "Grüße, 信箱\n"], ids=["ascii", "more"])
def test_groups_that_took_part_are_told_by_name(before):
    text = f"{before}ann@a.example said 550 no\nbob@a.example\n"
    first, second = Pattern(EXPRESSION).finditer(text)
    assert first.groups == {"recipient": "ann@a.example", "reply": "550 no"}
    assert second.groups == {"recipient": "bob@a.example"}
    assert text[second.start() : second.end()] == second.whole == "bob@a.example"
    found = Pattern(EXPRESSION).search(text)
    assert found is not None
    assert found.span == first.span


def test_what_is_not_there_is_none():
    assert Pattern(EXPRESSION).search("nobody") is None


@given(st.text("ab@.é信 \n said", max_size=60))
def test_it_finds_what_google_re2_finds(text):
    wanted = [
        (match.span(), {name: value for name, value in match.groupdict().items() if value is not None})
        for match in re2.compile(EXPRESSION).finditer(text)
    ]
    assert [(found.span, found.groups) for found in Pattern(EXPRESSION).finditer(text)] == wanted
