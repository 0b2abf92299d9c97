"""What is no new address although it stands near words that announce one; and where one is announced among others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.readers.moved import new_address
from omicard_relay.tables.responders import Responders, load_responders

TABLE = load_responders()
KNOWN = frozenset({"ann@old.example", "news@sender.example"})


def found(text: str) -> str | None:
    return new_address(text, known=KNOWN, responders=TABLE)


NONE = {
    "own": "My new address is ann@old.example.",
    "ours": "Please update your records: news@sender.example is no longer read by me. My new address follows by post.",
    "deputy": "For urgent matters please contact bob@old.example.",
    "deputy-left": "I have left the company. My colleague Bob will help you: bob@old.example.",
    "successor": "Ann has left the company. Her successor is bob@old.example.",
    "desk-left": "Ann is no longer with us. Please write to support@old.example.",
    "left-urgent": "I no longer work here. In urgent cases contact bob@old.example.",
    "role": "This mailbox is no longer monitored. Please do not write to postmaster@old.example.",
    "noreply": "My new address will follow. Sent from noreply@host.example.",
    "old-only": "ann.lee@before.example is no longer in use.",
    "old-named": "My old address ann.lee@before.example will be closed in May.",
    "away-de": "Ich bin bis zum 3. Mai im Urlaub. Ab sofort wenden Sie sich bitte an bob@old.example.",
    "away-fr": "Je suis en congés jusqu'au 3 mai. Merci d'écrire désormais à bob@old.example.",
    "away-zh-tw": "我休假中，請改寄 bob@old.example",
    "away-zh-cn": "我正在休假，请改发 bob@old.example",
    "away-ja": "5月3日まで不在にしております。今後は bob@old.example までご連絡ください。",
    "deputy-zh-tw": "王小明已離職，職務由同事李大華接任：bob@old.example",
    "deputy-zh-cn": "王小明已离职，紧急事务请联系 bob@old.example",
    "deputy-ja": "佐藤は退職いたしました。後任は鈴木 bob@old.example です。",
    "deputy-ko": "퇴사하였습니다. 급한 일은 bob@old.example 으로 연락해 주세요.",
    "deputy-de": "Frau Muster ist ausgeschieden. Ihr Nachfolger ist bob@old.example",
    "deputy-ru": "Я уволился. По срочным вопросам пишите на bob@old.example",
    "disclaimer": "I am away. If you are not the intended recipient write to legal@old.example.",
    "moved-house": "I have moved to Berlin. Ask bob@old.example for the keys.",
    "no-address": "My new address is on the card.",
    "broken": "My new address is ann@, ann@nowhere or @new.example",
}


@pytest.mark.parametrize("name", NONE)
def test_no_new_address(name: str) -> None:
    assert found(NONE[name]) is None


FOUND = {
    "after-deputy": "I am away until Monday; in urgent cases bob@old.example. From May my new address is ann@new.example.",
    "before-deputy": "My new address is ann@new.example. For urgent matters contact bob@old.example.",
    "old-and-new-lines": "Old address: ann.lee@before.example\nNew address: ann@new.example",
    "arrow": "My address has changed: ann.lee@before.example -> ann@new.example",
    "replaced": "ann.lee@before.example has been replaced by ann@new.example.",
    "instead-of": "Please use my new address ann@new.example instead of ann.lee@before.example.",
    "private": "I have left the company. You can reach me privately at ann@new.example.",
    "outlook-link": "My new address is ann@new.example<mailto:ann@new.example>.",
    "quotes": 'My new address is "ann@new.example".',
    "brackets-zh": "我的新信箱【ann@new.example】",
    "no-space-zh": "新邮箱ann@new.example请惠存",
    "kana": "新しいメールアドレスはann@new.exampleです",
    "hidden": "My new address is ann[at]new[dot]example",
    "braces": "My new address is ann {at} new.example",
    "old-and-new-zh": "舊信箱：ann.lee@before.example\n新信箱：ann@new.example",
    "old-and-new-ja": "旧アドレス：ann.lee@before.example\n新アドレス：ann@new.example",
    "old-and-new-ko": "기존 주소: ann.lee@before.example\n새 주소: ann@new.example\n새 이메일 주소를 사용해 주세요.",
    "asks-ja": "このアドレスは廃止しました。お手数ですが ann@new.example へお送りください。",
    "asks-ko": "이 메일 주소는 더 이상 사용하지 않습니다. ann@new.example 으로 보내 주세요.",
}


@pytest.mark.parametrize("name", FOUND)
def test_new_address_among_others(name: str) -> None:
    assert found(FOUND[name]) == "ann@new.example"


def test_without_a_table_nothing_is_announced() -> None:
    assert new_address("My new address is ann@new.example", known=KNOWN, responders=Responders()) is None


@pytest.mark.parametrize(
    "text",
    [
        "my new address is a@b.example " * 4_000,
        "(at)" * 20_000,
        "from a@b.example to " * 4_000,
        "＠" * 60_000,
        "new address " * 8_000 + "@",
    ],
    ids=["many", "hidden", "old", "wide", "words"],
)
def test_hostile_text_is_read(text: str) -> None:
    assert found(text) in (None, "a@b.example")


@given(st.text(max_size=300))
def test_any_text_never_raises(text: str) -> None:
    found(f"{text} my new address is ann@new.example {text}")
