"""read_reply: the innermost remote words, codes, stage and host, out of every wrapper we know."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail import Stage, read_reply
from omicard_relay.mail.reading import TEXT_LIMIT

WRAPPED = {
    "postfix said": (
        "host mx1.example.com[192.0.2.1] said: 550 5.1.1 <ann@example.com> User unknown (in reply to RCPT TO command)",
        "550 5.1.1 <ann@example.com> User unknown",
        Stage.RCPT,
        "mx1.example.com",
    ),
    "postfix said, with port": (
        "host mx1.example.com[2001:db8::1]:25 said: 554 no (in reply to end of DATA command)",
        "554 no",
        Stage.END_OF_DATA,
        "mx1.example.com",
    ),
    "postfix refused to talk": (
        "host mx1.example.com[192.0.2.1] refused to talk to me: 554 5.7.1 go away",
        "554 5.7.1 go away",
        Stage.CONNECT,
        "mx1.example.com",
    ),
    "postfix suspended": (
        "delivery temporarily suspended: host mx1.example.com[192.0.2.1] said: 421 4.7.0 later (in reply to MAIL FROM command)",
        "421 4.7.0 later",
        Stage.MAIL,
        "mx1.example.com",
    ),
    "postfix connect": (
        "connect to mx1.example.com[192.0.2.1]:25: Connection refused",
        "connect to mx1.example.com[192.0.2.1]:25: Connection refused",
        Stage.CONNECT,
        "mx1.example.com",
    ),
    "postfix lost connection": (
        "lost connection with mx1.example.com[192.0.2.1] while sending RCPT TO",
        "lost connection with mx1.example.com[192.0.2.1] while sending RCPT TO",
        Stage.RCPT,
        "mx1.example.com",
    ),
    "postfix greeting": (
        "conversation with mx1.example.com[192.0.2.1] timed out while receiving the initial server greeting",
        "conversation with mx1.example.com[192.0.2.1] timed out while receiving the initial server greeting",
        Stage.CONNECT,
        "mx1.example.com",
    ),
    "our own status filter": (
        "[902] host mx1.example.com[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)",
        "550 5.1.1 no such user",
        Stage.RCPT,
        "mx1.example.com",
    ),
    "exim": (
        "SMTP error from remote mail server after RCPT TO:<ann@example.com>: host mx1.example.com [192.0.2.1]: 550 no",
        "550 no",
        Stage.RCPT,
        "mx1.example.com",
    ),
    "exim, host first": (
        "host mx1.example.com [192.0.2.1]\n    SMTP error from remote mail server after end of data:\n    554 spam",
        "554 spam",
        Stage.END_OF_DATA,
        "mx1.example.com",
    ),
    "exim, old form": (
        "SMTP error from remote mailer after MAIL FROM:<news@example.org> SIZE=1234: host mx1.example.com [192.0.2.1]: 550 no",
        "550 no",
        Stage.MAIL,
        "mx1.example.com",
    ),
    "sendmail": (
        "... while talking to mx1.example.com.:\n>>> RCPT To:<ann@example.com>\n<<< 550 5.1.1 User unknown",
        "550 5.1.1 User unknown",
        Stage.RCPT,
        "mx1.example.com",
    ),
    "sendmail, refused at the end": (
        "... while talking to mx1.example.com.:\n>>> .\n<<< 554 5.7.1 no",
        "554 5.7.1 no",
        Stage.END_OF_DATA,
        "mx1.example.com",
    ),
    "sendmail, RCPT answered late": (
        "... while talking to mx1.example.com.: >>> DATA <<< 550 5.1.1 User unknown <<< 503 5.0.0 Need RCPT (recipient)",
        "550 5.1.1 User unknown",
        Stage.RCPT,
        "mx1.example.com",
    ),
    "exchange hashes": (
        "#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##rfc822;ann@example.com",
        "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found",
        Stage.UNKNOWN,
        None,
    ),
    "exchange SMTP hashes": (
        "#< #5.1.1 smtp;550 5.1.1 User unknown> #SMTP#",
        "550 5.1.1 User unknown",
        Stage.UNKNOWN,
        None,
    ),
    "exchange remote server": (
        "Remote Server returned '550 5.7.1 not allowed'",
        "550 5.7.1 not allowed",
        Stage.UNKNOWN,
        None,
    ),
    "exchange online arrow": (
        "550 5.0.350 Remote server returned an error -> 552 5.2.2 mailbox full",
        "552 5.2.2 mailbox full",
        Stage.UNKNOWN,
        None,
    ),
    "exchange online last error": (
        "550 5.4.300 Message expired -> 451 4.4.7 [{LED=452 4.2.2 mailbox full};{MSG=}]",
        "452 4.2.2 mailbox full};{MSG=}]",
        Stage.UNKNOWN,
        None,
    ),
    "last transfail": (
        "554 5.4.7 [internal] (last transfail: 452 4.2.2 inbox is out of storage)",
        "452 4.2.2 inbox is out of storage",
        Stage.UNKNOWN,
        None,
    ),
    "type prefix": ("smtp; 550 5.1.1 no", "550 5.1.1 no", Stage.UNKNOWN, None),
    "type prefix and postfix": (
        "smtp;host mx1.example.com[192.0.2.1] said: 550 no",
        "550 no",
        Stage.UNKNOWN,
        "mx1.example.com",
    ),
    "qmail": (
        "192.0.2.1 does not like recipient.\nRemote host said: 550 unknown\nGiving up on 192.0.2.1.",
        "550 unknown",
        Stage.RCPT,
        None,
    ),
    "qmail sender": (
        "Connected to 192.0.2.1 but sender was rejected.\nRemote host said: 553 no",
        "553 no",
        Stage.MAIL,
        None,
    ),
    "gmail report": (
        "The response from the remote server was:\n550 5.1.1 no such user",
        "550 5.1.1 no such user",
        Stage.UNKNOWN,
        None,
    ),
    "reason in brackets": ("(reason: 550 5.1.1 no such user)", "550 5.1.1 no such user", Stage.UNKNOWN, None),
    "ironport bounce": (
        "The reason for the problem: 5.1.0 - Unknown address error 550-'5.1.1 no such user'",
        "5.1.1 no such user",
        Stage.UNKNOWN,
        None,
    ),
    "ironport log": (
        "Reason: \"5.1.0 - Unknown address error\" Response: \"('550', ['5.1.1 no such', 'user here'])\"",
        "5.1.1 no such user here",
        Stage.UNKNOWN,
        None,
    ),
    "answered": (
        "mx.example.com answered 554 5.7.1 we do not like you",
        "554 5.7.1 we do not like you",
        Stage.UNKNOWN,
        None,
    ),
    "could not be delivered": ("It could not be delivered: 550 5.2.1 closed", "550 5.2.1 closed", Stage.UNKNOWN, None),
    "host alone": (
        "host mx.example.com [192.0.2.1]: 550 5.2.1 closed",
        "550 5.2.1 closed",
        Stage.UNKNOWN,
        "mx.example.com",
    ),
    "bracketed stage": ("550 5.1.1 no [RCPT_TO]", "550 5.1.1 no", Stage.RCPT, None),
}

CODES = {
    "code and status": ("550 5.1.1 no", 550, "5.1.1"),
    "no status": ("550 no such user", 550, None),
    "status alone": ("5.1.1 no such user", None, "5.1.1"),
    "status with hash": ("550 #5.1.0 Address rejected.", 550, "5.1.0"),
    "code with colon": ("550: 5.2.2 full", 550, "5.2.2"),
    "code only": ("554", 554, None),
    "quotes around": ("'550 5.1.1 no'", 550, "5.1.1"),
    "IP is no status": ("550 [5.1.1.7] blocked", 550, None),
    "long IP is no status": ("550 4.7.1.20 blocked", 550, None),
    "IP alone": ("[5.1.1.7] blocked", None, None),
    "date is no code": ("2024-05-05 no", None, None),
    "queue id is no code": ("5501234 queued", None, None),
    "class must agree": ("450 5.1.1 no", 450, None),
    "version is no status": ("220 server 5.4.3 ready", 220, None),
    "qmail ending": ("Sorry, no mailbox here by that name. (#5.1.1)", None, "5.1.1"),
    "pair inside": ("SMTP:RCPT host 192.0.2.8: 553 5.3.0 <ann@example.com>... no", 553, "5.3.0"),
    "ironport": ("5.1.0 - Unknown address error 550-'nobody of that name' (delivery attempts: 0)", 550, None),
    "greeting before the refusal": ("220-mx1 421 4.2.1 later", 421, "4.2.1"),
    "accepted": ("250 2.1.5 Ok", 250, "2.1.5"),
    "doubled by a relay": ("550 550 5.1.1 no such user", 550, "5.1.1"),
}


@pytest.mark.parametrize(("text", "innermost", "stage", "host"), WRAPPED.values(), ids=WRAPPED.keys())
def test_wrapper_is_peeled_to_the_remote_words(text: str, innermost: str, stage: Stage, host: str | None) -> None:
    reply = read_reply(text)
    assert (reply.innermost, reply.stage, reply.host) == (innermost, stage, host)
    assert reply.text == text


@pytest.mark.parametrize(("text", "reply_code", "enhanced_status"), CODES.values(), ids=CODES.keys())
def test_codes_are_read_only_where_they_stand(text: str, reply_code: int | None, enhanced_status: str | None) -> None:
    reply = read_reply(text)
    assert (reply.reply_code, reply.enhanced_status) == (reply_code, enhanced_status)


@pytest.mark.parametrize(
    ("text", "innermost"),
    [
        ("550-5.7.1 words\r\n550 5.7.1 end", "550 5.7.1 words end"),
        ("550-one 550-two 550 three", "550 one two three"),
        ("550-5.1.1 one\\n550 5.1.1 two", "550 5.1.1 one two"),
        ("550 5.7.1 no 550 5.7.1 no", "550 5.7.1 no no"),
        ("550 room 550 is closed", "550 room 550 is closed"),
    ],
    ids=["lines with status", "no status", "escaped break", "repeated with status", "a number in the text stays"],
)
def test_multi_line_reply_is_folded(text: str, innermost: str) -> None:
    assert read_reply(text).innermost == innermost


def test_given_stage_and_host_win() -> None:
    reply = read_reply(
        "host a.test[192.0.2.1] said: 550 no (in reply to RCPT TO command)", stage=Stage.DATA, host="b.test"
    )
    assert (reply.stage, reply.host, reply.ip) == (Stage.DATA, "b.test", "192.0.2.1")


def test_unknown_stage_does_not_win() -> None:
    assert read_reply("550 no (in reply to RCPT TO command)", stage=Stage.UNKNOWN).stage is Stage.RCPT


@given(st.text(max_size=300))
def test_any_text_reads(text: str) -> None:
    reply = read_reply(text)
    assert reply.text == text
    assert "\n" not in reply.innermost
    assert reply.reply_class in (None, 2, 4, 5)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_inside_a_wrapper_reads(before: str, after: str) -> None:
    read_reply(f"{before} host mx1.example.com[192.0.2.1] said: {after} (in reply to RCPT TO command)")


@pytest.mark.parametrize(
    "piece",
    [
        "<<< ",
        ">>> ",
        "(reason: ",
        "host ",
        "host a[1.1.1.1] said: ",
        "a@",
        "SMTP error from remote mail server after DATA:",
        "550-",
        "550 5.1.1 ",
        "[",
        "((((",
        "smtp;",
        "#< ",
        "last error: ",
        "x",
        "[internal] ",
        "Giving up on 1.1.1.1. ",
        "\\n",
    ],
)
def test_hostile_megabyte_takes_bounded_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    reply = read_reply(text)
    # Measured below 0.1 s; the bound leaves room for a loaded machine and none for quadratic time.
    assert time.process_time() - started < 2
    assert len(reply.innermost) <= TEXT_LIMIT
