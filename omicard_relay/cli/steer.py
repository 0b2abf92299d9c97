"""`omicard-relay steer`: what steering knows and what it has told Postfix.

Here: the exceptions table that Postfix reads, what is in it, and taking out what has run out.

A systemd timer runs `steer expire`, so that nothing rests for ever where the steering service is dead; it needs neither the
store nor the rules. Not here: what is written there (services/, steering/).
"""

import time
from datetime import UTC, datetime

import click

from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.steer_counts import export_command, import_command
from omicard_relay.cli.steer_recompute import recompute_command
from omicard_relay.mail import printable

__all__ = ["command"]

register(
    {
        "steer.expired": ("{file}: {count} entries had run out and are gone", "{file}：已移除 {count} 筆到期項目"),
        "steer.made": (
            "{file}: made, empty; then reload Postfix, if it has missed the file",
            "{file}：已建立空表；若 Postfix 曾找不到此檔，請再重新載入 Postfix",
        ),
        "steer.none": ("{file}: no entry for {name}: ordinary mail", "{file}：沒有 {name} 的項目，照一般方式投遞"),
        "steer.empty": ("{file}: no entries, all mail is ordinary", "{file}：沒有項目，所有郵件照一般方式投遞"),
        "steer.count": ("{shown} of {count} entries", "共 {count} 筆，顯示 {shown} 筆"),
        "steer.col.key": ("recipient or domain", "收件人或網域"),
        "steer.col.what": ("what happens", "處置"),
        "steer.col.until": ("until (UTC)", "到期（UTC）"),
        "steer.col.value": ("entry", "項目內容"),
        "steer.rest": ("rests", "休息"),
        "steer.return": ("is returned", "退信"),
        "steer.route": ("goes out by {ip}", "由 {ip} 送出"),
        "steer.slow": ("goes out by {ip}, speed class {speed}", "由 {ip} 送出，速度等級 {speed}"),
        "steer.other": ("another transport", "其他傳輸方式"),
        "steer.unknown": ("unknown: it goes with the next `steer expire`", "不明：下次 `steer expire` 時移除"),
    }
)


@click.group(name="steer")
def command() -> None:
    """See what steering knows and has told Postfix, and tidy up after it."""


for _other in (export_command, import_command, recompute_command):
    command.add_command(_other)


@command.command("expire")
@click.option("--quiet", is_flag=True, help="Say nothing where nothing had run out.")
@click.pass_context
def expire(ctx: click.Context, quiet: bool) -> None:
    """Take out of the exceptions table what has run out. A timer calls this; it makes a table that is missing."""
    from omicard_relay.services.exceptions_table import ExceptionsTable, make_table, table_file

    path = settings_of(ctx).steer_table
    if make_table(path):
        click.echo(say("steer.made", file=printable(str(table_file(path)))))
        return
    with ExceptionsTable(path) as table:
        count = table.expire(time.time(), thorough=True)
    if count or not quiet:
        click.echo(say("steer.expired", file=printable(str(table.file)), count=count))


@command.command("show")
@click.argument("key", metavar="[ADDRESS|DOMAIN]", default="")
@click.option(
    "--limit", default=200, show_default=True, type=click.IntRange(min=1), help="Entries in the table for people."
)
@click.option("--jsonl", is_flag=True, help="One JSON object a line, all of them.")
@click.pass_context
def show(ctx: click.Context, key: str, limit: int, jsonl: bool) -> None:
    """Show what Postfix is told: for an address, for a domain and its addresses, or for all."""
    from omicard_relay.services.exceptions_table import Entry, ExceptionsTable

    with ExceptionsTable(settings_of(ctx).steer_table, read_only=True) as table:
        entries: list[Entry]
        if "@" in key:
            # Postfix asks for the address first, then for its domain.
            names = (key, key.rpartition("@")[2])
            entries = [entry for name in names if (entry := table.find(name)) is not None]
        else:
            entries = table.entries(key)
        file = printable(str(table.file))
    if jsonl:
        print_jsonl(_row(entry.key, entry.value, entry.expires) for entry in entries)
    elif not entries:
        click.echo(say("steer.none", file=file, name=printable(key)) if key else say("steer.empty", file=file))
    else:
        print_table(
            [say(f"steer.col.{name}") for name in ("key", "what", "until", "value")],
            ((one.key, _what(one.value), _until(one.expires), one.value) for one in entries[:limit]),
        )
        if len(entries) > limit:
            click.echo(say("steer.count", shown=limit, count=len(entries)))


def _row(key: str, value: str, expires: float) -> dict[str, object]:
    kind, _, rest = value.partition(":")
    route = _route(value)
    return {
        "key": key,
        "kind": "rest" if kind == "retry" else "return" if kind == "error" else "route",
        "ip": route[0] if route else None,
        "speed": route[1] if route else None,
        "text": rest if kind in ("retry", "error") else None,
        "value": value,
        "expires": datetime.fromtimestamp(expires, UTC).isoformat() if expires else None,
    }


def _what(value: str) -> str:
    kind = value.partition(":")[0]
    if kind in ("retry", "error"):
        return say("steer.rest" if kind == "retry" else "steer.return")
    route = _route(value)
    if route is None:
        return say("steer.other")
    ip, speed = route
    return say("steer.slow", ip=ip, speed=speed) if speed else say("steer.route", ip=ip)


def _route(value: str) -> tuple[str, int] | None:
    from omicard_relay.wire.transports import read_transport

    kind = value.partition(":")[0]
    return read_transport(kind) if kind not in ("retry", "error") else None


def _until(expires: float) -> str:
    return f"{datetime.fromtimestamp(expires, UTC):%Y-%m-%d %H:%M:%S}" if expires else say("steer.unknown")
