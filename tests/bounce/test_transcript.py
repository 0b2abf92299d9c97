"""Retold sessions."""

from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.transcript import read_transcript
from omicard_relay.mail import Stage


def test_commands_tell_the_stage_of_each_refusal() -> None:
    text = (
        "... while talking to mx.far.example.:\n"
        "<<< 554 not you\n"
        ">>> MAIL From:<a@b.example> SIZE=1\n<<< 250 good\n"
        ">>> RCPT To:<c@d.example>\n<<< 550-no\n<<< 550 really\n"
        ">>> DATA\n<<< 503 first RCPT\n"
    )
    found = read_transcript(text)
    assert [(item.stage, item.reply) for item in found] == [
        (Stage.CONNECT, "554 not you"),
        (Stage.RCPT, "550-no 550 really"),
        (Stage.DATA, "503 first RCPT"),
    ]
    assert {item.host for item in found} == {"mx.far.example"}
    assert found[1].command == "RCPT To:<c@d.example>"


def test_text_without_a_session() -> None:
    assert read_transcript("nothing\n> quoted\n") == ()


@given(st.text(alphabet="<>45 RCPT\n:.", max_size=300))
def test_any_text_never_raises(text: str) -> None:
    read_transcript(text)
