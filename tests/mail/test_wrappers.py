"""Peeling: a line that may not be wrapped is not, whatever its words; peeling ends, and takes nothing but wrappers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.mail import Reply, Stage, read_reply
from omicard_relay.mail.reading import _codes, _one_line
from omicard_relay.mail.wrappers import _LAYERS, MAX_LAYERS, Peeled, may_be_wrapped, peel
from tests.judging import WRAPPERS, policies, spliced, texts_of

PIECES = st.sampled_from(
    [
        "host mx.example[192.0.2.1] said: ", "host mx.example says: ", "server a[1.1.1.1] responded: ",
        "(in reply to RCPT TO command)", "refused to talk to me: ", "SMTP error from remote mail server after ",
        "RCPT TO:<a@b>: ", "end of data: ", "<<< ", "550 no ",
        ">>> DATA ", "503 ", "[RCPT_TO]", "[internal] ", "[938] ", "smtp; ", "Diagnostic-Code: ", "x-local; ", "#550 ",
        "#SMTP#", "##rfc", "#< #5.1.1 smtp;", "last error: ", "(last transfail: ", "Remote Server returned ", "'550 5.7.1 no'",
        "LED=452 ", "response was: ", "host replied: ", "responded as follows: ", "following error: ", "(reason: ",
        "reported error: ", "5.1.0 - Unknown address error 550-'", "Giving up on 192.0.2.1.", "does not like recipient. ",
        "I'm not going to try again; this message has been in the queue too long.", "connect to mx.example[192.0.2.1]:25: ",
        "lost connection with mx.example[192.0.2.1] while sending RCPT TO", "delivery temporarily suspended: ",
        "error_code: 550",
        "SMTP ERROR (STATE 14): ", "while talking to mx.example.: ", "user unknown ", "Remote host said: ", ")", "]", ">",
        "'", "#", "(", " ",
    ]
)  # fmt: skip
LINES = st.lists(PIECES, max_size=7).map(lambda pieces: " ".join("".join(pieces).split()))


def taken(line: str) -> list[str]:
    """The layers that would take something off, or tell something."""
    whole = Peeled(text=line)
    found = [(layer.__name__, layer(whole)) for layer in _LAYERS]
    return [name for name, peeled in found if peeled is not None and peeled.text and peeled != whole]


@given(LINES | st.text(max_size=80).map(lambda text: " ".join(text.split())))
@settings(max_examples=1000, deadline=None)
def test_a_line_that_may_not_be_wrapped_is_not(line: str) -> None:
    if not may_be_wrapped(line):
        assert taken(line) == []


def test_no_spliced_line_that_may_not_be_wrapped_is() -> None:
    bare = 0
    for text in (*texts_of(policies().rules), *spliced(4000, seed=47)):
        line = _one_line(text)
        if not may_be_wrapped(line):
            bare += 1
            assert taken(line) == [], line
    assert bare > 1000


@pytest.mark.parametrize("letter", ["İ", "ı", "ſ", "K"])
def test_letters_that_look_like_others_open_no_wrapper(letter: str) -> None:
    for word in (
        "[internal] no",
        "x [internal] no",
        "remote server returned '550 no'",
        "delivery temporarily suspended: no",
        "led=550",
    ):
        for plain in "ISK":
            line = word.upper().replace(plain, letter)
            if letter in line and not may_be_wrapped(line):
                assert taken(line) == [], line


def test_reading_a_bare_line_is_reading_a_peeled_one() -> None:
    """What read_reply leaves out for speed changes nothing."""
    for text in (*texts_of(policies().rules), *spliced(2000, seed=53)):
        peeled = peel(_one_line(text))
        code, status, inner = _codes(peeled.text, peeled.reply_code)
        assert read_reply(text) == Reply(text, inner, code, status, peeled.stage, peeled.host, peeled.ip)


@given(LINES)
@settings(max_examples=300, deadline=None)
def test_peeling_ends_and_gives_a_part_of_the_line(line: str) -> None:
    peeled = peel(line)
    assert len(peeled.text) <= len(line)
    assert not line or peeled.text or not line.strip()


def test_every_example_keeps_its_codes_in_every_wrapper() -> None:
    for text in texts_of(policies().rules)[::9]:
        if "'" in text or may_be_wrapped(_one_line(text)) or not text[:3].isdigit():
            continue
        plain = read_reply(text)
        for wrapper in WRAPPERS:
            wrapped = read_reply(wrapper.replace("{}", text))
            assert (wrapped.reply_code, wrapped.enhanced_status) == (plain.reply_code, plain.enhanced_status), wrapper


@pytest.mark.parametrize(
    ("line", "innermost"),
    [
        ("The response from the remote server was: <ann@example.com>: user unknown", "<ann@example.com>: user unknown"),
        ("The response from the remote server was: <ann@example.com> unknown <x>", "<ann@example.com> unknown <x>"),
        ("host replied: '<ann@example.com> unknown'", "<ann@example.com> unknown"),
        ("last error: [mx.example] said no [really]", "[mx.example] said no [really]"),
        ("host replied: <550 5.1.1 no such user>", "550 5.1.1 no such user"),
    ],
)
def test_an_address_in_brackets_is_no_quotation(line: str, innermost: str) -> None:
    assert peel(line).text == innermost


def test_wrappers_nested_deeper_than_the_limit_are_left() -> None:
    line = "host a.example[192.0.2.1] said: " * (MAX_LAYERS + 30) + "550 no"
    assert peel(line).stage is Stage.UNKNOWN
    assert "550 no" in peel(line).text
