"""Every shipped world against every policy over several seeds: the table of benchmarks/steering.md, written by this script.

    .venv/bin/python benchmarks/steering.py [--seeds 10] [--minutes 0] [--processes 2] [--worlds a,b] [--policies a,b]
                                            [--random 40] [--no-million] [--out FILE]

A run is one world, one policy, one seed; the runs are spread over processes. The million world runs once, with
`ours`. The table has means with the standard deviation over seeds; above it stands in words where `ours` is not best.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from randomworlds import random_world

from omicard_relay.services.judging import judge_of
from omicard_relay.services.simulating import judging_of, run_world
from omicard_relay.steering.simulation import Judging, Result
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.worlds import load_world, shipped_worlds
from omicard_relay.tables.worldtables import World

POLICIES = (
    "ours", "ours-policy-only", "postfix", "kumomta", "kumomta:sticky", "zonemta", "powermta", "fixed:15m",
    "fixed:5m/10m/1h",
)  # fmt: skip
MILLION = "million"
RANDOM = "random-"
#: A hundredth of a percent point, a hundredth of an attempt, a tenth of an hour: what is nearer counts as equal.
NEAR = {"delivered": 0.0001, "tries": 0.01, "blocked": 0.1}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One world and one policy over its seeds."""

    world: str
    policy: str
    runs: tuple[Result, ...]

    def of(self, key: str) -> list[float]:
        values: dict[str, Callable[[Result], float]] = {
            "delivered": lambda run: run.delivered_share,
            "possible": lambda run: run.possible / run.recipients,
            "tries": lambda run: run.attempts_per_delivered or float("inf"),
            "blocked": lambda run: run.blocked_ip_hours,
            "wrong": lambda run: run.wrongly_returned / run.recipients,
            "wasted": lambda run: run.wasted / run.recipients,
            "median": lambda run: run.median_seconds or 0.0,
            "p95": lambda run: run.p95_seconds or 0.0,
        }
        return [values[key](run) for run in self.runs]

    def mean(self, key: str) -> float:
        return statistics.fmean(self.of(key))

    def shown(self, key: str, form: str, factor: float = 1.0) -> str:
        values = [value * factor for value in self.of(key)]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.fmean(values):{form}} ± {spread:{form}}"


@cache
def judging() -> Judging:
    policies = load_policies()
    return judging_of(judge_of(policies), policies)


def world_named(name: str) -> World:
    return random_world(int(name.removeprefix(RANDOM))) if name.startswith(RANDOM) else load_world(Path(name))


def one(job: tuple[str, str, int]) -> tuple[tuple[str, str, int], Result, float]:
    """One run, and how many seconds it took."""
    world, policy, seed = job
    ready = judging()
    start = time.perf_counter()
    result = run_world(world_named(world), policy, ready, seed=seed)
    return job, result, time.perf_counter() - start


def main() -> None:
    """Run all, write the page, say how long it took."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--minutes", type=float, default=0, help="begin no seed that would end later")
    arguments.add_argument("--processes", type=int, default=2)
    arguments.add_argument("--worlds", default=",".join(name for name in shipped_worlds() if name != MILLION))
    arguments.add_argument("--policies", default=",".join(POLICIES))
    arguments.add_argument("--random", type=int, default=40)
    arguments.add_argument("--no-million", action="store_true")
    arguments.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    given = arguments.parse_args()
    worlds, policies = given.worlds.split(","), given.policies.split(",")
    drawn = [f"{RANDOM}{number}" for number in range(given.random)]
    judging()  # compiled once, read back by each process
    start = time.perf_counter()
    results: dict[tuple[str, str, int], tuple[Result, float]] = {}
    seeds: list[int] = []
    with ProcessPoolExecutor(given.processes) as pool:

        def run(jobs: list[tuple[str, str, int]]) -> None:
            for job, result, seconds in pool.map(one, jobs, chunksize=1):
                results[job] = result, seconds

        run([(world, policy, 1) for world in drawn for policy in policies])
        for seed in range(1, given.seeds + 1):
            began = time.perf_counter()
            run([(world, policy, seed) for world in worlds for policy in policies])
            seeds.append(seed)
            # No seed is begun that would not be over in time.
            if given.minutes and 2 * time.perf_counter() - began - start > given.minutes * 60:
                break
        if not given.no_million:
            run([(MILLION, "ours", 1)])
    took = time.perf_counter() - start
    rows = [
        Row(
            world=world,
            policy=policy,
            runs=tuple(results[world, policy, seed][0] for seed in seeds),
        )
        for world in worlds
        for policy in policies
    ]
    at_random = [[results[world, policy, 1][0] for policy in policies] for world in drawn]
    large = [results[job] for job in results if job[0] == MILLION]
    given.out.write_text(page(rows, worlds, len(seeds), at_random, large, took), encoding="utf-8")
    print(f"{len(results)} runs in {took:.0f} s; wrote {given.out}")


def page(
    rows: list[Row],
    worlds: list[str],
    seeds: int,
    at_random: list[list[Result]],
    large: list[tuple[Result, float]],
    took: float,
) -> str:
    """The whole page."""
    parts = [
        "# Steering against other strategies, on simulated worlds\n",
        f"Made by `benchmarks/steering.py`: {seeds} seeds for each world and policy, mean ± standard deviation over the "
        f"seeds. Python {platform.python_version()}, {took:.0f} s in all. docs/worlds.md says what is measured, how the peers "
        "are modelled, and where their figures come from; the worlds stand in policies/worlds/. delivered: of all mails, by "
        "the deadline; tries: attempts for each delivered mail; blocked: IP-hours; wrongly: returned although the receiver "
        "would still have taken them, of all mails; median and 95 % of the time to deliver, of delivered mails.\n",
        verdict(rows, worlds),
    ]
    for world in worlds:
        some = [row for row in rows if row.world == world]
        made = load_world(Path(world))
        possible = 100 * some[0].mean("possible")
        parts.append(f"## {world}\n\n{made.about} {made.recipients:,} mails, {possible:.2f} % of them deliverable.\n")
        parts.append(table(some))
    if at_random:
        parts.append(of_random(at_random))
    if large:
        head = "| policy | delivered % | tries | blocked h | wrongly % | median s | 95 % s | time to simulate |"
        lines = [
            f"| {result.policy} | {100 * result.delivered_share:.2f} | {result.attempts_per_delivered or 0:.2f} "
            f"| {result.blocked_ip_hours:.1f} | {100 * result.wrongly_returned / result.recipients:.2f} "
            f"| {result.median_seconds or 0:.0f} | {result.p95_seconds or 0:.0f} | {seconds:.0f} s |"
            for result, seconds in large
        ]
        parts.append("\n".join(["## million\n\nOne run.\n", head, "|---|---|---|---|---|---|---|---|", *lines, ""]))
    return "\n".join(parts)


def of_random(worlds: list[list[Result]]) -> str:
    """The sums over worlds that were drawn at random, and each one in which a peer delivers more."""
    lines = []
    for runs in zip(*worlds, strict=True):
        delivered, attempts = sum(run.delivered for run in runs), sum(run.attempts for run in runs)
        possible, wrong = sum(run.possible for run in runs), sum(run.wrongly_returned for run in runs)
        lines.append(
            f"| {runs[0].policy} | {100 * delivered / possible:.2f} | {attempts / delivered:.2f} "
            f"| {sum(run.blocked_ip_hours for run in runs):.0f} | {100 * wrong / possible:.2f} |"
        )
    lost = []
    for runs in worlds:
        mine = next(run for run in runs if run.policy == "ours")
        best = max((run for run in runs if not run.policy.startswith("ours")), key=lambda run: run.delivered)
        if best.delivered > mine.delivered:
            lost.append(
                (
                    best.delivered - mine.delivered,
                    f"{mine.world}: {mine.delivered} against {best.delivered} ({best.policy})",
                )
            )
    told = "; ".join(text for _, text in sorted(lost, reverse=True)[:10]) or "none"
    return "\n".join(
        [
            f"## {len(worlds)} worlds drawn at random\n",
            "benchmarks/randomworlds.py makes them; sums over all, one seed each.\n",
            "| policy | delivered, % of deliverable | tries | blocked h | wrongly % |\n|---|---|---|---|---|",
            *lines,
            f"\nThe best peer delivers more than `ours` in {len(lost)} of them, were it by one mail. The largest: {told}.\n",
        ]
    )


def table(rows: list[Row]) -> str:
    head = "| policy | delivered % | tries | blocked h | wrongly % | median s | 95 % s |\n|---|---|---|---|---|---|---|"
    lines = [
        f"| {row.policy} | {row.shown('delivered', '.2f', 100)} | {row.shown('tries', '.2f')} | {row.shown('blocked', '.1f')} "
        f"| {row.shown('wrong', '.2f', 100)} | {row.mean('median'):.0f} | {row.mean('p95'):.0f} |"
        for row in rows
    ]
    return "\n".join([head, *lines, ""])


def verdict(rows: list[Row], worlds: list[str]) -> str:
    """In words: where ours is best, and every place where it is not."""
    lines = []
    best = 0
    for world in worlds:
        mine = next(row for row in rows if row.world == world and row.policy == "ours")
        peers = [row for row in rows if row.world == world and not row.policy.startswith("ours")]
        ahead = [row for row in peers if row.mean("delivered") > mine.mean("delivered") + NEAR["delivered"]]
        if not ahead:
            best += 1
        for row in sorted(ahead, key=lambda row: -row.mean("delivered")):
            theirs, ours = 100 * row.mean("delivered"), 100 * mine.mean("delivered")
            lines.append(f"- {world}: {row.policy} delivers more, {theirs:.2f} % against {ours:.2f} %.")
        rivals = [row for row in peers if row.mean("delivered") >= mine.mean("delivered") - NEAR["delivered"]]
        for key, name in (("tries", "needs fewer attempts"), ("blocked", "has fewer blocked IP-hours")):
            fewer = [row for row in rivals if row.mean(key) < mine.mean(key) - NEAR[key]]
            for row in sorted(fewer, key=lambda row: row.mean(key))[:2]:
                lines.append(
                    f"- {world}: {row.policy} delivers as much and {name}: {row.mean(key):.2f} against {mine.mean(key):.2f}."
                )
    head = (
        f"`ours` delivers at least as much as every peer on {best} of {len(worlds)} worlds "
        "(to a hundredth of a percent point). "
    )
    if not lines:
        return head + "No peer that delivers as much needs fewer attempts or has fewer blocked IP-hours.\n"
    return head + "Where it does not come out best:\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
