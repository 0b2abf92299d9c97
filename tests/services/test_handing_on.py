"""Handing a person's mail on: once into a Maildir whatever crashes, at most one too many to a forward address, never lost."""

import asyncio
import os
import socketserver
import threading
from datetime import timedelta

import pytest

from omicard_relay.mail import MailKind, StoreError
from omicard_relay.services import handing_on
from omicard_relay.services.answers import TRACE_FIELD, AnswerRule
from omicard_relay.services.handing_on import HandOn, hand_on_quietly, serve_answers
from omicard_relay.services.ingest import Ingester
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store import answers, bounces, schema
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import AnswersSettings, RelaySettings, Settings
from omicard_relay.tables.suppress import load_suppress
from tests.keeping import NOW, rows
from tests.mails import dsn, vacation

LEASE = timedelta(seconds=61)
ANSWER = (
    b"From: Ann <ann@a.example>\r\nTo: <b+x@bounces.example>\r\nSubject: Re: our offer\r\nMessage-ID: <1@a.example>\r\n"
    b"\r\nPlease send two of them.\r\n.\r\nFrom here on you know the rest.\r\n"
)


@pytest.fixture(scope="module")
def policies():
    return load_policies()


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=str(tmp_path))


def forwarding(settings, port, **more):
    return Settings(
        data_dir=settings.data_dir,
        relay=RelaySettings(next_port=port, hostname="relay.example"),
        answers=AnswersSettings(forward="care@shop.example", **more),
    )


def taker(store, policies, settings, clock, **more):
    rule = AnswerRule(settings.answers, **more)
    return Ingester(store, Rulebook.of(policies, load_suppress()), None, 1_000_000, clock=clock, answers=rule)


@pytest.fixture
def take(store, policies, settings, clock):
    def take(raw=ANSWER, *, with_settings=settings, **more):
        ingester = taker(store, policies, with_settings, clock, **more)
        return ingester.take(raw, sender="ann@a.example", recipient="b+x@bounces.example")

    return take


@pytest.fixture
def hand_on(store, settings, clock):
    return HandOn(store, settings, clock=clock)


def placed(settings):
    """The content of every mail of the Maildir that a reader would see."""
    folder = settings.data_path("answers")
    return [path.read_bytes() for name in ("new", "cur") for path in sorted((folder / name).glob("*"))]


def drafts(settings):
    return sorted((settings.data_path("answers") / "tmp").glob("*"))


def waiting(store):
    with store.read() as tx:
        return answers.count_waiting(tx)


def answer(number):
    return ANSWER.replace(b"<1@", b"<%d@" % number)


# ------------------------------------------------------------------ what is handed on


def test_a_persons_mail_comes_into_the_maildir_with_one_field_more(take, hand_on, settings, store):
    assert take() is MailKind.NOT_A_BOUNCE
    assert hand_on.run() == 1
    (content,) = placed(settings)
    trace, _, rest = content.partition(b"\n")
    assert trace.startswith(TRACE_FIELD.encode() + b": " + rows(store, schema.bounce_mail, "digest")[0][:16].encode())
    assert rest == ANSWER.replace(b"\r\n", b"\n")
    assert rows(store, schema.bounce_mail, "handed_on", "hand_on_after") == [(NOW, None)]
    assert (waiting(store), drafts(settings)) == (0, [])


def test_what_was_handed_on_is_not_handed_on_again(take, hand_on, settings):
    take()
    take()
    assert (hand_on.run(), hand_on.run()) == (1, 0)
    assert len(placed(settings)) == 1


@pytest.mark.parametrize("raw", [dsn("ann@a.example"), vacation()], ids=["a report of failure", "an automatic reply"])
def test_robots_mails_are_kept_only(take, hand_on, settings, store, raw):
    assert take(raw) in (MailKind.DSN, MailKind.AUTOREPLY)
    assert hand_on.run() == 0
    assert placed(settings) == []
    assert len(rows(store, schema.bounce_mail)) == 1


def test_a_site_may_have_automatic_replies_handed_on_too(take, store, settings, tmp_path, clock):
    chosen = Settings(data_dir=str(tmp_path), answers=AnswersSettings(kinds=("not-a-bounce", "autoreply")))
    take(vacation(), with_settings=chosen)
    assert HandOn(store, chosen, clock=clock).run() == 1


def test_switched_off_nothing_is_marked_and_all_is_kept(take, store, tmp_path, clock):
    off = Settings(data_dir=str(tmp_path), answers=AnswersSettings(mailbox=""))
    take(with_settings=off)
    assert (waiting(store), HandOn(store, off, clock=clock).run()) == (0, 0)
    assert len(rows(store, schema.bounce_mail)) == 1


def test_what_waited_when_it_was_switched_off_waits_on(take, store, settings, tmp_path, clock):
    take()
    off = Settings(data_dir=str(tmp_path), answers=AnswersSettings(mailbox=""))
    assert (HandOn(store, off, clock=clock).run(), waiting(store)) == (0, 1)
    assert HandOn(store, settings, clock=clock).run() == 1


# ------------------------------------------------------------------ loops


def test_a_mail_that_we_handed_on_ourselves_goes_no_further(take, hand_on, settings, store):
    take()
    hand_on.run()
    (content,) = placed(settings)
    take(b"Received: by mx.example; Tue, 24 Nov 2026 08:00:00 +0000\r\n" + content)
    assert hand_on.run() == 0
    assert len(placed(settings)) == 1
    with store.read() as tx:
        assert bounces.counters(tx)["answers.loop"] == 1
    assert any("carries" in (note or "") for note in rows(store, schema.bounce_mail, "hand_on_note"))


def test_a_person_who_attaches_such_a_mail_is_heard(take, hand_on, settings):
    take(ANSWER + b"\r\n-- forwarded\r\n" + TRACE_FIELD.encode() + b": 0123; Tue, 24 Nov 2026 08:00:00 +0000\r\n")
    assert hand_on.run() == 1


# ------------------------------------------------------------------ crashes


class Crash(BaseException):
    """kill -9: nothing behind it is run."""


def crashing(monkeypatch, name, *, after):
    """Let a function of the module die, before it works or after it has."""
    real = getattr(handing_on, name)

    def dies(*arguments):
        if after:
            real(*arguments)
        raise Crash

    monkeypatch.setattr(handing_on, name, dies)
    return lambda: monkeypatch.setattr(handing_on, name, real)


@pytest.mark.parametrize("name", ["_write_draft", "_place"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_step_of_the_maildir_neither_loses_nor_doubles(
    take, hand_on, settings, store, clock, monkeypatch, name, after
):
    for number in range(3):
        take(answer(number))
    mend = crashing(monkeypatch, name, after=after)
    with pytest.raises(Crash):
        hand_on.run()
    mend()
    assert waiting(store) == 3
    assert hand_on.run() == 0  # whoever died may be alive for all we know
    clock.now += LEASE
    assert hand_on.run() == 3
    assert len(set(placed(settings))) == len(placed(settings)) == 3
    assert (waiting(store), hand_on.run()) == (0, 0)


def test_a_reader_may_take_a_mail_away_before_we_noted_that_it_is_there(
    take, hand_on, settings, store, clock, monkeypatch
):
    """A second copy would surprise whoever has read and deleted the first one."""
    take()
    mend = crashing(monkeypatch, "_place", after=True)
    with pytest.raises(Crash):
        hand_on.run()
    mend()
    for path in (settings.data_path("answers") / "new").iterdir():
        path.unlink()
    clock.now += LEASE
    assert hand_on.run() == 1
    assert (placed(settings), waiting(store)) == ([], 0)


def test_two_that_have_the_same_mail_place_it_once(take, hand_on, settings, store, clock, monkeypatch):
    """One sleeps between its draft and its note, longer than its lease."""
    take()
    real, other = handing_on._write_draft, HandOn(store, settings, clock=clock)

    def slow(*arguments):
        monkeypatch.setattr(handing_on, "_write_draft", real)
        draft = real(*arguments)
        clock.now += LEASE
        assert other.run() == 1
        return draft

    monkeypatch.setattr(handing_on, "_write_draft", slow)
    assert hand_on.run() == 0
    assert (len(placed(settings)), drafts(settings), waiting(store)) == (1, [], 0)


def test_another_machine_leaves_a_draft_to_the_one_that_has_it(take, settings, store, clock, tmp_path, monkeypatch):
    """One store, and a Maildir of the same name on the disk of each machine."""
    take()
    monkeypatch.setattr(handing_on.socket, "gethostname", lambda: "first.example")
    mend = crashing(monkeypatch, "_place", after=False)
    with pytest.raises(Crash):
        HandOn(store, settings, clock=clock).run()
    mend()
    settings.data_path("answers").rename(tmp_path / "first disk")
    clock.now += LEASE
    with monkeypatch.context() as other:
        other.setattr(handing_on.socket, "gethostname", lambda: "second.example")
        take(answer(2))
        assert HandOn(store, settings, clock=clock).run() == 1  # its own; the folder is there now
        assert (len(placed(settings)), waiting(store)) == (1, 1)
    settings.data_path("answers").rename(tmp_path / "second disk")
    (tmp_path / "first disk").rename(settings.data_path("answers"))
    clock.now += LEASE
    assert HandOn(store, settings, clock=clock).run() == 1
    assert (len(placed(settings)), drafts(settings), waiting(store)) == (1, [], 0)


def test_an_unwritable_maildir_holds_the_mails_and_is_tried_again(take, settings, store, clock, hand_on):
    take()
    settings.data_path("answers").write_text("in the way")
    assert hand_on.run() == 0
    (why,) = rows(store, schema.bounce_mail, "hand_on_note")
    assert "cannot be written" in why
    settings.data_path("answers").unlink()
    assert hand_on.run() == 0  # not yet: it rests
    clock.now += timedelta(seconds=31)
    assert hand_on.run() == 1


def test_many_are_handed_on_in_several_rounds(take, hand_on, settings):
    for number in range(45):
        take(answer(number))
    assert hand_on.run(most=1) == 1
    assert hand_on.run() == 44
    assert len(placed(settings)) == 45


# ------------------------------------------------------------------ the forward address


class Mta(socketserver.ThreadingTCPServer):
    """A Postfix of a few lines. `says` has other answers by verb; `dies_after` ends the connection behind that verb."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Talk)
        self.taken, self.heard, self.says, self.thinks_seconds = [], [], {}, 0.0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Talk(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 mta.example ESMTP")
        while line := self.rfile.readline():
            verb = line.split()[0].upper().decode()
            self.server.heard.append(line.strip().decode())
            if verb == "DATA":
                self.say("354 go on")
                content = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    content += part.removeprefix(b".")
                threading.Event().wait(self.server.thinks_seconds)
                if not self.say(self.server.says.get("END", "250 2.0.0 Ok: queued as 4QAAAAA1")):
                    self.server.taken.append(content)
            elif verb == "EHLO":
                self.say("250-mta.example\r\n250 8BITMIME")
            else:
                self.say(self.server.says.get(verb, "250 2.0.0 Ok"))
            if verb == "QUIT":
                return

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")
        return text.startswith(("4", "5"))


@pytest.fixture
def mta():
    with Mta() as mta:
        yield mta
        mta.shutdown()


def test_a_forwarded_mail_has_a_null_reverse_path_and_is_whole(take, store, settings, mta, clock):
    chosen = forwarding(settings, mta.server_address[1])
    take(with_settings=chosen)
    assert HandOn(store, chosen, clock=clock).run() == 1
    assert "MAIL FROM:<>" in [line.upper() for line in mta.heard]
    assert "RCPT TO:<CARE@SHOP.EXAMPLE>" in [line.upper() for line in mta.heard]
    (content,) = mta.taken
    trace, _, rest = content.partition(b"\r\n")
    assert trace.startswith(TRACE_FIELD.encode())
    assert rest == ANSWER
    (note,) = rows(store, schema.bounce_mail, "hand_on_note")
    assert note == "care@shop.example: 250 2.0.0 Ok: queued as 4QAAAAA1"
    assert placed(settings) == []


@pytest.mark.parametrize("ends", [b"one\ntwo\n", b"one\rtwo\r\n"], ids=["line feeds", "a bare carriage return"])
def test_no_bare_line_end_reaches_postfix(take, store, settings, mta, clock, ends):
    chosen = forwarding(settings, mta.server_address[1])
    take(b"Subject: x\nFrom: ann@a.example\n\n" + ends, with_settings=chosen)
    HandOn(store, chosen, clock=clock).run()
    (content,) = mta.taken
    assert content.endswith(b"one\r\ntwo\r\n")


def test_eight_bits_are_announced(take, store, settings, mta, clock):
    chosen = forwarding(settings, mta.server_address[1])
    take(ANSWER.replace(b"Please", "請".encode()), with_settings=chosen)
    HandOn(store, chosen, clock=clock).run()
    assert any("BODY=8BITMIME" in line.upper() for line in mta.heard)


def test_while_postfix_is_down_it_waits(take, store, settings, mta, clock):
    mta.shutdown()
    mta.server_close()
    chosen = forwarding(settings, mta.server_address[1])
    take(with_settings=chosen)
    hand_on = HandOn(store, chosen, clock=clock)
    assert (hand_on.run(), waiting(store)) == (0, 1)
    with Mta() as back:
        clock.now += timedelta(seconds=31)
        assert HandOn(store, forwarding(settings, back.server_address[1]), clock=clock).run() == 1
        back.shutdown()


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "END"])
def test_what_postfix_defers_waits_and_is_tried_ever_more_seldom(take, store, settings, mta, clock, verb):
    chosen = forwarding(settings, mta.server_address[1])
    take(with_settings=chosen)
    mta.says[verb] = "451 4.3.0 later"
    hand_on = HandOn(store, chosen, clock=clock)
    for seconds in (30, 60, 120):
        assert hand_on.run() == 0
        assert rows(store, schema.bounce_mail, "hand_on_after") == [clock.now + timedelta(seconds=seconds)]
        clock.now += timedelta(seconds=seconds)
    del mta.says[verb]
    assert hand_on.run() == 1
    assert len(mta.taken) == 1


def test_a_refused_mail_is_kept_waits_long_and_does_not_hold_up_the_others(take, store, settings, mta, clock):
    chosen = forwarding(settings, mta.server_address[1])
    for number in range(3):
        take(answer(number), with_settings=chosen)
    mta.says["END"] = "552 5.3.4 too big"
    HandOn(store, chosen, clock=clock).run()
    assert (mta.taken, waiting(store)) == ([], 3)
    assert rows(store, schema.bounce_mail, "hand_on_after") == [NOW + timedelta(seconds=600)] * 3
    assert rows(store, schema.bounce_mail, "hand_on_note") == ["552 5.3.4 too big"] * 3


def test_a_crash_behind_postfix_250_doubles_one_mail_at_most(take, store, settings, mta, clock, monkeypatch):
    chosen = forwarding(settings, mta.server_address[1])
    for number in range(3):
        take(answer(number), with_settings=chosen)
    hand_on = HandOn(store, chosen, clock=clock)
    monkeypatch.setattr(hand_on, "_note", lambda *arguments, **more: (_ for _ in ()).throw(Crash))
    with pytest.raises(Crash):
        hand_on.run()
    monkeypatch.undo()
    assert hand_on.run() == 2
    clock.now += handing_on._FORWARD_LEASE
    assert hand_on.run() == 1
    kept = [content.partition(b"\r\n")[2] for content in mta.taken]
    assert (len(kept), len(set(kept))) == (4, 3)


def test_a_postfix_that_thinks_long_about_the_content_gets_the_mail_once(take, store, settings, mta, clock):
    """Its milters look at it: to hang up meanwhile would send it anew, again and again."""
    chosen = forwarding(settings, mta.server_address[1])
    take(with_settings=chosen)
    mta.thinks_seconds = 0.3
    assert HandOn(store, chosen, smtp_seconds=0.1, clock=clock).run() == 1
    assert (len(mta.taken), waiting(store)) == (1, 0)


def test_a_draft_of_the_time_of_a_maildir_is_still_placed(take, store, settings, mta, clock, hand_on, monkeypatch):
    take()
    mend = crashing(monkeypatch, "_place", after=False)
    with pytest.raises(Crash):
        hand_on.run()
    mend()
    clock.now += LEASE
    assert HandOn(store, forwarding(settings, mta.server_address[1]), clock=clock).run() == 1
    assert (len(placed(settings)), mta.taken) == (1, [])


# ------------------------------------------------------------------ who calls it


def test_the_pipe_hands_on_what_it_can_and_never_fails(take, store, settings, monkeypatch):
    take()
    monkeypatch.setattr(HandOn, "run", lambda *_, **__: (_ for _ in ()).throw(StoreError("locked")))
    hand_on_quietly(store, settings)
    monkeypatch.undo()
    hand_on_quietly(store, settings)
    assert len(placed(settings)) == 1


async def test_the_service_hands_on_what_it_finds_and_what_comes(take, store, settings):
    take(answer(1))
    wake, stop, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
    task = asyncio.create_task(serve_answers(HandOn(store, settings), wake, stop))

    async def until(count):
        async with asyncio.timeout(20):
            while len(placed(settings)) < count:  # noqa: ASYNC110  a folder sets no event
                await asyncio.sleep(0.01)

    await until(1)
    # Before the next look by itself: the ingester wakes it.
    await asyncio.to_thread(take, answer(2), wake=lambda: loop.call_soon_threadsafe(wake.set))
    async with asyncio.timeout(handing_on._LOOK_SECONDS / 2):
        await until(2)
    stop.set()
    await asyncio.wait_for(task, 20)


async def test_a_fault_of_ours_does_not_end_the_service(take, store, settings, monkeypatch):
    take()
    wake, stop, calls = asyncio.Event(), asyncio.Event(), []

    def breaks(*_):
        calls.append(1)
        raise RuntimeError("a bug") if len(calls) == 1 else StoreError("locked")

    monkeypatch.setattr(HandOn, "run", breaks)
    task = asyncio.create_task(serve_answers(HandOn(store, settings), wake, stop))
    async with asyncio.timeout(20):
        while len(calls) < 3:
            wake.set()
            await asyncio.sleep(0.01)
    assert not task.done()
    stop.set()
    await asyncio.wait_for(task, 20)


def test_only_the_owner_and_the_group_may_read_an_answer(take, hand_on, settings):
    before = os.umask(0)
    try:
        take()
        hand_on.run()
    finally:
        os.umask(before)
    (path,) = (settings.data_path("answers") / "new").iterdir()
    assert path.stat().st_mode & 0o777 == 0o660
