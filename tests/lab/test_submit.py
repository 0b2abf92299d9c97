"""Submitting: what a client is told, trying again, and the doubt that a lost reply leaves."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from lab.behaviour import Behaviour, Envelope
from lab.books import Books
from lab.campaign import Campaign, Planned
from lab.domains import Fate
from lab.receivers import Mixed, Refuses
from lab.smtp_server import Receiver, Session
from lab.submit import Submission, Told, submit
from omicard_relay.mail import Stage

Start = Callable[[Behaviour], Awaitable[Receiver]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    running: list[Receiver] = []

    async def start_one(behaviour: Behaviour) -> Receiver:
        receiver = Receiver("relay", behaviour, Books(), hostname="relay.test", host="127.0.0.1", port=0)
        await receiver.start()
        running.append(receiver)
        return receiver

    yield start_one
    for receiver in running:
        await receiver.stop()


def _campaign(*addresses: str) -> Campaign:
    return Campaign(name="c", recipients=tuple(Planned(address=a, fate=Fate.DELIVERED) for a in addresses), lists={})


async def _submit(port: int, campaign: Campaign, **how: object) -> list[Told]:
    settings = {"connections": 2, "rest_seconds": 0.0, "timeout_seconds": 5.0, "tries": 4, **how}
    submission = Submission(host="127.0.0.1", port=port, reverse_path="n@shop.test", **settings)  # type: ignore[arg-type]
    return await asyncio.to_thread(submit, campaign, submission)


@pytest.mark.parametrize("together", [1, 2, 50])
async def test_every_recipient_is_told_once_and_gets_one_mail(start: Start, together: int) -> None:
    receiver = await start(Behaviour())
    addresses = [f"r{number}@good.test" for number in range(5)]
    told = await _submit(receiver.port, _campaign(*addresses), recipients_per_transaction=together)
    assert sorted(one.planned.address for one in told) == addresses
    assert all(one.accepted and one.stage is Stage.END_OF_DATA and one.tries == 1 for one in told)
    assert sorted(entry.recipient for entry in receiver.books.accepted()) == addresses
    assert len({entry.message_id for entry in receiver.books.accepted()}) == -(-5 // together)


async def test_a_refused_recipient_does_not_hold_up_the_others(start: Start) -> None:
    receiver = await start(Mixed())
    told = await _submit(receiver.port, _campaign("no@a.test", "ok@a.test"), recipients_per_transaction=2)
    by_address = {one.planned.address: one for one in told}
    assert by_address["ok@a.test"].accepted
    assert by_address["no@a.test"].reply == "550 5.1.1 <no@a.test>: there is no such user here"
    assert (by_address["no@a.test"].stage, by_address["no@a.test"].tries) == (Stage.RCPT, 1)


async def test_parameters_name_the_campaign_and_the_original_recipient(start: Start) -> None:
    receiver = await start(Behaviour())
    await _submit(receiver.port, _campaign("a+b=c@good.test", "王@good.test"), connections=1)
    ascii_one, chinese = receiver.books.accepted()
    assert ascii_one.mail_parameters.endswith("BODY=8BITMIME RET=HDRS ENVID=c")
    assert ascii_one.rcpt_parameters == "NOTIFY=FAILURE ORCPT=rfc822;a+2Bb+3Dc@good.test"
    assert "SMTPUTF8" in chinese.mail_parameters
    assert chinese.rcpt_parameters == "NOTIFY=FAILURE ORCPT=utf-8;王@good.test"


class _Flaky(Behaviour):
    """Fails a number of times in one of several ways, then accepts."""

    def __init__(self, stage: Stage, reply: str | None, times: int) -> None:
        self.stage, self.reply, self.left = stage, reply, times

    def _fails(self, stage: Stage) -> bool:
        if stage is self.stage and self.left:
            self.left -= 1
            return True
        return False

    async def mail(self, session: Session, reverse_path: str, parameters: str) -> str | None:
        return self.reply if self._fails(Stage.MAIL) else await super().mail(session, reverse_path, parameters)

    async def rcpt(self, session: Session, recipient: str) -> str | None:
        return self.reply if self._fails(Stage.RCPT) else await super().rcpt(session, recipient)

    async def content(self, session: Session, envelope: Envelope) -> str | None:
        return self.reply if self._fails(Stage.END_OF_DATA) else await super().content(session, envelope)


@pytest.mark.parametrize("reply", ["451 4.3.0 later", "421 4.3.2 going down", None], ids=["451", "421", "lost"])
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.END_OF_DATA], ids=str)
async def test_what_fails_for_now_is_tried_again(start: Start, stage: Stage, reply: str | None) -> None:
    receiver = await start(_Flaky(stage, reply, 2))
    told = await _submit(receiver.port, _campaign("r1@a.test"))
    (one,) = told
    assert (one.accepted, one.tries) == (True, 3)
    assert one.in_doubt == (2 if stage is Stage.END_OF_DATA and reply is None else 0)
    assert len(receiver.books.accepted()) == 1


async def test_only_the_recipients_that_failed_are_submitted_again(start: Start) -> None:
    receiver = await start(_Flaky(Stage.RCPT, "451 4.3.0 later", 1))
    told = await _submit(receiver.port, _campaign("r1@a.test", "r2@a.test"), recipients_per_transaction=2)
    assert sorted((one.planned.address, one.tries) for one in told) == [("r1@a.test", 2), ("r2@a.test", 1)]
    assert [entry.recipient for entry in receiver.books.accepted()] == ["r2@a.test", "r1@a.test"]


async def test_a_server_that_always_defers_ends_in_its_last_reply(start: Start) -> None:
    receiver = await start(Refuses(Stage.MAIL, "451 4.3.0 not now"))
    (one,) = await _submit(receiver.port, _campaign("r1@a.test"))
    assert (one.accepted, one.reply, one.stage, one.tries) == (False, "451 4.3.0 not now", Stage.MAIL, 4)


async def test_a_server_that_is_not_there_ends_in_an_empty_reply() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (one,) = await _submit(probe.getsockname()[1], _campaign("r1@a.test"), tries=2)
    assert (one.accepted, one.reply, one.tries) == (False, "", 2)


async def test_the_mail_names_the_campaign_and_has_lines_that_begin_with_dots(start: Start) -> None:
    seen: list[bytes] = []

    class Keeps(Behaviour):
        async def content(self, session: Session, envelope: Envelope) -> str | None:
            seen.append(envelope.content)
            return await super().content(session, envelope)

    await _submit((await start(Keeps())).port, _campaign("r1@a.test"))
    (content,) = seen
    assert b"\r\nX-Campaign: c\r\n" in content
    assert b"\r\n.. and this line begins with dots.\r\n" in content
    assert b"\n" not in content.replace(b"\r\n", b"")
