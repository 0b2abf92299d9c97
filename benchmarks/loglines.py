"""Lines a second: the reader of log lines against a single naive regular expression, in the same run on the same lines.

    .venv/bin/python benchmarks/loglines.py [FILE] [--lines N]

Without a file, lines of every common kind are made up. The naive expression shows what the safe reading costs: it finds
delivery lines only, reads the time as text, and believes what a remote server writes.
"""

import argparse
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from omicard_relay.wire import LineSplitter, parse_line

NAIVE = re.compile(
    rb"^((?:\d{4} )?\S+ +\d+ \S+|\S+) \S+ postfix\S*/(\w+)\[\d+\]: (\w+): to=<(.*?)>,(?: orig_to=<(.*?)>,)? relay=(.*?), .*?"
    rb"delay=(.*?), delays=(.*?), dsn=(.*?), status=(\w+) \((.*)\)$"
)
SAMPLE = """\
Nov 24 08:31:30 out postfix/smtpd[21]: 4jYc3g40c3zJ{n}: client=localhost[127.0.0.1], orig_queue_id=4jYc3g42svzJ9RV
Nov 24 08:31:30 out postfix/cleanup[22]: 4jYc3g40c3zJ{n}: message-id=<{n}@s.example>
Nov 24 08:31:30 out postfix/qmgr[23]: 4jYc3g40c3zJ{n}: from=<b+{n}@s.example>, size=10233, nrcpt=1 (queue active)
Nov 24 08:31:31 out postfix/smtp[24]: 4jYc3g40c3zJ{n}: to=<ann{n}@a.example>, relay=mx.a.example[192.0.2.1]:25, delay=1.2, \
delays=0.01/0/0.8/0.39, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4F9D1{n})
Nov 24 08:31:32 out postfix/smtp[25]: 4jYc3g42svzJ{n}: to=<bob{n}@b.example>, relay=mx.b.example[192.0.2.2]:25, delay=0.6, \
delays=0.01/0/0.2/0.39, dsn=5.1.1, status=bounced (host mx.b.example[192.0.2.2] said: 550 5.1.1 <bob{n}@b.example>: \
Recipient address rejected: User unknown in virtual mailbox table (in reply to RCPT TO command))
Nov 24 08:31:33 out postfix/qmgr[23]: 4jYc3g40c3zJ{n}: removed
"""


def main() -> None:
    """Print the lines a second of each reader, and how many events it found."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("file", nargs="?", type=Path)
    arguments.add_argument("--lines", type=int, default=60_000)
    given = arguments.parse_args()
    lines = _lines(given.file, given.lines)
    now = datetime.now(UTC)
    deliveries = [line for line in lines if b": to=<" in line]
    print(f"{len(lines):,} lines, {len(deliveries):,} of them deliveries")
    _measure("naive expression, all lines", lines, lambda line: NAIVE.match(line.rstrip(b"\n")))
    _measure("parse_line, all lines", lines, lambda line: parse_line(line, now=now))
    _measure("naive expression, deliveries", deliveries, lambda line: NAIVE.match(line.rstrip(b"\n")))
    _measure("parse_line, deliveries", deliveries, lambda line: parse_line(line, now=now))


def _lines(file: Path | None, count: int) -> list[bytes]:
    """At least one and about `count` lines, each with its line end."""
    text = file.read_bytes() if file else b"".join(SAMPLE.format(n=n).encode() for n in range(1000, 1100))
    lines = [line.data for line in LineSplitter().feed(text)]
    return (lines * (count // len(lines) + 1))[: max(count, 1)]


def _measure(name: str, lines: list[bytes], read: Callable[[bytes], object]) -> None:
    best, found = float("inf"), 0
    for _ in range(3):
        start = time.perf_counter()
        found = sum(read(line) is not None for line in lines)
        best = min(best, time.perf_counter() - start)
    print(f"{name:30} {len(lines) / best:12,.0f} lines/s   {found:,} found")


if __name__ == "__main__":
    main()
