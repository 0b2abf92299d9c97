"""In mode `observe` steering writes what it would do, and Postfix does what it does without it: the books are the same."""

from collections import Counter
from pathlib import Path

from integration.steered import decisions, delivered, fates, lines_of, send, steered
from lab.line import Line
from lab.receivers import Greylists, Refuses
from lab.waiting import wait_until
from omicard_relay.mail import Stage

PEOPLE = [
    *(f"p{number}@patient.test" for number in range(10)),
    *(f"p{number}@busy.test" for number in range(10)),
    *(f"p{number}@gone.test" for number in range(10)),
    *(f"p{number}@good.test" for number in range(10)),
]
_SETTLED = {"delivered": 20, "returned": 20}


def _words(reply: str) -> str:
    """Without what differs from run to run: how long the greylist still lasts, and the name of the mail."""
    return reply.partition(", please")[0].partition(": taken as")[0]


def run(line: Line) -> tuple[dict[str, list[tuple[str, str]]], Counter[str], dict[str, str]]:
    """A run to its end: what the receivers said of everybody, from where it came, whom they took, and how each stands."""
    line.internet.add("patient.test", Greylists(5.0))
    line.internet.add("busy.test", Refuses(Stage.RCPT, "550 5.7.1 too many messages for {recipient}, try again later"))
    line.internet.add("gone.test", Refuses(Stage.RCPT, "550 5.1.1 <{recipient}>: there is no such user here"))
    send(PEOPLE)
    wait_until(lambda: Counter(fates(line).values()) == _SETTLED, "all have their fate", 240)
    said = {}
    for person in PEOPLE:
        entries = line.internet.books().entries(recipient=person)
        said[person] = [(entry.stage.value, _words(entry.reply)) for entry in entries]
        # How often a greylist is asked is a matter of seconds; what it said first and last is not.
        said[person] = [said[person][0], said[person][-1]]
    return said, delivered(line), fates(line)


def test_the_books_are_the_same_with_and_without(tmp_path: Path) -> None:
    how = dict(steered("observe", tmp_path))
    with Line(tmp_path / "with", **how) as line:
        with_steering = run(line)
        found = decisions(line)
        assert {one.decided.mode for one in found} == {"observe"}
        assert {one.decided.provider for one in found} >= {"patient.test"}
        assert "no entries" in line.omicard("steer", "show")
        assert '"provider": "patient.test"' in line.omicard("report", "--steering", "--jsonl")
        assert all(row.transport for row in lines_of(line, PEOPLE[0]))
        assert line.omicard("steer", "recompute").startswith(f"{len(found)} decisions in ")
    # The same Postfix, and nobody behind its filter and table.
    with Line(tmp_path / "without", **{**how, "services": ()}) as line:
        without_steering = run(line)
    assert with_steering == without_steering
