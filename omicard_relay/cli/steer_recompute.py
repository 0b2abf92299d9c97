"""`steer recompute`: every stored decision once more, from the stored evidence; says which one comes out another, and
then exits 1.

Not here: the computing (services/steer_recompute.py).
"""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.moments import MOMENT
from omicard_relay.mail import one_line

if TYPE_CHECKING:
    from omicard_relay.services.steer_recompute import Recomputed

__all__ = ["recompute_command"]

register(
    {
        "recompute-same": (
            "{decisions} decisions in {steps} steps came out the same; {states} whole states compared",
            "{steps} 個步驟共 {decisions} 個決定重新計算後完全相同；比對完整狀態 {states} 次",
        ),
        "recompute-differs": (
            "{differing} differences in {decisions} decisions of {steps} steps",
            "{steps} 個步驟的 {decisions} 個決定中有 {differing} 處不同",
        ),
        "recompute-forgotten": (
            "{count} differences behind evidence that was forgotten or deleted are not counted",
            "另有 {count} 處差異因證據已遺忘或刪除，不予計算",
        ),
        "recompute-gaps": (
            "{count} stretches lack steps and were not compared",
            "有 {count} 段缺少步驟，未比對",
        ),
        "recompute-title": ("What came out another", "結果不同之處"),
        "recompute-node": ("machine", "主機"),
        "recompute-step": ("step", "步驟"),
        "recompute-what": ("what", "項目"),
        "recompute-attempt": ("attempt", "嘗試編號"),
        "recompute-stored": ("stored", "原紀錄"),
        "recompute-now": ("recomputed", "重新計算"),
    }
)


@click.command("recompute", short_help="Recompute all stored decisions and compare.")
@click.option("--since", type=MOMENT, help="Only decisions from this moment on.")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def recompute_command(ctx: click.Context, since: datetime | None, jsonl: bool) -> None:
    """Recompute every decision of steering from the stored evidence, and compare bit for bit. Nothing is changed."""
    from omicard_relay.services.steer_recompute import recompute

    done = recompute(open_configured_store(settings_of(ctx)), since=since)
    if jsonl:
        print_jsonl(
            {
                "event": "difference",
                "node": one.node,
                "step": one.step,
                "what": one.what,
                "attempt": one.attempt_id,
                "stored": one.stored,
                "recomputed": one.recomputed,
            }
            for one in done.differences
        )
        print_jsonl(
            [
                {
                    "event": "summary",
                    "steps": done.steps,
                    "decisions": done.decisions,
                    "states": done.states,
                    "differing": done.differing,
                    "forgotten": done.forgotten,
                    "without_steps": done.without_base,
                }
            ]
        )
    else:
        _print(done)
    if done.differing:
        ctx.exit(1)


def _print(done: "Recomputed") -> None:
    if done.differing:
        columns = [say(f"recompute-{name}") for name in ("node", "step", "what", "attempt", "stored", "now")]
        print_table(
            columns,
            (
                [one.node, one.step, one.what, one.attempt_id, one_line(one.stored, 200), one_line(one.recomputed, 200)]
                for one in done.differences
            ),
            say("recompute-title"),
        )
        click.echo(
            say("recompute-differs", differing=done.differing, decisions=done.decisions, steps=done.steps), err=True
        )
    else:
        click.echo(say("recompute-same", decisions=done.decisions, steps=done.steps, states=done.states))
    if done.forgotten:
        click.echo(say("recompute-forgotten", count=done.forgotten))
    if done.without_base:
        click.echo(say("recompute-gaps", count=done.without_base))
