"""Which domains a From field names, and which fields name none that all programs agree on."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.signing import from_domains

READABLE = {
    "bare": (b" ann@example.com", ("example.com",)),
    "name": (b" Ann Lee <ann@Example.COM>", ("example.com",)),
    "quoted-name": (b' "Lee, Ann" <ann@example.com>', ("example.com",)),
    "quoted-at-in-name": (b' "ann@bank.example" <ann@example.com>', ("example.com",)),
    "plain-at-in-name": (b" ann@bank.example <ann@example.com>", ("example.com",)),
    "quoted-at-in-local": (b' "a@bank.example"@example.com', ("example.com",)),
    "quoted-local-in-angle": (b' Ann <"a@b>c"@example.com>', ("example.com",)),
    "escaped-quote": (b' "a\\"@bank.example" <ann@example.com>', ("example.com",)),
    "encoded-word": (b" =?utf-8?q?ann=40bank.example?= <ann@example.com>", ("example.com",)),
    "comment": (b" ann@example.com (ann@bank.example)", ("example.com",)),
    "nested-comment": (b" (a (b \\) @c)) ann@example.com", ("example.com",)),
    "folded": (b" Ann\r\n <ann@example.com>", ("example.com",)),
    "two": (b" ann@example.com, Bob <bob@example.org>", ("example.com", "example.org")),
    "same-twice": (b" ann@example.com, bob@example.com", ("example.com",)),
    "group": (b" Team: ann@example.com, bob@example.org;", ("example.com", "example.org")),
    "empty-group": (b" Nobody:;", ()),
    "utf8-domain": (" Ann <ann@例子.tw>".encode(), ("xn--fsqu00a.tw",)),
    "8-bit-name": (b" Andr\xe9 <andre@example.com>", ("example.com",)),
}

UNREADABLE = {
    "empty": b"",
    "no-address": b" Ann",
    "no-domain": b" ann@",
    "literal": b" ann@[192.0.2.1]",
    "two-at": b" ann@example.com@bank.example",
    "two-at-in-angle": b" <ann@example.com@bank.example>",
    "two-angles": b" <ann@example.com> <bob@bank.example>",
    "words-after-angle": b" <ann@example.com> bank.example",
    "quoted-after-angle": b' <ann@example.com> "x"',
    "open-angle": b" <ann@example.com",
    "open-quote": b' "ann@example.com',
    "open-comment": b" ann@example.com (",
    "open-group": b" Team: ann@example.com",
    "stray-semicolon": b" ann@example.com;",
    "source-route": b" <@bank.example:ann@example.com>",
    "space-in-domain": b" ann@example.com bank.example",
    "quoted-domain": b' ann@"example.com"',
    "8-bit-domain": b" ann@ex\xe4mple.com",
    "one-good-one-bad": b" ann@example.com, bob@",
    "nul": b" ann@example.com\0.bank.example",
}


@pytest.mark.parametrize(("value", "domains"), READABLE.values(), ids=READABLE.keys())
def test_the_domains_of_a_readable_field(value: bytes, domains: tuple[str, ...]) -> None:
    assert from_domains(value) == domains


@pytest.mark.parametrize("value", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_ambiguous_field_names_no_domain(value: bytes) -> None:
    assert from_domains(value) == ()


@given(st.binary(max_size=200) | st.text(alphabet='a@.,:;<>()"\\ \r\n', max_size=60).map(str.encode))
def test_any_octets_give_domains_in_dns_spelling(value: bytes) -> None:
    assert all(domain.isascii() and "@" not in domain for domain in from_domains(value))


@pytest.mark.parametrize("unit", [b"(", b'"', b"<", b"a@b,", b":;", b"\\", b"@", b" "])
def test_a_hostile_field_takes_no_more_than_linear_time(unit: bytes) -> None:
    start = time.process_time()
    from_domains(unit * (100_000 // len(unit)))
    assert time.process_time() - start < 1
    assert from_domains(unit * 200_000) == ()
