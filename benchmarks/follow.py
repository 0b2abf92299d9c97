"""Lines a second through the follower into a store, against raw sqlite3 writing the very same rows in one run.

    .venv/bin/python benchmarks/follow.py [--mails N] [--batch N] [--rounds N] [--doubt PERCENT] [--profile]

A log of so many mails is made up, its lines mixed as those of a busy Postfix: client, message-id, active, deliveries, removed.
Of a hundred mails 84 are taken at once, 8 after greylisting, 5 are returned (with Postfix's notice to our own return path) and
3 expire in a full mailbox. The store holds them as the relay has written them, some (`--doubt`) still without a queue id.
The floor knows all rows beforehand and puts them into a copy of the same database, batch by batch, each with its commit.
"""

import argparse
import cProfile
import pstats
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from omicard_relay.mail import Submission, Way
from omicard_relay.services.follow import Follower
from omicard_relay.services.rulebook import Rulebook
from omicard_relay.store import open_store, submissions
from omicard_relay.store.attempts import Place
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.settings import ReturnPathSettings, Settings
from omicard_relay.tables.suppress import load_suppress

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
#: Mails a second of the log that is made up: about what Postfix takes on two cores. It decides how lines are mixed.
PACE = 300
SETTINGS = Settings(return_path=ReturnPathSettings(domain="bounces.shop.example"))
MX = "mx.there.example[192.0.2.9]"


class Log:
    """A log in the making: lines with their seconds after START."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, bytes]] = []

    def add(self, at: float, program: str, queue_id: str, rest: str) -> None:
        stamp = (START + timedelta(seconds=at)).isoformat()
        self._lines.append((at, f"{stamp} out postfix/{program}[7]: {queue_id}: {rest}".encode()))

    def deliver(self, at: float, queue_id: str, address: str, status: str, dsn: str, words: str) -> None:
        figures = "delay=1.2, delays=0.01/0/0.8/0.39"
        rest = f"to=<{address}>, relay={MX}:25, {figures}, dsn={dsn}, status={status} ({words})"
        self.add(at, "smtp", queue_id, rest)

    def lines(self) -> list[bytes]:
        """In the order of their times."""
        return [line for _, line in sorted(self._lines)]


def said(words: str) -> str:
    """A refusal as Postfix logs it."""
    return f"host {MX} said: {words} (in reply to RCPT TO command)"


def tell(log: Log, number: int) -> None:
    """All lines of one mail."""
    at, queue_id, address = number / PACE, f"4QAAA{number:07d}", f"user{number}@there.example"
    sender = reverse_path(number)
    active = f"from=<{sender}>, size=10233, nrcpt=1 (queue active)"
    log.add(at, "smtpd", queue_id, f"client=localhost[127.0.0.1], orig_queue_id=H{number}")
    log.add(at + 0.004, "cleanup", queue_id, f"message-id=<{number}@shop.example>")
    log.add(at + 0.010, "qmgr", queue_id, active)
    took = at + 0.05 + number % 97 / 50  # up to two seconds, as servers differ
    kind = number * 37 % 100
    if kind < 8:
        log.deliver(took, queue_id, address, "deferred", "4.2.0", said("450 4.2.0 greylisted, try again later"))
        took += 300
        log.add(took - 1, "qmgr", queue_id, active)
    if kind < 92:
        log.deliver(took, queue_id, address, "sent", "2.0.0", "250 2.0.0 Ok: queued as 4F9D1")
    elif kind < 97:
        log.deliver(took, queue_id, address, "bounced", "5.1.1", said(f"550 5.1.1 <{address}>: no such user here"))
        notice = f"4QBBB{number:07d}"
        log.add(took + 0.001, "cleanup", notice, f"message-id=<{notice}@out.shop.example>")
        log.add(took + 0.002, "bounce", queue_id, f"sender non-delivery notification: {notice}")
        log.add(took + 0.003, "qmgr", notice, "from=<>, size=3233, nrcpt=1 (queue active)")
        home = f"to=<{sender}>, relay=omi-bounce, delay=0.4, delays=0/0/0/0.4, dsn=2.0.0, status=sent"
        log.add(took + 0.4, "pipe", notice, f"{home} (delivered via omi-bounce service)")
        log.add(took + 0.401, "qmgr", notice, "removed")
    else:
        for _ in range(3):
            log.deliver(took, queue_id, address, "deferred", "4.2.2", said("452 4.2.2 the mailbox is full"))
            took += 600
            log.add(took - 1, "qmgr", queue_id, active)
        log.add(took, "qmgr", queue_id, f"from=<{sender}>, status=expired, returned to sender")
    log.add(took + 0.5, "qmgr", queue_id, "removed")


def reverse_path(number: int) -> str:
    """A signed one, as long as ours are."""
    return f"b+{number:037d}@bounces.shop.example"


def submit(path: Path, mails: int, doubt: int) -> None:
    """A new database with so many mails; of `doubt` in a hundred the log is quicker to tell the queue id."""
    store = open_store(f"sqlite:///{path}")
    with store.write() as tx:
        for number in range(mails):
            mail = Submission(
                submission_id=f"s{number}",
                digest=f"{number:064d}",
                received=START,
                way=Way.DIRECT,
                reverse_path="news@shop.example",
                message_id=f"<{number}@shop.example>",
            )
            submissions.add_submission(tx, mail, is_new=True)
            row = submissions.add_intent(
                tx,
                mail,
                f"user{number}@there.example",
                own_row=None,
                reverse_path=reverse_path(number),
                hand_over=f"H{number}",
                relay_run="run",
                now=START,
            )
            if number * 61 % 100 >= doubt:
                submissions.mark_handed_over(tx, [row], f"4QAAA{number:07d}", now=START)
    store.close()


def copy(source: Path, target: Path) -> None:
    """A database as it stands, without its log of changes."""
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def follow(path: Path, batches: Sequence[list[bytes]], follower_of: Any) -> float:
    """Seconds of the follower for all batches."""
    store = open_store(f"sqlite:///{path}")
    follower = follower_of(store)
    now = START + timedelta(hours=1)
    start = time.perf_counter()
    for number, batch in enumerate(batches):
        follower.take(batch, Place(path="log", inode=1, head_digest="", head_length=0, offset=number), now=now)
    taken = time.perf_counter() - start
    store.close()
    return taken


def floor(path: Path, done: Path, transactions: int) -> float:
    """Seconds of sqlite3 alone for the rows that the follower has left in `done`."""
    with sqlite3.connect(done) as old:
        attempts = old.execute("SELECT * FROM attempt ORDER BY id").fetchall()
        queues = old.execute("SELECT * FROM queue ORDER BY seen").fetchall()
        recipients = old.execute(
            "SELECT state, state_since, queue_id, delivered, bounce_code, rule_id, action, detail, stage, attempts, id "
            "FROM recipient ORDER BY id"
        ).fetchall()
    old.close()
    update = (
        "UPDATE recipient SET state = ?, state_since = ?, queue_id = ?, delivered = ?, bounce_code = ?, rule_id = ?, "
        "action = ?, detail = ?, stage = ?, attempts = ? WHERE id = ?"
    )
    told = (
        ("INSERT INTO attempt VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", attempts),
        ("INSERT INTO queue VALUES (?,?,?,?,?,?,?,?)", queues),
        (update, recipients),
    )
    raw = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        raw.execute(f"PRAGMA {pragma}")
    start = time.perf_counter()
    for number in range(transactions):
        raw.execute("BEGIN IMMEDIATE")
        for statement, rows in told:
            part = rows[len(rows) * number // transactions : len(rows) * (number + 1) // transactions]
            raw.executemany(statement, part)
        raw.execute("REPLACE INTO follow_place VALUES ('log', 1, '', 0, ?, NULL)", (number,))
        raw.execute("COMMIT")
    taken = time.perf_counter() - start
    raw.close()
    return taken


def main() -> None:
    """Print lines and attempts a second, and what sqlite3 alone needs for the same rows."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--mails", type=int, default=3000)
    arguments.add_argument("--batch", type=int, default=500)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--doubt", type=int, default=5, metavar="PERCENT")
    arguments.add_argument("--profile", action="store_true", help="where the time goes, in one round")
    given = arguments.parse_args()
    log = Log()
    for number in range(given.mails):
        tell(log, number)
    lines = log.lines()
    batches = [lines[start : start + given.batch] for start in range(0, len(lines), given.batch)]
    rulebook = Rulebook.of(load_policies(), load_suppress())

    def follower_of(store: Any) -> Follower:
        return Follower(SETTINGS, store, rulebook)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        submit(folder / "new.db", given.mails, given.doubt)
        if given.profile:
            copy(folder / "new.db", folder / "profile.db")
            with cProfile.Profile() as profile:
                follow(folder / "profile.db", batches, follower_of)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
            return
        ours, raw = [], []
        for turn in range(given.rounds):
            done, base = folder / f"done{turn}.db", folder / f"floor{turn}.db"
            copy(folder / "new.db", done)
            copy(folder / "new.db", base)
            ours.append(follow(done, batches, follower_of))
            raw.append(floor(base, done, len(batches)))
        with sqlite3.connect(done) as kept:
            count = kept.execute("SELECT count(*) FROM attempt").fetchone()[0]
            told = kept.execute("SELECT state, count(*) FROM recipient GROUP BY state ORDER BY state").fetchall()
        kept.close()
    print(f"{given.mails:,} mails, {len(lines):,} lines, {count:,} attempts, batches of {given.batch}: {dict(told)}")
    for title, seconds in (("follower", min(ours)), ("sqlite3 alone, rows known", min(raw))):
        print(f"{title:28} {len(lines) / seconds:10,.0f} lines/s {count / seconds:10,.0f} attempts/s")
    print(f"the follower needs {min(ours) / min(raw):.1f} times the floor's time")


if __name__ == "__main__":
    main()
