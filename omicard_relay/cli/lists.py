"""`lists`: unsubscribed, blacklist, whitelist and known bounces, kept by hand; every change has who, why and an undo."""

import getpass
import sys
from datetime import UTC, datetime, timedelta
from typing import TextIO

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.listfile import BadRow, check_scope, check_value, read_rows, write_rows
from omicard_relay.mail import ListEntry, ListName, RelayError, one_line
from omicard_relay.store import lists
from omicard_relay.tables.suppress import ADDRESS_CODES

__all__ = ["add", "command", "export", "history", "import_file", "remove", "show", "undo"]

register(
    {
        "list-added": (
            "{value}: on {list_name} now (entry {entry}); undo: omicard-relay lists undo {change}",
            "{value}：已加入 {list_name}（編號 {entry}）；復原：omicard-relay lists undo {change}",
        ),
        "list-known": (
            "{value}: is on {list_name} already (entry {entry}), nothing changed",
            "{value}：已在 {list_name} 中（編號 {entry}），未變更",
        ),
        "list-removed": (
            "{value}: off {list_name} now; undo: omicard-relay lists undo {change}",
            "{value}：已自 {list_name} 移除；復原：omicard-relay lists undo {change}",
        ),
        "list-absent": (
            "{value} is not on {list_name}; `omicard-relay lists list {list_name}` shows what is",
            "{value} 不在 {list_name} 中；可用 `omicard-relay lists list {list_name}` 查看",
        ),
        "list-undone": (
            "change {change} is undone: {value} on {list_name}",
            "變更 {change} 已復原：{value}（{list_name}）",
        ),
        "list-imported": (
            "{added} added, {known} there already, {bad} bad rows left out",
            "新增 {added} 筆，已存在 {known} 筆，略過錯誤 {bad} 筆",
        ),
        "list-bad-row": ("line {line}: {why}", "第 {line} 行：{why}"),
        "list-exported": ("{count} entries written", "已輸出 {count} 筆"),
        "list-progress": ("{count} rows", "{count} 筆"),
        "col-list": ("list", "名單"),
        "col-value": ("value", "內容"),
        "col-scope": ("scope", "範圍"),
        "col-code": ("code", "代碼"),
        "col-what": ("what", "項目"),
        "col-reason": ("reason", "原因"),
        "col-source": ("source", "來源"),
        "col-until": ("until", "期限"),
        "col-change": ("change", "變更"),
        "col-time": ("time", "時間"),
        "col-who": ("who", "人員"),
        "col-note": ("note", "備註"),
    }
)

_NAMES = click.Choice([name.value for name in ListName])
#: Rows in one transaction: few enough that the services are never locked out for long.
_CHUNK = 1000


@click.group("lists", short_help="Unsubscribed, blacklist, whitelist, known bounces.")
def command() -> None:
    """Keep the lists that the scrub asks."""


def add(
    ctx: click.Context,
    name: ListName,
    values: tuple[str, ...],
    reason: str,
    scope: str,
    days: int | None,
    code: int | None,
) -> None:
    """Add values to a list, with one line for each."""
    if (why := check_scope(scope)) is not None:
        raise RelayError(f"{why}; nothing was changed.")
    if (why := _check_code(name, code)) is not None:
        raise RelayError(f"{why}; nothing was changed.")
    for value in values:
        if (why := check_value(value)) is not None:
            raise RelayError(f"{why}; nothing was changed.")
    store = open_configured_store(settings_of(ctx))
    for value in values:
        entry = _entry(name, value, reason, scope, days, code)
        with store.write() as tx:
            entry_id, is_new = lists.add_entry(tx, entry)
            change = lists.changes(tx, value=value, limit=1)[0].id if is_new else 0
        key = "list-added" if is_new else "list-known"
        click.echo(say(key, value=one_line(value), list_name=name, entry=entry_id, change=change))


def remove(ctx: click.Context, name: ListName, values: tuple[str, ...], note: str) -> None:
    """Take values off a list."""
    store = open_configured_store(settings_of(ctx))
    now = datetime.now(UTC)
    missing = False
    for value in values:
        with store.write() as tx:
            found = list(lists.entries(tx, name, now=now, value=value))
            changes = [lists.remove_entry(tx, e.entry_id, who=_who(), now=now, note=one_line(note)) for e in found]
        for change in changes:
            click.echo(say("list-removed", value=one_line(value), list_name=name, change=change))
        if not changes:
            click.echo(say("list-absent", value=one_line(value), list_name=name), err=True)
            missing = True
    ctx.exit(1 if missing else 0)


def show(ctx: click.Context, name: ListName | None, jsonl: bool) -> None:
    """Print the entries that hold."""
    store = open_configured_store(settings_of(ctx))
    with store.read() as tx:
        found = lists.entries(tx, name, now=datetime.now(UTC))
        if jsonl:
            print_jsonl(_plain(entry) for entry in found)
            return
        columns = [say(f"col-{c}") for c in ("list", "value", "scope", "code", "reason", "source", "until")]
        print_table(
            columns,
            (
                [
                    e.list_name,
                    e.value,
                    e.scope,
                    e.bounce_code,
                    e.reason,
                    e.source,
                    f"{e.expires:%Y-%m-%d}" if e.expires else "",
                ]
                for e in found
            ),
        )


def import_file(ctx: click.Context, name: ListName, file: TextIO, reason: str) -> None:
    """Take a file in; bad rows are named and left out."""
    store = open_configured_store(settings_of(ctx))
    added = known = bad = 0
    rows = read_rows(file)
    source = one_line(f"import {getattr(file, 'name', '-')}")
    while chunk := [row for _, row in zip(range(_CHUNK), rows, strict=False)]:
        with store.write() as tx:
            for row in chunk:
                why = row.why if isinstance(row, BadRow) else _check_code(name, row.bounce_code)
                if isinstance(row, BadRow) or why is not None:
                    bad += 1
                    click.echo(say("list-bad-row", line=row.line, why=why), err=True)
                    continue
                entry = ListEntry(
                    list_name=name,
                    value=row.value,
                    reason=row.reason or one_line(reason),
                    source=source,
                    scope=row.scope,
                    bounce_code=row.bounce_code,
                    created=datetime.now(UTC),
                    expires=row.expires,
                    created_by=_who(),
                )
                is_new = lists.add_entry(tx, entry)[1]
                added, known = added + is_new, known + (not is_new)
        if sys.stderr.isatty():
            click.echo("\r" + say("list-progress", count=added + known + bad), nl=False, err=True)
    if sys.stderr.isatty():
        click.echo(err=True)
    click.echo(say("list-imported", added=added, known=known, bad=bad))
    ctx.exit(1 if bad else 0)


def export(ctx: click.Context, name: ListName, file: TextIO) -> None:
    """Write the entries that hold as CSV."""
    store = open_configured_store(settings_of(ctx))
    with store.read() as tx:
        count = write_rows(lists.entries(tx, name, now=datetime.now(UTC)), file)
    file.flush()  # a full disk must show before we say that it is done
    click.echo(say("list-exported", count=count), err=True)


def history(ctx: click.Context, value: str | None, jsonl: bool) -> None:
    """Print the newest changes."""
    store = open_configured_store(settings_of(ctx))
    with store.read() as tx:
        found = lists.changes(tx, value=value)
    if jsonl:
        print_jsonl({**row._mapping, "time": row.time.isoformat()} for row in found)
        return
    columns = [say(f"col-{c}") for c in ("change", "time", "who", "what", "list", "value", "reason", "note")]
    print_table(
        columns,
        ([r.id, f"{r.time:%Y-%m-%d %H:%M}", r.who, r.what, r.list_name, r.value, r.reason, r.note] for r in found),
    )


def undo(ctx: click.Context, change: int) -> None:
    """Take one change back."""
    store = open_configured_store(settings_of(ctx))
    with store.write() as tx:
        entry = lists.undo_change(tx, change, who=_who(), now=datetime.now(UTC))
    click.echo(say("list-undone", change=change, value=one_line(entry.value), list_name=entry.list_name))


@command.command("add")
@click.argument("list_name", type=_NAMES)
@click.argument("values", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why; customer service will read it.")
@click.option("--scope", default="all", help="all, sender:DOMAIN, campaign:NAME or kind:NAME.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Days until it ends by itself (else never).")
@click.option("--code", type=click.IntRange(900, 939), help="Bounce code that the client is told.")
@click.pass_context
def _add(
    ctx: click.Context,
    list_name: str,
    values: tuple[str, ...],
    reason: str,
    scope: str,
    days: int | None,
    code: int | None,
) -> None:
    """Put addresses or @domains on a list."""
    add(ctx, ListName(list_name), values, reason, scope, days, code)


@command.command("remove")
@click.argument("list_name", type=_NAMES)
@click.argument("values", nargs=-1, required=True)
@click.option("--note", default="", help="Why.")
@click.pass_context
def _remove(ctx: click.Context, list_name: str, values: tuple[str, ...], note: str) -> None:
    """Take addresses or @domains off a list."""
    remove(ctx, ListName(list_name), values, note)


@command.command("list")
@click.argument("list_name", type=_NAMES, required=False)
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def _list(ctx: click.Context, list_name: str | None, jsonl: bool) -> None:
    """Show the entries that hold, of one list or of all."""
    show(ctx, ListName(list_name) if list_name else None, jsonl)


@command.command("import")
@click.argument("list_name", type=_NAMES)
@click.argument("file", type=click.File("r", encoding="utf-8", errors="surrogateescape"))
@click.option("--reason", default="imported", help="Reason of rows that have none.")
@click.pass_context
def _import(ctx: click.Context, list_name: str, file: TextIO, reason: str) -> None:
    """Take in a file: one address a line, or CSV with a header (address, reason, scope, code, expires)."""
    import_file(ctx, ListName(list_name), file, reason)


@command.command("export")
@click.argument("list_name", type=_NAMES)
@click.argument("file", type=click.File("w", encoding="utf-8"), default="-")
@click.pass_context
def _export(ctx: click.Context, list_name: str, file: TextIO) -> None:
    """Write a list as CSV (to standard output when no file is named)."""
    export(ctx, ListName(list_name), file)


@command.command("history")
@click.argument("value", required=False)
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def _history(ctx: click.Context, value: str | None, jsonl: bool) -> None:
    """Show who changed what, newest first."""
    history(ctx, value, jsonl)


@command.command("undo")
@click.argument("change", type=click.IntRange(1, 2**63 - 1))
@click.pass_context
def _undo(ctx: click.Context, change: int) -> None:
    """Take one change back, by its number."""
    undo(ctx, change)


def _check_code(name: ListName, code: int | None) -> str | None:
    """Why a list cannot have an entry of this code: no other than an address code makes a known bounce, whoever says so."""
    if name is not ListName.KNOWN_BOUNCE or code is None or code in ADDRESS_CODES:
        return None
    allowed = ", ".join(map(str, sorted(ADDRESS_CODES)))
    return f"{code} does not speak of the address; allowed are {allowed}, and the blacklist takes any"


def _entry(name: ListName, value: str, reason: str, scope: str, days: int | None, code: int | None) -> ListEntry:
    now = datetime.now(UTC)
    return ListEntry(
        list_name=name,
        value=value,
        reason=one_line(reason),  # an argument may hold octets that are no text
        source="by hand",
        scope=scope,
        bounce_code=code,
        created=now,
        expires=now + timedelta(days=days) if days else None,
        created_by=_who(),
    )


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown user"


def _plain(entry: ListEntry) -> dict[str, object]:
    return {
        "list": entry.list_name,
        "value": entry.value,
        "scope": entry.scope,
        "code": str(entry.bounce_code) if entry.bounce_code else None,
        "reason": entry.reason,
        "source": entry.source,
        "created": entry.created.isoformat(),
        "created_by": entry.created_by,
        "expires": entry.expires.isoformat() if entry.expires else None,
        "entry": entry.entry_id,
    }
