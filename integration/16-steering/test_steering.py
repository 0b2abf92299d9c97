"""Steering acts on a real Postfix: when again, and from which IP; killed, hung and started anew, it loses nothing."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from integration.steered import IPS, BlocksIp, decisions, delivered, fates, lines_of, send, steered
from lab.line import Line
from lab.receivers import Greylists
from lab.waiting import wait_until

#: Seconds between a planned moment and the attempt: a look at the store, `postqueue`, and the queue manager.
_LATE = 15.0


def test_a_greylisted_mail_comes_again_at_the_planned_time_from_the_same_ip(
    make_line: Callable[..., Line], tmp_path: Path
) -> None:
    line = make_line(**steered("act", tmp_path))
    line.internet.add("patient.test", Greylists(10.0))
    people = [f"p{number}@patient.test" for number in range(12)]
    send(people)
    wait_until(lambda: Counter(fates(line).values()) == {"delivered": 12}, "all are delivered", 240)
    plans = {one.decided.attempt_id: one.decided.plan for one in decisions(line)}
    books = line.internet.books()
    for person in people:
        first, second = lines_of(line, person)
        plan = plans[first.id]
        assert first.transport in IPS
        assert second.transport == first.transport == plan.ip
        assert 0 <= second.time.timestamp() - int(plan.at) <= _LATE
        assert {entry.client for entry in books.entries(recipient=person)} == {IPS[plan.ip]}
        assert len(books.entries(recipient=person)) == 2  # nothing in between: Postfix's own schedule is held back
    assert delivered(line) == Counter(people)


def test_what_blocks_one_ip_gets_its_mail_from_the_other(make_line: Callable[..., Line], tmp_path: Path) -> None:
    line = make_line(**steered("act", tmp_path))
    line.internet.add("picky.test", BlocksIp(IPS["ip1"]))
    people = [f"p{number}@picky.test" for number in range(30)]
    send(people)
    wait_until(lambda: Counter(fates(line).values()) == {"delivered": 30}, "all are delivered", 240)
    assert delivered(line) == Counter(people)
    assert {entry.client for entry in line.internet.books().accepted()} == {IPS["ip2"]}
    refused = {person for person in people if len(lines_of(line, person)) > 1}
    for person in refused:
        assert lines_of(line, person)[-1].transport == "ip2"
    # A first block is tried once more, and what is under way when it is seen goes on; after that it is known.
    for burst in range(6):
        later = [f"late{burst}.{number}@picky.test" for number in range(10)]
        send(later)
        wait_until(lambda: set(fates(line).values()) == {"delivered"}, "the later ones, too", 120)
        people += later
    assert delivered(line) == Counter(people)
    # Hardly any of the last pokes into the block, those that probe.
    poked = [
        entry for entry in line.internet.books().entries() if entry.recipient in people[-20:] and not entry.accepted
    ]
    assert len(poked) <= 2


def test_killed_hung_and_started_anew_nothing_is_lost_or_doubled(
    make_line: Callable[..., Line], tmp_path: Path
) -> None:
    line = make_line(**steered("act", tmp_path))
    line.internet.add("patient.test", Greylists(20.0))
    line.internet.add("picky.test", BlocksIp(IPS["ip2"]))
    people = [f"p{number}@{domain}" for number in range(15) for domain in ("patient.test", "picky.test", "good.test")]
    send(people[:20])
    wait_until(lambda: len(decisions(line)) >= 3, "some are decided")
    line.kill_service("steer")
    send(people[20:30])
    time.sleep(3)  # Postfix goes on without it: mail is tried while it is dead
    tried = len(line.internet.books().entries())
    assert tried >= 20
    line.start_service("steer")
    send(people[30:])
    pid = line.pid("steer")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    os.kill(pid, signal.SIGCONT)
    line.stop_service("steer")
    line.start_service("steer")
    wait_until(lambda: Counter(fates(line).values()) == {"delivered": len(people)}, "all are delivered", 300)
    assert delivered(line) == Counter(people)
    assert line.omicard("steer", "recompute").startswith(f"{len(decisions(line))} decisions in ")
