"""What most commands need: the settings, the store, and printing in two forms (tables for people, JSON lines for programs).

The store and the tables are loaded only when they are asked for: `bounce ingest` must start fast.
"""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omicard_relay.cli.language import register, say
from omicard_relay.mail.clean import printable
from omicard_relay.tables.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from omicard_relay.classify import Judge
    from omicard_relay.store import Store
    from omicard_relay.tables import Policies

__all__ = ["console", "json_line", "open_configured_store", "print_jsonl", "print_table", "ready_judge", "settings_of"]


register({"compiling": ("compiling {count} rules, once ...", "正在編譯 {count} 條規則（僅此一次）…")})

#: C1 controls, line separators, directions and lone surrogates; json escapes those below U+0020 by itself.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def settings_of(ctx: click.Context) -> Settings:
    """The settings that `--config` or the environment named. Raises TableError."""
    path: Path | None = ctx.find_root().obj
    return load_settings(path)


def open_configured_store(settings: Settings) -> "Store":
    """The store of the settings; a new SQLite one gets its tables. Raises StoreError."""
    from omicard_relay.services.forgetkey import forget_key
    from omicard_relay.store import open_store

    return open_store(settings.store_url, busy_seconds=settings.store.busy_seconds, hider=forget_key(settings))


def console(*, stderr: bool = False) -> "Console":
    """A console for people: no markup and no emoji read out of foreign text."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)


def ready_judge(policies: "Policies") -> "Judge":
    """The judge of these tables; says so to a person where that takes seconds, which is at the first start."""
    from omicard_relay.services.judging import judge_of

    def tell() -> None:
        if sys.stderr.isatty():
            click.echo(say("compiling", count=len(policies.rules)), err=True)

    return judge_of(policies, on_build=tell)


def json_line(value: object) -> bytes:
    """A value as JSON on one line, non-ASCII kept; control characters and lone surrogates escaped."""
    line = json.dumps(value, ensure_ascii=False, default=str)
    # What json leaves as it is although a terminal, or a reader, could be misled by it; in JSON it stands in strings only.
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", line).encode()


def print_jsonl(rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line on standard output, non-ASCII kept; control characters and lone surrogates escaped."""
    for row in rows:
        click.echo(json_line(row).decode())


def print_table(
    columns: list[str], rows: Iterable[Iterable[object]], title: str | None = None, *, whole: Collection[int] = ()
) -> None:
    """A table for people; every cell is made safe to print. `whole`: columns that are never wrapped, such as ids to copy."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for number, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=number in whole)
    for row in rows:
        table.add_row(*("" if cell is None else printable(str(cell)) for cell in row))
    console().print(table)
