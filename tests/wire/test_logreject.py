"""Refusals of our own Postfix, in the shapes that Postfix 3.7 wrote in a private run, with made-up names."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import Outcome, Stage
from omicard_relay.wire import Rejected, parse_line

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
HEAD = "Nov 24 08:31:31 out postfix/smtpd[123]: "
CLEANUP = "Nov 24 08:31:31 out postfix/cleanup[123]: 4jYc3g40c3zJ9RY: "
RCPT = (
    HEAD + "NOQUEUE: reject: RCPT from app.example[192.0.2.7]: 450 4.3.2 <ann@a.example>: Recipient address rejected: "
    "go away; later; from=<s@s.example> to=<ann@a.example> proto=ESMTP helo=<app.example>"
)


def read(line: str) -> Rejected:
    event = parse_line(line.encode() + b"\n", now=NOW)
    assert isinstance(event, Rejected), line
    return event


def test_a_refused_recipient() -> None:
    event = read(RCPT)
    attempt = event.attempt
    assert (event.client_host, event.client_ip, event.queue_id) == ("app.example", "192.0.2.7", "")
    assert (attempt.recipient, attempt.sender, attempt.program) == ("ann@a.example", "s@s.example", "smtpd")
    assert (attempt.outcome, attempt.is_attempt, attempt.enhanced_status) == (Outcome.REJECTED, False, "4.3.2")
    assert attempt.reply.text == "450 4.3.2 <ann@a.example>: Recipient address rejected: go away; later"
    assert (attempt.reply.reply_code, attempt.reply.stage, attempt.reply.host) == (450, Stage.RCPT, None)
    assert len(attempt.line_digest) == 64


@pytest.mark.parametrize(
    ("line", "stage", "recipient", "sender", "queue_id"),
    [
        pytest.param(
            HEAD + "NOQUEUE: reject: CONNECT from unknown[192.0.2.9]: 554 5.7.1 <unknown[192.0.2.9]>: Client host "
            "rejected: no client; proto=SMTP",
            Stage.CONNECT,
            "",
            None,
            "",
            id="connect",
        ),
        pytest.param(
            HEAD
            + "NOQUEUE: reject: EHLO from app.example[2001:db8::7]: 501 5.5.2 <h..example>: Helo command rejected: "
            "Invalid name; proto=SMTP helo=<h..example>",
            Stage.HELO,
            "",
            None,
            "",
            id="ehlo",
        ),
        pytest.param(
            HEAD
            + "NOQUEUE: reject: MAIL from app.example[192.0.2.7]: 554 5.7.1 <bad@s.example>: Sender address rejected: "
            "no sender; from=<bad@s.example> proto=ESMTP helo=<app.example>",
            Stage.MAIL,
            "",
            "bad@s.example",
            "",
            id="mail",
        ),
        pytest.param(
            HEAD + "4jYc3g40c3zJ9RY: reject: DATA from app.example[192.0.2.7]: 554 5.7.1 <s@s.example>: Sender address "
            "rejected: no data; from=<s@s.example> to=<ann@a.example> proto=ESMTP helo=<app.example>",
            Stage.DATA,
            "ann@a.example",
            "s@s.example",
            "4jYc3g40c3zJ9RY",
            id="data-with-a-queue-id",
        ),
        pytest.param(
            HEAD + "4jYc3g40c3zJ9RY: reject: END-OF-MESSAGE from app.example[192.0.2.7]: 450 4.7.1 <s@s.example>: no; "
            "from=<s@s.example> to=<ann@a.example> proto=ESMTP helo=<app.example> sasl_username=<app>",
            Stage.END_OF_DATA,
            "ann@a.example",
            "s@s.example",
            "4jYc3g40c3zJ9RY",
            id="end-of-message-with-login",
        ),
        pytest.param(
            CLEANUP + "milter-reject: END-OF-MESSAGE from app.example[192.0.2.7]: 5.7.1 Spam message rejected; "
            "from=<> to=<ann@a.example> proto=ESMTP helo=<app.example>",
            Stage.END_OF_DATA,
            "ann@a.example",
            "",
            "4jYc3g40c3zJ9RY",
            id="milter-and-null-reverse-path",
        ),
        pytest.param(
            "Nov 24 08:31:31 in postfix/postscreen[9]: NOQUEUE: reject: RCPT from [192.0.2.9]:41234: 550 5.7.1 Service "
            "unavailable; client [192.0.2.9] blocked; from=<s@s.example>, to=<ann@a.example>, proto=ESMTP, helo=<x>",
            Stage.RCPT,
            "ann@a.example",
            "s@s.example",
            "",
            id="postscreen",
        ),
        pytest.param(
            CLEANUP + "reject: header Subject: bad from app.example[192.0.2.7]; from=<s@s.example> to=<ann@a.example> "
            "proto=ESMTP helo=<app.example>: 5.7.1 no bad subjects",
            Stage.END_OF_DATA,
            "ann@a.example",
            "s@s.example",
            "4jYc3g40c3zJ9RY",
            id="header-check",
        ),
        pytest.param(
            CLEANUP + "reject: body click here from local; from=<s@s.example> to=<ann@a.example>: 5.7.1 no",
            Stage.END_OF_DATA,
            "ann@a.example",
            "s@s.example",
            "4jYc3g40c3zJ9RY",
            id="body-check-of-a-local-submission",
        ),
    ],
)
def test_stages_and_writers(line: str, stage: Stage, recipient: str, sender: str | None, queue_id: str) -> None:
    attempt = read(line).attempt
    assert (attempt.reply.stage, attempt.recipient, attempt.sender) == (stage, recipient, sender)
    assert attempt.queue_id == queue_id
    assert attempt.reply.text
    assert "from=<" not in attempt.reply.text


@pytest.mark.parametrize(
    "recipient",
    [
        '"; from=<x@y> to=<victim@v> proto=ESMTP helo=<h>"@a.example',
        '"\\" ; from=<x@y> to=<victim@v> proto=ESMTP helo=<h>"@a.example',
        '"a b, c>"@a.example',
    ],
)
def test_an_address_of_the_client_forges_no_field(recipient: str) -> None:
    line = (
        HEAD + f"NOQUEUE: reject: RCPT from app.example[192.0.2.7]: 554 5.7.1 <{recipient}>: Relay access denied; "
        f"from=<s@s.example> to=<{recipient}> proto=ESMTP helo=<app.example>"
    )
    attempt = read(line).attempt
    assert (attempt.recipient, attempt.sender) == (recipient, "s@s.example")


@pytest.mark.parametrize(
    "forged",
    [
        "; from=<f@f> to=<victim@v> proto=ESMTP helo=<h>: x",
        " from local; from=<f@f> to=<victim@v>: 5.7.1 x",
        " from mx[192.0.2.6]; from=<f@f> to=<victim@v> proto=ESMTP helo=<h>: 5.7.1 x",
    ],
)
def test_a_header_of_the_client_forges_no_field(forged: str) -> None:
    line = CLEANUP + f"reject: header Subject: bad{forged} from local; from=<s@s.example> to=<ann@a.example>: 5.7.1 no"
    event = read(line)
    assert (event.attempt.recipient, event.attempt.reply.text) == ("ann@a.example", "5.7.1 no")


@pytest.mark.parametrize("action", ["reject_warning", "warn", "hold", "discard", "filter", "redirect"])
def test_what_is_not_refused_is_no_event(action: str) -> None:
    assert parse_line(RCPT.replace("reject:", f"{action}:").encode() + b"\n", now=NOW) is None


def test_a_line_whose_end_was_not_seen_is_no_event() -> None:
    raw = RCPT.encode()
    assert {parse_line(raw[:length], now=NOW, whole=False) for length in range(len(raw) + 1)} == {None}


def test_half_a_line_before_the_protocol_is_no_event() -> None:
    raw = RCPT[: RCPT.index("; from=<") + 20].encode()
    assert [parse_line(raw[:length], now=NOW) for length in range(len(raw))] == [None] * len(raw)


@given(
    st.lists(st.sampled_from(["; from=<", " to=<", ">", '"', "\\", " proto=", " helo=<", ": ", "x@y", " from a[1]"]))
)
def test_no_mixture_of_fields_raises(parts: list[str]) -> None:
    for line in (RCPT.partition("450")[0] + "".join(parts), CLEANUP + "reject: header " + "".join(parts)):
        parse_line(line.encode() + b"\n", now=NOW)
