"""Words about the dialogue name its stage."""

import pytest

from omicard_relay.mail import Stage
from omicard_relay.mail.stagewords import stage_of

WORDS = {
    "end of DATA": Stage.END_OF_DATA,
    "end_of_data": Stage.END_OF_DATA,
    "sending message body": Stage.END_OF_DATA,
    "DATA": Stage.DATA,
    "RCPT TO": Stage.RCPT,
    "RCPT_TO": Stage.RCPT,
    "MAIL FROM": Stage.MAIL,
    "MAIL": Stage.MAIL,
    "EHLO": Stage.HELO,
    "HELO": Stage.HELO,
    "LHLO": Stage.HELO,
    "performing the EHLO handshake": Stage.HELO,
    "STARTTLS": Stage.STARTTLS,
    "AUTH LOGIN": Stage.AUTH,
    "QUIT": Stage.QUIT,
    "receiving the initial server greeting": Stage.CONNECT,
    "initial connection": Stage.CONNECT,
    "their mail server": Stage.UNKNOWN,
    "": Stage.UNKNOWN,
}


@pytest.mark.parametrize(("words", "stage"), WORDS.items())
def test_stage_of(words: str, stage: Stage) -> None:
    assert stage_of(words) is stage
    assert stage_of(words.lower()) is stage
