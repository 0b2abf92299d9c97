"""A mail's main way: in by SMTP, booked, handed over, answered, and what happens when Postfix says something else."""

import asyncio
import re
import time
from datetime import UTC, datetime
from email import message_from_bytes

import dkim as libdkim
import msgspec
import pytest

from omicard_relay.mail import ListEntry, ListName
from omicard_relay.signing import ReturnPathKeys, ReturnPathSigner, record_text
from omicard_relay.tables.settings import ReturnPathSettings, Settings

OFFERS = (
    "PIPELINING",
    "SIZE 99999999",
    "8BITMIME",
    "SMTPUTF8",
    "DSN",
    "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT",
)


def entry(list_name, value):
    return ListEntry(list_name=list_name, value=value, reason="asked", source="test", created=datetime.now(UTC))


async def test_a_mail_goes_through_and_is_booked(world):
    await world.start()
    client = await world.client()

    reply = await client.mail()

    assert reply.startswith("250 2.0.0 Ok: ")
    assert [mail.reverse_path for mail in world.hop.mails] == ["news@shop.test"]
    assert world.hop.mails[0].body == b"Subject: hi\r\n\r\nhello\r\n"
    (row,) = world.rows()
    assert (row.address, row.state, row.queue_id) == ("ann@a.test", "queued", "Q0001")
    await world.until(lambda: world.rows()[0].answered is not None)


@pytest.mark.parametrize(
    ("point", "reply", "expected", "state"),
    [
        pytest.param(
            "RCPT", "550 5.1.1 <ann@a.test>: unknown", "550 5.1.1 <ann@a.test>: unknown", "refused", id="rcpt-5xx"
        ),
        pytest.param("RCPT", "450 4.7.1 greylisted", "450 4.7.1 greylisted", "not-taken", id="rcpt-4xx"),
        pytest.param("MAIL", "452 4.3.1 disk", "452 4.3.1 disk", "not-taken", id="mail-4xx"),
        pytest.param("DATA", "451 4.3.0 oops", "451 4.3.0 oops", "not-taken", id="data-4xx"),
        pytest.param(".", "554 5.7.1 no", "554 5.7.1 no", "refused", id="dot-5xx"),
        pytest.param(".", "421 4.3.2 going", "451 4.3.2 going", "not-taken", id="dot-421"),
        pytest.param("MAIL", "503 5.5.1 sequence", "451 4.3.2", "not-taken", id="our-fault-503"),
        pytest.param("RCPT", "555 5.5.4 parameter", "451 4.3.2", "not-taken", id="our-fault-555"),
        pytest.param("MAIL", "530 5.7.0 Must issue a STARTTLS", "451 4.3.2", "not-taken", id="our-fault-530"),
        pytest.param("RCPT", "501 5.1.3 Bad address", "501 5.1.3 Bad address", "refused", id="501-about-address"),
        pytest.param("RCPT", "DROP", "451 4.3.2", "not-taken", id="dropped-at-rcpt"),
        pytest.param("DATA", "DROP", "451 4.3.2", "not-taken", id="dropped-at-data"),
        pytest.param(".", "DROP", "451 4.3.2", "handing-over", id="dropped-after-the-dot"),
        pytest.param("connect", "554 5.3.2 not you", "451 4.3.2", "not-taken", id="refused-to-talk"),
        pytest.param("EHLO", "502 5.5.1 what", "451 4.3.2", "not-taken", id="ehlo-refused"),
        pytest.param("connect", "garbage", "451 4.3.2", "not-taken", id="no-smtp"),
    ],
)
async def test_what_postfix_says_decides(world, point, reply, expected, state):
    world.hop.answers[point] = [reply]
    await world.start()
    client = await world.client()

    assert (await client.mail()).startswith(expected)

    assert world.states() == {"ann@a.test": state}
    assert (await client.say("NOOP")) == "250 2.0.0 Ok"


CONTENTS = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\r\n", id="blank-line"),
    pytest.param(b"no header at all\r\n", id="no-header"),
    pytest.param(b"Subject: only\r\n", id="no-body"),
    pytest.param(b"Subject: x\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\n", id="dots"),
    pytest.param(b"Subject: \xff\xfe\x80\r\nX-\x80: y\r\n\r\n\xe4\xb8\xad\x01\x1b\r\n", id="8-bit-junk"),
    pytest.param(b"X: " + b"h" * 995 + b"\r\n\r\n" + b"b" * 998 + b"\r\n", id="longest-lines"),
    pytest.param(b"Subject: x\r\n\r\n" + b"trailing  \r\n\r\n\r\n", id="trailing-blank"),
    pytest.param(b"Subject: x\r\n\r\n" + b".line\r\n" * 30_000, id="many-dots-over-many-pieces"),
    pytest.param(b"a: b\r\n" * 3 + b"From x\r\n>From y\r\n", id="from-lines"),
]


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("offers", [OFFERS, ()], ids=["all-extensions", "no-extensions"])
async def test_content_goes_through_octet_for_octet(world, content, offers):
    world.hop.offers = offers
    await world.start()
    client = await world.client()

    assert (await client.mail(content)).startswith("250")

    assert world.hop.mails[0].body == content
    assert world.hop.mails[0].content.startswith(b"Received: from client.test ([127.0.0.1])\r\n\tby relay.test")


async def test_envelope_parameters_go_on_as_they_came(world):
    await world.start()
    client = await world.client()
    await client.begin(
        "<News@shop.test>",
        "<Ann@a.test> NOTIFY=Success,Failure ORCPT=rfc822;Ann+2Bx@A.test",
        "<bob@a.test>",
        options=" SIZE=20 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Ab+2BcD AUTH=<>",
    )

    assert (await client.data(b"Subject: x\r\n\r\n")).startswith("250")

    commands = [line for line in world.hop.mails[0].commands if not line.startswith(("EHLO", "XFORWARD"))]
    size = len(world.hop.mails[0].content)
    assert commands == [
        f"MAIL FROM:<News@shop.test> SIZE={size} BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=Ab+2BcD",
        "RCPT TO:<Ann@a.test> NOTIFY=Success,Failure ORCPT=rfc822;Ann+2Bx@A.test",
        "RCPT TO:<bob@a.test>",
        "DATA",
    ]


async def test_what_the_next_server_does_not_offer_is_left_out(world):
    world.hop.offers = ("PIPELINING",)
    await world.start()
    client = await world.client()
    await client.begin("<a@b.test>", "<c@d.test> NOTIFY=NEVER", options=" SIZE=20 BODY=8BITMIME SMTPUTF8 RET=HDRS")

    assert (await client.data(b"Subject: x\r\n\r\n")).startswith("250")

    assert world.hop.mails[0].commands[1:] == ["MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA"]


@pytest.mark.parametrize(
    ("sender", "options", "content", "reply"),
    [
        pytest.param("<王@b.test>", " SMTPUTF8", b"x\r\n", "553 5.6.7", id="utf-8-address"),
        pytest.param("<a@b.test>", " BODY=8BITMIME", b"\xff\r\n", "554 5.6.3", id="8-bit-content"),
        pytest.param("<a@b.test>", " BODY=8BITMIME", b"x\r\n", "250", id="7-bit-content"),
        pytest.param("<a@b.test>", "", b"\xff\r\n", "250", id="undeclared-junk-passes"),
    ],
)
async def test_what_cannot_go_without_an_extension_is_refused(world, sender, options, content, reply):
    world.hop.offers = ("PIPELINING",)
    await world.start()
    client = await world.client()
    await client.begin(sender, "<c@d.test>", options=options)

    assert (await client.data(content)).startswith(reply)


async def test_xforward_goes_on_and_never_leaks_into_the_next_mail(world):
    await world.start(pool_size=1)
    client = await world.client()
    await client.say("XFORWARD NAME=mail+2Btest ADDR=192.0.2.9 PORT=25")
    await client.say("XFORWARD PROTO=ESMTP HELO=far.test IDENT=4ABC123 SOURCE=REMOTE")
    assert (await client.mail(b"first\r\n")).startswith("250")
    assert (await client.mail(b"second\r\n")).startswith("250")

    first, second = ([line for line in mail.commands if line.startswith("XFORWARD")] for mail in world.hop.mails)
    names = [row.hand_over for row in world.rows()]
    assert first == [
        "XFORWARD NAME=mail+2Btest ADDR=192.0.2.9 PORT=25",
        f"XFORWARD PROTO=ESMTP HELO=far.test IDENT={names[0]} SOURCE=REMOTE",
    ]
    assert names[0].startswith("4ABC123")
    assert len(names[0]) <= 40
    assert second[0].startswith("XFORWARD NAME=[UNAVAILABLE] ADDR=127.0.0.1 PORT=")
    assert second[1] == f"XFORWARD PROTO=ESMTP HELO=client.test IDENT={names[1]} SOURCE=REMOTE"
    assert world.hop.connections == 1
    ways = [(mail.way, mail.first_queue_id, mail.client_ip) for mail in world.submissions()]
    assert ways == [("filter", "4ABC123", "192.0.2.9"), ("direct", None, "127.0.0.1")]


async def test_every_transaction_has_its_own_name(world, return_path):
    await world.start(return_path=return_path)
    client = await world.client()
    await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>", "<eve@a.test>")

    names = {row.hand_over for row in world.rows()}
    sent = {line.partition("IDENT=")[2].split()[0] for line in world.hop.commands if "IDENT=" in line}
    assert len(names) == 3
    assert sent == names


async def test_signed_reverse_paths_one_for_each_recipient(world, return_path):
    await world.start(return_path=return_path)
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("250")

    rows = {row.address: row for row in world.rows()}
    assert len(world.hop.mails) == 2
    for mail in world.hop.mails:
        (recipient,) = mail.forward_paths
        reading = return_path.verify(mail.reverse_path, today=int(time.time()) // 86_400)
        assert reading.valid
        assert return_path.names(reading, recipient)
        assert rows[recipient].reverse_path == mail.reverse_path.lower()
    assert {row.queue_id for row in rows.values()} == {"Q0001", "Q0002"}


@pytest.mark.parametrize("off_for", ["shop.test", "News@shop.test"], ids=["domain", "address"])
async def test_a_sender_may_keep_its_own_reverse_path(world, return_path, off_for):
    settings = Settings(return_path=ReturnPathSettings(domain="bounces.test", off_for=(off_for,)))
    await world.start(return_path=return_path, settings=settings)
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("250")

    assert [(mail.reverse_path, mail.forward_paths) for mail in world.hop.mails] == [
        ("news@shop.test", ["ann@a.test", "bob@a.test"])
    ]


async def test_a_null_reverse_path_passes_untouched(world, return_path, dkim):
    world.add(entry(ListName.BLACKLIST, "ann@a.test"))
    await world.start(return_path=return_path, dkim=dkim)
    client = await world.client()
    content = b"From: x@shop.test\r\nX-Campaign: spring\r\n\r\nbounce\r\n"

    assert (await client.mail(content, "<ann@a.test>", sender="<>")).startswith("250")

    (mail,) = world.hop.mails
    assert (mail.reverse_path, mail.forward_paths, mail.body) == ("", ["ann@a.test"], content)
    assert world.rows()[0].campaign is None


async def test_the_signature_verifies_on_what_the_next_server_got(world, dkim):
    await world.start(dkim=dkim)
    client = await world.client()
    content = b"From: News <news@shop.test>\r\nTo: ann@a.test\r\nSubject: hi\r\nX-Campaign: c\r\n\r\n.dot\r\nbody\r\n"

    assert (await client.mail(content)).startswith("250")

    (key,) = dkim.keys
    record = record_text(key).encode()
    got = world.hop.mails[0].content
    assert libdkim.verify(got, dnsfunc=lambda name, timeout=5: record)
    assert not libdkim.verify(got.replace(b"body", b"bodz"), dnsfunc=lambda name, timeout=5: record)
    assert b"X-Campaign" not in got


async def test_the_trace_line_names_the_recipient_only_when_there_is_one(world):
    await world.start()
    client = await world.client()
    await client.mail(b"x\r\n", "<ann@a.test>")
    await client.mail(b"y\r\n", "<ann@a.test>", "<bob@a.test>")

    one, two = world.hop.mails
    assert b"for <ann@a.test>" in one.content
    assert b"for <" not in two.content


async def test_a_mail_that_goes_round_in_circles_is_refused(world):
    await world.start()
    client = await world.client()

    assert (await client.mail(b"Received: from x\r\n" * 101 + b"\r\n")).startswith("554 5.4.6")
    assert world.hop.mails == []


# ------------------------------------------------------------------ partial refusals


async def test_a_partial_refusal_is_told_in_a_notice_before_250(world):
    world.hop.answers["RCPT TO:<bob"] = ["550 5.1.1 <bob@a.test>: unknown"]
    await world.start()
    client = await world.client()
    await client.begin("<news@shop.test>", "<ann@a.test>", "<bob@a.test> ORCPT=rfc822;Bob@a.test", options=" RET=FULL")

    assert (await client.data(b"Subject: x\r\n\r\nthe body\r\n")).startswith("250")

    _, notice = world.hop.mails
    assert (notice.reverse_path, notice.forward_paths) == ("", ["news@shop.test"])
    report = message_from_bytes(notice.content)
    assert (report.get_content_type(), report["Auto-Submitted"]) == ("multipart/report", "auto-replied")
    assert b"Final-Recipient: rfc822; bob@a.test" in notice.content
    assert b"Final-Recipient: rfc822; ann@a.test" not in notice.content
    assert b"the body" in notice.content
    assert world.states() == {"ann@a.test": "queued", "bob@a.test": "refused"}
    refused = world.rows()[1]
    assert (refused.bounce_code, refused.stage, refused.detail) == (902, "rcpt", "550 5.1.1 <bob@a.test>: unknown")


@pytest.mark.parametrize(
    ("sender", "options"),
    [
        pytest.param("<news@shop.test>", " NOTIFY=NEVER", id="notify-never"),
        pytest.param("<news@shop.test>", " NOTIFY=SUCCESS", id="notify-success-alone"),
        pytest.param("<>", "", id="null-reverse-path"),
    ],
)
async def test_no_notice_where_none_is_wanted(world, sender, options):
    world.hop.answers["RCPT TO:<bob"] = ["550 5.1.1 unknown"]
    await world.start()
    client = await world.client()
    await client.begin(sender, "<ann@a.test>", "<bob@a.test>" + options)

    assert (await client.data(b"x\r\n")).startswith("250")

    assert len(world.hop.mails) == 1
    assert world.states()["bob@a.test"] == "refused"


async def test_a_notice_that_cannot_be_given_makes_it_451(world):
    world.hop.answers["RCPT TO:<bob"] = ["550 5.1.1 unknown"]
    world.hop.answers["RCPT TO:<news"] = ["451 4.3.0 later", "250 2.1.5 Ok"]
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("451 4.3.0")
    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("250")

    assert [mail.forward_paths for mail in world.hop.mails] == [["ann@a.test"], ["news@shop.test"]]


async def test_the_retry_after_a_transient_refusal_skips_who_was_taken(world, return_path):
    world.hop.answers["RCPT TO:<bob"] = ["450 4.7.1 greylisted", "250 2.1.5 Ok"]
    await world.start(return_path=return_path)
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("450 4.7.1")
    assert world.states() == {"ann@a.test": "queued", "bob@a.test": "not-taken"}
    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("250")

    assert sorted(path for mail in world.hop.mails for path in mail.forward_paths) == ["ann@a.test", "bob@a.test"]
    assert world.states() == {"ann@a.test": "queued", "bob@a.test": "queued"}
    assert len(world.submissions()) == 1


async def test_one_transaction_with_a_transient_refusal_still_queues_the_others(world):
    world.hop.answers["RCPT TO:<bob"] = ["450 4.7.1 greylisted", "250 2.1.5 Ok"]
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("450 4.7.1")
    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("250")

    assert [mail.forward_paths for mail in world.hop.mails] == [["ann@a.test"], ["bob@a.test"]]


# ------------------------------------------------------------------------- the pool


async def test_connections_are_kept_and_shared(world):
    await world.start(pool_size=2)
    clients = [await world.client() for _ in range(6)]

    replies = await asyncio.gather(*(client.mail(b"%d\r\n" % number) for number, client in enumerate(clients)))

    assert all(reply.startswith("250") for reply in replies)
    assert len(world.hop.mails) == 6
    assert world.hop.connections <= 2


@pytest.mark.parametrize("last_word", [b"", b"421 4.4.2 idle\r\n"], ids=["silently", "with-421"])
async def test_an_idle_connection_that_postfix_closed_is_replaced(world, last_word):
    await world.start(pool_size=1)
    client = await world.client()
    assert (await client.mail(b"1\r\n")).startswith("250")
    world.hop.hang_up(last_word)
    await world.until(lambda: world.hop.open_connections == 0 or bool(last_word))

    assert (await client.mail(b"2\r\n")).startswith("250")
    assert (len(world.hop.mails), world.hop.connections) == (2, 2)


async def test_a_connection_lost_before_the_first_word_is_tried_once_more(world):
    await world.start(pool_size=1)
    client = await world.client()
    assert (await client.mail(b"1\r\n")).startswith("250")
    world.hop.answers["XFORWARD"] = ["DROP", "250 2.0.0 Ok"]

    assert (await client.mail(b"2\r\n")).startswith("250")
    assert (len(world.hop.mails), world.hop.connections) == (2, 2)


async def test_a_refused_transaction_leaves_the_connection_clean(world):
    world.hop.answers["DATA"] = ["451 4.3.0 not now", "354 go"]
    await world.start(pool_size=1)
    client = await world.client()

    assert (await client.mail(b"1\r\n")).startswith("451")
    assert (await client.mail(b"2\r\n")).startswith("250")
    assert "RSET" in world.hop.commands
    assert world.hop.connections == 1


async def test_data_accepted_without_recipients_is_ended_with_an_empty_mail(world):
    world.hop.answers["RCPT"] = ["550 5.1.1 no", "250 2.1.5 Ok"]
    world.hop.answers["."] = ["554 5.5.1 no valid recipients", "250 2.0.0 Ok: queued as Q9"]
    await world.start(pool_size=1)
    client = await world.client()

    assert (await client.mail(b"1\r\n")).startswith("550 5.1.1")
    assert (await client.mail(b"2\r\n")).startswith("250")
    assert [mail.body for mail in world.hop.mails] == [b"2\r\n"]


async def test_a_server_without_pipelining_is_asked_step_by_step(world):
    world.hop.offers = ("8BITMIME",)
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("250")


async def test_a_next_server_that_is_down_is_451_at_once(world):
    port = await world.hop.start()
    await world.hop.stop()
    await world.start(next_port=port)
    client = await world.client()
    begun = time.monotonic()

    assert (await client.mail()).startswith("451 4.3.2")
    assert time.monotonic() - begun < 0.9
    assert world.states() == {"ann@a.test": "not-taken"}


async def test_a_submission_gets_the_date_and_message_id_that_it_lacks(world):
    await world.start(add_missing_headers=True)
    client = await world.client()
    await client.mail(b"Subject: hi\r\n\r\nhello\r\n")
    await client.mail(b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <own@shop.test>\r\n\r\nhello\r\n")

    first, second = world.hop.mails
    assert re.match(rb"Date: \w{3}, .* \+0000\r\nMessage-ID: <(\w+)@relay.test>\r\nSubject: hi\r\n", first.body)
    assert second.body == b"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <own@shop.test>\r\n\r\nhello\r\n"
    kept = {row.message_id for row in world.submissions()}
    assert kept == {"<own@shop.test>", re.search(rb"<\w+@relay.test>", first.body)[0].decode()}


async def test_an_answer_to_a_signed_reverse_path_passes_untouched(world):
    settings = msgspec.structs.replace(Settings(), return_path=ReturnPathSettings(domain="bounces.test"))
    signer = ReturnPathSigner(keys=ReturnPathKeys(secrets={"a": b"s" * 16}), domain="bounces.test")
    world.add(entry(ListName.BLACKLIST, "@bounces.test"))
    await world.start(settings=settings, return_path=signer, add_missing_headers=True)
    client = await world.client()
    content = b"Subject: away\r\nX-Campaign: x\r\n\r\nback on Monday\r\n"

    reply = await client.mail(content, "<b+token@bounces.test>", sender="<ann@a.test>")

    assert reply.startswith("250")
    assert world.hop.mails[0].reverse_path == "ann@a.test"
    assert world.hop.mails[0].body == content
