"""The receiving server: dialogue, pipelining and what goes into the books."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lab.behaviour import Behaviour, Envelope
from lab.books import Books
from lab.receivers import DropsConnection, Hangs, Mixed, Refuses
from lab.smtp_server import Receiver
from omicard_relay.mail import RelayError, Stage

from .conftest import Client

Open = Callable[[int], Awaitable[Client]]
Start = Callable[[Behaviour], Awaitable[Receiver]]
MAIL = b"Message-ID: <1@a.test>\r\nSubject: dots\r\n\r\n..begins with two dots\r\n.and one\r\nend\r\n"


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    running: list[Receiver] = []

    async def start_one(behaviour: Behaviour) -> Receiver:
        receiver = Receiver(
            "here",
            behaviour,
            Books(),
            hostname="mx.here.test",
            host="127.0.0.1",
            port=0,
            mail_folder=tmp_path / "mails",
        )
        await receiver.start()
        running.append(receiver)
        return receiver

    yield start_one
    for receiver in running:
        await receiver.stop()


async def test_an_accepted_mail_is_booked_for_each_recipient_with_its_digest_and_kept(
    start: Start, connect: Open
) -> None:
    receiver = await start(Behaviour())
    client = await connect(receiver.port)
    assert await client.reply() == "220 mx.here.test ESMTP"
    assert "250-PIPELINING\n250-SIZE\n250-8BITMIME\n250-SMTPUTF8\n250-DSN" in await client.say("EHLO c.test")
    await client.say("MAIL FROM:<n@a.test> BODY=8BITMIME RET=HDRS")
    await client.say("RCPT TO:<ann@here.test> NOTIFY=FAILURE")
    await client.say("RCPT TO:<王@here.test>")
    assert (await client.say("DATA")).startswith("354")
    client.send(MAIL.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    reply = await client.reply()
    assert reply.startswith("250 2.0.0 Ok")
    first, second = receiver.books.entries()
    assert (first.recipient, second.recipient) == ("ann@here.test", "王@here.test")
    assert (first.reply, first.stage, first.accepted) == (reply, Stage.END_OF_DATA, True)
    assert (first.message_id, first.reverse_path) == ("<1@a.test>", "n@a.test")
    assert (first.sha256, first.size) == (hashlib.sha256(MAIL).hexdigest(), len(MAIL))
    assert (first.mail_parameters, first.rcpt_parameters) == ("BODY=8BITMIME RET=HDRS", "NOTIFY=FAILURE")
    assert Path(first.path).read_bytes() == MAIL
    assert (await client.say("QUIT")).startswith("221")


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        pytest.param(b".\r\n", b"", id="empty mail"),
        pytest.param(b"..\r\n.\r\n", b".\r\n", id="dot in the first line"),
        pytest.param(b"\r\n.\r\n", b"\r\n", id="one empty line"),
        pytest.param(b"a\r\n...\r\n....\r\n.\r\n", b"a\r\n..\r\n...\r\n", id="lines of dots"),
        pytest.param(b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n", id="bare line feeds end nothing"),
    ],
)
async def test_dots_are_unstuffed(start: Start, connect: Open, sent: bytes, content: bytes) -> None:
    seen: list[bytes] = []

    class Keeps(Behaviour):
        async def taken(self, envelope: Envelope) -> None:
            seen.append(envelope.content)

    receiver = await start(Keeps())
    client = await connect(receiver.port)
    client.send(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n")
    for _ in range(5):
        await client.reply()
    for at in range(len(sent)):
        client.send(sent[at : at + 1])
    await client.reply()
    await client.say("NOOP")
    assert seen == [content]


async def test_a_refused_recipient_is_booked_and_the_others_get_the_mail(start: Start, connect: Open) -> None:
    receiver = await start(Mixed())
    client = await connect(receiver.port)
    client.send(b"EHLO c\r\nMAIL FROM:<n@a.test>\r\nRCPT TO:<no@here.test>\r\nRCPT TO:<ok@here.test>\r\nDATA\r\n")
    replies = [await client.reply() for _ in range(6)]
    assert replies[3] == "550 5.1.1 <no@here.test>: there is no such user here"
    client.send(b"hi\r\n.\r\n")
    await client.reply()
    booked = [(entry.recipient, entry.stage, entry.accepted) for entry in receiver.books.entries()]
    assert booked == [("no@here.test", Stage.RCPT, False), ("ok@here.test", Stage.END_OF_DATA, True)]


async def test_recipients_after_a_refused_mail_are_booked_with_its_reply(start: Start, connect: Open) -> None:
    text = "421 4.7.0 not today"
    receiver = await start(Refuses(Stage.MAIL, text))
    client = await connect(receiver.port)
    await client.reply()
    await client.say("EHLO c")
    client.send(b"MAIL FROM:<n@a.test>\r\nRCPT TO:<a@here.test>\r\nRCPT TO:<b@here.test>\r\nDATA\r\n")
    assert await client.reply() == text
    assert [(await client.reply())[:3] for _ in range(3)] == ["503", "503", "503"]
    assert await client.reader.read() == b""  # a 421 ends the connection, and its reply was not lost
    booked = [(entry.recipient, entry.stage, entry.reply) for entry in receiver.books.entries()]
    assert booked == [("a@here.test", Stage.MAIL, text), ("b@here.test", Stage.MAIL, text)]


@pytest.mark.parametrize(
    ("stage", "commands"),
    [
        pytest.param(Stage.CONNECT, [], id="greeting"),
        pytest.param(Stage.HELO, ["EHLO c"], id="helo"),
        pytest.param(Stage.MAIL, ["EHLO c", "MAIL FROM:<n@a>"], id="mail"),
        pytest.param(Stage.RCPT, ["EHLO c", "MAIL FROM:<n@a>", "RCPT TO:<r@b>"], id="rcpt"),
        pytest.param(Stage.DATA, ["EHLO c", "MAIL FROM:<n@a>", "RCPT TO:<r@b>", "DATA"], id="data"),
        pytest.param(Stage.END_OF_DATA, ["EHLO c", "MAIL FROM:<n@a>", "RCPT TO:<r@b>", "DATA", "."], id="end of data"),
    ],
)
async def test_a_receiver_can_refuse_at_any_stage(
    start: Start, connect: Open, stage: Stage, commands: list[str]
) -> None:
    text = "550-5.7.1 first line\n550 5.7.1 second line"
    receiver = await start(Refuses(stage, text))
    client = await connect(receiver.port)
    replies = [await client.reply()]
    for line in commands:
        replies.append(await client.say(line))
    assert replies[-1] == text
    assert all(not reply.startswith("5") for reply in replies[:-1])
    (entry,) = receiver.books.entries()
    assert (entry.stage, entry.reply, entry.accepted) == (stage, text, False)


async def test_a_dropped_connection_says_nothing_and_is_booked_without_recipient(start: Start, connect: Open) -> None:
    receiver = await start(DropsConnection())
    client = await connect(receiver.port)
    assert await client.reader.read() == b""
    (entry,) = receiver.books.entries()
    assert (entry.stage, entry.reply, entry.recipient) == (Stage.CONNECT, "", "")


async def test_a_client_that_goes_away_in_the_mail_is_booked_as_not_accepted(start: Start, connect: Open) -> None:
    receiver = await start(Behaviour())
    client = await connect(receiver.port)
    client.send(b"EHLO c\r\nMAIL FROM:<n@a>\r\nRCPT TO:<r@b>\r\nDATA\r\nhalf of it")
    for _ in range(5):
        await client.reply()
    client.writer.write_eof()
    assert await client.reader.read() == b""
    (entry,) = receiver.books.entries()
    assert (entry.recipient, entry.stage, entry.accepted, entry.reply) == ("r@b", Stage.DATA, False, "")


async def test_a_hanging_receiver_answers_nothing_after_the_greeting(start: Start, connect: Open) -> None:
    receiver = await start(Hangs())
    client = await connect(receiver.port)
    await client.reply()
    await client.say("EHLO c")
    client.send(b"MAIL FROM:<n@a>\r\nNOOP\r\n")
    client.writer.write_eof()
    assert await client.reader.read() == b""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param("MAIL n@a", "501", id="no path"),
        pytest.param("RCPT TO:<r@b>", "503", id="recipient first"),
        pytest.param("DATA", "503", id="content first"),
        pytest.param("BOGUS", "502", id="unknown command"),
        pytest.param("RSET", "250", id="reset"),
    ],
)
async def test_commands_out_of_order_are_refused(start: Start, connect: Open, line: str, code: str) -> None:
    client = await connect((await start(Behaviour())).port)
    await client.reply()
    await client.say("HELO c")
    assert (await client.say(line)).startswith(code)


async def test_a_taken_address_is_a_clear_error(start: Start) -> None:
    receiver = await start(Behaviour())
    second = Receiver("there", Behaviour(), Books(), hostname="x", host="127.0.0.1", port=receiver.port)
    with pytest.raises(RelayError, match=f"there cannot listen on 127.0.0.1:{receiver.port}"):
        await second.start()
