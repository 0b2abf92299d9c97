"""How many replies a second one core judges, beside a plain `re` loop over the same expressions, in the same run.

    python benchmarks/classify.py [--replies FILE] [--seconds N]

FILE has one reply a line; without it the rules' own examples are used. Every reply is asked twice: once with a number
in its text, so that nothing is remembered ("new"), and once as it is ("seen before"). `re` only looks for the
expressions and phrases, one by one; it peels no wrapper and weighs nothing.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from omicard_relay.classify import Judge
from omicard_relay.classify.matcher import expressions_of
from omicard_relay.tables import Strength, load_policies


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replies", type=Path, help="one reply a line (default: the examples of the rules)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to measure each way")
    options = parser.parse_args()

    policies = load_policies()
    texts = _texts(options.replies) or [example for rule in policies.rules for example in rule.examples]
    started = time.perf_counter()
    judge = Judge(policies)
    judge.judge_text("550 5.1.1 user unknown")
    print(f"rules {len(policies.rules)}, replies {len(texts)}, compiled in {time.perf_counter() - started:.2f} s")

    plain = [
        re.compile(pattern, re.IGNORECASE | re.ASCII)
        for rule in policies.rules
        if rule.strength in (Strength.TOKEN, Strength.TEXT)
        for pattern in (*expressions_of(rule), *(re.escape(phrase) for phrase in rule.phrases))
    ]

    def one_by_one(text: str) -> None:
        for pattern in plain:
            pattern.search(text)

    for text in texts:
        judge.judge_text(text)
    new = _rate(judge.judge_text, _numbered(texts), options.seconds)
    seen = _rate(judge.judge_text, _again(texts), options.seconds)
    loop = _rate(one_by_one, _numbered(texts), options.seconds)
    print(f"judge, new replies          {new:9,.0f}/s")
    print(f"judge, seen before          {seen:9,.0f}/s")
    print(f"re, {len(plain)} one by one        {loop:9,.0f}/s")
    print(f"judge on new replies is {new / loop:.0f} times as fast as re one by one")


def _texts(path: Path | None) -> list[str]:
    return [line for line in path.read_text("utf-8", "replace").splitlines() if line.strip()] if path else []


def _numbered(texts: list[str]) -> Iterator[str]:
    number = 0
    while True:
        for text in texts:
            number += 1
            yield f"{text} id={number}"


def _again(texts: list[str]) -> Iterator[str]:
    while True:
        yield from texts


def _rate(judge: Callable[[str], object], texts: Iterator[str], seconds: float) -> float:
    """Calls a second, over at least `seconds`."""
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        for _ in range(50):
            judge(next(texts))
        done += 50
    return done / took


if __name__ == "__main__":
    main()
