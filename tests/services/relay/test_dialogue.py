"""Written SMTP dialogues: `>` is said, `<` is how the reply must begin, `!` raw octets, `x` the connection is closed."""

import re

import pytest

from omicard_relay.services.relay import server

DIALOGUES = {
    "one-mail": """
        > EHLO me.test
        < 250-relay.test
        > MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=Ab+2B
        < 250 2.1.0
        > RCPT TO:<c@d.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;C@d.test
        < 250 2.1.5
        > DATA
        < 354
        ! Subject: x\\r\\n\\r\\nbody\\r\\n.\\r\\n
        < 250 2.0.0 Ok
        > QUIT
        < 221 2.0.0
        x
        """,
    "helo-has-no-parameters": """
        > HELO me.test
        < 250 relay.test
        > MAIL FROM:<a@b.test> SIZE=10
        < 501 5.5.4
        > MAIL FROM:<a@b.test>
        < 250 2.1.0
        """,
    "wrong-order": """
        > MAIL FROM:<a@b.test>
        < 503 5.5.1
        > RCPT TO:<a@b.test>
        < 503 5.5.1
        > DATA
        < 503 5.5.1
        > EHLO me.test
        < 250
        > RCPT TO:<a@b.test>
        < 503 5.5.1
        > MAIL FROM:<a@b.test>
        < 250
        > MAIL FROM:<a@b.test>
        < 503 5.5.1
        > DATA
        < 554 5.5.1
        > XFORWARD NAME=x
        < 503 5.5.1
        > RSET
        < 250 2.0.0
        > RCPT TO:<a@b.test>
        < 503 5.5.1
        """,
    "ehlo-ends-a-transaction": """
        > EHLO me.test
        < 250
        > MAIL FROM:<a@b.test>
        < 250
        > EHLO me.test
        < 250
        > MAIL FROM:<a@b.test>
        < 250
        """,
    "syntax": """
        > EHLO
        < 501 5.5.4
        > HELO
        < 501 5.5.4
        > FOO bar
        < 500 5.5.2
        >
        < 500 5.5.2
        > EHLO me.test
        < 250
        > MAIL TO:<a@b.test>
        < 501 5.5.4
        > MAIL FROM:<a@b.test
        < 501 5.1.3
        > MAIL FROM:<a@b.test> HOLDFOR=3
        < 555 5.5.4
        > MAIL FROM:<a@b.test> RET=NONE
        < 501 5.5.4
        > RSET now
        < 501 5.5.4
        > mail from:<a@b.test>
        < 250 2.1.0
        > DATA now
        < 501 5.5.4
        """,
    "other-commands": """
        > NOOP hello
        < 250 2.0.0
        > HELP
        < 214 2.0.0
        > VRFY ann
        < 252 2.5.2
        > EXPN list
        < 502 5.5.1
        > AUTH PLAIN AAA=
        < 502 5.5.1
        > STARTTLS
        < 503 5.5.1
        > BDAT 5 LAST
        < 500 5.5.2
        """,
    "not-ascii-needs-smtputf8": """
        > EHLO me.test
        < 250
        > MAIL FROM:<王@b.test>
        < 553 5.6.7
        > MAIL FROM:<a@b.test>
        < 250
        > RCPT TO:<王@b.test>
        < 553 5.6.7
        > RSET
        < 250
        > MAIL FROM:<王@b.test> SMTPUTF8
        < 250
        > RCPT TO:<李@b.test>
        < 250 2.1.5
        """,
    "octets-that-are-no-utf-8": """
        > EHLO me.test
        < 250
        > MAIL FROM:<a@b.test> SMTPUTF8
        < 250
        ! RCPT TO:<\\xff@b.test>\\r\\n
        < 553 5.1.3 [902]
        ! RCPT TO:<a\\x01b@b.test>\\r\\n
        < 553 5.1.3 [902]
        > RSET
        < 250
        ! MAIL FROM:<a\\x01@b.test>\\r\\n
        < 553 5.1.7
        """,
    "too-many-recipients": """
        > EHLO me.test
        < 250
        > MAIL FROM:<a@b.test>
        < 250
        > RCPT TO:<a1@b.test>
        < 250
        > RCPT TO:<a2@b.test>
        < 250
        > RCPT TO:<a3@b.test>
        < 250
        > RCPT TO:<a4@b.test>
        < 452 4.5.3
        > DATA
        < 354
        ! x\\r\\n.\\r\\n
        < 250 2.0.0
        """,
    "announced-too-big": """
        > EHLO me.test
        < 250
        > MAIL FROM:<a@b.test> SIZE=10000001
        < 552 5.3.4
        """,
    "pipelined": """
        ! EHLO me\\r\\nMAIL FROM:<a@b.test>\\r\\nRCPT TO:<c@d.test>\\r\\nDATA\\r\\n
        < 250
        < 250 2.1.0
        < 250 2.1.5
        < 354
        ! x\\r\\n.\\r\\nNOOP\\r\\nQUIT\\r\\n
        < 250 2.0.0 Ok
        < 250 2.0.0 Ok
        < 221
        x
        """,
    "xforward": """
        > XFORWARD NAME=mail.test ADDR=192.0.2.9
        < 250 2.0.0
        > XFORWARD COLOR=red
        < 501 5.5.4
        """,
    "bare-lf-in-a-command": """
        ! EHLO me\\nMAIL FROM:<a@b.test>\\r\\n
        < 500 5.5.2
        x
        """,
    "bare-cr-in-a-command": """
        ! EHLO me\\rNOOP\\r\\n
        < 500 5.5.2
        x
        """,
    "nul-in-a-command": """
        ! NOOP \\0\\r\\n
        < 500 5.5.2
        x
        """,
}


def octets_of(text):
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


async def play(client, dialogue):
    for line in dialogue.strip().splitlines():
        mark, _, text = line.strip().partition(" ")
        if mark == ">":
            client.send(text)
        elif mark == "!":
            client.writer.write(octets_of(text))
        elif mark == "<":
            reply = await client.reply()
            assert reply.startswith(text), (line, reply)
            if not reply.startswith(("250-", "250 relay.test", "354")):
                for one in reply.splitlines():
                    assert re.match(r"[245]\d\d[ -][245]\.\d+\.\d+ ", one), one
        else:
            assert await client.reply() == ""


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
async def test_dialogue(world, dialogue):
    await world.start(max_recipients=3, size_limit=10_000_000)
    client = await world.client(hello=False)
    assert client.greeting.startswith("220 relay.test ESMTP")

    await play(client, dialogue)


async def test_what_is_offered(world):
    await world.start(size_limit=12345)
    client = await world.client(hello=False)

    reply = await client.say("EHLO me.test")

    assert [line[4:] for line in reply.splitlines()[1:]] == [
        "PIPELINING",
        "SIZE 12345",
        "8BITMIME",
        "SMTPUTF8",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE",
    ]


async def test_xforward_is_for_our_own_mail_server_alone(world):
    await world.start(xforward_networks=("192.0.2.0/24",))
    client = await world.client(hello=False)

    assert "XFORWARD" not in await client.say("EHLO me.test")
    assert (await client.say("XFORWARD IDENT=ABC")).startswith("550 5.7.0")


@pytest.mark.parametrize("sender", ["<a@b.test>", "<>"], ids=["address", "null"])
async def test_a_stranger_gets_no_further_than_mail(world, sender):
    await world.start(networks=("192.0.2.0/24",))
    client = await world.client()

    assert (await client.say(f"MAIL FROM:{sender}")).startswith("554 5.7.1")
    assert (await client.say("RCPT TO:<victim@c.test>")).startswith("503 5.5.1")
    assert (await client.say("DATA")).startswith("503 5.5.1")
    assert world.hop.mails == []


SMUGGLING = [
    pytest.param(b"x\n.\nMAIL FROM:<evil@b.test>\r\n", id="lf-dot-lf"),
    pytest.param(b"x\n.\r\nMAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n", id="lf-dot-crlf"),
    pytest.param(b"x\r\n.\nMAIL FROM:<evil@b.test>\r\n", id="crlf-dot-lf"),
    pytest.param(b"x\r.\r\nMAIL FROM:<evil@b.test>\r\n", id="cr-dot-crlf"),
    pytest.param(b"x\r\n.\rMAIL FROM:<evil@b.test>\r\n", id="crlf-dot-cr"),
    pytest.param(b"x\r.\rMAIL FROM:<evil@b.test>\r\n", id="cr-dot-cr"),
    pytest.param(b"x\r\r\n.\r\r\nMAIL FROM:<evil@b.test>\r\n", id="crcrlf"),
    pytest.param(b"x\r\n\0.\r\nMAIL FROM:<evil@b.test>\r\n", id="nul"),
    pytest.param(b"x\nSubject: y\r\n.\r\n", id="bare-lf-alone"),
    pytest.param(b"x\rSubject: y\r\n.\r\n", id="bare-cr-alone"),
]


@pytest.mark.parametrize("content", SMUGGLING)
async def test_smuggling_is_refused_and_nothing_behind_it_is_read(world, content):
    await world.start()
    client = await world.client()
    await client.begin()
    assert (await client.say("DATA")).startswith("354")

    client.writer.write(content + b"\r\n.\r\nMAIL FROM:<evil@b.test>\r\n")

    assert (await client.reply()).startswith("550 5.6.0")
    assert await client.reply() == ""
    assert world.hop.mails == []
    assert world.rows() == []


async def test_a_line_that_is_too_long_is_refused_and_the_connection_goes_on(world):
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x" * 999 + b"\r\n")).startswith("554 5.6.0")
    assert (await client.mail(b"x" * 998 + b"\r\n")).startswith("250")


async def test_a_mail_over_the_limit_is_refused_and_the_connection_goes_on(world):
    await world.start(size_limit=1000)
    client = await world.client()

    assert (await client.mail(b"x" * 98 + b"\r\n" + (b"y" * 98 + b"\r\n") * 10)).startswith("552 5.3.4")
    assert (await client.mail((b"y" * 98 + b"\r\n") * 10)).startswith("250")


async def test_a_command_line_without_end_takes_no_memory(world):
    await world.start()
    client = await world.client()
    (conversation,) = world.relays[0].door.connected

    for _ in range(200):
        client.writer.write(b"x" * 10_000)
        await client.writer.drain()
        assert len(conversation.inbox) <= server.COMMAND_LIMIT + server.CHUNK
    assert (await client.say("")).startswith("500 5.5.2")
    assert (await client.say("NOOP")).startswith("250")


async def test_a_command_line_may_be_as_long_as_dsn_needs(world):
    await world.start()
    client = await world.client()

    assert (await client.say("NOOP " + "x" * 2000)).startswith("250")
    assert (await client.say("NOOP " + "x" * 2050)).startswith("500 5.5.2")


async def test_a_client_that_only_errs_is_let_go(world):
    await world.start()
    client = await world.client()

    replies = [await client.say("FOO") for _ in range(server.ERROR_BUDGET + 1)]

    assert all(reply.startswith("500 5.5.2") for reply in replies[:-1])
    assert replies[-1].startswith("421 4.7.0")
    assert await client.reply() == ""


async def test_a_client_that_never_sends_a_mail_is_let_go(world):
    await world.start()
    client = await world.client()

    replies = [await client.say("NOOP") for _ in range(server.IDLE_BUDGET)]

    assert replies[0].startswith("250")
    assert replies[-1].startswith("421 4.7.0")


async def test_a_session_of_many_mails_never_runs_out_of_commands(world):
    await world.start()
    client = await world.client()

    for _ in range(3):
        for _ in range(server.IDLE_BUDGET // 2):
            assert (await client.say("RSET")).startswith("250")
        assert (await client.mail()).startswith("250")


async def test_a_silent_client_hears_421(world):
    await world.start(client_timeout_seconds=0.05)
    client = await world.client()

    assert (await client.reply()).startswith("421 4.4.2")
    assert await client.reply() == ""


async def test_the_clients_clock_stands_while_we_work(world):
    world.hop.answers["."] = ["STALL"]
    await world.start(client_timeout_seconds=0.05, next_timeout_seconds=0.3)
    client = await world.client()

    assert (await client.mail()).startswith("451 4.3.2")


async def test_a_client_that_closes_its_half_still_gets_its_replies(world):
    await world.start()
    client = await world.client()
    client.writer.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
    client.writer.write_eof()

    replies = [await client.reply() for _ in range(5)]

    assert [reply[:3] for reply in replies] == ["250", "250", "354", "250", "221"]
    assert len(world.hop.mails) == 1


@pytest.mark.parametrize("hook", ["handle_MAIL", "handle_RCPT", "handle_READY", "handle_DATA"])
async def test_a_hook_that_fails_is_451_and_the_connection_goes_on(world, hook, monkeypatch):
    relay = await world.start()

    async def broken(*arguments):
        raise KeyError("secret of ours")

    monkeypatch.setattr(relay.handler, hook, broken)
    client = await world.client()
    replies = [await client.say(line) for line in ("MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA")]
    if replies[-1].startswith("354"):
        replies.append(await client.say("x\r\n."))

    failed = [reply for reply in replies if not reply.startswith(("250", "354", "503"))]
    assert failed[0].startswith("451 4.3.0")
    assert "secret" not in failed[0]
    assert not any(reply.startswith("5") and not reply.startswith("503") for reply in replies)
    assert (await client.say("NOOP")).startswith("250")
    assert world.hop.mails == []


@pytest.mark.parametrize("hook", ["handle_MAIL", "handle_RCPT", "handle_READY", "handle_DATA"])
async def test_a_missing_hook_is_451_and_never_250(world, hook, monkeypatch):
    relay = await world.start()
    names = ("handle_MAIL", "handle_RCPT", "handle_READY", "handle_DATA", "handle_exception")
    hooks = type("Hooks", (), {name: staticmethod(getattr(relay.handler, name)) for name in names if name != hook})()
    client = await world.client(hello=False)
    (conversation,) = relay.door.connected
    conversation._handle_hooks = {
        name.removeprefix("handle_"): getattr(hooks, name) for name in names if hasattr(hooks, name)
    }
    await client.say("EHLO me.test")

    replies = [await client.say(line) for line in ("MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA")]
    if replies[-1].startswith("354"):
        replies.append(await client.say("x\r\n."))

    assert any(reply.startswith("451 4.3.0") for reply in replies)
    assert not replies[-1].startswith("250")
    assert world.hop.mails == []


async def test_an_exception_in_the_exception_hook_is_451_too(world, monkeypatch):
    relay = await world.start()

    async def broken(*arguments):
        raise ValueError

    monkeypatch.setattr(relay.handler, "handle_RCPT", broken)
    monkeypatch.setattr(relay.handler, "handle_exception", broken)
    client = await world.client()
    await client.say("MAIL FROM:<a@b.test>")

    assert (await client.say("RCPT TO:<c@d.test>")).startswith("451 4.3.0")
