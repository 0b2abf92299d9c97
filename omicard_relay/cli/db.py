"""`db`: the database's tables and version here; `forget` and `purge` in modules of their own."""

import click

from omicard_relay.cli.context import settings_of
from omicard_relay.cli.db_forget import forget_command
from omicard_relay.cli.db_progress import UpgradeProgress
from omicard_relay.cli.db_purge import purge_command
from omicard_relay.cli.language import register, say
from omicard_relay.store.engine import database_version, open_store
from omicard_relay.store.migrate import head, upgrade

__all__ = ["command"]

register(
    {
        "db-upgraded": ("database: version {before} -> {after}", "資料庫：版本 {before} -> {after}"),
        "db-current": ("database: at version {after} already, nothing to do", "資料庫：已是版本 {after}，無須變更"),
        "db-version": (
            "database: version {before}, this program needs {after}",
            "資料庫：版本 {before}，本程式需要 {after}",
        ),
        "db-none": ("none", "無"),
    }
)


@click.group("db", short_help="The database: version, purging, forgetting.")
def command() -> None:
    """Make the database, bring it to this program's version, purge what is old, forget an address."""


command.add_command(forget_command)
command.add_command(purge_command)


@command.command("upgrade")
@click.pass_context
def upgrade_command(ctx: click.Context) -> None:
    """Make the tables, or bring those of an older version up to date. Stop the services and back up before."""
    settings = settings_of(ctx)
    store = open_store(settings.store_url, busy_seconds=settings.store.busy_seconds, any_version=True)
    try:
        before = database_version(store)
        if before == head():
            click.echo(say("db-current", after=before))
            return
        with UpgradeProgress() as progress:
            upgrade(store, on_step=progress.step)
        click.echo(say("db-upgraded", before=before or say("db-none"), after=head()))
    finally:
        store.close()


@command.command("version")
@click.pass_context
def version_command(ctx: click.Context) -> None:
    """Show the database's version and the one that is needed."""
    settings = settings_of(ctx)
    store = open_store(settings.store_url, busy_seconds=settings.store.busy_seconds, create=False, any_version=True)
    try:
        click.echo(say("db-version", before=database_version(store) or say("db-none"), after=head()))
    finally:
        store.close()
