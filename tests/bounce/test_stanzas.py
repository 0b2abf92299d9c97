"""Recipients and their words in plain-text reports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.stanzas import has_code, read_stanzas, remote_words

FORMS = {
    "colon": ("<ann@example.com>: 550 no\n", "550 no"),
    "colon-then-line": ("<ann@example.com>:\n550 no\n", "550 no"),
    "line-of-its-own": ("  ann@example.com\n    550 no\n", "550 no"),
    "blank-line-between": ("  ann@example.com\n\n550 no\n", "550 no"),
    "heading-between": ("ann@example.com\n\nBecause:\n\n550 no\n", "Because:\n550 no"),
    "label": ("Recipient: ann@example.com\nReason: 550 no\n", "Reason: 550 no"),
    "label-zh": ("收件人：ann@example.com\n550 no\n", "550 no"),
    "bullet": (" * ann@example.com: 550 no\n", "550 no"),
    "mailto": ("ann@example.com<mailto:ann@example.com>\n550 no\n", "550 no"),
    "quoted": ("'ann@example.com'\n550 no\n", "550 no"),
    "reason-above": ("Nobody here by that name\nann@example.com\n", "Nobody here by that name"),
    "label-says-it": ("Unknown user: ann@example.com\n", "Unknown user: ann@example.com"),
    "prose": ("There was an error with your mail to <ann@example.com>.\n\nmx said:\n550 no\n", "550 no"),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    text, words = FORMS[form]
    (stanza,) = read_stanzas(f"Hello, this failed.\n\n{text}")
    assert stanza.recipient == "ann@example.com"
    assert words in stanza.words


def test_stanza_in_which_a_server_speaks_wins() -> None:
    text = "ann@example.com\nSorry, see 5.1.1 in the book.\n\nFor admins:\n\nann@example.com\nreturned '550 5.1.1 no'\n"
    (stanza,) = read_stanzas(text)
    assert "550 5.1.1 no" in stanza.words


def test_several_recipients_keep_their_own_words() -> None:
    text = "<ann@example.com>:\n550 no\n\n<bob@example.com>:\n452 full\n"
    assert [(item.recipient, item.words) for item in read_stanzas(text)] == [
        ("ann@example.com", "550 no"),
        ("bob@example.com", "452 full"),
    ]


def test_own_addresses_in_prose_are_no_recipients() -> None:
    text = "Sorry news@sender.example, nothing reached ann@example.com. Ask postmaster@example.com.\n"
    found = read_stanzas(text, not_these=["news@sender.example"])
    assert [item.recipient for item in found] == ["ann@example.com"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sorry.\n\nThe response from the remote server was:\n550 5.1.1 no\n", "550 5.1.1 no"),
        ("Technical details of temporary failure:\nNo connection.\n", "No connection."),
        ("We tried.\n\n452 4.2.2 full\nreally\n\nBye", "452 4.2.2 full\nreally"),
        ("Call 555 1234 or read page 404 of the book", ""),
        ("Sent on 2026-03-03 with 550 octets", ""),
    ],
    ids=["heading", "heading-without-code", "code", "telephone", "number"],
)
def test_servers_own_words(text: str, words: str) -> None:
    assert remote_words(text) == words


@pytest.mark.parametrize(
    ("words", "speaks"),
    [("550 no", True), ("said: 550-5.1.1 no", True), ("(#5.1.1)", True), ("no", False), ("in 1550 words", False)],
)
def test_code_before_words(words: str, speaks: bool) -> None:
    assert has_code(words) is speaks


@given(st.text(alphabet="ab@.<>:\n 5-", max_size=300))
def test_any_text_never_raises(text: str) -> None:
    read_stanzas(text)
    remote_words(text)


def test_recipients_in_a_numbered_table_keep_their_own_words() -> None:
    text = "1. ann@far.example   結果:帳號不存在\n2. bob@far.example   結果:信箱已滿\n"
    assert [(one.recipient, one.words) for one in read_stanzas(text)] == [
        ("ann@far.example", "結果:帳號不存在"),
        ("bob@far.example", "結果:信箱已滿"),
    ]
