"""Tokens: round trip, forgery, age, case, and limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import SigningError
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner

KEYS = ReturnPathKeys(secrets={"a": b"first secret, 16+", "7": b"second secret, 16"})
SIGNER = ReturnPathSigner(keys=KEYS, domain="bounces.example.com")
NONCE = b"\x01\x02\x03\x04\x05"
ADDRESS = SIGNER.make("ann@example.org", day=20_000, nonce=NONCE)

recipients = st.text(max_size=60)
days = st.integers(0, 2**20 - 1)
nonces = st.binary(min_size=5, max_size=5)


def test_the_form_is_local_part_token_and_domain() -> None:
    local, _, domain = ADDRESS.partition("@")
    assert domain == "bounces.example.com"
    assert local.startswith("b+a")
    assert len(local) == 2 + 37
    assert local == local.lower()


@given(recipients, days, nonces)
def test_what_was_made_verifies_and_names_its_recipient(recipient: str, day: int, nonce: bytes) -> None:
    reading = SIGNER.verify(SIGNER.make(recipient, day=day, nonce=nonce), today=day)
    assert reading.valid
    assert reading.reason == "signature verifies"
    assert (reading.key_id, reading.day, reading.nonce) == ("a", day, nonce)
    assert SIGNER.names(reading, recipient)
    assert not SIGNER.names(reading, recipient + "x.invalid")


@given(recipients, days, nonces, st.randoms(use_true_random=False))
def test_case_does_not_matter(recipient: str, day: int, nonce: bytes, random) -> None:
    address = "".join(random.choice((c.upper(), c)) for c in SIGNER.make(recipient, day=day, nonce=nonce))
    assert SIGNER.verify(f"<{address}>", today=day).valid


@given(st.integers(0, len(ADDRESS) - 1), st.characters())
def test_any_single_changed_character_fails(place: int, char: str) -> None:
    changed = ADDRESS[:place] + char + ADDRESS[place + 1 :]
    same = changed.isascii() and changed.lower() == ADDRESS
    assert SIGNER.verify(changed, today=20_000).valid == same


def test_every_other_letter_at_every_place_of_the_token_fails() -> None:
    for place in range(2, 2 + 37):
        for char in "abcdefghijklmnopqrstuvwxyz234567":
            if ADDRESS[place] != char:
                changed = ADDRESS[:place] + char + ADDRESS[place + 1 :]
                assert not SIGNER.verify(changed, today=20_000).valid


@given(st.text(max_size=120) | st.from_regex(r"b\+[a-z2-7]{37}@bounces\.example\.com", fullmatch=True))
def test_any_text_is_read_and_none_verifies(address: str) -> None:
    assert not SIGNER.verify(address, today=20_000).valid


@pytest.mark.parametrize(
    ("address", "today", "reason"),
    [
        pytest.param("bounces.example.com", 20_000, "no token", id="no-at"),
        pytest.param("b@bounces.example.com", 20_000, "no token", id="no-delimiter"),
        pytest.param(ADDRESS[:20] + ADDRESS[21:], 20_000, "no token", id="too-short"),
        pytest.param("b+b+" + ADDRESS[2:], 20_000, "no token", id="prefix-twice"),
        pytest.param(ADDRESS.replace("b+", "", 1), 20_000, "no token", id="no-prefix"),
        pytest.param(ADDRESS.replace("+", "=", 1), 20_000, "no token", id="other-delimiter"),
        pytest.param("b+" + "1" * 37 + "@bounces.example.com", 20_000, "no token", id="not-base32"),
        pytest.param("ann@example.org", 20_000, "another domain", id="other-domain"),
        pytest.param("b+c" + ADDRESS[3:], 20_000, "unknown key id", id="unknown-key"),
        pytest.param("b+7" + ADDRESS[3:], 20_000, "signature does not verify", id="other-key"),
        pytest.param(ADDRESS, 20_030, "signature verifies", id="30-days"),
        pytest.param(ADDRESS, 20_031, "older than 30 days", id="31-days"),
        pytest.param(ADDRESS, 19_999, "signature verifies", id="clock-a-day-behind"),
        pytest.param(ADDRESS, 19_998, "dated in the future", id="future"),
    ],
)
def test_the_reason_is_told_in_words(address: str, today: int, reason: str) -> None:
    reading = SIGNER.verify(address, today=today)
    assert reading.reason == reason
    assert reading.valid == (reason == "signature verifies")


def test_a_kelvin_sign_is_no_k_anywhere() -> None:
    signer = ReturnPathSigner(keys=ReturnPathKeys(secrets={"k": b"first secret, 16+"}), domain="kk.example")
    address = signer.make("ann@example.org", day=1, nonce=NONCE)
    assert signer.verify(address.upper(), today=1).valid
    for place, char in enumerate(address):
        if char == "k":
            assert not signer.verify(address[:place] + "\u212a" + address[place + 1 :], today=1).valid


def test_the_recipient_is_compared_as_an_address_key() -> None:
    reading = SIGNER.verify(ADDRESS, today=20_000)
    assert SIGNER.names(reading, "<Ann@EXAMPLE.org>")
    assert not SIGNER.names(reading, "bob@example.org")


def test_an_invalid_reading_names_nobody() -> None:
    assert not SIGNER.names(SIGNER.verify(ADDRESS, today=30_000), "ann@example.org")


def test_an_older_key_still_verifies_after_a_new_one_signs() -> None:
    rotated = ReturnPathKeys(secrets={"b": b"a brand new secret", **KEYS.secrets})
    signer = ReturnPathSigner(keys=rotated, domain="bounces.example.com")
    assert signer.verify(ADDRESS, today=20_000).key_id == "a"
    assert signer.make("ann@example.org", day=20_000, nonce=NONCE).startswith("b+b")


@pytest.mark.parametrize(
    "other",
    [
        ReturnPathSigner(keys=KEYS, domain="bounces.example.net"),
        ReturnPathSigner(keys=KEYS, domain="bounces.example.com", local_part="c"),
        ReturnPathSigner(keys=KEYS, domain="bounces.example.com", delimiter="-"),
        ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"not the same secret"}), domain="bounces.example.com"),
    ],
    ids=["domain", "local-part", "delimiter", "secret"],
)
def test_a_token_moved_to_another_place_does_not_verify(other: ReturnPathSigner) -> None:
    token = ADDRESS.partition("@")[0][2:]
    moved = f"{other.local_part}{other.delimiter}{token}@{other.domain}"
    assert other.verify(moved, today=20_000).reason == "signature does not verify"


def test_a_long_local_part_and_an_international_domain_fit() -> None:
    signer = ReturnPathSigner(keys=KEYS, domain="Bounces.例子.tw", local_part="x" * 26)
    address = signer.make("王@例子.tw", day=1, nonce=NONCE)
    assert len(address.partition("@")[0]) == 64
    assert signer.verify(address, today=1).valid


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"local_part": "x" * 27}, "shorten it by 1", id="local-65"),
        pytest.param({"local_part": "a b"}, "local part 'a b' is wrong", id="local-space"),
        pytest.param({"local_part": ""}, "local part '' is wrong", id="local-empty"),
        pytest.param({"delimiter": "@"}, "delimiter '@' is wrong", id="delimiter-at"),
        pytest.param({"delimiter": "x"}, "delimiter 'x' is wrong", id="delimiter-letter"),
        pytest.param({"domain": "not a domain"}, "is no domain name", id="domain"),
        pytest.param({"domain": ".".join(["a" * 60] * 4)}, "too long for an address", id="path"),
    ],
)
def test_parts_that_do_not_fit_are_refused_at_the_start(change: dict[str, str], words: str) -> None:
    with pytest.raises(SigningError, match=words):
        ReturnPathSigner(**{"keys": KEYS, "domain": "bounces.example.com", **change})


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        pytest.param({}, "no return-path key", id="none"),
        pytest.param({"a": b"short"}, "5 octets", id="short"),
        pytest.param({"1": b"x" * 16}, "key id '1' is wrong", id="id-no-base32"),
        pytest.param({"ab": b"x" * 16}, "key id 'ab' is wrong", id="id-two"),
        pytest.param({"": b"x" * 16}, "key id '' is wrong", id="id-empty"),
    ],
)
def test_bad_keys_are_refused(secrets: dict[str, bytes], words: str) -> None:
    with pytest.raises(SigningError, match=words):
        ReturnPathKeys(secrets=secrets)


def test_secrets_are_not_shown() -> None:
    assert "secret, 16" not in repr(SIGNER)


@pytest.mark.parametrize(("day", "nonce"), [(2**20, NONCE), (-1, NONCE), (1, b"four")])
def test_a_day_or_nonce_that_does_not_fit_is_a_caller_s_bug(day: int, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="nonce"):
        SIGNER.make("ann@example.org", day=day, nonce=nonce)
