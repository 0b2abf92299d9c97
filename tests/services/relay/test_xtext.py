"""xtext: decode undoes encode, and only RFC 3461's form is taken for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.relay.xtext import decode_xtext, encode_xtext, is_xtext


@given(st.binary())
def test_decoding_undoes_encoding(octets):
    assert decode_xtext(encode_xtext(octets)) == octets
    assert is_xtext(encode_xtext(octets))


@given(st.text())
def test_any_text_decodes(text):
    decode_xtext(text)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        pytest.param("abc", True, id="plain"),
        pytest.param("a+2Bb", True, id="escaped"),
        pytest.param("a+2bb", False, id="lower-case-digits"),
        pytest.param("a+", False, id="cut-escape"),
        pytest.param("a=b", False, id="equals-sign"),
        pytest.param("a b", False, id="space"),
        pytest.param("信", False, id="not-ascii"),
    ],
)
def test_form(text, good):
    assert is_xtext(text) is good
