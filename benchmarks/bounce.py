"""Reading bounces: mails a second and memory, beside flufl.bounce on the same mails in the same run; and mails of 100 MB.

    .venv/bin/python benchmarks/bounce.py FOLDER [--rounds N]

What is measured is not the same work: flufl.bounce finds addresses; the reader finds kind, addresses, replies, stages and
times, and the verdict is the bounce code. Recipients found are printed beside, so that speed is not bought with blindness.
flufl.bounce gets what it needs, the standard library's message object, and its parsing counts. Times are processor time, the
best of the rounds, in which all take turns. "first sight" judges every reply for the first time, "again" has seen it.
Peak memory is that of a process of its own that does nothing else (its largest resident set).
"""

import argparse
import logging
import multiprocessing
import time
from collections.abc import Callable, Iterable
from email import message_from_bytes
from functools import partial
from pathlib import Path
from typing import TypeVar

from flufl.bounce import all_failures

from omicard_relay.bounce import MailReader
from omicard_relay.classify import Judge
from omicard_relay.services.judging import judge_of
from omicard_relay.tables import load_policies
from omicard_relay.tables.formats import load_formats

T = TypeVar("T")
MIB = 1024 * 1024
LARGE = 100 * MIB

HEAD = b"Return-Path: <>\nFrom: MAILER-DAEMON@mx1.harbour.example\nTo: bounce@shop.example\nSubject: Undelivered Mail\n"
REPORT = b"\n<ann@harbour.example>: 550 5.1.1 no such mailbox\n\n"


def large_mails() -> dict[str, Callable[[], bytes]]:
    """Shapes of a report of 100 MB; each is made only in the process that reads it."""
    mixed = HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" + REPORT
    return {
        "one attachment": lambda: (
            (
                mixed
                + b"--b\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n"
                + b"QUJD" * 18
                + b"\n"
            )
            + (b"QUJD" * 18 + b"\n") * (LARGE // 73)
        ),
        "one line": lambda: HEAD + REPORT + b"x" * LARGE,
        "many parts": lambda: mixed + b"--b\nContent-Type: text/plain\n\nx\n" * (LARGE // 32),
        "many lines": lambda: HEAD + REPORT + b"one more line of text\n" * (LARGE // 22),
        "many addresses": lambda: HEAD + b"\n" + b"<ann@harbour.example>: no\n" * (LARGE // 26),
        "one header": lambda: HEAD + b"X-Long: " + b"y" * LARGE + REPORT,
    }


def main() -> None:
    """Print mails a second, recipients found and peak memory; then the large mails."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--rounds", type=int, default=7)
    given = arguments.parse_args()
    mails = _mails(given.folder)
    if not mails:
        raise SystemExit(f"{given.folder}: holds no file; name a folder with mails.")
    print(f"{len(mails)} mails, {sum(map(len, mails)):,} octets, best of {given.rounds} rounds")
    context = multiprocessing.get_context("spawn")
    memory = {name: _peak(context, name, given.folder) for name in ("nothing", *_WORK)}
    for name, (seconds, recipients) in _speed(mails, given.rounds).items():
        key = name.partition(",")[0]
        above = memory[key] - memory["nothing"]
        print(
            f"{name:28} {len(mails) / seconds:9,.0f} mails/s  {recipients:5} recipients"
            f"  {above:6.0f} MiB above the mails"
        )
    print(f"a mail of {LARGE // MIB} MiB, read in a process of its own:")
    for name in large_mails():
        begin = time.perf_counter()
        found, above = _call(context, _read_large, name)
        seconds = time.perf_counter() - begin
        print(f"{name:28} {above:6.0f} MiB above the mail  {found:5} recipients  {seconds:5.1f} s with making it")


def _mails(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]


def _speed(mails: list[bytes], rounds: int) -> dict[str, tuple[float, int]]:
    """Name -> (the least seconds of processor time for all mails, recipients found)."""
    reader, policies = MailReader(load_formats()), load_policies()
    judge = judge_of(policies)
    best: dict[str, tuple[float, int]] = {}
    for _ in range(rounds):
        fresh = Judge(policies)
        # Its patterns are compiled and warm, its memory of replies is empty.
        _judged(reader, fresh, [HEAD + REPORT])
        for name, work in (
            ("reading", partial(_read, reader, mails)),
            ("verdict, first sight", partial(_judged, reader, fresh, mails)),
            ("verdict, again", partial(_judged, reader, judge, mails)),
            ("flufl.bounce", partial(_flufl, mails)),
        ):
            begin = time.process_time()
            found = work()
            seconds = time.process_time() - begin
            best[name] = min((seconds, found), best.get(name, (seconds, found)))
    return best


def _read(reader: MailReader, mails: Iterable[bytes]) -> int:
    return sum(bool(evidence.recipient) for raw in mails for evidence in reader.read(raw).evidence)


def _judged(reader: MailReader, judge: Judge, mails: Iterable[bytes]) -> int:
    found = 0
    for raw in mails:
        for evidence in reader.read(raw).evidence:
            judge.judge(evidence)
            found += bool(evidence.recipient)
    return found


def _flufl(mails: Iterable[bytes]) -> int:
    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    found = 0
    for raw in mails:
        try:
            temporary, permanent = all_failures(message_from_bytes(raw))
        except Exception:  # noqa: S112  a mail that it cannot read has no recipient
            continue
        found += len(temporary) + len(permanent)
    return found


_WORK: dict[str, Callable[[list[bytes]], object]] = {
    "reading": lambda mails: _read(MailReader(load_formats()), mails),
    "verdict": lambda mails: _judged(MailReader(load_formats()), judge_of(load_policies()), mails),
    "flufl.bounce": _flufl,
}


def _resident() -> float:
    """The largest resident set of this process since it was last forgotten, in MiB."""
    lines = Path("/proc/self/status").read_text().split("\n")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _forget_peak() -> None:
    """What making the mail took is no matter (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak(context: "multiprocessing.context.SpawnContext", name: str, folder: Path) -> float:
    return _call(context, _work, name, folder)


def _work(name: str, folder: Path) -> float:
    mails = _mails(folder)
    if name in _WORK:
        _WORK[name](mails)
    return _resident()


def _read_large(name: str) -> tuple[int, float]:
    reader = MailReader(load_formats())
    raw = large_mails()[name]()
    _forget_peak()
    before = _resident()
    found = _read(reader, [raw])
    return found, _resident() - before


def _call(context: "multiprocessing.context.SpawnContext", task: Callable[..., T], *given: object) -> T:
    """What the task returns, run in a fresh process."""
    with context.Pool(1) as pool:
        return pool.apply(task, given)


if __name__ == "__main__":
    main()
