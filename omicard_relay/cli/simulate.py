"""`simulate`: try retry strategies on a made-up world, and compare what they deliver, when, and what it costs.

One policy gives its figures by provider, several give a table that compares them. The same world, policy and seed give the
same output, octet for octet.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from omicard_relay.cli.context import print_jsonl, print_table, ready_judge, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.mail import TableError
from omicard_relay.services.simulating import POLICY_NAMES, judging_of, run_world, strategy_of
from omicard_relay.steering.simulation import ProviderResult, Result
from omicard_relay.tables.active import active_folder, load_active
from omicard_relay.tables.worlds import load_world, shipped_worlds

__all__ = ["command"]

register(
    {
        "simulate-provider": ("provider", "收件端"),
        "simulate-mails": ("mails", "信件數"),
        "simulate-delivered": ("delivered", "送達"),
        "simulate-median": ("median", "中位時間"),
        "simulate-p95": ("95% within", "95% 時間"),
        "simulate-attempts": ("tries", "嘗試數"),
        "simulate-blocked": ("blocked", "封鎖時數"),
        "simulate-returned": ("returned", "退回"),
        "simulate-wrong": ("wrongly", "誤退"),
        "simulate-past": ("late", "逾期"),
        "simulate-wasted": ("wasted", "無用嘗試"),
        "simulate-legend": (
            "tries: attempts for each delivered mail; blocked: IP-hours; wrongly: returned, but it would have been delivered; "
            "late: not delivered by the deadline; wasted: attempts after a final cause",
            "嘗試數：每封送達信件的嘗試次數；封鎖時數：IP 被封鎖的小時數；誤退：本可送達卻退回；逾期：期限內未送達；"
            "無用嘗試：已知最終原因後的嘗試",
        ),
        "simulate-title": (
            "{world}: {count:,} mails, {possible:,} of them deliverable; seed {seed}",
            "{world}：{count:,} 封信，其中 {possible:,} 封可送達；種子 {seed}",
        ),
        "simulate-progress": ("{policy}: {done:,} of {count:,} mails", "{policy}：{done:,} / {count:,} 封信"),
        "simulate-world": ("world", "世界"),
        "simulate-about": ("what happens in it", "內容"),
        "simulate-no-world": (
            "name a world: --world FILE, or one of {names}; --worlds describes them",
            "請指定世界：--world 檔案，或 {names} 之一；--worlds 有說明",
        ),
        "simulate-plotted": ("wrote {path}", "已寫入 {path}"),
    }
)

#: What is shown of each provider; the JSON has all.
_BY_PROVIDER = ("delivered", "median", "attempts", "blocked", "wrong", "past")
#: Seconds after which a person is told how far it is, and between two such lines where they cannot be written over.
_QUIET_SECONDS, _LINE_SECONDS = 1.0, 10.0


@click.command(name="simulate")
@click.option(
    "--world", "world_path", type=click.Path(path_type=Path), help="World file (TOML), or a shipped world's name."
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="NAME",
    help=f"{', '.join(POLICY_NAMES)}; may be given several times (default: ours).",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of all chance in the run.")
@click.option("--jsonl", is_flag=True, help="One JSON object a policy instead of tables.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the runs into this .svg or .png file."
)
@click.option("--worlds", is_flag=True, help="List the shipped worlds and stop.")
@click.pass_context
def command(
    ctx: click.Context,
    world_path: Path | None,
    policies: tuple[str, ...],
    seed: int,
    jsonl: bool,
    plot: Path | None,
    worlds: bool,
) -> None:
    """Try retry strategies on a simulated world of receivers and compare them."""
    if worlds:
        _print_worlds(jsonl)
        return
    if world_path is None:
        click.echo(say("simulate-no-world", names=", ".join(shipped_worlds())), err=True)
        ctx.exit(2)
    policies = policies or ("ours",)
    world = load_world(world_path)
    settings = settings_of(ctx)
    site = active_folder(settings)
    for policy in policies:
        strategy_of(policy, seed=seed, site_dir=site)
    draw = _drawing(plot) if plot is not None else None
    tables = load_active(settings)
    judging = judging_of(ready_judge(tables), tables)
    results: list[Result] = []
    for policy in dict.fromkeys(policies):
        with _Progress(policy) as progress:
            results.append(run_world(world, policy, judging, seed=seed, site_dir=site, progress=progress.tell))
        if jsonl:
            print_jsonl([_row(results[-1])])
    if not jsonl:
        _print_for_people(results)
        click.echo(say("simulate-legend"))
    if draw is not None and plot is not None:
        draw(results, plot)
        click.echo(say("simulate-plotted", path=plot), err=True)


class _Progress:
    """What is done so far, on standard error, when it takes longer than a second."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._began = self._told = time.monotonic()
        self._can_rewrite = sys.stderr.isatty()
        self._is_begun = False

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_begun and self._can_rewrite:
            click.echo("\r\x1b[K", nl=False, err=True)

    def tell(self, done: int, count: int) -> None:
        now = time.monotonic()
        pause = _QUIET_SECONDS if self._can_rewrite or not self._is_begun else _LINE_SECONDS
        if now - self._told < pause:
            return
        self._told, self._is_begun = now, True
        text = say("simulate-progress", policy=self._policy, done=done, count=count)
        click.echo(f"\r\x1b[K{text}" if self._can_rewrite else text, nl=not self._can_rewrite, err=True)


def _drawing(path: Path) -> Callable[[list[Result], Path], None]:
    """What draws the plot; everything that could stop it is found before the runs. Raises TableError."""
    from omicard_relay.cli.simulate_plot import drawing

    if path.suffix.lower() not in (".svg", ".png"):
        raise TableError(f"{path}: a plot is written as .svg or .png; name the file so.")
    if not path.parent.is_dir():
        raise TableError(f"{path.parent}: there is no such folder; make it first.")
    return drawing()


def _print_worlds(jsonl: bool) -> None:
    worlds = [(name, load_world(path)) for name, path in shipped_worlds().items()]
    if jsonl:
        print_jsonl({"world": name, "about": world.about, "recipients": world.recipients} for name, world in worlds)
        return
    heads = [say("simulate-world"), say("simulate-mails"), say("simulate-about")]
    print_table(heads, ((name, f"{world.recipients:,}", world.about) for name, world in worlds))


def _row(result: Result) -> dict[str, Any]:
    """A result as JSON; the two ratios stand beside their counts."""
    row: dict[str, Any] = msgspec.to_builtins(result)
    curve, providers = row.pop("curve"), row.pop("providers")
    attempts = result.attempts_per_delivered
    row["delivered_share"] = round(result.delivered_share, 6)
    row["attempts_per_delivered"] = None if attempts is None else round(attempts, 6)
    return {**row, "providers": providers, "curve": curve}


def _print_for_people(results: list[Result]) -> None:
    first = results[0]
    title = say("simulate-title", world=first.world, count=first.recipients, possible=first.possible, seed=first.seed)
    figures = [_figures(result) for result in results]
    click.echo(title)
    heads = ["", *(result.policy for result in results)]
    print_table(heads, ((say(f"simulate-{key}"), *(row[key] for row in figures)) for key in figures[0]))
    if len(results) > 1:
        return
    click.echo()
    rows = [(one.provider, f"{one.recipients:,}", _figures(one)) for one in first.providers]
    heads = [say(f"simulate-{key}") for key in ("provider", "mails", *_BY_PROVIDER)]
    print_table(heads, ((name, count, *(row[key] for key in _BY_PROVIDER)) for name, count, row in rows))


def _figures(one: Result | ProviderResult) -> dict[str, str]:
    """The figures of a result, or of one of its providers, as they are read."""
    return {
        "delivered": f"{100 * one.delivered / one.recipients:.2f}%" if one.recipients else "–",
        "median": _span(one.median_seconds),
        "p95": _span(one.p95_seconds),
        "attempts": f"{one.attempts / one.delivered:.2f}" if one.delivered else "–",
        "blocked": f"{one.blocked_ip_hours:.1f}",
        "returned": f"{one.returned:,}",
        "wrong": f"{one.wrongly_returned:,}",
        "past": f"{one.past_deadline:,}",
        "wasted": f"{one.wasted:,}",
    }


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
