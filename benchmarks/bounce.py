"""Mails a second: `read_mail` against flufl.bounce's scan, in the same run over the same mails.

    .venv/bin/python benchmarks/bounce.py FOLDER [--rounds N]

flufl.bounce gets what it needs, the standard library's message object, and its parsing counts: `read_mail` parses too. What is
measured is not the same work: flufl.bounce finds addresses, `read_mail` kind, addresses, replies, stages and times.
Recipients found are printed beside, so that speed is not bought with blindness.
"""

import argparse
import logging
import time
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

from flufl.bounce import all_failures

from omicard_relay.bounce import MailReader
from omicard_relay.tables.formats import load_formats


def main() -> None:
    """Print mails a second and recipients found, the best of the rounds for each reader."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)
    mails = [path.read_bytes() for path in sorted(given.folder.rglob("*")) if path.is_file()]
    if not mails:
        raise SystemExit(f"{given.folder}: holds no file; name a folder with mails.")
    print(f"{len(mails)} mails, {sum(map(len, mails)):,} octets, best of {given.rounds} rounds")
    best: dict[str, float] = {}
    found: dict[str, int] = {}
    mails_of = MailReader(load_formats())
    readers: dict[str, Callable[[bytes], int]] = {"read_mail": lambda raw: _ours(mails_of, raw), "flufl.bounce": _flufl}
    # The two take turns, so that a busy machine is unfair to both alike.
    for _ in range(given.rounds):
        for name, reader in readers.items():
            begin = time.process_time()
            found[name] = sum(map(reader, mails))
            seconds = time.process_time() - begin
            best[name] = min(seconds, best.get(name, seconds))
    for name in readers:
        print(f"{name:14} {len(mails) / best[name]:9,.0f} mails/s   {found[name]:6} recipients")
    print(f"read_mail takes {best['read_mail'] / best['flufl.bounce']:.2f} of the time of flufl.bounce")


def _ours(reader: MailReader, raw: bytes) -> int:
    return sum(bool(evidence.recipient) for evidence in reader.read(raw).evidence)


def _flufl(raw: bytes) -> int:
    try:
        temporary, permanent = all_failures(message_from_bytes(raw))
    except Exception:
        return 0
    return len(temporary) + len(permanent)


if __name__ == "__main__":
    main()
