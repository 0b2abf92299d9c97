"""Answers of people reach a person: once in the Maildir, surely at the forward address, and never in a circle."""

import smtplib
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path

from integration.bounces import queued_mails
from lab.behaviour import Behaviour
from lab.campaign import Campaign, plan
from lab.domains import Fate
from lab.line import Line
from lab.submit import submit
from lab.waiting import wait_until
from omicard_relay.store import answers, bounces, schema

_PEOPLE = 60
_KILLS = (5, 20, 40)
_HOME = ("127.0.2.1", 25)
_LMTP_PORT = 10027
_CARE = "care@care.test"
_ANSWER = (
    "From: <{sender}>\r\nTo: <{path}>\r\nSubject: Re: Spring\r\nMessage-ID: <{number}@people.test>\r\n"
    "\r\nPlease send me {number} of them.\r\n"
)
_TRACE = "X-OMICARD-Relay-Handed-On"


def test_each_answer_is_in_the_maildir_once_whatever_is_killed(make_line: Callable[..., Line]) -> None:
    line = make_line()
    paths = _reverse_paths(line)
    _answer_under_kills(line, paths, lambda: len(_in_maildir(line)))
    # A kill leaves a lease of three minutes on the mail that it held.
    wait_until(lambda: not line.postfix.queue() and _waiting(line) == 0, "nothing waits any more", seconds=480)
    assert Counter(_in_maildir(line)) == Counter(_ids(range(_PEOPLE)))
    _assert_nobody_was_harmed(line, mails=_PEOPLE * 2)


def test_each_answer_reaches_the_forward_address_and_none_runs_in_a_circle(make_line: Callable[..., Line]) -> None:
    line = make_line(extra_configuration={"answers": f'forward = "{_CARE}"'}, store_mails=True)
    line.internet.add("care.test", Behaviour())
    paths = _reverse_paths(line)
    _answer_under_kills(line, paths, lambda: len(_at_care(line)))
    wait_until(lambda: not line.postfix.queue() and _waiting(line) == 0, "nothing waits any more", seconds=480)
    reached = Counter(_at_care(line))
    assert set(reached) == set(_ids(range(_PEOPLE)))
    assert reached.total() - len(reached) <= len(_KILLS)
    assert {one.reverse_path for one in _entries(line)} == {""}
    assert not (line.folder / "data" / "answers").exists()
    _assert_nobody_was_harmed(line, mails=_PEOPLE * 2 + reached.total())

    # Whoever reads there sends all of it back to us.
    handed_on = [Path(one.path).read_bytes() for one in _entries(line)]
    for content, path in zip(handed_on, paths * 2, strict=False):
        assert message_from_bytes(content)[_TRACE]
        _send(_CARE, path, content)
    wait_until(lambda: _counted(line)["answers.loop"] == len(handed_on), "all of it was seen to be our own", seconds=90)
    assert _waiting(line) == 0

    # Postfix is away: what comes meanwhile, here by LMTP, is kept and goes on when it is back.
    line.postfix.stop()
    with smtplib.LMTP("127.0.0.1", _LMTP_PORT, local_hostname="people.test") as client:
        client.sendmail("late@people.test", [paths[0]], _answer(_PEOPLE, "late@people.test", paths[0]))
    wait_until(lambda: _counted(line)["answers.failed-tries"] >= 1, "Postfix was asked in vain")
    assert "answers.waiting" in line.omicard("report")
    line.postfix.start()
    wait_until(lambda: _ids([_PEOPLE])[0] in _at_care(line), "the late answer has arrived", seconds=120)
    assert "answers.waiting" not in line.omicard("report")
    assert Counter(_at_care(line)) == reached + Counter(_ids([_PEOPLE]))


def _reverse_paths(line: Line) -> list[str]:
    """Send a mail to as many people, and see from which reverse-path each of them got it."""
    whole = plan()
    people = [one for one in whole.recipients if one.fate is Fate.DELIVERED and one.domain == "good.test"]
    chosen = tuple({one.address: one for one in people}.values())[:_PEOPLE]
    part: Campaign = replace(whole, name="answered", recipients=chosen)
    submit(part, line.submission())
    wait_until(lambda: len(line.internet.books().accepted()) == _PEOPLE, "all have their mail", seconds=90)
    return [one.reverse_path for one in line.internet.books().accepted()]


def _answer_under_kills(line: Line, paths: list[str], arrived: Callable[[], int]) -> None:
    def answer_all() -> None:
        for number, path in enumerate(paths):
            _send(f"person{number}@people.test", path, _answer(number, f"person{number}@people.test", path))

    people = threading.Thread(target=answer_all)
    people.start()
    for count in _KILLS:
        wait_until(lambda count=count: arrived() >= count, f"{count} answers have arrived", seconds=480)
        line.kill_service("ingest")
        line.start_service("ingest")
    people.join(60)


def _answer(number: int, sender: str, path: str) -> bytes:
    return _ANSWER.format(number=number, sender=sender, path=path).encode()


def _send(sender: str, path: str, content: bytes) -> None:
    with smtplib.SMTP(*_HOME, local_hostname="people.test") as client:
        client.sendmail(sender, [path], content)


def _ids(numbers: "range | list[int]") -> list[str]:
    return [f"<{number}@people.test>" for number in numbers]


def _in_maildir(line: Line) -> list[str]:
    new = line.folder / "data" / "answers" / "new"
    return [str(message_from_bytes(path.read_bytes())["Message-ID"]) for path in new.glob("*")]


def _entries(line: Line) -> list:
    return [one for one in line.internet.books().accepted() if one.recipient == _CARE]


def _at_care(line: Line) -> list[str]:
    return [one.message_id for one in _entries(line)]


def _waiting(line: Line) -> int:
    store = line.store()
    try:
        with store.read() as tx:
            return answers.count_waiting(tx)
    finally:
        store.close()


def _counted(line: Line) -> Counter[str]:
    store = line.store()
    try:
        with store.read() as tx:
            return Counter(bounces.counters(tx))
    finally:
        store.close()


def _assert_nobody_was_harmed(line: Line, *, mails: int) -> None:
    """No list has an entry, and Postfix has had no mail but ours, the answers and what was forwarded."""
    store = line.store()
    with store.read() as tx:
        assert tx.execute(schema.list_entry.select()).all() == []
    store.close()
    assert queued_mails(line) == mails
