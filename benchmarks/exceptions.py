"""The exceptions table: changes a second at its full size, expiry, and look-ups of Postfix meanwhile.

    .venv/bin/python benchmarks/exceptions.py [--entries N] [--batch N] [--rounds N]

The table is filled with N resting recipients in batches, then as many batches change some of them, move others to another
expiry and drop the rest; each batch is one durable transaction (fsync). Then a million entries run out in one run, and a run
that finds nothing is timed. The peer is LMDB alone: the same batches with bare `putmulti`, without expiries and locks.
"""

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

import lmdb

from omicard_relay.services.exceptions_table import Entry, ExceptionsTable

_NOW = 1_795_000_000.0
_VALUES = ("retry:4.3.2 [938] resting until 2026-11-24 21:40 UTC", "ip2-s3:", "ip1:")


def main() -> None:
    """Print changes a second, sizes and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    chance = random.Random(6)  # noqa: S311
    entries = [_entry(number, chance) for number in range(options.entries)]
    chance.shuffle(entries)
    with tempfile.TemporaryDirectory() as folder:
        _ours(Path(folder), entries, options.batch, options.rounds, chance)
        _bare(Path(folder), entries, options.batch)


def _entry(number: int, chance: random.Random) -> Entry:
    return Entry(
        key=f"user{number}@d{number % 977}.example.com",
        value=_VALUES[number % 3],
        expires=_NOW + chance.uniform(60, 14_400),
    )


def _ours(folder: Path, entries: list[Entry], size: int, rounds: int, chance: random.Random) -> None:
    memory = _memory()
    with ExceptionsTable(folder / "exceptions") as table:
        begun, slowest = time.perf_counter(), 0.0
        for start in range(0, len(entries), size):
            one = time.perf_counter()
            table.apply(entries[start : start + size])
            slowest = max(slowest, time.perf_counter() - one)
        taken = time.perf_counter() - begun
        print(f"fill: {len(entries) / taken:,.0f} changes/s, {len(table):,} entries, slowest batch {slowest:.2f} s")
        changed, taken, slowest = 0, 0.0, 0.0
        for _ in range(rounds):
            some = chance.sample(entries, size)
            put = [Entry(key=e.key, value=_VALUES[1], expires=e.expires + 60) for e in some[: size * 8 // 10]]
            drop = [e.key for e in some[size * 8 // 10 :]]
            one = time.perf_counter()
            changed += table.apply(put, drop)
            one = time.perf_counter() - one
            taken, slowest = taken + one, max(slowest, one)
        print(f"change and drop: {changed / taken:,.0f} changes/s, slowest batch of {size:,} {slowest:.2f} s")
        small = []
        for _ in range(200):
            some = chance.sample(entries, 50)
            one = time.perf_counter()
            table.apply([Entry(key=e.key, value="ip1:", expires=e.expires) for e in some])
            small.append(time.perf_counter() - one)
        small.sort()
        print(f"batch of 50: median {small[100] * 1000:.1f} ms, slowest {small[-1] * 1000:.1f} ms")
        one = time.perf_counter()
        assert table.expire(_NOW) == 0
        print(f"expire, nothing due: {(time.perf_counter() - one) * 1000:.2f} ms")
        one = time.perf_counter()
        assert table.expire(_NOW, thorough=True) == 0
        print(f"expire, thorough, nothing due: {time.perf_counter() - one:.2f} s")
        left = len(table)
        one = time.perf_counter()
        assert table.expire(_NOW + 20_000) == left
        taken = time.perf_counter() - one
        print(f"expire of {left:,}: {taken:.1f} s, {left / taken:,.0f}/s")
        print(
            f"file {table.file.stat().st_size / 1e6:.0f} MB, memory grown by {(_memory() - memory) / 1024:.0f} MB at most"
        )


def _bare(folder: Path, entries: list[Entry], size: int) -> None:
    with lmdb.open(str(folder / "bare.lmdb"), subdir=False, lock=False, map_size=1 << 30) as environment:
        begun = time.perf_counter()
        for start in range(0, len(entries), size):
            with environment.begin(write=True) as tx:
                pairs = sorted((e.key.encode(), e.value.encode()) for e in entries[start : start + size])
                tx.cursor().putmulti(pairs)
        print(f"LMDB alone, without expiries: {len(entries) / (time.perf_counter() - begun):,.0f} changes/s")


def _memory() -> int:
    """KiB at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
