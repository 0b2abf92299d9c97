"""What the store holds after a mail: drops with their reasons, campaigns, a client's second try, doubts, our own failures."""

import asyncio
import sqlite3
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from omicard_relay.mail import ListEntry, ListName, StoreBusyError, StoreError
from omicard_relay.store import attempts, schema
from omicard_relay.tables.settings import CampaignSettings, RelaySettings, ScrubSettings, Settings

NOW = datetime.now(UTC)


def entry(list_name, value, scope="all", **more):
    return ListEntry(list_name=list_name, value=value, reason="asked", source="test", scope=scope, created=NOW, **more)


def campaign(name, number=0):
    return b"X-Campaign: %s\r\nX-Number: %d\r\n\r\nx\r\n" % (name.encode(), number)


# ---------------------------------------------------------------------- scrubbing


async def test_a_list_that_rejects_is_told_at_rcpt_and_recorded_at_once(world):
    world.add(entry(ListName.BLACKLIST, "bob@a.test", bounce_code=918))
    await world.start()
    client = await world.client()

    ok, refused, syntax = await client.begin("<news@shop.test>", "<ann@a.test>", "<bob@a.test>", "<no..body@a.test>")

    assert ok.startswith("250 2.1.5")
    assert refused.startswith("550 5.7.1 [918] on the blacklist")
    assert syntax.startswith("553 5.1.3 [902]")
    rows = {row.address: row for row in world.rows()}
    assert (rows["bob@a.test"].state, rows["bob@a.test"].drop_step, rows["bob@a.test"].bounce_code) == (
        "dropped",
        "blacklist",
        918,
    )
    assert rows["no..body@a.test"].drop_step == "syntax"

    assert (await client.data(b"Subject: x\r\n\r\n")).startswith("250")
    assert [mail.forward_paths for mail in world.hop.mails] == [["ann@a.test"]]
    assert len(world.submissions()) == 1


async def test_a_list_that_discards_is_silent_and_recorded(world):
    world.add(entry(ListName.UNSUBSCRIBED, "bob@a.test"))
    world.add(entry(ListName.KNOWN_BOUNCE, "@gone.test", bounce_code=905))
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>", "<eve@gone.test>")).startswith("250")

    assert [mail.forward_paths for mail in world.hop.mails] == [["ann@a.test"]]
    dropped = {row.address: (row.drop_step, row.bounce_code) for row in world.rows() if row.state == "dropped"}
    assert dropped == {"bob@a.test": ("unsubscribed", 926), "eve@gone.test": ("known-bounce", 905)}


async def test_a_mail_that_is_dropped_whole_is_taken_and_handed_to_nobody(world):
    world.add(entry(ListName.UNSUBSCRIBED, "bob@a.test"))
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<bob@a.test>")).startswith("250 2.0.0")

    assert world.hop.connections == 0
    assert world.states() == {"bob@a.test": "dropped"}
    await world.until(lambda: world.rows()[0].answered is not None)


@pytest.mark.parametrize(
    ("recipients", "reply"),
    [
        pytest.param(["<bob@a.test>"], "550 5.7.1 [926]", id="all-rejected"),
        pytest.param(["<bob@a.test>", "<ann@a.test>"], "250 2.0.0", id="one-kept"),
    ],
)
async def test_a_drop_that_shows_at_data_alone(world, recipients, reply):
    world.add(entry(ListName.BLACKLIST, "bob@a.test", scope="campaign:spring"))
    await world.start()
    client = await world.client()

    assert (await client.mail(campaign("spring"), *recipients)).startswith(reply)
    assert world.states()["bob@a.test"] == "dropped"


async def test_a_campaigns_whitelist_entry_is_heard_before_the_blacklist_refuses(world):
    world.add(entry(ListName.BLACKLIST, "@a.test"))
    world.add(entry(ListName.WHITELIST, "bob@a.test", scope="campaign:spring"))
    await world.start()
    client = await world.client()

    assert (await client.mail(campaign("spring"), "<bob@a.test>")).startswith("250")
    assert world.states() == {"bob@a.test": "queued"}
    assert (await client.mail(campaign("summer"), "<bob@a.test>")).startswith("550 5.7.1 [926]")


KINDS = CampaignSettings(kinds=(("receipt-*", "transactional"),))


@pytest.mark.parametrize(
    ("content", "is_sent"),
    [
        pytest.param(campaign("spring"), False, id="a campaign"),
        pytest.param(campaign("receipt-77"), True, id="a campaign of another kind"),
        pytest.param(b"Subject: your order\r\n\r\nx\r\n", True, id="no campaign"),
        pytest.param(b"X-Campaign-Kind: marketing\r\n\r\nx\r\n", False, id="the mail says so"),
    ],
)
async def test_who_is_unsubscribed_from_a_kind_gets_the_other_mail(world, content, is_sent):
    world.add(entry(ListName.UNSUBSCRIBED, "ann@a.test", scope="kind:marketing"))
    await world.start(settings=Settings(campaign=KINDS))
    client = await world.client()

    assert (await client.mail(content)).startswith("250")
    assert world.states() == {"ann@a.test": "queued" if is_sent else "dropped"}
    assert b"X-Campaign-Kind" not in b"".join(mail.content for mail in world.hop.mails)


async def test_a_kinds_whitelist_entry_is_heard_before_the_blacklist_refuses(world):
    world.add(entry(ListName.BLACKLIST, "@a.test"))
    world.add(entry(ListName.WHITELIST, "bob@a.test", scope="kind:transactional"))
    await world.start()
    client = await world.client()

    assert (await client.mail(b"Subject: x\r\n\r\n", "<bob@a.test>")).startswith("250")
    assert (await client.mail(campaign("summer"), "<bob@a.test>")).startswith("550 5.7.1 [926]")


async def test_the_kind_of_a_mail_is_written_down(world):
    await world.start()
    client = await world.client()
    for content in (campaign("spring"), b"x\r\n", b"X-Campaign-Kind: Alert\r\n\r\n"):
        await client.mail(content)
    with world.store.read() as tx:
        kinds = tx.execute(sa.select(schema.submission.c.kind).order_by(schema.submission.c.id)).scalars().all()
    assert kinds == ["marketing", "transactional", "alert"]


async def test_the_same_address_twice_in_one_mail_goes_once(world):
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<Ann@A.test>")).startswith("250")

    assert [mail.forward_paths for mail in world.hop.mails] == [["ann@a.test"]]
    assert [(row.address, row.state, row.drop_step) for row in world.rows()] == [
        ("ann@a.test", "queued", None),
        ("Ann@A.test", "dropped", "duplicate"),
    ]


# ---------------------------------------------------------------------- campaigns


async def test_an_address_gets_one_mail_of_a_campaign(world):
    await world.start()
    client = await world.client()

    for number in range(2):
        assert (await client.mail(campaign("spring", number))).startswith("250")
    assert (await client.mail(campaign("summer"))).startswith("250")

    assert len(world.hop.mails) == 2
    assert [(row.state, row.drop_step, row.campaign) for row in world.rows()] == [
        ("queued", None, "spring"),
        ("dropped", "duplicate", "spring"),
        ("queued", None, "summer"),
    ]


@pytest.mark.parametrize(
    ("settings", "named", "sent"),
    [
        pytest.param(CampaignSettings(), "header", False, id="header"),
        pytest.param(CampaignSettings(remove_header=False), "header", True, id="header-stays"),
        pytest.param(CampaignSettings(header="X-Other"), "env+id", True, id="envid"),
        pytest.param(CampaignSettings(header="", envid=False), None, True, id="none"),
    ],
)
async def test_who_names_the_campaign(world, settings, named, sent):
    await world.start(settings=Settings(campaign=settings))
    client = await world.client()
    await client.begin("<a@shop.test>", "<ann@a.test>", options=" ENVID=env+2Bid")

    assert (await client.data(campaign("header"))).startswith("250")

    assert world.rows()[0].campaign == named
    assert (b"X-Campaign" in world.hop.mails[0].body) is sent


async def test_sessions_that_race_for_one_address_of_a_campaign(world):
    await world.start(pool_size=4)
    clients = [await world.client() for _ in range(12)]

    replies = await asyncio.gather(*(client.mail(campaign("spring", number)) for number, client in enumerate(clients)))

    assert all(reply.startswith("250") for reply in replies)
    assert len(world.hop.mails) == 1
    assert sorted(row.state for row in world.rows()) == ["dropped"] * 11 + ["queued"]


async def test_a_mail_that_was_not_taken_gives_its_place_in_the_campaign_free(world):
    world.hop.answers["."] = ["451 4.3.0 later", "250 2.0.0 Ok: queued as Q2"]
    await world.start()
    client = await world.client()

    assert (await client.mail(campaign("spring", 1))).startswith("451")
    assert (await client.mail(campaign("spring", 2))).startswith("250")
    assert len(world.hop.mails) == 1


# --------------------------------------------------------------- the same mail again


async def test_the_same_mail_after_its_250_is_another_mail(world):
    await world.start()
    client = await world.client()

    for _ in range(3):
        assert (await client.mail(b"the very same\r\n")).startswith("250")

    assert len(world.hop.mails) == 3
    assert len(world.submissions()) == 3


async def test_a_client_that_went_away_before_its_250_comes_again_and_nothing_is_doubled(world):
    gone = asyncio.Event()

    async def leave(got):
        (conversation,) = world.relays[0].door.connected
        client.close()
        await world.until(lambda: conversation._input_ended)
        gone.set()

    world.hop.on_mail = leave
    await world.start()
    client = await world.client()
    await client.begin()
    client.send("DATA")
    client.send("x\r\n.")
    await gone.wait()
    world.hop.on_mail = None
    await world.until(lambda: world.states() == {"ann@a.test": "queued"} and not world.relays[0].door.connected)

    again = await world.client()
    assert (await again.mail(b"x\r\n")).startswith("250")

    assert len(world.hop.mails) == 1
    assert [(row.state, row.queue_id) for row in world.rows()] == [("queued", "Q0001")]


async def test_a_client_that_closed_its_half_but_hears_its_250_is_answered(world):
    await world.start()
    client = await world.client()
    client.writer.write(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<ann@a.test>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
    client.writer.write_eof()

    assert [(await client.reply())[:3] for _ in range(5)] == ["250", "250", "354", "250", "221"]
    await world.until(lambda: world.rows()[0].answered is not None)


async def test_a_try_that_is_still_running_makes_the_second_one_wait(world):
    started, go = asyncio.Event(), asyncio.Event()

    async def hold(got):
        started.set()
        await go.wait()

    world.hop.on_mail = hold
    await world.start()
    first, second, other = [await world.client() for _ in range(3)]
    running = asyncio.create_task(first.mail(b"x\r\n", "<ann@a.test>"))
    await started.wait()

    assert (await second.mail(b"x\r\n", "<bob@a.test>", "<ann@a.test>")).startswith("451 4.3.0")
    assert world.states() == {"ann@a.test": "handing-over"}
    world.hop.on_mail = None
    assert (await other.mail(b"x\r\n", "<bob@a.test>")).startswith("250")
    go.set()
    assert (await running).startswith("250")
    assert len(world.hop.mails) == 2


async def test_a_regrouped_retry_finds_each_recipient(world):
    """Postfix as a client may sort the recipients of a deferred mail into other sessions."""
    world.hop.answers["RCPT TO:<cat"] = ["450 4.7.1 later", "250 2.1.5 Ok"]
    await world.start()
    client = await world.client()
    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>", "<cat@a.test>")).startswith("450")

    for recipients in (["<ann@a.test>"], ["<bob@a.test>", "<cat@a.test>"]):
        assert (await client.mail(b"x\r\n", *recipients)).startswith("250")

    assert [mail.forward_paths for mail in world.hop.mails] == [["ann@a.test", "bob@a.test"], ["cat@a.test"]]
    await world.until(lambda: all(row.answered for row in world.rows()))


async def test_a_retry_leaves_one_row_for_a_rejected_recipient(world):
    world.hop.answers["."] = ["451 4.3.0 later", "250 2.0.0 Ok: queued as Q2"]
    world.add(entry(ListName.BLACKLIST, "bob@a.test"))
    await world.start()
    client = await world.client()

    for reply in ("451", "250"):
        assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>", "<ann@a.test>")).startswith(reply)

    assert sorted((row.address, row.state) for row in world.rows()) == [
        ("ann@a.test", "dropped"),
        ("ann@a.test", "queued"),
        ("bob@a.test", "dropped"),
    ]


# ------------------------------------------------------------------------- doubts


async def in_doubt(world, **relay):
    """A mail whose final dot got no answer."""
    world.hop.answers["."] = ["DROP", "250 2.0.0 Ok: queued as Q7"]
    await world.start(**relay)
    client = await world.client()
    assert (await client.mail(b"x\r\n")).startswith("451 4.3.2")
    return client


async def test_a_doubt_makes_the_client_wait(world):
    client = await in_doubt(world)

    assert (await client.mail(b"x\r\n")).startswith("451 4.3.0 It is not known")
    assert world.states() == {"ann@a.test": "handing-over"}


async def test_a_doubt_that_the_log_solves_is_taken(world):
    client = await in_doubt(world)
    (row,) = world.rows()
    with world.store.write() as tx:
        attempts.record_queue(tx, "LOGQ1", time=NOW, orig_queue_id=row.hand_over)
        attempts.record_active(tx, "LOGQ1", time=NOW, sender="news@shop.test")

    assert (await client.mail(b"x\r\n")).startswith("250")

    assert world.hop.mails == []
    assert [(row.state, row.queue_id) for row in world.rows()] == [("queued", "LOGQ1")]


async def test_a_doubt_of_which_the_log_shows_nothing_is_tried_anew(world):
    client = await in_doubt(world, doubt_seconds=5)
    with world.store.write() as tx:
        tx.execute(schema.recipient.update().values(state_since=NOW - timedelta(seconds=30)))
    assert (await client.mail(b"x\r\n")).startswith("250")

    assert [(row.state, row.queue_id) for row in world.rows()] == [("queued", "Q7")]


async def test_the_relay_is_killed_after_postfix_took_the_mail(world):
    """Nothing after the intent was written; another relay runs on the same store."""
    killed = asyncio.Event()

    async def kill(got):
        for task in world.relays[0].handler.running:
            task.cancel()
        killed.set()

    world.hop.on_mail = kill
    await world.start()
    client = await world.client()
    await client.begin()
    client.send("DATA")
    client.send("x\r\n.")
    await killed.wait()
    world.hop.on_mail = None
    await world.start()
    again = await world.client()

    assert (await again.mail(b"x\r\n")).startswith("451 4.3.0")
    (row,) = world.rows()
    with world.store.write() as tx:
        attempts.record_queue(tx, "Q0001", time=NOW, orig_queue_id=row.hand_over)
        attempts.record_active(tx, "Q0001", time=NOW, sender="news@shop.test")
    assert (await again.mail(b"x\r\n")).startswith("250")

    assert len(world.hop.mails) == 1


# ------------------------------------------------------------------ our own failures


class FailingWriter:
    """Lets the first jobs through, then fails as told for a while."""

    def __init__(self, writer, good, bad, error):
        self.writer, self.left, self.bad, self.error = writer, good, bad, error

    def submit(self, job):
        self.left -= 1
        if self.left >= 0 or self.bad <= 0:
            return self.writer.submit(job)
        self.bad -= 1
        future = Future()
        future.set_exception(self.error)
        return future

    def close(self):
        self.writer.close()


ERRORS = [
    pytest.param(StoreBusyError("locked"), id="locked"),
    pytest.param(StoreError("read-only"), id="read-only"),
    pytest.param(RuntimeError("a bug"), id="bug"),
]


@pytest.mark.parametrize("error", ERRORS)
async def test_a_store_that_fails_before_the_hand_over_is_451_and_nothing_is_sent(world, error):
    world.writer = FailingWriter(world.writer, 0, 1, error)
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n")).startswith("451 4.3.0")
    assert world.hop.connections == 0
    assert (await client.mail(b"x\r\n")).startswith("250")
    assert len(world.hop.mails) == 1


@pytest.mark.parametrize("error", ERRORS)
async def test_a_store_that_fails_after_postfix_took_the_mail_is_451_and_the_retry_is_not_doubled(world, error):
    world.writer = FailingWriter(world.writer, 1, 1, error)
    await world.start()
    client = await world.client()

    assert (await client.mail(b"x\r\n")).startswith("451 4.3.0")
    assert (await client.mail(b"x\r\n")).startswith("250")

    assert len(world.hop.mails) == 1
    assert [(row.state, row.queue_id) for row in world.rows()] == [("queued", "Q0001")]


async def test_a_store_that_fails_at_rcpt_is_451(world):
    world.writer = FailingWriter(world.writer, 0, 1, StoreError("gone"))
    world.add(entry(ListName.BLACKLIST, "bob@a.test"))
    await world.start()
    client = await world.client()

    await client.say("MAIL FROM:<a@b.test>")
    assert (await client.say("RCPT TO:<bob@a.test>")).startswith("451 4.3.0")
    assert (await client.say("NOOP")).startswith("250")


async def test_a_database_that_another_program_locks_is_451(world, tmp_path):
    await world.start()
    client = await world.client()
    other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    assert (await client.mail(b"x\r\n")).startswith("451 4.3.0")
    other.execute("ROLLBACK")
    assert (await client.mail(b"x\r\n")).startswith("250")
    other.close()


async def test_an_answer_that_could_not_be_written_is_written_later(world):
    world.writer = FailingWriter(world.writer, 2, 1, StoreBusyError("locked"))
    await world.start()
    client = await world.client()
    assert (await client.mail(b"x\r\n")).startswith("250")

    await world.until(lambda: world.rows()[0].answered is not None)


async def test_a_signer_that_fails_is_451_and_the_mail_may_come_again(world, monkeypatch, dkim):
    relay = await world.start(dkim=dkim)
    carrier = relay.handler._carrier

    class Broken:
        def sign(self, content, *, now):
            raise OSError("the key is gone")

    monkeypatch.setattr(carrier, "_dkim", Broken())
    client = await world.client()

    assert (await client.mail(b"x\r\n")).startswith("451 4.3.0")
    assert world.states() == {"ann@a.test": "not-taken"}
    monkeypatch.setattr(carrier, "_dkim", dkim)
    assert (await client.mail(b"x\r\n")).startswith("250")
    assert len(world.hop.mails) == 1


async def test_a_judge_that_fails_costs_a_verdict_and_no_mail(world):
    class Broken:
        def judge_text(self, *arguments, **more):
            raise ValueError

    world.hop.answers["RCPT TO:<bob"] = ["550 5.1.1 unknown"]
    await world.start(judge=Broken())
    client = await world.client()

    assert (await client.mail(b"x\r\n", "<ann@a.test>", "<bob@a.test>")).startswith("250")
    assert [(row.state, row.bounce_code) for row in world.rows()] == [("queued", None), ("refused", 900)]


async def test_octets_that_no_database_takes_are_shown(world):
    await world.start(settings=Settings(scrub=ScrubSettings(syntax="discard"), relay=RelaySettings()))
    client = await world.client()
    await client.say("MAIL FROM:<a@b.test> SMTPUTF8")

    assert (await client.say(b"RCPT TO:<\xff@a.test>")).startswith("250")
    assert (await client.say("DATA")).startswith("354")
    assert (await client.say("x\r\n.")).startswith("250")
    assert [row.drop_step for row in world.rows()] == ["syntax"]


async def test_the_submission_is_written_down(world):
    await world.start()
    client = await world.client()
    await client.begin("<News@shop.test>", "<ann@a.test>", options=" ENVID=a+2Bb")
    content = b"Message-ID: <1@shop.test>\r\nSubject: =?utf-8?q?hi?=\r\n\r\nbody\r\n"
    assert (await client.data(content)).startswith("250")

    (mail,) = world.submissions()
    assert (mail.way, mail.client_ip, mail.client_name, mail.reverse_path) == (
        "direct",
        "127.0.0.1",
        "client.test",
        "News@shop.test",
    )
    assert (mail.message_id, mail.subject, mail.campaign, mail.envid, mail.size) == (
        "<1@shop.test>",
        "=?utf-8?q?hi?=",
        "a+b",
        "a+b",
        len(content),
    )
    with world.store.read() as tx:
        assert tx.execute(sa.select(schema.submission.c.login)).scalar() is None
