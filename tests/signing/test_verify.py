"""Verifying a mail for people: passes, failures with reasons, hostile mails."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import SigningError
from omicard_relay.signing import DkimKey, DkimSigner, record_text, verify_signatures

NOW = int(time.time())
MAIL = b"From: ann@example.com\r\nSubject: x\r\n\r\nHello  Bob\r\n"


def zone(*keys: DkimKey):
    records = {key.dns_name: record_text(key).encode() for key in keys}
    return records.get


def test_good_signatures_pass_and_are_named(rsa_key: DkimKey, ed_key: DkimKey) -> None:
    mail = DkimSigner(keys=(rsa_key, ed_key)).sign(MAIL, now=NOW) + MAIL
    checks = verify_signatures(mail, zone(rsa_key, ed_key))
    assert [(c.domain, c.selector, c.algorithm, c.passed, c.reason) for c in checks] == [
        ("example.com", "r1", "rsa-sha256", True, ""),
        ("example.com", "e1", "ed25519-sha256", True, ""),
    ]


def test_a_mail_saved_with_unix_line_ends_passes(ed_key: DkimKey) -> None:
    mail = DkimSigner(keys=(ed_key,)).sign(MAIL, now=NOW) + MAIL
    assert [c.passed for c in verify_signatures(mail.replace(b"\r\n", b"\n"), zone(ed_key))] == [True]


def test_an_unsigned_mail_has_no_checks(ed_key: DkimKey) -> None:
    assert verify_signatures(MAIL, zone(ed_key)) == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        pytest.param(b"Bob", b"Eve", "body hash mismatch", id="body"),
        pytest.param(b"Subject: x", b"Subject: y", "does not verify", id="header"),
        pytest.param(b"s=e1;", b"s=e9;", "no DNS record", id="no-record"),
        pytest.param(b"v=1;", b"v=2;", "v= value is not 1", id="version"),
        pytest.param(b"a=ed25519", b"a=foo", "unknown signature algorithm", id="algorithm"),
        pytest.param(b"\tb=", b"\tq=", "missing", id="no-signature"),
        pytest.param(b"v=1;", b"v=1; ;;;", "", id="tags"),
        pytest.param(b"v=1;", b"v=1;" + b" " * 64, "endless white space", id="blanks"),
        pytest.param(b"d=example.com", b"d=ex\xffmple.com", "no DNS record", id="8-bit-domain"),
    ],
)
def test_a_failure_has_a_reason(ed_key: DkimKey, old: bytes, new: bytes, words: str) -> None:
    mail = DkimSigner(keys=(ed_key,)).sign(MAIL, now=NOW) + MAIL
    (check,) = verify_signatures(mail.replace(old, new, 1), zone(ed_key))
    assert not check.passed
    assert check.reason
    assert words in check.reason


def test_a_silent_dns_is_told_as_such(ed_key: DkimKey) -> None:
    def silent(name: str) -> bytes | None:
        raise SigningError(f"DNS did not answer for {name}.")

    mail = DkimSigner(keys=(ed_key,)).sign(MAIL, now=NOW) + MAIL
    (check,) = verify_signatures(mail, silent)
    assert check.reason == "DNS did not answer for e1._domainkey.example.com."


@pytest.mark.parametrize("record", [b"junk", b"p=AAAA", b"k=ed25519; p=AAAA", b"p=!", b"\xff"])
def test_a_broken_record_is_a_failure(ed_key: DkimKey, record: bytes) -> None:
    mail = DkimSigner(keys=(ed_key,)).sign(MAIL, now=NOW) + MAIL
    assert [c.passed for c in verify_signatures(mail, lambda name: record)] == [False]


def test_no_more_than_ten_signatures_are_looked_at(ed_key: DkimKey) -> None:
    asked: list[str] = []
    mail = DkimSigner(keys=(ed_key,)).sign(MAIL, now=NOW) * 20 + MAIL
    verify_signatures(mail, lambda name: asked.append(name))
    assert len(asked) == 10


@pytest.mark.parametrize(
    "mail",
    [b"no header at all", b" folded first\r\n\r\n", b"A:" + b"\r\n b" * 6_000, b"A: " + b"x" * 1_100_000],
    ids=["junk", "fold-first", "many-lines", "large"],
)
def test_an_unreadable_header_is_an_error_in_words(mail: bytes) -> None:
    with pytest.raises(SigningError, match="header"):
        verify_signatures(mail, lambda name: None)


@given(st.binary(max_size=300).map(lambda junk: b"From: a@example.com\r\nDKIM-Signature:" + junk))
def test_any_signature_field_is_judged_without_raising(mail: bytes) -> None:
    try:
        checks = verify_signatures(mail, lambda name: b"k=ed25519; p=AAAA")
    except SigningError:
        return
    assert not any(check.passed for check in checks)


@pytest.mark.parametrize("canon", [b"relaxed/relaxed", b"relaxed/simple", b"simple"])
def test_endless_blanks_in_a_body_take_linear_time(ed_key: DkimKey, canon: bytes) -> None:
    mail = DkimSigner(keys=(ed_key,)).sign(MAIL, now=NOW).replace(b"relaxed/relaxed", canon) + MAIL
    start = time.process_time()
    (check,) = verify_signatures(mail + b" " * 1_000_000 + b"x\r\n", zone(ed_key))
    assert time.process_time() - start < 5
    assert not check.passed


def test_long_runs_of_blanks_do_not_spoil_a_good_signature(ed_key: DkimKey) -> None:
    mail = MAIL + b"a" + b" " * 500 + b"b" + b" " * 500 + b"\r\n"
    (check,) = verify_signatures(DkimSigner(keys=(ed_key,)).sign(mail, now=NOW) + mail, zone(ed_key))
    assert check.passed
