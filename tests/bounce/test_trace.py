"""Under which queue id our own Postfix made a mail: its topmost trace line alone tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.bounce.trace import own_queue_id

OWN = b"Received: by relay.example.com (Postfix)\r\n\tid 4QAAAAA1bzz9; Tue, 24 Nov 2026 08:00:00 +0000 (UTC)\r\n"
FOREIGN = (
    b"Received: from mx.evil.example (mx.evil.example [192.0.2.66])\r\n\tby relay.example.com (Postfix) with ESMTP id 4QBBBBB1"
    b"\r\n\tfor <b+x@bounces.example>; Tue, 24 Nov 2026 08:00:00 +0000 (UTC)\r\n"
)
REST = b"From: MAILER-DAEMON\r\nSubject: Undelivered\r\n\r\nwords\r\n"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        pytest.param(OWN + REST, "4QAAAAA1bzz9", id="bounce of our own Postfix"),
        pytest.param((OWN + REST).replace(b"\r\n", b"\n"), "4QAAAAA1bzz9", id="bare line feeds"),
        pytest.param(b"Return-Path: <>\r\nX-Seen: 1\r\n" + OWN + REST, "4QAAAAA1bzz9", id="fields above it"),
        pytest.param(OWN.replace(b"(Postfix)", b"(Our Mailer 2)") + REST, "4QAAAAA1bzz9", id="another mail_name"),
        pytest.param(OWN.replace(b"4QAAAAA1bzz9", b"0A1B2C3D4E") + REST, "0A1B2C3D4E", id="short queue id"),
        pytest.param(FOREIGN + OWN + REST, None, id="from outside, with an invented line below"),
        pytest.param(FOREIGN + REST, None, id="from outside"),
        pytest.param(REST + OWN, None, id="in the body"),
        pytest.param(REST, None, id="none"),
        pytest.param(b"X: " + b"a" * 70_000 + b"\r\n" + OWN + REST, None, id="far below"),
        pytest.param(b"Received: by x (Postfix) id ; now\r\n\r\n", None, id="no id"),
        pytest.param(OWN.replace(b"(Postfix)", b"(Postfix, from userid 33)") + REST, None, id="of sendmail(1)"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_only_a_mail_that_postfix_made_itself_has_one(raw, found):
    assert own_queue_id(raw) == found


@given(st.binary(max_size=400), st.integers(0, 300))
def test_any_bytes_are_read(octets, at):
    own_queue_id(octets)
    raw = OWN + REST
    own_queue_id(raw[:at] + octets + raw[at:])
