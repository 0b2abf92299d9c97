"""`suppress`: the known bounces, which are a list like the others, with `why` to tell where each entry comes from."""

from typing import TextIO

import click

from omicard_relay.cli import lists as shared
from omicard_relay.cli.suppress_why import why
from omicard_relay.mail import ListName

__all__ = ["command"]


@click.group("suppress", short_help="The known bounces.")
def command() -> None:
    """Keep the addresses that are known to bounce."""


@command.command("add")
@click.argument("addresses", nargs=-1, required=True)
@click.option("--code", type=click.IntRange(900, 939), default=902, show_default=True, help="The cause.")
@click.option("--reason", required=True, help="Why; customer service will read it.")
@click.option("--scope", default="all", help="all, sender:DOMAIN, campaign:NAME or kind:NAME.")
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


command.add_command(why)
