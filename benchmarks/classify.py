"""How many replies a second one core judges, and what a start costs, beside plain `re` in the same run.

    python benchmarks/classify.py [--replies FILE] [--seconds N]

FILE has one reply a line; without it the rules' own examples are used.
cold: each reply is new, nothing is remembered of it. warm: a stream in which some hundred replies repeat, each time with
another address, IP address and queue id, as a mail log has them. jsonl: the same stream through the command line.
peer: one compiled `re` alternation a rule, asked one by one; it peels no wrapper, weighs nothing and knows no conditions.
start: a new process until its first verdict, without and with what was compiled kept on disk.
memory: of a process that has judged each example once, its most.
"""

import argparse
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from omicard_relay.classify.index import expressions_of
from omicard_relay.services.judging import judge_of
from omicard_relay.tables import Strength, load_policies

_TEMPLATES = 300
_STREAM = 40_000
_FIRST = "from omicard_relay.services.judging import judge_of\nfrom omicard_relay.tables import load_policies\n"
_MEMORY = (
    "import resource\n"
    + _FIRST
    + "policies = load_policies()\njudge = judge_of(policies)\n"
    + "for rule in policies.rules:\n    for text in rule.examples: judge.judge_text(text)\n"
    + "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
)
_START = _FIRST + "judge_of(load_policies()).judge_text('550 5.1.1 no such user')"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replies", type=Path, help="one reply a line (default: the examples of the rules)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the peer is measured")
    options = parser.parse_args()

    policies = load_policies()
    texts = _texts(options.replies) or list(dict.fromkeys(text for rule in policies.rules for text in rule.examples))
    judge = judge_of(policies)
    print(f"rules {len(policies.rules)}, replies {len(texts)}, mean length {sum(map(len, texts)) / len(texts):.0f}")

    # What google-re2 compiles at its first use, once in the life of a process, is no part of a reply's cost.
    _rate(judge.judge_text, texts)
    cold = max(_rate(judge_of(policies).judge_text, _shuffled(texts, number)) for number in range(3))
    stream = _stream(texts)
    warm = max(_rate(judge.judge_text, stream) for _ in range(3))
    peer = _peer(policies.rules)
    asked: list[str] = []
    started = time.process_time()
    while time.process_time() - started < options.seconds:
        peer(texts[len(asked) % len(texts)])
        asked.append("")
    loop = len(asked) / (time.process_time() - started)
    print(f"judge, cold                 {cold:10,.0f}/s   {cold / loop:6.1f} times the peer")
    print(f"judge, warm                 {warm:10,.0f}/s   {warm / loop:6.1f} times the peer")
    print(f"classify --jsonl, warm      {_jsonl(stream):10,.0f}/s   start included")
    print(f"re, one alternation a rule  {loop:10,.0f}/s")
    memory = subprocess.run([sys.executable, "-c", _MEMORY], stdout=subprocess.PIPE, check=True).stdout
    print(f"memory, all replies judged  {float(memory):10,.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "OMICARD_RELAY_CACHE": folder}
        first, again = (_seconds(environment) for _ in range(2))
    print(f"start, nothing kept         {first:10.2f} s")
    print(f"start, compiled rules kept  {again:10.2f} s")


def _texts(path: Path | None) -> list[str]:
    return [line for line in path.read_text("utf-8", "replace").splitlines() if line.strip()] if path else []


def _shuffled(texts: list[str], seed: int) -> list[str]:
    return random.Random(seed).sample(texts, len(texts))  # noqa: S311  an order, no secret


def _stream(texts: list[str]) -> list[str]:
    """A log's replies: few templates, some far more often than others, with other ids each time."""
    chance = random.Random(1)  # noqa: S311  a benchmark repeats itself
    templates = chance.sample(texts, min(_TEMPLATES, len(texts)))
    weights = [1 / rank for rank in range(1, len(templates) + 1)]
    stream = []
    for text in chance.choices(templates, weights, k=_STREAM):
        address = f"user{chance.randrange(10**6)}@example.net"
        ip = f"198.51.100.{chance.randrange(256)}"
        queue_id = "".join(chance.choices("0123456789ABCDEF", k=11))
        text = re.sub(r"[\w.+-]+@[\w.-]+\w", address, text)
        stream.append(re.sub(r"\b192\.0\.2\.\d{1,3}\b", ip, text) + f" {queue_id}")
    return stream


def _peer(rules: tuple) -> Callable[[str], None]:  # type: ignore[type-arg]
    compiled = []
    for rule in rules:
        if rule.strength in (Strength.TOKEN, Strength.TEXT):
            # A few of google-re2's forms are none of Python's: the peer does without them.
            with contextlib.suppress(re.error):
                whole = "|".join(f"(?:{expression})" for expression in expressions_of(rule))
                compiled.append(re.compile(whole, re.IGNORECASE | re.ASCII))

    def ask_all(text: str) -> None:
        for pattern in compiled:
            pattern.search(text)

    return ask_all


def _rate(judge: Callable[[str], object], texts: list[str]) -> float:
    """Texts a second of this process's time."""
    started = time.process_time()
    for text in texts:
        judge(text)
    return len(texts) / (time.process_time() - started)


def _jsonl(stream: list[str]) -> float:
    questions = "".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(stream))
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "omicard_relay", "classify", "--jsonl"],
        input=questions.encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return len(stream) / (time.perf_counter() - started)


def _seconds(environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", _START], env=environment, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
