"""`suppress`: the known bounces, which are a list like the others, with `why` to tell where each entry comes from."""

from datetime import UTC, datetime
from typing import TextIO

import click

from omicard_relay.cli import lists as shared
from omicard_relay.cli.context import open_configured_store, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.mail import ListName, domain_of, one_line
from omicard_relay.store import lists

__all__ = ["command"]

register(
    {
        "why-free": ("{value}: is no known bounce, mail to it is not held back", "{value}：非已知退信，不會被剔除"),
        "why-entry": (
            "{value}: known bounce {code} since {created:%Y-%m-%d} until {until}; {reason}; proof: {source}; by {who}",
            "{value}：已知退信 {code}，自 {created:%Y-%m-%d} 至 {until}；{reason}；依據：{source}；建立者 {who}",
        ),
        "why-never": ("it is removed", "移除為止"),
        "why-more": ("all that happened: omicard-relay explain {value}", "完整歷程：omicard-relay explain {value}"),
    }
)


@click.group("suppress", short_help="The known bounces.")
def command() -> None:
    """Keep the addresses that are known to bounce."""


@command.command("add")
@click.argument("addresses", nargs=-1, required=True)
@click.option("--code", type=click.IntRange(900, 939), default=902, show_default=True, help="The cause.")
@click.option("--reason", required=True, help="Why; customer service will read it.")
@click.option("--scope", default="all", help="all, sender:DOMAIN or campaign:NAME.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Days until it ends by itself (else never).")
@click.pass_context
def _add(ctx: click.Context, addresses: tuple[str, ...], code: int, reason: str, scope: str, days: int | None) -> None:
    """Hold mail to these addresses back."""
    shared.add(ctx, ListName.KNOWN_BOUNCE, addresses, reason, scope, days, code)


@command.command("remove")
@click.argument("addresses", nargs=-1, required=True)
@click.option("--note", default="", help="Why.")
@click.pass_context
def _remove(ctx: click.Context, addresses: tuple[str, ...], note: str) -> None:
    """Let mail to these addresses go again."""
    shared.remove(ctx, ListName.KNOWN_BOUNCE, addresses, note)


@command.command("list")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def _list(ctx: click.Context, jsonl: bool) -> None:
    """Show the known bounces."""
    shared.show(ctx, ListName.KNOWN_BOUNCE, jsonl)


@command.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8", errors="surrogateescape"))
@click.option("--reason", default="imported", help="Reason of rows that have none.")
@click.pass_context
def _import(ctx: click.Context, file: TextIO, reason: str) -> None:
    """Take in a file: one address a line, or CSV with a header (address, reason, scope, code, expires)."""
    shared.import_file(ctx, ListName.KNOWN_BOUNCE, file, reason)


@command.command("export")
@click.argument("file", type=click.File("w", encoding="utf-8"), default="-")
@click.pass_context
def _export(ctx: click.Context, file: TextIO) -> None:
    """Write them as CSV (to standard output when no file is named)."""
    shared.export(ctx, ListName.KNOWN_BOUNCE, file)


@command.command("undo")
@click.argument("change", type=click.IntRange(1, 2**63 - 1))
@click.pass_context
def _undo(ctx: click.Context, change: int) -> None:
    """Take one change back, by its number (`lists history` shows it)."""
    shared.undo(ctx, change)


@command.command("why")
@click.argument("address")
@click.pass_context
def _why(ctx: click.Context, address: str) -> None:
    """Tell why mail to an address is held back, and where the proof stands. Exit 1 when it is not."""
    store = open_configured_store(settings_of(ctx))
    with store.read() as tx:
        now = datetime.now(UTC)
        domain = domain_of(address)
        # The address and its whole domain, as the scrub looks.
        values = dict.fromkeys([address, *([f"@{domain}"] if domain else [])])
        found = [e for value in values for e in lists.entries(tx, ListName.KNOWN_BOUNCE, now=now, value=value)]
    for entry in found:
        click.echo(
            say(
                "why-entry",
                value=one_line(entry.value),
                code=entry.bounce_code or "-",
                created=entry.created,
                until=f"{entry.expires:%Y-%m-%d}" if entry.expires else say("why-never"),
                reason=one_line(entry.reason),
                source=one_line(entry.source),
                who=one_line(entry.created_by),
            )
        )
    if not found:
        click.echo(say("why-free", value=one_line(address)))
        ctx.exit(1)
    click.echo(say("why-more", value=one_line(address)))
