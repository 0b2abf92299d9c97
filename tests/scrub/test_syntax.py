"""The form of addresses: what passes, what fails, and in which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.scrub.syntax import syntax_fault, wire_fault

GOOD = {
    "plain": "ann@example.com",
    "plus": "ann+news@example.com",
    "apostrophe": "o'neil@example.ie",
    "slash": "a/b=c@example.com",
    "upper": "Ann@EXAMPLE.COM",
    "one-letter": "a@b.cc",
    "utf8-domain": "ann@例子.tw",
    "utf8-local": "王小明@example.tw",
    "a-label": "ann@xn--fsqu00a.tw",
    "quoted": '"ann lee"@example.com',
    "quoted-at": '"a@b"@example.com',
    "quoted-dots": '"a..b"@docomo.example',
    "ipv4-literal": "ann@[192.0.2.1]",
    "ipv6-literal": "ann@[IPv6:2001:db8::1]",
    "test-domain": "u1@good.test",
    "example-domain": "u1@mail.example",
    "local-domain": "ann@nas.local",
    "home-arpa": "ann@nas.home.arpa",
    "localhost": "root@localhost",
    "dotless-test": "root@test",
    "postmaster": "Postmaster",
    "local-64": "a" * 64 + "@example.com",
    "path-254": "a" * 60 + "@" + ".".join(["b" * 60] * 3) + "." + "c" * 10,
}

BAD = {
    "empty": ("", "the address is empty"),
    "no-at": ("ann.example.com", "the address has no @"),
    "no-local": ("@example.com", "something before the @"),
    "no-domain": ("ann@", "something after the @"),
    "two-at": ("ann@home@example.com", "@"),
    "space": ("ann lee@example.com", "SPACE"),
    "leading-dot": (".ann@example.com", "cannot start with a period"),
    "two-dots": ("ann..lee@example.com", "two periods in a row"),
    "no-dot": ("ann@gmail", "the domain gmail has no dot"),
    "bare-ip": ("ann@192.0.2.1", "an IP address stands in brackets"),
    "bad-literal": ("ann@[300.1.1.1]", "brackets"),
    "hyphen": ("ann@-example.com", "hyphen"),
    "underscore": ("ann@my_host.example.com", "invalid characters"),
    "invalid-tld": ("gone-17@user.invalid", "special-use"),
    "onion": ("ann@abc.onion", "special-use"),
    "brackets": ("<ann@example.com>", "not permitted"),
    "display-name": ("Ann <ann@example.com>", "not permitted"),
    "comma": ("ann@example.com,bob@example.com", "@"),
    "line-feed": ("ann@example.com\nRCPT TO:<x@example.com>", "control character (0x0a at character 16)"),
    "nul": ("a\0nn@example.com", "control character (0x00 at character 2)"),
    "escape": ("\x1b[2Jann@example.com", "control character (0x1b at character 1)"),
    "c1": ("ann\x85@example.com", "control character (0x85 at character 4)"),
    "not-utf8": ("ann\udce9@example.com", "not valid UTF-8 (at character 4)"),
    "bidi": ("ann\u202e@example.com", "unsafe"),
    "local-65": ("a" * 65 + "@example.com", "too long: 65 octets, at most 64"),
    "local-utf8-66": ("王" * 22 + "@example.com", "too long: 66 octets, at most 64"),
    "path-255": ("a" * 60 + "@" + ".".join(["b" * 60] * 3) + "." + "c" * 11, "too long: 255 octets, at most 254"),
    "label-64": ("ann@" + "b" * 64 + ".com", "so many characters"),
    "huge": ("a" * 100_000 + "@example.com", "too long: 100012 octets"),
}


@pytest.mark.parametrize("address", GOOD.values(), ids=GOOD.keys())
def test_a_sendable_address_passes(address: str) -> None:
    assert syntax_fault(address) is None


@pytest.mark.parametrize(("address", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_address_is_refused_in_words(address: str, words: str) -> None:
    assert words in (syntax_fault(address) or "")


def test_the_library_still_refuses_only_names_without_dns() -> None:
    import email_validator

    assert email_validator.SPECIAL_USE_DOMAIN_NAMES == ["invalid", "onion"]


@given(st.text(max_size=400) | st.text(alphabet='a@."[]\\<>: \u3002é', max_size=80))
def test_any_text_gets_an_answer_on_one_printable_line(address: str) -> None:
    fault = syntax_fault(address)
    assert fault is None or (fault and fault.isprintable())


@given(st.text(alphabet="ab\x00\x1b\r\n\x7f\x9f\ud800", max_size=20))
def test_what_passes_the_wire_check_has_no_control_character(address: str) -> None:
    harmless = bool(address) and set(address) <= {"a", "b"}
    assert (wire_fault(address) is None) == harmless
