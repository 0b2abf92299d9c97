"""What the scenarios of bounces share: a campaign that only comes back, and the store's bounce mails against the books."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

from lab.campaign import Campaign, Planned
from lab.domains import Fate, domain_named
from lab.line import Line

__all__ = ["doubled_or_lost", "foreign_ports", "queued_mails", "returning", "stored_whole"]

#: Each sends a mail of its own after it has taken ours: two reports, a vacation, a new address, a complaint.
_DOMAINS = ("later.test", "full-later.test", "vacation.test", "moved.test", "complains.test")


def returning(name: str, count: int) -> Campaign:
    """So many recipients, all of whom answer later."""
    planned = []
    for number in range(count):
        row = domain_named(_DOMAINS[number % len(_DOMAINS)])
        assert row.fate in (Fate.RETURNED_LATER, Fate.ANSWERED_LATER)
        address = f"{name}{number}@{row.name}"
        planned.append(Planned(address=address, domain=row.name, fate=row.fate, bounce_code=row.bounce_code))
    return Campaign(name=name, recipients=tuple(planned), lists={})


def stored_whole(line: Line) -> Counter[tuple[str, str]]:
    """(reverse-path, kind) of every proven bounce mail in the store."""
    path = line.folder / "data" / "relay.db"
    with closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True, timeout=20)) as store:
        query = "SELECT lower(envelope_recipient), kind FROM bounce_mail WHERE trust = 'proven'"
        return Counter(store.execute(query))


def doubled_or_lost(line: Line) -> list[str]:
    """A sentence for each mail that the receivers' books have as delivered and the store not just once, or the other way."""
    sent = Counter(
        (one.reverse_path.lower(), str(one.kind)) for one in line.internet.books().later_mails() if one.delivered
    )
    stored = stored_whole(line)
    return [
        f"{key}: sent {sent[key]} times, stored {stored[key]} times"
        for key in sent | stored
        if sent[key] != stored[key]
    ]


def queued_mails(line: Line) -> int:
    """How many mails Postfix has had in its queue so far, whoever brought them."""
    lines = line.postfix.log.read_text(errors="replace").splitlines()
    return len({one.split("]: ")[1].split(":")[0] for one in lines if "/cleanup[" in one and ": message-id=" in one})


def foreign_ports(pid: int, own: int) -> set[int]:
    """Local TCP ports of the process other than its own listener's: an outgoing connection has one."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:  # closed meanwhile
            continue
    ports = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[9] in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports - {own}
