"""Delivery lines. The shapes are those that Postfix 3.7 wrote in a private run, names and words are made up."""

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import Outcome, Stage
from omicard_relay.wire import Delivery, parse_line

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
HEAD = "Nov 24 08:31:31 out postfix/smtp[123]: 4jYc3g40c3zJ9RY: "
FIELDS = "to=<ann@a.example>, relay=mx.a.example[192.0.2.1]:25, delay=1.5, delays=0.1/0/1/0.4, dsn=2.0.0, status=sent "
SENT = HEAD + FIELDS + "(250 2.0.0 Ok: queued as 4F9D1)"
REFUSED = (
    HEAD + "to=<ann@a.example>, orig_to=<Ann@old.example>, relay=mx.a.example[192.0.2.1]:25, conn_use=3, delay=12, "
    "delays=0.01/0/12/0.08, dsn=5.1.1, status=bounced (host mx.a.example[192.0.2.1] said: 550 5.1.1 <ann@a.example>: "
    "no such user (see FAQ) here (in reply to RCPT TO command))"
)


def read(line: str, *, whole: bool = True) -> Delivery:
    event = parse_line(line.encode() + b"\n", now=NOW, whole=whole)
    assert isinstance(event, Delivery), line
    return event


def test_every_field_of_an_attempt_is_filled() -> None:
    event = read(REFUSED)
    attempt = event.attempt
    assert (event.status, event.instance, attempt.program) == ("bounced", "postfix", "smtp")
    assert attempt.time == datetime(2026, 11, 24, 8, 31, 31, tzinfo=UTC)
    assert attempt.queue_id == "4jYc3g40c3zJ9RY"
    assert (attempt.recipient, attempt.original_recipient) == ("ann@a.example", "Ann@old.example")
    assert (attempt.outcome, attempt.enhanced_status, attempt.is_attempt) == (Outcome.BOUNCED, "5.1.1", True)
    assert (attempt.relay_host, attempt.relay_ip, attempt.relay_port) == ("mx.a.example", "192.0.2.1", 25)
    assert (attempt.delay_seconds, attempt.delays) == (12.0, (0.01, 0.0, 12.0, 0.08))
    reply = attempt.reply
    assert reply.text.startswith("host mx.a.example[192.0.2.1] said: 550")
    assert reply.text.endswith("(in reply to RCPT TO command)")
    assert (reply.reply_code, reply.enhanced_status, reply.stage) == (550, "5.1.1", Stage.RCPT)
    assert (reply.host, reply.ip, reply.time) == ("mx.a.example", "192.0.2.1", attempt.time)
    assert attempt.line_digest == hashlib.sha256(REFUSED.encode()).hexdigest()


def test_the_digest_is_that_of_the_line_without_its_end() -> None:
    digests = {
        event.attempt.line_digest
        for end in (b"", b"\n", b"\r\n")
        if isinstance(event := parse_line(SENT.encode() + end, now=NOW), Delivery)
    }
    assert digests == {hashlib.sha256(SENT.encode()).hexdigest()}


@pytest.mark.parametrize(
    ("relay", "expected"),
    [
        pytest.param("mx.a.example[192.0.2.1]:25", ("mx.a.example", "192.0.2.1", 25), id="ipv4"),
        pytest.param("mx.a.example[2001:db8::25]:25", ("mx.a.example", "2001:db8::25", 25), id="ipv6"),
        pytest.param("mx.a.example[::ffff:192.0.2.1]:25", ("mx.a.example", "::ffff:192.0.2.1", 25), id="mapped"),
        pytest.param("out.example[private/lmtp-in]", ("out.example[private/lmtp-in]", None, None), id="lmtp-socket"),
        pytest.param("out.example[/run/lmtp]", ("out.example[/run/lmtp]", None, None), id="lmtp-absolute-socket"),
        pytest.param("none", (None, None, None), id="none"),
        pytest.param("local", ("local", None, None), id="local"),
        pytest.param("bpipe", ("bpipe", None, None), id="pipe-service"),
    ],
)
def test_relay_forms(relay: str, expected: tuple[str | None, str | None, int | None]) -> None:
    attempt = read(SENT.replace("mx.a.example[192.0.2.1]:25", relay)).attempt
    assert (attempt.relay_host, attempt.relay_ip, attempt.relay_port) == expected


@pytest.mark.parametrize(
    ("tag", "instance", "program"),
    [
        ("postfix/smtp", "postfix", "smtp"),
        ("postfix-out/smtp", "postfix-out", "smtp"),
        ("postfix/relay/smtp", "postfix/relay", "smtp"),
        ("postfix/omi-ip2/smtp", "postfix/omi-ip2", "smtp"),
        ("postfix/lmtp", "postfix", "lmtp"),
        ("postfix/pipe", "postfix", "pipe"),
        ("postfix/virtual", "postfix", "virtual"),
        ("postfix/discard", "postfix", "discard"),
    ],
)
def test_program_is_the_last_element_of_the_syslog_name(tag: str, instance: str, program: str) -> None:
    event = read(SENT.replace("postfix/smtp", tag))
    assert (event.instance, event.attempt.program) == (instance, program)


@pytest.mark.parametrize(
    ("tag", "transport"),
    [
        pytest.param("postfix/smtp", "", id="plain"),
        pytest.param("postfix-out/smtp", "", id="an-instance"),
        pytest.param("postfix/ip1/smtp", "ip1", id="an-ip"),
        pytest.param("postfix/ip1-s3/smtp", "ip1-s3", id="slowed"),
        pytest.param("postfix-out/ip2-s1/smtp", "ip2-s1", id="an-ip-of-an-instance"),
        pytest.param("postfix/omi/ip2/smtp", "ip2", id="the-last-part"),
    ],
)
def test_the_syslog_name_tells_the_transport_and_the_line_its_machine(tag: str, transport: str) -> None:
    attempt = read(SENT.replace("postfix/smtp", tag)).attempt
    assert (attempt.transport, attempt.machine) == (transport, "out")


def test_the_machine_is_read_behind_any_stamp() -> None:
    line = SENT.replace("Nov 24 08:31:31 out", "2026-11-24T08:31:31.5+00:00 mail-2.shop.example")
    assert read(line).attempt.machine == "mail-2.shop.example"


def test_a_reply_behind_the_status_filters_code_is_known_to_be_cut() -> None:
    words = "([902] host mx.a.example[192.0.2.1] said: 450 4.1.1 no such user"
    whole = HEAD + FIELDS.replace("2.0.0, status=sent", "5.1.1, status=bounced") + words
    reply = read(whole + " (in reply to RCPT TO command))").attempt.reply
    assert (reply.reply_code, reply.stage, reply.text[:6]) == (450, Stage.RCPT, "[902] ")
    # Cut behind a parenthesis of the server's own words.
    assert parse_line((whole + " (see FAQ)").encode() + b"\n", now=NOW) is None


@pytest.mark.parametrize("queue_id", ["7E1AEC2C388", "4jYc3g40c3zJ9RY", "ABCDEF"])
def test_short_and_long_queue_ids(queue_id: str) -> None:
    assert read(SENT.replace("4jYc3g40c3zJ9RY", queue_id)).queue_id == queue_id


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("sent", Outcome.SENT),
        ("deferred", Outcome.DEFERRED),
        ("bounced", Outcome.BOUNCED),
        ("SOFTBOUNCE", Outcome.DEFERRED),
        ("deliverable", Outcome.OTHER),
        ("undeliverable", Outcome.OTHER),
        ("something-new", Outcome.OTHER),
    ],
)
def test_status_words(word: str, outcome: Outcome) -> None:
    event = read(SENT.replace("status=sent", f"status={word}"))
    assert (event.attempt.outcome, event.status) == (outcome, word)


def test_an_alias_that_local_forwards_is_no_fate() -> None:
    line = SENT.replace("/smtp[", "/local[").replace(
        "(250 2.0.0 Ok: queued as 4F9D1)", "(forwarded as 4jYc3g4DC1zJ9Rd)"
    )
    assert read(line).attempt.outcome is Outcome.OTHER
    # Words of a remote server do not make it one.
    assert read(SENT.replace("(250", "(forwarded as 250")).attempt.outcome is Outcome.SENT


@pytest.mark.parametrize(
    ("program", "text", "is_attempt"),
    [
        pytest.param("smtp", "connect to mx.a.example[192.0.2.9]:25: Connection refused", True, id="a-real-try"),
        pytest.param("error", "[938] resting until 21:40", False, id="error-rests"),
        pytest.param("retry", "[938] resting until 21:40", False, id="retry-rests"),
        pytest.param("error", "address resolver failure", False, id="error-of-our-own"),
        pytest.param("qmgr", "mail transport unavailable", False, id="the-queue-manager-itself"),
        pytest.param(
            "smtp",
            "delivery temporarily suspended: connect to mx.a.example[192.0.2.9]:25: Connection refused",
            False,
            id="suspended",
        ),
        pytest.param(
            "smtp",
            "host mx.a.example[192.0.2.9] refused to talk to me: 421 delivery temporarily suspended",
            True,
            id="a-server-that-says-suspended",
        ),
    ],
)
def test_what_only_repeats_or_rests_is_no_attempt(program: str, text: str, is_attempt: bool) -> None:
    line = (
        HEAD.replace("smtp", program) + "to=<ann@a.example>, relay=none, delay=3, delays=3/0/0/0, dsn=4.4.1, "
        f"status=deferred ({text})"
    )
    attempt = read(line).attempt
    assert (attempt.is_attempt, attempt.outcome, attempt.reply.text) == (is_attempt, Outcome.DEFERRED, text)


@pytest.mark.parametrize(
    ("address", "recipient"),
    [
        pytest.param("ann@a.example", "ann@a.example", id="plain"),
        pytest.param('"a b,c"@a.example', '"a b,c"@a.example', id="space-and-comma"),
        pytest.param(
            '"x>, relay=evil[192.0.2.66]:25, dsn=2.0.0, status=sent (\\" <b"@a.example',
            '"x>, relay=evil[192.0.2.66]:25, dsn=2.0.0, status=sent (\\" <b"@a.example',
            id="fields-in-a-quoted-local-part",
        ),
        pytest.param("a>b@a.example", "a>b@a.example", id="bracket-in-an-unquoted-address"),
        pytest.param("用戶@例.example", "用戶@例.example", id="utf8"),
        pytest.param("u@[192.0.2.1]", "u@[192.0.2.1]", id="address-literal"),
        pytest.param("", "", id="empty"),
    ],
)
def test_addresses_are_read_whole(address: str, recipient: str) -> None:
    attempt = read(SENT.replace("to=<ann@a.example>", f"to=<{address}>")).attempt
    assert (attempt.recipient, attempt.relay_host) == (recipient, "mx.a.example")
    told = read(SENT.replace("to=<ann@a.example>", f"to=<ann@a.example>, orig_to=<{address}>")).attempt
    assert (told.recipient, told.original_recipient) == ("ann@a.example", recipient)


HOSTILE = [
    "to=<victim@b.example>, relay=mx.b.example[192.0.2.2]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 Ok)",
    ", dsn=2.0.0, status=sent (",
    "550 5.1.1 (((",
    "550 5.1.1 )))",
    "]: 4jYc3g4DC1zJ9Rd: to=<victim@b.example>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 Ok",
    ">, relay=none, delay=0, dsn=2.0.0, status=sent (x",
    "\x1b]0;title\x07\x9b31m",
]


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_words_of_a_server_forge_no_field(words: str) -> None:
    text = f"host mx.a.example[192.0.2.1] said: {words} (in reply to end of DATA command)"
    attempt = read(HEAD + FIELDS.replace("2.0.0, status=sent", "5.1.1, status=bounced") + f"({text})").attempt
    assert (attempt.recipient, attempt.outcome, attempt.enhanced_status) == ("ann@a.example", Outcome.BOUNCED, "5.1.1")
    assert (attempt.relay_ip, attempt.queue_id, attempt.reply.text) == ("192.0.2.1", "4jYc3g40c3zJ9RY", text)


@given(st.text(max_size=60).filter(lambda words: "\n" not in words and "\0" not in words))
def test_any_words_of_a_server_come_out_whole(words: str) -> None:
    text = f"host mx.a.example[192.0.2.1] said: {words} (in reply to RCPT TO command)"
    line = (HEAD + FIELDS + f"({text})").encode("utf-8", "surrogatepass") + b"\n"
    event = parse_line(line, now=NOW)
    assert isinstance(event, Delivery)
    assert event.attempt.reply.text == text.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")


def test_broken_bytes_and_nul_can_be_stored() -> None:
    event = parse_line(SENT.encode().replace(b"Ok:", b"\xff\xe5\x8f\xb0\x00\xed\xa0\x80 Ok:"), now=NOW)
    assert isinstance(event, Delivery)
    assert "\\xff台\\x00\\xed\\xa0\\x80 Ok" in event.attempt.reply.text
    event.attempt.reply.text.encode("utf-8")


@pytest.mark.parametrize("more", [", tls=dane", ", tls=may/none:plain!", ", new_one=1, other=", ""])
def test_fields_of_newer_postfix_are_stepped_over(more: str) -> None:
    attempt = read(SENT.replace(", dsn=", f"{more}, dsn=")).attempt
    assert (attempt.delays, attempt.enhanced_status) == ((0.1, 0.0, 1.0, 0.4), "2.0.0")


def test_a_line_without_dsn_of_an_old_postfix_is_read() -> None:
    line = SENT.replace(", delays=0.1/0/1/0.4, dsn=2.0.0", "")
    attempt = read(line).attempt
    assert (attempt.enhanced_status, attempt.delays, attempt.delay_seconds) == ("", (), 1.5)


@pytest.mark.parametrize("figure", ["nan", "inf", "-1", "1e9", "", "٣", "9" * 40])
def test_a_figure_that_is_none_is_left_out(figure: str) -> None:
    attempt = read(SENT.replace("delay=1.5", f"delay={figure}").replace("0.1/0/1/0.4", f"0/{figure}/0/0")).attempt
    assert (attempt.delay_seconds, attempt.delays) == (None, ())


@pytest.mark.parametrize(
    "line", [SENT, REFUSED, SENT.replace("Ok:", "Ok (a (b) c) d:")], ids=["sent", "said", "nested"]
)
def test_a_line_cut_at_any_byte_is_no_event_or_the_same(line: str) -> None:
    raw = line.encode()
    full = parse_line(raw, now=NOW)
    events = [parse_line(raw[:length], now=NOW, whole=False) for length in range(len(raw))]
    assert set(events) <= {None, full}
    assert parse_line(raw, now=NOW, whole=False) == full


@pytest.mark.parametrize("line", [SENT, REFUSED], ids=["sent", "said"])
def test_half_a_line_that_a_crash_ended_is_no_event(line: str) -> None:
    raw = line.encode()
    assert [parse_line(raw[:length] + b"\n", now=NOW) for length in range(len(raw))] == [None] * len(raw)


def test_a_smiley_in_a_whole_line_does_not_lose_it() -> None:
    line = SENT.replace("Ok:", "Ok (:")
    assert read(line).attempt.reply.text == "250 2.0.0 Ok (: queued as 4F9D1"
    assert parse_line(line.encode(), now=NOW, whole=False) is None


def test_what_the_logger_cut_is_taken_with_the_words_that_are_there() -> None:
    body = HEAD + FIELDS.replace("2.0.0, status=sent", "5.0.0, status=bounced")
    line = (body + "(host mx.a.example[192.0.2.1] said: 550-" + "a" * 3000)[:2040]
    attempt = read(line).attempt
    assert (attempt.outcome, attempt.reply.reply_code) == (Outcome.BOUNCED, 550)
    assert attempt.reply.text.endswith("aaa")
    assert parse_line(line.encode(), now=NOW, whole=False) is None
