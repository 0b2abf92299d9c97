"""One spelling of domains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.signing import a_label
from omicard_relay.signing.domains import is_below, u_label


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        pytest.param("Mail.EXAMPLE.com.", "mail.example.com", id="case-and-dot"),
        pytest.param("例子.tw", "xn--fsqu00a.tw", id="utf8"),
        pytest.param("ÄPFEL.example", "xn--pfel-koa.example", id="upper-utf8"),
        pytest.param("_dmarc.example.com", "_dmarc.example.com", id="underscore"),
        pytest.param("", None, id="empty"),
        pytest.param("a..b", None, id="empty-label"),
        pytest.param("-a.example", None, id="hyphen-first"),
        pytest.param("a" * 64 + ".example", None, id="label-64"),
        pytest.param(".".join(["a" * 60] * 5), None, id="too-long"),
        pytest.param("exa mple.com", None, id="space"),
        pytest.param("example.com;p=x", None, id="tag"),
        pytest.param("example.com\r\nBcc: x", None, id="line-end"),
        pytest.param("[192.0.2.1]", None, id="literal"),
        pytest.param("caf\udce9.example", None, id="not-utf8"),
    ],
)
def test_a_domain_has_one_spelling(text: str, spelling: str | None) -> None:
    assert a_label(text) == spelling


@given(st.text(max_size=300))
def test_any_text_gives_a_stable_spelling_or_none(text: str) -> None:
    name = a_label(text)
    assert name is None or (name.isascii() and a_label(name) == name)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("mail.example.com", "mail.example.com"),
        ("xn--fsqu00a.tw", "例子.tw"),
        ("XN--PFEL-KOA.example", "äpfel.example"),
        ("Äpfel.example", "äpfel.example"),
        ("xn--.example", None),
        ("xn--a-ecp.example", None),
        ("a..b", None),
        ("x" * 300, None),
    ],
)
def test_people_read_u_labels(text: str, spelling: str | None) -> None:
    assert u_label(text) == spelling


@given(st.text(max_size=300))
def test_any_text_has_a_reading_or_none(text: str) -> None:
    u_label(text)


def test_below_needs_a_dot() -> None:
    assert is_below("mail.example.com", "example.com")
    assert is_below("example.com", "example.com")
    assert not is_below("evilexample.com", "example.com")
    assert not is_below("example.com", "mail.example.com")
