"""Log lines: one event a line, nothing of a client's choice breaks out of its value, and never a content."""

import logging

from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import one_line
from omicard_relay.services.relay.events import Event, _value, log_event


@given(st.text())
def test_a_value_is_one_word_or_one_quoted_text(text):
    value = _value(text)

    assert one_line(value) == value
    quoted = value.startswith('"')
    assert quoted or (value and not any(char in value for char in ' ="'))
    assert not quoted or '"' not in value[1:-1].replace("\\\\", "").replace('\\"', "")


def test_a_line(caplog):
    with caplog.at_level(logging.INFO, "omicard_relay.relay"):
        log_event(Event.HANDED_OVER, submission="abc", queue_id="", reply="250 ok\nevent=forged", recipients=2)

    assert caplog.messages == ['event=handed-over submission=abc reply="250 ok event=forged" recipients=2']


async def test_a_mails_way_is_told_without_its_content(world, caplog):
    await world.start()
    client = await world.client()
    with caplog.at_level(logging.DEBUG, "omicard_relay"):
        assert (await client.mail(b"Subject: very private\r\n\r\nsecret words\r\n")).startswith("250")

    told = "\n".join(caplog.messages)
    (mail,) = world.submissions()
    assert f"event=handed-over submission={mail.id} queue_id=Q0001" in told
    assert f"event=answered submission={mail.id}" in told
    assert "private" not in told
    assert "secret" not in told
