"""`rules rejudge`: the stored replies judged again by the rules in force; both verdicts are kept, lists do not change."""

from datetime import UTC, datetime

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.moments import MOMENT, progress
from omicard_relay.cli.rules_release import release_words
from omicard_relay.cli.shifts import print_shifts, shift_rows

__all__ = ["rejudge_command"]

register(
    {
        "rejudge-done": (
            "{read} stored replies judged again by {release}: {changed} have a new verdict, and the old one is kept",
            "已由{release}重新判讀 {read} 則留存回應：{changed} 則有新判讀，舊判讀仍保留",
        ),
        "rejudge-dry": (
            "{read} stored replies judged again by {release}: {changed} would have a new verdict; nothing was written",
            "已由{release}重新判讀 {read} 則留存回應：{changed} 則將有新判讀；未寫入任何變更",
        ),
        "rejudge-lists": (
            "the lists were not changed; `omicard-relay explain ADDRESS` shows both verdicts",
            "名單未變動；`omicard-relay explain 信箱` 可查看兩次判讀",
        ),
    }
)


@click.command("rejudge", short_help="Judge the stored replies again by the rules in force.")
@click.option("--since", type=MOMENT, help="Only replies since then: 2026-11-20, 12h, 7d.")
@click.option("--until", type=MOMENT, help="Only replies before then.")
@click.option("--dry-run", is_flag=True, help="Only tell what would change.")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def rejudge_command(
    ctx: click.Context, since: datetime | None, until: datetime | None, dry_run: bool, jsonl: bool
) -> None:
    """Judge the stored replies again. Services may run on; after a stop, run it again and it goes on."""
    from omicard_relay.services.rejudge import rejudge
    from omicard_relay.services.rulebook import open_rulebook
    from omicard_relay.store.replies import Period, count_replies

    settings = settings_of(ctx)
    store = open_configured_store(settings)
    rules = open_rulebook(settings, store).current
    period = Period(since=since, until=until)
    with store.read() as tx:
        total = sum(count_replies(tx, period).values())
    with progress(total) as move:
        done = rejudge(store, rules, period=period, dry_run=dry_run, clock=lambda: datetime.now(UTC), on_progress=move)
    if jsonl:
        print_jsonl(
            [
                {
                    "section": "summary",
                    "release": rules.release,
                    "read": done.read,
                    "changed": done.changed,
                    "dry_run": dry_run,
                }
            ]
        )
        print_jsonl(shift_rows(done.counts))
        return
    key = "rejudge-dry" if dry_run else "rejudge-done"
    click.echo(say(key, read=done.read, release=release_words(rules.release), changed=done.changed))
    print_shifts(done.counts)
    if not dry_run:
        click.echo(say("rejudge-lists"))
