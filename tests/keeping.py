"""For tests of what is kept: a store in a folder of its own, mails in it as the relay writes them, and lines of a log."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from omicard_relay.mail import RecipientState, Submission, Way
from omicard_relay.store import Store, mails, open_store, schema, submissions
from omicard_relay.store.engine import Tx

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
#: Where the checkout is: subprocesses find the package there.
ROOT = Path(__file__).resolve().parent.parent

#: For tests that go on as a user without rights, who must still reach the package and its tables.
needs_open_checkout = pytest.mark.skipif(
    not all(path.stat().st_mode & 0o001 for path in ROOT.parents),
    reason="other users cannot reach this checkout; put it where they can",
)


@contextmanager
def a_store(folder: Path, busy_seconds: int = 10) -> Iterator[Store]:
    store = open_store(f"sqlite:///{folder / 'relay.db'}", busy_seconds=busy_seconds)
    try:
        yield store
    finally:
        store.close()


def submit(
    store: Store,
    *addresses: str,
    name: str = "s1",
    sender: str = "news@shop.example",
    reverse_paths: tuple[str, ...] = (),
    campaign: str | None = None,
    message_id: str | None = None,
    subject: str | None = None,
    hand_over: str | None = None,
    received: datetime = NOW,
) -> list[int]:
    """Write down that the relay is about to hand a mail to Postfix; gives the recipients' ids."""
    mail = Submission(
        submission_id=name,
        digest=hashlib.sha256(name.encode()).hexdigest(),
        received=received,
        way=Way.DIRECT,
        reverse_path=sender,
        campaign=campaign,
        message_id=message_id or f"<{name}@shop.example>",
        subject=subject,
    )
    with store.write() as tx:
        submissions.add_submission(tx, mail)
        return [
            submissions.add_intent(
                tx,
                mail,
                address,
                own_row=None,
                reverse_path=reverse_paths[number] if reverse_paths else sender,
                hand_over=hand_over or f"{name}{number if reverse_paths else 0:02d}",
                relay_run="run",
                now=received,
            )
            for number, address in enumerate(addresses)
        ]


def hand_over(store: Store, rows: list[int], queue_id: str, *, now: datetime = NOW) -> None:
    with store.write() as tx:
        submissions.mark_handed_over(tx, rows, queue_id, now=now)


def queued(store: Store, *addresses: str, queue_id: str = "4QAAAAA1", **more: Any) -> list[int]:
    """A mail that Postfix has."""
    rows = submit(store, *addresses, **more)
    hand_over(store, rows, queue_id)
    return rows


def rows(store: Store, table: sa.Table, *columns: str) -> list[Any]:
    """All rows of a table, or of these columns, in the order of its key."""
    wanted = [table.c[name] for name in columns] or [table]
    with store.read() as tx:
        found = tx.execute(sa.select(*wanted).order_by(*table.primary_key.columns)).all()
    return [row[0] if len(columns) == 1 else tuple(row) if columns else row for row in found]


def content_of(tx: Tx, mail_digest: str) -> bytes | None:
    """What the bounce mail with this digest holds; None where its content was deleted."""
    packed = sa.select(schema.mail_content.c.raw).join(schema.bounce_mail)
    found = tx.execute(packed.where(schema.bounce_mail.c.digest == mail_digest)).scalar()
    return None if found is None else mails.unpacked(found)


def states(store: Store) -> dict[str, str]:
    return dict(rows(store, schema.recipient, "address", "state"))


def dump(store: Store) -> dict[str, list[Any]]:
    """Everything that is kept, except how far logs were read."""
    return {
        table.name: [tuple(row) for row in rows(store, table)]
        for table in schema.metadata.sorted_tables
        if table.name != "follow_place"
    }


def state_of(store: Store, row: int) -> RecipientState:
    with store.read() as tx:
        found = sa.select(schema.recipient.c.state).where(schema.recipient.c.id == row)
        return RecipientState(tx.execute(found).scalar_one())


# --- lines of a log ---------------------------------------------------------------------------------------------------


def log_line(rest: str, *, queue_id: str = "4QAAAAA1", program: str = "smtp", at: timedelta | int = 0) -> bytes:
    """One line with its end; `at` is in seconds after NOW."""
    time = NOW + (at if isinstance(at, timedelta) else timedelta(seconds=at))
    return f"{time.isoformat()} out postfix/{program}[7]: {queue_id}: {rest}\n".encode()


def delivery(
    address: str,
    status: str,
    text: str,
    *,
    dsn: str | None = None,
    relay: str = "mx.there.example[192.0.2.9]:25",
    original: str = "",
    **more: Any,
) -> bytes:
    dsn = dsn or {"sent": "2.0.0", "deferred": "4.0.0", "bounced": "5.0.0"}[status]
    orig_to = f" orig_to=<{original}>," if original else ""
    figures = "delay=1.5, delays=0.1/0/1/0.4"
    return log_line(f"to=<{address}>,{orig_to} relay={relay}, {figures}, dsn={dsn}, status={status} ({text})", **more)


def said(words: str) -> str:
    return f"host mx.there.example[192.0.2.9] said: {words} (in reply to RCPT TO command)"


UNKNOWN = said("550 5.1.1 no such user here")
FULL = said("552 5.2.2 the mailbox is full")
BUSY = said("452 4.3.1 insufficient system storage")


def active(sender: str, *, nrcpt: int = 1, **more: Any) -> bytes:
    return log_line(f"from=<{sender}>, size=900, nrcpt={nrcpt} (queue active)", program="qmgr", **more)


def client(origin: str, **more: Any) -> bytes:
    return log_line(f"client=localhost[127.0.0.1], orig_queue_id={origin}", program="smtpd", **more)


def expired(sender: str = "news@shop.example", **more: Any) -> bytes:
    return log_line(f"from=<{sender}>, status=expired, returned to sender", program="qmgr", **more)


# --- processes --------------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds} s in vain")
        time.sleep(0.02)
    return found


def configured(folder: Path, text: str = "") -> Path:
    """A configuration with its data beside it."""
    path = folder / "relay.toml"
    path.write_text(f'data_dir = "data"\n{text}', encoding="utf-8")
    return path


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", **more}


def program(config: Path | None, *arguments: str) -> list[str]:
    named = ["--config", str(config)] if config is not None else []
    return [sys.executable, "-m", "omicard_relay", *named, *arguments]


def call(
    config: Path | None, *arguments: str, stdin: bytes = b"", seconds: float = 60, **more: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run the program as it is run for real."""
    return subprocess.run(
        program(config, *arguments),
        input=stdin,
        capture_output=True,
        timeout=seconds,
        env=environment(),
        check=False,
        **more,
    )
