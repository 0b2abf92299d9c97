"""Which line is which event, what is none, and that no bytes can do harm."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.wire import (
    BounceNotice,
    Client,
    Delivery,
    Expired,
    LogEvent,
    MessageId,
    NoticeKind,
    Pickup,
    QueueActive,
    Rejected,
    Removed,
    parse_line,
)

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
TIME = datetime(2026, 11, 24, 8, 31, 31, tzinfo=UTC)
QID = "4jYc3g40c3zJ9RY"
SENT = (
    f"postfix/smtp[7]: {QID}: to=<ann@a.example>, relay=mx.a.example[192.0.2.1]:25, delay=1, delays=0/0/0/1, "
    "dsn=2.0.0, status=sent (250 2.0.0 Ok)"
)


def read(text: str, *, whole: bool = True) -> LogEvent | None:
    return parse_line(f"Nov 24 08:31:31 out {text}\n".encode(), now=NOW, whole=whole)


def test_the_queue_manager_takes_a_mail_up() -> None:
    assert read(f"postfix/qmgr[7]: {QID}: from=<s@s.example>, size=406, nrcpt=2 (queue active)") == QueueActive(
        time=TIME, queue_id=QID, sender="s@s.example", size=406, nrcpt=2, instance="postfix"
    )


@pytest.mark.parametrize(
    "sender", ["", '"a>, size=1, nrcpt=1 (queue active)"@s.example', "a>, status=expired, x@s.example"]
)
def test_a_sender_is_read_whole(sender: str) -> None:
    active = read(f"postfix/qmgr[7]: {QID}: from=<{sender}>, size=406, nrcpt=2 (queue active)")
    assert isinstance(active, QueueActive)
    assert (active.sender, active.size) == (sender, 406)
    expired = read(f"postfix/qmgr[7]: {QID}: from=<{sender}>, status=expired, returned to sender")
    assert isinstance(expired, Expired)
    assert expired.sender == sender


@pytest.mark.parametrize(("word", "forced"), [("expired", False), ("force-expired", True)])
def test_expiry(word: str, forced: bool) -> None:
    assert read(f"postfix/qmgr[7]: {QID}: from=<s@s.example>, status={word}, returned to sender") == Expired(
        time=TIME, queue_id=QID, sender="s@s.example", forced=forced, instance="postfix"
    )


def test_removal() -> None:
    assert read(f"postfix-out/qmgr[7]: {QID}: removed") == Removed(time=TIME, queue_id=QID, instance="postfix-out")


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        pytest.param("", (None, None, None), id="plain"),
        pytest.param(
            ", orig_queue_id=4F9D1abc, orig_client=app.example[192.0.2.7]",
            ("4F9D1abc", "app.example[192.0.2.7]", None),
            id="behind-a-content-filter",
        ),
        pytest.param(
            ", orig_client=app.example[2001:db8::7]", (None, "app.example[2001:db8::7]", None), id="client-only"
        ),
        pytest.param(", sasl_method=PLAIN, sasl_username=app, x", (None, None, "app, x"), id="login"),
        pytest.param(
            ", sasl_method=PLAIN, sasl_username=app, sasl_sender=a, orig_queue_id=FORGED1",
            (None, None, "app"),
            id="sasl-sender-forges-no-queue-id",
        ),
        pytest.param(
            ", sasl_method=PLAIN, sasl_username=app, orig_queue_id=4F9D1abc",
            ("4F9D1abc", None, "app"),
            id="login-and-id",
        ),
    ],
)
def test_clients(rest: str, expected: tuple[str | None, str | None, str | None]) -> None:
    event = read(f"postfix/reinject/smtpd[7]: {QID}: client=localhost[127.0.0.1]{rest}")
    assert isinstance(event, Client)
    assert (event.client_host, event.client_ip, event.instance) == ("localhost", "127.0.0.1", "postfix/reinject")
    assert (event.orig_queue_id, event.orig_client, event.sasl_username) == expected


def test_pickup() -> None:
    assert read(f"postfix/pickup[7]: {QID}: uid=1000 from=<s@s.example>") == Pickup(
        time=TIME, queue_id=QID, sender="s@s.example", uid=1000, instance="postfix"
    )


@pytest.mark.parametrize(("name", "resent"), [("message-id", False), ("resent-message-id", True)])
def test_message_ids(name: str, resent: bool) -> None:
    assert read(f"postfix/cleanup[7]: {QID}: {name}=<a=b@s.example>") == MessageId(
        time=TIME, queue_id=QID, message_id="<a=b@s.example>", resent=resent, instance="postfix"
    )


@pytest.mark.parametrize(
    ("words", "kind", "to_postmaster"),
    [
        ("sender non-delivery", NoticeKind.NON_DELIVERY, False),
        ("sender delay", NoticeKind.DELAY, False),
        ("sender delivery status", NoticeKind.SUCCESS, False),
        ("postmaster non-delivery", NoticeKind.NON_DELIVERY, True),
    ],
)
def test_notices(words: str, kind: NoticeKind, to_postmaster: bool) -> None:
    assert read(f"postfix/bounce[7]: {QID}: {words} notification: 4jYc3g4DC1zJ9Rd") == BounceNotice(
        time=TIME,
        queue_id=QID,
        notice_queue_id="4jYc3g4DC1zJ9Rd",
        kind=kind,
        to_postmaster=to_postmaster,
        instance="postfix",
    )


@pytest.mark.parametrize(
    "text",
    [
        "postfix/smtpd[7]: connect from localhost[127.0.0.1]",
        "postfix/smtpd[7]: disconnect from localhost[127.0.0.1] ehlo=1 quit=1 commands=2",
        "postfix/smtp[7]: connect to mx.a.example[192.0.2.1]:25: Connection refused",
        "postfix/smtp[7]: warning: to=<a@a.example>, relay=none, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (x)",
        f"postfix/smtp[7]: {QID}: breaking line > 998 bytes with <CR><LF>SPACE",
        f"postfix/smtp[7]: {QID}: host mx.a.example[192.0.2.1] said: 450 4.2.0 wait (in reply to RCPT TO command)",
        f"postfix/bounce[7]: warning: {QID}: undeliverable postmaster notification discarded",
        f"postfix/qmgr[7]: {QID}: skipped, still being delivered",
        "postfix/master[7]: daemon started -- version 3.7.11, configuration /etc/postfix",
        "postfix/anvil[7]: statistics: max connection rate 2/60s for (smtp:127.0.0.1) at Nov 24 08:26:13",
        "kernel: postfix/smtp[7]: x",
        SENT.replace("postfix/smtp", "smtp"),
        SENT.replace("postfix/smtp", "other/daemon"),
        SENT.replace(QID, "NOQUEUE"),
        "sshd[7]: Accepted publickey for root from 192.0.2.7 port 1",
        "",
    ],
)
def test_other_lines_are_no_event(text: str) -> None:
    assert read(text) is None


def test_a_syslog_host_and_stamp_of_any_writer() -> None:
    for stamp in (
        "Nov 24 08:31:31",
        "2026-11-24T08:31:31.123456+08:00",
        "2013 Jun 16 16:05:07.123",
        "2026-11-24T08:31:31Z",
    ):
        assert isinstance(parse_line(f"{stamp} out.example {SENT}".encode(), now=NOW), Delivery)


WHOLE = [
    SENT,
    f"postfix/qmgr[7]: {QID}: from=<s@s.example>, size=406, nrcpt=2 (queue active)",
    f"postfix/qmgr[7]: {QID}: from=<s@s.example>, status=expired, returned to sender",
    f"postfix/qmgr[7]: {QID}: removed",
    f"postfix/smtpd[7]: {QID}: client=localhost[127.0.0.1], orig_queue_id=4F9D1abc, orig_client=app.example[192.0.2.7]",
    f"postfix/cleanup[7]: {QID}: message-id=<a@s.example>",
    f"postfix/bounce[7]: {QID}: sender non-delivery notification: 4jYc3g4DC1zJ9Rd",
    f"postfix/pickup[7]: {QID}: uid=1000 from=<s@s.example>",
    "postfix/smtpd[7]: NOQUEUE: reject: RCPT from a[192.0.2.7]: 450 4.3.2 no; from=<s@s> to=<a@a> proto=ESMTP helo=<a>",
]


@pytest.mark.parametrize("text", WHOLE)
def test_a_line_cut_at_any_byte_is_no_event_or_the_same(text: str) -> None:
    raw = f"Nov 24 08:31:31 out {text}".encode()
    full = parse_line(raw, now=NOW)
    assert full is not None
    assert {parse_line(raw[:length], now=NOW, whole=False) for length in range(len(raw) + 1)} <= {None, full}


@given(st.binary(max_size=300))
def test_no_bytes_raise(line: bytes) -> None:
    parse_line(line, now=NOW)


@given(st.sampled_from(WHOLE), st.binary(max_size=20), st.integers(min_value=0), st.integers(0, 30), st.booleans())
def test_no_damage_to_a_true_line_raises_or_gives_text_that_cannot_be_stored(
    text: str, patch: bytes, place: int, lost: int, whole: bool
) -> None:
    raw = f"Nov 24 08:31:31 out {text}".encode()
    place %= len(raw)
    event = parse_line(raw[:place] + patch + raw[place + lost :], now=NOW, whole=whole)
    if isinstance(event, Delivery | Rejected):
        for part in (event.attempt.recipient, event.attempt.reply.text, event.attempt.relay_host or ""):
            assert "\0" not in part
            part.encode("utf-8")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("to=<" + '"' + "\\" * 65_000, id="backslashes"),
        pytest.param("to=<" + ">, orig_to=<" * 5_400, id="orig-to"),
        pytest.param("to=<a>, relay=none" + ", a=b" * 13_000, id="fields"),
        pytest.param("to=<a>, relay=none, dsn=2.0.0, status=sent (" + "(" * 65_000 + ")", id="parentheses"),
        pytest.param("reject: RCPT from a[1]: " + "; from=<" * 8_000, id="reject-from"),
        pytest.param("reject: RCPT from a[1]: " + '; from=<"' * 7_000, id="reject-quotes"),
        pytest.param("reject: header " + " from local" * 5_900 + "; from=<a>: x", id="header-origin"),
        pytest.param("reject: header " + "; from=<a>: x" * 5_000, id="header-from"),
        pytest.param("client=a[1]" + ", sasl_x, orig_queue_id=A" * 2_600, id="client"),
        pytest.param("from=<" + ">, size=1" * 7_000, id="active"),
    ],
)
@pytest.mark.parametrize("program", ["smtp", "smtpd", "cleanup", "qmgr"])
def test_hostile_lines_of_64_kib_take_linear_time(program: str, body: str) -> None:
    short, long = (f"Nov 24 08:31:31 out postfix/{program}[7]: {QID}: {part}".encode() for part in (body[:8192], body))
    costs = []
    for line in (short, long):
        runs = []
        for _ in range(3):
            start = time.perf_counter()
            parse_line(line, now=NOW)
            runs.append(time.perf_counter() - start)
        costs.append(min(runs))
    # Eight times the bytes: quadratic time would be 64 times the cost. A floor keeps the noise of a tiny cost out.
    assert costs[1] < 24 * max(costs[0], 0.0005)
