"""Signatures: another program (dkimpy) verifies them, every change breaks them, odd mails never raise."""

import re
import time
from collections.abc import Iterable

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import SigningError
from omicard_relay.signing import DkimKey, DkimSigner, record_text

NOW = int(time.time())
MAIL = (
    b"Received: from x by y; Fri, 2 Jan 2026 10:00:00 +0000\r\n"
    b"From: Ann Lee\r\n\t<ann@example.com>\r\n"
    b"To: bob@example.org\r\n"
    b"Subject:  Spring   sale \xe6\x98\xa5\r\n"
    b"Date: Fri, 2 Jan 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n"
    b"List-Unsubscribe: <https://example.com/u>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"X-Mailer: ours\r\n"
    b"\r\n"
    b"Hello  Bob, \r\n\r\n.dot\r\nbye\r\n\r\n\r\n"
)


def passes(message: bytes, keys: Iterable[DkimKey]) -> list[bool]:
    """dkimpy's judgement of each signature, topmost first."""
    zone = {f"{key.dns_name}.": record_text(key).encode() for key in keys}
    reader = dkim.DKIM(message)
    count = sum(name.lower() == b"dkim-signature" for name, _ in reader.headers)

    def verdict(number: int) -> bool:
        try:
            return bool(reader.verify(idx=number, dnsfunc=lambda name, timeout=5: zone.get(name.decode())))
        except dkim.ValidationError as error:
            # dkimpy tells a changed body in this way; any other complaint is about the form of our field.
            if "body hash mismatch" not in str(error):
                raise
            return False

    return [verdict(number) for number in range(count)]


def signed(message: bytes, *keys: DkimKey) -> bytes:
    return DkimSigner(keys=keys).sign(message, now=NOW) + message


def signed_then_changed(message: bytes, old: bytes, new: bytes, *keys: DkimKey) -> bytes:
    assert old in message
    return DkimSigner(keys=keys).sign(message, now=NOW) + message.replace(old, new, 1)


def tags(block: bytes) -> dict[str, str]:
    unfolded = block.decode().replace("\r\n\t", "").removeprefix("DKIM-Signature: ").strip()
    return dict(part.strip().split("=", 1) for part in unfolded.split(";"))


def test_both_algorithms_on_one_mail_verify(rsa_key: DkimKey, ed_key: DkimKey) -> None:
    assert passes(signed(MAIL, rsa_key, ed_key), [rsa_key, ed_key]) == [True, True]


def test_the_tags_say_what_was_signed(rsa_key: DkimKey) -> None:
    found = tags(DkimSigner(keys=(rsa_key,), expire_seconds=3600).sign(MAIL, now=NOW))
    assert (found["v"], found["a"], found["c"]) == ("1", "rsa-sha256", "relaxed/relaxed")
    assert (found["d"], found["s"], found["t"], found["x"]) == ("example.com", "r1", str(NOW), str(NOW + 3600))
    assert found["h"] == (
        "From:From:To:To:Subject:Subject:Date:Date:Message-ID:MIME-Version:Content-Type:Reply-To:"
        "List-Unsubscribe:List-Unsubscribe-Post"
    )


def test_without_expiry_there_is_no_x(ed_key: DkimKey) -> None:
    found = tags(DkimSigner(keys=(ed_key,)).sign(MAIL, now=NOW))
    assert found["a"] == "ed25519-sha256"
    assert "x" not in found


def test_the_same_mail_key_and_time_give_the_same_octets(rsa_key: DkimKey, ed_key: DkimKey) -> None:
    assert signed(MAIL, rsa_key, ed_key) == signed(MAIL, rsa_key, ed_key)


def test_lines_are_short_and_folded_with_crlf(rsa_key: DkimKey) -> None:
    block = DkimSigner(keys=(rsa_key,)).sign(MAIL, now=NOW)
    lines = block.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) <= 78 for line in lines)
    assert all(line.startswith(b"\t") for line in lines[1:])
    assert block.count(b"\n") == block.count(b"\r\n")


TAMPERED = {
    "body": (b"Hello  Bob", b"Hello  Eve"),
    "body-added": (b"bye\r\n", b"bye\r\nP.S.\r\n"),
    "from": (b"ann@example.com", b"eve@example.com"),
    "subject": (b"sale", b"fail"),
    "second-from": (b"Received:", b"From: eve@bank.example\r\nReceived:"),
    "second-from-below": (b"X-Mailer:", b"From: eve@bank.example\r\nX-Mailer:"),
    "second-subject": (b"Received:", b"Subject: other\r\nReceived:"),
    "second-date": (b"Received:", b"Date: Sat, 3 Jan 2026 10:00:00 +0000\r\nReceived:"),
    "second-to": (b"Received:", b"To: eve@bank.example\r\nReceived:"),
    "added-reply-to": (b"Received:", b"Reply-To: eve@bank.example\r\nReceived:"),
    "unsubscribe-removed": (b"List-Unsubscribe: <https://example.com/u>\r\n", b""),
    "type": (b"text/plain", b"text/html"),
}


@pytest.mark.parametrize(("old", "new"), TAMPERED.values(), ids=TAMPERED.keys())
def test_a_change_that_a_reader_would_see_breaks_both(
    rsa_key: DkimKey, ed_key: DkimKey, old: bytes, new: bytes
) -> None:
    assert passes(signed_then_changed(MAIL, old, new, rsa_key, ed_key), [rsa_key, ed_key]) == [False, False]


HARMLESS = {
    "received-on-top": (b"Received:", b"Received: from us\r\nReceived:"),
    "missing-cc-never-promised": (b"X-Mailer: ours\r\n", b"X-Mailer: other\r\n"),
    "refolded": (b"Ann Lee\r\n\t<", b"Ann\r\n Lee <"),
    "blanks": (b"Hello  Bob, \r\n", b"Hello Bob,\r\n"),
    "empty-lines-at-the-end": (b"bye\r\n\r\n\r\n", b"bye\r\n"),
    "header-name-case": (b"Subject:", b"SUBJECT:"),
}


@pytest.mark.parametrize(("old", "new"), HARMLESS.values(), ids=HARMLESS.keys())
def test_what_servers_do_on_the_way_leaves_it_whole(rsa_key: DkimKey, ed_key: DkimKey, old: bytes, new: bytes) -> None:
    assert passes(signed_then_changed(MAIL, old, new, rsa_key, ed_key), [rsa_key, ed_key]) == [True, True]


def test_postfix_may_add_a_missing_date_and_message_id(rsa_key: DkimKey) -> None:
    mail = b"From: ann@example.com\r\n\r\nhi\r\n"
    added = signed_then_changed(mail, b"From:", b"Date: now\r\nMessage-ID: <2@x>\r\nFrom:", rsa_key)
    assert passes(added, [rsa_key]) == [True]


ODD_BUT_SIGNED = {
    "no-body": b"From: ann@example.com\r\nSubject: x\r\n\r\n",
    "no-empty-line": b"From: ann@example.com\r\nSubject: x\r\n",
    "no-final-line-end": b"From: ann@example.com\r\n\r\nhi",
    "blanks-at-the-very-end": b"From: ann@example.com\r\n\r\nhi\r\n   ",
    "8-bit-junk": b"From: Andr\xe9 <ann@example.com>\r\nSubject: \xff\xfe\x80\r\n\r\n\xff\r\n",
    "empty-subject": b"From: ann@example.com\r\nSubject:\r\n\r\nhi\r\n",
    "folded-blank-lines": b"From: ann@example.com\r\nSubject: a\r\n \r\n\tb\r\n\r\nhi\r\n",
    "three-to": b"To: a@x.test\r\nFrom: ann@example.com\r\nTo: b@x.test\r\nTo: c@x.test\r\n\r\nhi\r\n",
    "long-line": b"From: ann@example.com\r\n\r\n" + b"x" * 5000 + b"\r\n",
    "dots": b"From: ann@example.com\r\n\r\n.\r\n..\r\n",
    "two-mailboxes-of-ours": b"From: ann@example.com, bob@news.example.com\r\n\r\nhi\r\n",
}


@pytest.mark.parametrize("mail", ODD_BUT_SIGNED.values(), ids=ODD_BUT_SIGNED.keys())
def test_an_odd_mail_gets_signatures_that_verify(rsa_key: DkimKey, ed_key: DkimKey, mail: bytes) -> None:
    # After SMTP every mail ends in CRLF, and its header in an empty line.
    whole = mail if mail.endswith(b"\r\n") else mail + b"\r\n"
    block = DkimSigner(keys=(rsa_key, ed_key)).sign(mail, now=NOW)
    assert passes(block + whole, [rsa_key, ed_key]) == [True, True]


UNSIGNED = {
    "empty": b"",
    "no-from": b"Subject: x\r\n\r\nhi\r\n",
    "from-in-body": b"Subject: x\r\n\r\nFrom: ann@example.com\r\n",
    "other-domain": b"From: ann@example.org\r\n\r\nhi\r\n",
    "suffix-is-no-parent": b"From: ann@evilexample.com\r\n\r\nhi\r\n",
    "two-from-fields": b"From: ann@example.com\r\nFrom: bob@example.com\r\n\r\nhi\r\n",
    "one-foreign-mailbox": b"From: ann@example.com, bob@example.org\r\n\r\nhi\r\n",
    "unreadable-from": b"From: ann@example.com@bank.example\r\n\r\nhi\r\n",
    "bare-lf": b"From: ann@example.com\r\n\r\nhi\n",
    "bare-cr": b"From: ann@example.com\r\n\r\nhi\rho\r\n",
    "lf-mail": b"From: ann@example.com\n\nhi\n",
    "broken-header-line": b"From: ann@example.com\r\nbroken\r\n\r\nhi\r\n",
    "nul-in-subject": b"From: ann@example.com\r\nSubject: a\0b\r\n\r\nhi\r\n",
    "vertical-tab": b"From: ann@example.com\r\nSubject: a\x0b\r\n\r\nhi\r\n",
    "eleven-to": b"From: ann@example.com\r\n" + b"To: a@x.test\r\n" * 11 + b"\r\nhi\r\n",
}


@pytest.mark.parametrize("mail", UNSIGNED.values(), ids=UNSIGNED.keys())
def test_a_mail_that_cannot_be_signed_safely_is_left_alone(rsa_key: DkimKey, ed_key: DkimKey, mail: bytes) -> None:
    assert DkimSigner(keys=(rsa_key, ed_key)).sign(mail, now=NOW) == b""


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda junk: b"From: a@example.com\r\n" + junk))
def test_any_octets_give_no_signature_or_a_correct_one(ed_key: DkimKey, mail: bytes) -> None:
    block = DkimSigner(keys=(ed_key,)).sign(mail, now=NOW)
    if block:
        whole = mail if mail.endswith(b"\r\n") else mail + b"\r\n"
        assert passes(block + whole, [ed_key]) == [True]


def test_senders_choose_the_keys(rsa_key: DkimKey) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    shared = DkimKey(domain="esp.example", selector="s", private_key=private, senders=("Example.com", "例子.tw"))
    own = DkimKey(domain="mail.example.com", selector="m", private_key=private)
    signer = DkimSigner(keys=(rsa_key, shared, own))

    def signing(sender: str) -> list[str]:
        block = signer.sign(f"From: {sender}\r\n\r\nhi\r\n".encode(), now=NOW)
        return re.findall(r"\td=([^;]+);", block.decode())

    assert signing("ann@example.com") == ["example.com", "esp.example"]
    assert signing("ann@a.mail.example.com") == ["example.com", "esp.example", "mail.example.com"]
    assert signing("ann@例子.tw") == ["esp.example"]
    assert signing("ann@esp.example") == []


def test_a_utf8_domain_signs_in_dns_spelling(ed_key: DkimKey) -> None:
    key = DkimKey(domain="例子.tw", selector="s", private_key=ed_key.private_key)
    mail = "From: 王 <wang@例子.tw>\r\nSubject: 春\r\n\r\nhi\r\n".encode()
    assert key.domain == "xn--fsqu00a.tw"
    assert passes(signed(mail, key), [key]) == [True]


@pytest.mark.parametrize(
    "change",
    [{"domain": "a b"}, {"selector": "s;d=x"}, {"selector": ""}, {"senders": ("a\r\nb",)}],
    ids=["domain", "selector", "no-selector", "sender"],
)
def test_a_name_that_dns_cannot_hold_is_refused(ed_key: DkimKey, change: dict[str, object]) -> None:
    fields = {"domain": "example.com", "selector": "s", "private_key": ed_key.private_key, **change}
    with pytest.raises(SigningError, match="no name that DNS can hold"):
        DkimKey(**fields)  # type: ignore[arg-type]


def test_the_private_key_is_not_shown(ed_key: DkimKey) -> None:
    assert "Private" not in repr(DkimSigner(keys=(ed_key,)))


def test_no_key_no_work() -> None:
    assert DkimSigner().sign(MAIL, now=NOW) == b""


@pytest.mark.parametrize(
    "mail",
    [
        b"From: ann@example.com\r\n" + b"To: a@x.test\r\n" * 100_000 + b"\r\n",
        b"From: ann@example.com\r\nSubject: a" + b"\r\n b" * 400_000 + b"\r\n\r\n",
        b"From: ann@example.com\r\n\r\n" + b" " * 2_000_000 + b"x\r\n",
        b"From: " + b"(" * 2_000_000 + b"\r\n\r\n",
    ],
    ids=["fields", "folds", "blanks", "comments"],
)
def test_a_hostile_mail_takes_linear_time(ed_key: DkimKey, mail: bytes) -> None:
    start = time.process_time()
    DkimSigner(keys=(ed_key,)).sign(mail, now=NOW)
    assert time.process_time() - start < 5
