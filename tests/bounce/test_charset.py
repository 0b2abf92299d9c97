"""Charsets and encodings: whatever is claimed, text comes out."""

import base64
import codecs
import encodings.aliases
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.charset import decode_bytes, decode_parameter, decode_transfer, decode_words

TEXTS = {
    "big5": "無法傳遞給這個收件人",
    "gb18030": "无法传递给这个收件人",
    "gb2312": "无法传递给这个收件人",
    "iso-2022-jp": "配信できませんでした",
    "shift_jis": "配信できませんでした",
    "euc-jp": "配信できませんでした",
    "euc-kr": "메일을 배달하지 못했습니다",
    "koi8-r": "Письмо не доставлено",
    "windows-1251": "Письмо не доставлено",
    "iso-8859-2": "Przesyłka nie dotarła",
    "utf-16": "nicht zugestellt",
}


@pytest.mark.parametrize("charset", TEXTS)
def test_declared_charset(charset: str) -> None:
    assert decode_bytes(TEXTS[charset].encode(charset), charset.upper()) == TEXTS[charset]


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("big5", "您的信件無法送達收件人，因為這個信箱已經不在我們的主機上"),
        ("gb18030", "您的邮件无法送达收件人，因为这个信箱已经不在我们的主机上"),
        ("euc-kr", "보내신 메일을 수신자에게 전달하지 못했습니다"),
        ("iso-2022-jp", "宛先が見つかりません"),
        ("windows-1252", "Boîte aux lettres pleine, réessayez plus tard"),
    ],
)
@pytest.mark.parametrize("claimed", ["", "x-unknown"])
def test_undeclared_charset_is_guessed(charset: str, text: str, claimed: str) -> None:
    assert decode_bytes(text.encode(charset), claimed) == text


@pytest.mark.parametrize("claimed", ["us-ascii", "iso-8859-1", "x-nonsense", "gb2312"])
def test_valid_utf8_wins_over_the_claim(claimed: str) -> None:
    assert decode_bytes("信箱已滿".encode(), claimed) == "信箱已滿"


@pytest.mark.parametrize(
    "codec", sorted({*encodings.aliases.aliases.values(), "idna", "punycode", "undefined", "rot_13"})
)
def test_no_codec_of_the_library_raises_or_takes_long(codec: str) -> None:
    begin = time.process_time()
    decode_bytes(b"\xfe-a1" * 20_000, codec)
    assert time.process_time() - begin < 2
    assert codecs  # the table above is the library's own


@given(st.binary(max_size=200), st.text(max_size=20))
def test_any_bytes_under_any_name_give_text(raw: bytes, charset: str) -> None:
    assert isinstance(decode_bytes(raw, charset), str)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ("=?utf-8?B?5L+h566x?=", "信箱"),
        ("=?UTF-8?q?a_b=3F?= c", "a b? c"),
        ("=?big5?B?q0g=?= =?big5?B?vWM=?=", "信箱"),
        # One character split over two words, as many senders do.
        ("=?utf-8?B?5L8=?=\t=?utf-8?B?oQ==?=", "信"),
        ("x =?utf-8*en?Q?y?= z", "x y z"),
        ("=?utf-8?B?broken", "=?utf-8?B?broken"),
        ("=?no-such?Q?=E4bc?=", "äbc"),
        ("=?utf-8?B?!!!?= tail", " tail"),
    ],
)
def test_encoded_words(raw: str, text: str) -> None:
    assert decode_words(raw) == text


@given(st.text(max_size=200))
def test_any_header_text_never_raises(text: str) -> None:
    decode_words(text)


@given(st.text(min_size=1, max_size=40))
def test_encoded_word_is_the_inverse_of_encoding(text: str) -> None:
    word = f"=?utf-8?B?{base64.b64encode(text.encode()).decode()}?="
    assert decode_words(word) == text


def test_extended_parameter() -> None:
    assert decode_parameter("utf-8'zh-TW'%E4%BF%A1") == "信"
    assert decode_parameter("no quotes") == "no quotes"


@pytest.mark.parametrize(
    ("raw", "encoding", "octets"),
    [
        (b"aGVsbG8=", "base64", b"hello"),
        (b"aGVs\r\nbG8", "BASE64", b"hello"),
        (b"aGVsbG8=aGVsbG8=", "base64", b"hellohello"),
        (b"a", "base64", b""),
        (b"a=3Db=\r\nc", "quoted-printable", b"a=bc"),
        (b"as it is", "x-own", b"as it is"),
    ],
    ids=["padded", "folded-unpadded", "two-joined", "one-letter", "quoted-printable", "unknown"],
)
def test_transfer_encodings(raw: bytes, encoding: str, octets: bytes) -> None:
    assert decode_transfer(raw, encoding) == octets


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "7bit", ""]))
def test_any_octets_under_any_encoding_never_raise(raw: bytes, encoding: str) -> None:
    decode_transfer(raw, encoding)


@pytest.mark.parametrize("claimed", ["", "us-ascii", "iso-8859-1", "utf-8"])
@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("koi8-r", "Почтовый ящик получателя переполнен, письмо не доставлено."),
        ("windows-1251", "Почтовый ящик получателя переполнен, письмо не доставлено."),
        ("cp932", "あなたのメールはお届けできませんでした。宛先をご確認ください。"),
        ("euc_jp", "あなたのメールはお届けできませんでした。宛先をご確認ください。"),
        ("cp950", "您的信件無法送達，收件人的信箱已滿，請稍後再試。"),
        ("gb18030", "您的邮件无法送达，收件人的邮箱已满，请稍后再试。"),
    ],
)
def test_text_under_no_or_a_wrong_name_is_told_by_its_letters(charset: str, text: str, claimed: str) -> None:
    assert decode_bytes(text.encode(charset), claimed) == text


@pytest.mark.parametrize("claimed", ["", "us-ascii", "iso-8859-1"])
def test_western_letters_are_not_taken_for_cyrillic(claimed: str) -> None:
    text = (
        "Città: è già là, perché è così più bella; è qualità, è libertà, è novità, è però più età, è là, è già, è giù"
    )
    assert decode_bytes(text.encode("windows-1252"), claimed) == text


def test_half_a_character_of_utf7_becomes_a_replacement() -> None:
    assert decode_bytes(b"a +2AA- b", "utf-7") == "a \ufffd b"
