"""Rules change under running services: nothing is lost or doubled, and each verdict is that of the release it names."""

import json
import smtplib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from lab.line import SENDER_DOMAIN, Line
from lab.receivers import Refuses
from lab.waiting import wait_until
from omicard_relay.mail import Stage
from omicard_relay.store import schema
from tests.mails import dsn

_DOMAIN = "moon.test"
_WORDS = "letters are read only when the moon is high"
_SERVICES = ("relay", "follow", "ingest")
#: Refusals that must be judged between two changes.
_PORTION = 25


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    line = make_line()
    line.internet.add(_DOMAIN, Refuses(Stage.RCPT, f"550 5.7.1 <{{recipient}}>: {_WORDS}"))
    return line


@pytest.fixture
def traffic(line: Line) -> Iterator["_Traffic"]:
    traffic = _Traffic()
    yield traffic
    traffic.end()


def test_rules_change_under_running_services(line: Line, traffic: "_Traffic") -> None:
    _wait_for_more(line)
    first = _codes(line)[-1]
    assert first[1] is None, "nothing has been published"
    a, b = first[0], 921
    assert a != b

    _write_rule(line, b)
    assert "release 1 is in force" in line.omicard("rules", "publish", "--yes", "--note", "the moon")
    _wait_for_switch(line, "none", 1)
    _wait_for_more(line, release=1)
    assert (_classified(line)["code"], _classified(line)["rule"]) == (str(b), "moon")

    # The follower dies at the moment of a release, and another one comes while it is away.
    _write_rule(line, 922)
    publishing = threading.Thread(target=line.omicard, args=("rules", "publish", "--yes"))
    publishing.start()
    wait_until(lambda: len(_rows(line, schema.rule_release, "number")) == 2, "the store has release 2")
    line.kill_service("follow")
    publishing.join()
    line.start_service("follow")
    _wait_for_more(line, release=2)
    line.kill_service("follow")
    line.omicard("rules", "rollback", "1", "--note", "too early")
    line.start_service("follow")
    _wait_for_more(line, release=3)

    assert "with the tables of the shipped rules" in line.omicard("rules", "rollback", "shipped")
    _wait_for_switch(line, 3, 4, ("relay", "ingest", "follow"))
    _wait_for_more(line, release=4)
    assert _classified(line)["rule"] != "moon"
    traffic.end()

    sent = traffic.sent
    wait_until(lambda: len(_codes(line)) == len(sent), f"{len(sent)} refusals are in the store")
    _check_verdicts(line, {None: a, 1: b, 2: 922, 3: b, 4: a})
    _check_books(line, sent)
    _check_history(line)
    for name in _SERVICES:
        assert "Traceback" not in line.service_log(name).read_text()


def test_the_ingester_follows_too(line: Line) -> None:
    _bring(line, 1)
    _write_rule(line, 921)
    line.omicard("rules", "publish", "--yes")
    _wait_for_switch(line, "none", 1)
    _bring(line, 2)
    wait_until(lambda: len(_reports(line)) == 2, "both bounces are in the store")
    before, after = _reports(line)
    assert before[1] is None
    assert before[0] != 921
    assert after == (921, 1)


def test_stored_replies_are_judged_again_under_running_services(line: Line, traffic: "_Traffic") -> None:
    _wait_for_more(line)
    a = _codes(line)[-1][0]
    lists = _rows(line, schema.list_entry)
    _write_rule(line, 921)
    line.omicard("rules", "publish", "--yes")
    _wait_for_switch(line, "none", 1)
    _wait_for_more(line, release=1)

    told = line.omicard("rules", "rejudge")
    assert "judged again by release 1" in told
    traffic.end()
    wait_until(lambda: len(_codes(line)) == len(traffic.sent), "all refusals are in the store")
    # Each refusal comes home once more, by our own Postfix's bounce.
    wait_until(lambda: len(_reports(line)) == len(traffic.sent), "all bounces are in the store")
    assert {*_codes(line), *_reports(line)} == {(921, 1)}
    columns = ("attempt_id", "old_bounce_code", "old_release", "new_bounce_code", "new_release")
    kept = [row[1:] for row in _rows(line, schema.rejudgement, *columns) if row[0] is not None]
    assert set(kept) == {(a, None, 921, 1)}
    assert len(kept) >= _PORTION
    states = _rows(line, schema.recipient, "state", "bounce_code", "rule_id")
    assert Counter(states) == {("returned", 921, "moon"): len(traffic.sent)}
    assert _rows(line, schema.list_entry)[: len(lists)] == lists
    story = line.omicard("explain", traffic.sent[0])
    assert f"first read as {a} " in story
    assert "read again as 921 (moon) by release 1 of the rules on 20" in story
    again = json.loads(line.omicard("rules", "rejudge", "--jsonl"))
    assert (again["read"], again["changed"]) == (2 * len(traffic.sent), 0)
    _check_books(line, traffic.sent)


# ------------------------------------------------------------------ how to do and to see it


class _Traffic:
    """Mails to the domain, one after the other, until it is ended; `sent` are the recipients that the relay took."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with smtplib.SMTP("127.0.0.1", 10025, local_hostname="client.lab.test", timeout=30) as client:
            number = 0
            while not self._stop.wait(0.02):
                recipient = f"ann{number}@{_DOMAIN}"
                mail = f"From: news@{SENDER_DOMAIN}\r\nMessage-ID: <{recipient}>\r\nSubject: moon\r\n\r\nHello.\r\n"
                client.sendmail(f"news@{SENDER_DOMAIN}", [recipient], mail.encode())
                self.sent.append(recipient)
                number += 1


def _write_rule(line: Line, code: int) -> None:
    words = ["--id", "moon", "--strength", "token", "--phrase", "only when the moon is high", "--replace", "--force"]
    line.omicard("rules", "add", "--code", str(code), *words, "--example", f"550 5.7.1 {_WORDS}")


def _classified(line: Line) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(line.omicard("classify", "--jsonl", f"550 5.7.1 {_WORDS}"))
    return answer


def _bring(line: Line, number: int) -> None:
    """A bounce comes home by the pipe, to the running ingester."""
    mail = dsn(f"ann@{_DOMAIN}", words=f"550 5.7.1 {_WORDS}", number=number).decode()
    line.omicard("bounce", "ingest", "--recipient", "b+x@bounces.shop.test", given=mail)


def _rows(line: Line, table: sa.Table, *columns: str) -> list[Any]:
    store = line.store()
    try:
        with store.read() as tx:
            wanted = [table.c[name] for name in columns] or [table]
            return [tuple(row) for row in tx.execute(sa.select(*wanted).order_by(*table.primary_key.columns))]
    finally:
        store.close()


def _codes(line: Line) -> list[tuple[int, int | None]]:
    """Cause and release of each refusal by the domain, in the order in which they were stored."""
    found = _rows(line, schema.attempt, "address", "bounce_code", "rules_release")
    return [(code, release) for address, code, release in found if address.endswith(f"@{_DOMAIN}")]


def _reports(line: Line) -> list[tuple[int, int | None]]:
    return _rows(line, schema.bounce_report, "bounce_code", "rules_release")


def _wait_for_more(line: Line, release: int | None = None) -> None:
    """A portion of refusals is judged by this release."""
    wait_until(
        lambda: sum(one[1] == release for one in _codes(line)) >= _PORTION,
        f"{_PORTION} refusals are judged by release {release}",
    )


def _wait_for_switch(line: Line, before: int | str, after: int, names: tuple[str, ...] = _SERVICES) -> None:
    words = f"event=rules-switched from={before} to={after} digest="
    for name in names:
        wait_until(lambda name=name: words in line.service_log(name).read_text(), f"{name} has switched")  # type: ignore[misc]


def _check_verdicts(line: Line, code_of: dict[int | None, int]) -> None:
    found = Counter(_codes(line))
    assert {release for _, release in found} == set(code_of)
    assert {(code, release) for code, release in found if code_of[release] != code} == set()


def _check_books(line: Line, sent: list[str]) -> None:
    """Each refusal that the receiver has in its books is in the store once, with its very words, and no other."""
    said = {entry.recipient: entry.reply for entry in line.internet.books().entries(receiver="moon")}
    assert sorted(said) == sorted(sent)
    stored = _rows(line, schema.attempt, "address", "outcome", "reply")
    kept = [(address, outcome, reply) for address, outcome, reply in stored if address.endswith(f"@{_DOMAIN}")]
    assert sorted(address for address, _, _ in kept) == sorted(sent)
    assert [one for one in kept if one[1] != "bounced" or said[one[0]] not in one[2]] == []


def _check_history(line: Line) -> None:
    rows = [json.loads(row) for row in line.omicard("rules", "history", "--jsonl").splitlines()][::-1]
    assert [(row["number"], row["kind"], row["rollback_of"]) for row in rows] == [
        (1, "publish", None),
        (2, "publish", None),
        (3, "rollback", 1),
        (4, "rollback", 0),
    ]
    assert (rows[0]["note"], rows[0]["added"], rows[1]["changed"]) == ("the moon", ["moon"], ["moon"])
    assert [row["in_force"] and row["here"] for row in rows] == [False, False, False, True]
