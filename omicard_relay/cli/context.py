"""What most commands need: the settings, and printing in two forms (tables for people, JSON lines for programs)."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from omicard_relay.mail import printable
from omicard_relay.tables.settings import Settings, load_settings

__all__ = ["console", "print_jsonl", "print_table", "settings_of"]


def settings_of(ctx: click.Context) -> Settings:
    """The settings that `--config` or the environment named. Raises TableError."""
    path: Path | None = ctx.find_root().obj
    return load_settings(path)


def console(*, stderr: bool = False) -> Console:
    """A console for people: no markup and no emoji read out of foreign text."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)


def print_jsonl(rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line on standard output, non-ASCII kept, lone surrogates escaped."""
    for row in rows:
        line = json.dumps(row, ensure_ascii=False, default=str)
        click.echo(line.encode("utf-8", "backslashreplace"))


def print_table(columns: list[str], rows: Iterable[Iterable[object]], title: str | None = None) -> None:
    """A table for people; every cell is made safe to print."""
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else printable(str(cell)) for cell in row))
    console().print(table)
