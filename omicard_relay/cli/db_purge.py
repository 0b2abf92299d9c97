"""`db purge`: what is older than `[keep]` says goes, by hand; the services do the same once a day."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import click

from omicard_relay.cli.context import open_configured_store, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.services.housekeeping import cutoffs_of, me, purge
from omicard_relay.store import leases
from omicard_relay.store.engine import Store
from omicard_relay.store.purge import Cutoffs, count_old
from omicard_relay.store.space import find_space, rewrite
from omicard_relay.tables.active import active_folder
from omicard_relay.tables.keeping import check_evidence_days
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.suppress import load_suppress

__all__ = ["purge_command"]

register(
    {
        "purge-would": ("{count} rows of {table} would be deleted", "將刪除 {table}：{count} 列"),
        "purge-did": ("{count} rows of {table} deleted", "已刪除 {table}：{count} 列"),
        "purge-nothing": ("nothing is that old", "沒有達到期限的資料"),
        "purge-progress": ("{count} rows deleted", "已刪除 {count} 列"),
        "purge-longest": ("the longest transaction took {ms} ms", "最長的交易為 {ms} 毫秒"),
        "purge-file": (
            "the file has {octets} octets, {free} of them free for what comes",
            "資料庫檔案為 {octets} 位元組，其中 {free} 可供新資料使用",
        ),
        "purge-given": ("{octets} octets were given back to the disk", "已歸還磁碟 {octets} 位元組"),
        "purge-stiff": (
            "this file gives nothing back by itself; `db purge --vacuum` writes it anew, with the services stopped",
            "此檔案無法自行縮小；停止服務後以 `db purge --vacuum` 重寫",
        ),
        "purge-last": ("purged last on {time:%Y-%m-%d %H:%M}Z", "上次清理於 {time:%Y-%m-%d %H:%M}Z"),
    }
)


@click.command("purge")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@click.option(
    "--older-than",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    help="Mails and evidence older than this, whatever [keep] says.",
)
@click.option("--mails-only", is_flag=True, help="Only the contents of bounce mails; what they stated stays.")
@click.option("--vacuum", is_flag=True, help="Then write an SQLite file anew; nobody can write meanwhile.")
@click.pass_context
def purge_command(ctx: click.Context, dry_run: bool, older_than: int | None, mails_only: bool, vacuum: bool) -> None:
    """Delete what is older than [keep] of the configuration says, in small steps beside the running services."""
    settings = settings_of(ctx)
    store = open_configured_store(settings)
    cutoffs = _cutoffs(settings, older_than, mails_only)
    if cutoffs.evidence is not None:
        days, name = (older_than, "--older-than") if older_than else (settings.keep.evidence_days, "keep.evidence_days")
        check_evidence_days(settings, load_suppress(active_folder(settings)), days=days, name=name)
    if dry_run:
        _tell("purge-would", count_old(store, cutoffs))
        _tell_space(store)
        return
    is_tty = sys.stderr.isatty()

    def progress(counts: Mapping[str, int]) -> None:
        if is_tty:
            click.echo(f"\r\x1b[K{say('purge-progress', count=sum(counts.values()))}", nl=False, err=True)

    is_daily = older_than is None and not mails_only
    done = purge(store, cutoffs, clock=lambda: datetime.now(UTC), holder=me(), is_daily=is_daily, on_progress=progress)
    assert done is not None  # noqa: S101 - None is for what is done only when it is due
    if is_tty:
        click.echo(err=True)
    _tell("purge-did", done.counts)
    if done.counts:
        click.echo(say("purge-longest", ms=round(done.longest_seconds * 1000)))
    if done.given_back:
        click.echo(say("purge-given", octets=done.given_back))
    if vacuum:
        rewrite(store)
    _tell_space(store)


def _cutoffs(settings: Settings, older_than: int | None, mails_only: bool) -> Cutoffs:
    now = datetime.now(UTC)
    cutoffs = cutoffs_of(settings, now)
    if older_than is not None:
        before = now - timedelta(days=older_than)
        steering = max(cutoffs.steering or before, before)
        cutoffs = replace(cutoffs, contents=before, evidence=before, steering=steering)
    return replace(cutoffs, evidence=None, lists=None, steering=None) if mails_only else cutoffs


def _tell(key: str, counts: Mapping[str, int]) -> None:
    for table, count in sorted(counts.items()):
        click.echo(say(key, count=count, table=table))
    if not counts:
        click.echo(say("purge-nothing"))


def _tell_space(store: Store) -> None:
    with store.read() as tx:
        last = leases.last_done(tx, "purge")
    if last is not None:
        click.echo(say("purge-last", time=last))
    space = find_space(store)
    if space is None:
        return
    click.echo(say("purge-file", octets=space.octets, free=space.free))
    if not space.can_give_back:
        click.echo(say("purge-stiff"))
