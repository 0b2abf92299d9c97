"""A reply's wording: addresses and ids masked, quotes plain, full width folded; what names a cause stays."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.classify.wording import folded_octets, masked, wording_of
from omicard_relay.mail import read_reply
from omicard_relay.tables import Strength
from tests.judging import found_by_re2, policies, spliced, texts_of

RULES = policies().rules

SHOWN = {
    "address": ("<mailbox-full@example.com>: no", "<a@b>: no"),
    "full stop stays": ("ann@example.com.", "a@b."),
    "dots of sendmail stay": ("ann@example.com... User unknown", "a@b... User unknown"),
    "quoted local part": ('<"john doe"@example.com> no', "<a@b> no"),
    "address beside Chinese": ("收件人ann@example.com不存在", "收件人a@b不存在"),
    "international address": ("<用戶@例子.example> 不存在", "<a@b> 不存在"),
    "address in a link": ("http://example.com/?e=x@y.z&p=NoSuchUser", "http://example.com/?e=a@b&p=NoSuchUser"),
    "long local part": (f"<{'x' * 90}@example.com> no", "<a@b> no"),
    "code before an address": ("550-ann@example.com no", "550-a@b no"),
    "code and status before an address": ("550-5.1.1-ann@example.com", "550-5.1.1-a@b"),
    "break behind an address": ("ann@example.com\\n550 no", "a@b\\n550 no"),
    "quotes": ("user’s “quota”", 'user\'s "quota"'),
    "full width": ("ＡＢＣ：５５０", "ABC:550"),
    "Thai AM is one letter": ("ไม่สามารถ จำนวน", "ไม่สามารถ จำนวน"),
    "untouched": ("plain words", "plain words"),
    "Postfix id": ("queued as 4bQ2T13zXyz9", "queued as id0"),
    "Exim id": ("id=1tX2aB-0003Cd-9Z", "id=id0"),
    "long hexadecimal id": ("d2e1a72fcca587249de4f0c - x", "id0 - x"),
    "long number": ("ticket 123456789012", "ticket 0000000000"),
    "IPv4": ("[203.0.113.9]:25 is listed", "[192.0.2.1]:25 is listed"),
    "IPv6": ("[2001:db8:7:8::17:2] is listed", "[::0] is listed"),
}

#: What names a cause, and looks a little like an id.
DECISIVE = [
    token
    for line in """
S3150 S3140 TSS04 TSS09 BL000010 BL21 AS(201806281) AS(42004) HM08 HVU:B1 DYN:T1 RLY:SN RP-001 SC-001 DY-002 OU-001 CS01
5.7.606 5.7.1 4.7.650 4.2.2 x.2.2 RESOLVER.ADR.RecipNotFound RESOLVER.RST.RecipSizeLimit.ToNotFound OFR_506 OFR_417 LPN007_401
[C11] [internal] (#5.1.1) 550 421 452 554 IB603a IB212 AUP#1260 #4.2.2 AUPSC 10.1.2.3 127.0.0.1 192.168.7.8 172.16.0.1 0.0.0.0
169.254.1.1 2026-11-24 24/11/2026 11:22:33 SPF DKIM DMARC t3.xxx 90days 1,000 20MB 10240000 ipv6-smtp-a1 no-such-user
mailbox-full zen.spamhaus.org b.barracudacentral.org SBL123456 sender_verify_failed JunkMail rejected_by_policy ERR_4711 m5.6.7
""".splitlines()
    for token in line.split()
]


@pytest.mark.parametrize(("text", "shown"), SHOWN.values(), ids=SHOWN.keys())
def test_wording(text: str, shown: str) -> None:
    assert wording_of(text).shown == shown


@pytest.mark.parametrize("token", DECISIVE)
def test_what_names_a_cause_stays(token: str) -> None:
    for text in (token, f"550 {token} x", f"({token})", f"{token}, x", f"x {token}."):
        assert masked(text) == text


def test_no_words_of_a_shipped_rule_are_changed() -> None:
    for rule in RULES:
        if rule.strength in (Strength.TOKEN, Strength.TEXT):
            for words in rule.phrases:
                assert masked(words) == words, rule.id
        assert [masked(host) for host in rule.host] == list(rule.host)


def test_masking_takes_no_rule_from_an_example() -> None:
    """What google-re2 finds in the words as they came, it still finds once they are masked."""
    lost = []
    for index, rule in enumerate(RULES):
        if rule.strength not in (Strength.TOKEN, Strength.TEXT):
            continue
        for example in rule.examples:
            inner = read_reply(example).innermost
            plain, shown = folded_octets(inner), wording_of(inner).octets
            if plain == shown or not inner.isascii():
                continue
            if index in found_by_re2(RULES, plain) and index not in found_by_re2(RULES, shown):
                lost.append(rule.id)
    assert lost == []


def test_shipped_words_are_in_the_form_of_a_wording() -> None:
    """Else no text would ever hold them: NFKC, plain quotes, plain dashes."""
    for rule in RULES:
        for words in (rule.pattern, rule.unless, *rule.phrases):
            if not words.isascii():
                assert (
                    wording_of(words.replace("…", "~").replace("@", "~")).shown.split()
                    == masked(words.replace("…", "~").replace("@", "~")).split()
                ), rule.id


PIECES = st.sampled_from(
    [
        "a@b", "ann@", "@", "x@y.z", "漢", "@漢", "/z@w", "'", '<"', '"@x>', "550", "-", ".", "!", "1.2.3.4", "10.0.0.1", "::1",
        "1:2:3:", "aBcDeF-", "1234567", "abc123", "id0", "0000000000", "٣٤٥٦٧٨٩٠١٢", "\x00", "\\n", " ", "=", "x" * 70,
        "x1" * 130, "&", "?", "#", "5.1.1",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=80))
@settings(max_examples=1000, deadline=None)
def test_masking_twice_changes_nothing_more(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


@given(st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=200))
@settings(max_examples=600, deadline=None)
def test_any_text_has_a_wording(text: str) -> None:
    wording = wording_of(" ".join(text.replace("\x00", " ").split()))
    assert "\n" not in wording.shown
    assert wording.octets == folded_octets(wording.shown)
    assert wording_of(wording.shown) == wording
    for start in range(0, len(wording.octets), 7):
        assert isinstance(wording.cut(start, start + 9), str)


def test_masking_twice_changes_nothing_more_in_spliced_texts() -> None:
    for text in (*texts_of(RULES), *spliced(1500, seed=41)):
        once = masked(text)
        assert masked(once) == once
        assert wording_of(wording_of(text).shown).shown == wording_of(text).shown


def test_ids_and_addresses_of_any_kind_leave_the_same_wording() -> None:
    chance = random.Random(43)  # noqa: S311  the same texts every time
    forms = set()
    for _ in range(300):
        name = "".join(chance.choice("abcxyz0189._+-") for _ in range(chance.randrange(1, 90))).strip(".")
        queue_id = f"4{chance.randrange(16**9):09X}{chance.choice('BCDFG')}123"
        ip = ".".join(str(chance.choice((1, 9, 100, 203))) for _ in range(4))
        domain = ".".join(part for part in name.replace("+", "").strip("-_.").split(".") if part) or "x"
        forms.add(masked(f"550 5.1.1 <n{name}@{domain}.example> unknown, {ip}, {queue_id}"))
    assert forms == {"550 5.1.1 <a@b> unknown, 192.0.2.1, id0"}


def test_words_are_cut_in_their_own_case() -> None:
    assert wording_of("The Mailbox is FULL").cut(4, 19) == "Mailbox is FULL"
    text = "信箱 FULL"
    assert wording_of(text).cut(7, 11) == "FULL"


@pytest.mark.parametrize("text", ["İİ full", "ẞ FULL", "\ud800 full"])
def test_words_are_cut_where_lower_case_has_another_length(text: str) -> None:
    wording = wording_of(text)
    start = wording.octets.index(b"full")
    assert "full" in wording.cut(start, start + 4).lower()


def test_both_sigmas_are_one_letter() -> None:
    assert folded_octets("ΟΔΟΣ") == folded_octets("οδος") == "οδοσ".encode()


@pytest.mark.parametrize(
    "piece",
    ["@", "a@", "a@b", '<"', "1.", "1:", "a1", "aaaaaa-", "550-", "漢@", "a@b.-", "/a@", "9", "\x00", "a@b ", '<"a"@'],
)
def test_a_hostile_million_is_masked_in_bounded_time(piece: str) -> None:
    masked(piece * (1_000_000 // len(piece)))  # quadratic over the whole, it would take hours


def test_words_behind_a_letter_that_grows_in_lower_case_keep_their_case() -> None:
    wording = wording_of("552 İleti BOYUTU S3150")
    at = wording.octets.index(b"s3150")
    assert wording.cut(at, at + 5) == "S3150"
    assert wording.cut(0, at).startswith("552 İleti BOYUTU")
