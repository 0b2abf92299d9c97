"""What changes from mail to mail is masked, what names a cause is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.classify.masking import GLUE, TEXT_LIMIT, is_constant, joined, mask
from omicard_relay.classify.wording import wording_of

MASKED = {
    "codes at the start are cut off": ("550 5.7.1 the owl sleeps", "the owl sleeps"),
    "a status alone at the start": ("5.7.1 the owl sleeps", "the owl sleeps"),
    "a code inside stays": ("the owl sleeps (#5.7.1)", "the owl sleeps (#5.7.1)"),
    "address": ("<ann@example.com>: owl", "<<address>>: owl"),
    "IPv4": ("owl of [192.0.2.1]:25", "owl of [<ip>]:<number>"),
    "network": ("owl of 192.0.2.0/24", "owl of <ip>"),
    "IPv6": ("owl of 2001:db8::17:2 here", "owl of <ip> here"),
    "host": ("mx-1.mail.example.com: owl", "<host>: owl"),
    "international host": ("owl of mx.xn--fsq.example", "owl of <host>"),
    "link": ("owl, see https://help.example/q?ip=192.0.2.1&x=Ab1", "owl, see <link>"),
    "mail date": ("owl on Mon, 24 Nov 2026 11:22:33 +0800 (CST) flew", "owl on <date> flew"),
    "ISO date": ("owl on 2026-11-24T11:22:33.123Z flew", "owl on <date> flew"),
    "C date": ("owl on Tue Nov  4 11:22:33 2026 flew", "owl on <date> flew"),
    "clock": ("owl until 11:22 flew", "owl until <date> flew"),
    "Chinese date": ("於2026年11月24日 11:22再試", "於<date>再試"),
    "Postfix id": ("owl 4bQ2T13zXyz9 flew", "owl <id> flew"),
    "old Postfix id": ("owl 3F2A7C19D0 flew", "owl <id> flew"),
    "Exim id": ("owl 1tX2aB-0003Cd-9Z flew", "owl <id> flew"),
    "hexadecimal id of eight": ("owl ABCD1234 flew", "owl <id> flew"),
    "a long id with dashes and dots": ("d2e1a72fcca58-7249de4f0casi123456.53 - owlmail", "<id> - owlmail"),
    "number": ("wait 1,300 moons", "wait <number> moons"),
    "number in a word": ("wait 300s, size=12", "wait <number>s, size=<number>"),
    "a mark of a provider": ("owl [TSS04] S3150 RP-001 IB603a BL000010", "owl [TSS04] S3150 RP-001 IB603a BL000010"),
    "a numbered error": ("owl, error 17", "owl, error 17"),
    "a long numbered error": ("owl, error 1798233", "owl, error <number>"),
    "a numbered error in Chinese": ("錯誤代碼：17", "錯誤代碼:17"),
    "no blanks": ("來自192.0.2.1的信件", "來自<ip>的信件"),
}


@pytest.mark.parametrize(("text", "wanted"), MASKED.values(), ids=MASKED.keys())
def test_masked(text: str, wanted: str) -> None:
    assert joined(mask(wording_of(text).shown)) == wanted


def test_a_script_without_blanks_is_cut_into_characters() -> None:
    assert mask("月亮 low") == ("月", f"{GLUE}亮", "low")


@pytest.mark.parametrize(("token", "constant"), [("owl", True), ("<ip>", False), (f"{GLUE}<*>", False), ("<", True)])
def test_masks_are_told_from_words(token: str, constant: bool) -> None:
    assert is_constant(token) is constant


@given(st.text(max_size=200) | st.text(alphabet="a1.-:@/<> 年", max_size=200))
def test_any_text_is_masked(text: str) -> None:
    tokens = mask(wording_of(text).shown)
    assert all(token and not any(char.isspace() for char in token) for token in tokens)
    assert len(joined(tokens)) <= TEXT_LIMIT * 8


@pytest.mark.parametrize("piece", ["a-", "1:", "a.", "1.", "Mon ", "a1", "https://", "0:0", "<a", "Nov 1 "])
def test_a_hostile_text_takes_bounded_time(piece: str) -> None:
    mask(piece * 500_000)  # quadratic over the whole, it would take hours
