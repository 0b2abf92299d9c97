"""`db forget`: personal data of one address is erased; it is told what was, what stays, and what cannot be erased from here."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime

import click

from omicard_relay.cli.context import open_configured_store, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.moments import who
from omicard_relay.mail import RelayError, domain_of, local_part_of, one_line
from omicard_relay.services.forgetkey import forget_key
from omicard_relay.services.forgetting import Forgotten, files_that_name, forget_address

__all__ = ["forget_command"]

register(
    {
        "forget-nothing": ("nothing is known of this address", "查無此地址的任何資料"),
        "forget-before": (
            "this address was forgotten on {time:%Y-%m-%d}; nothing more is known of it",
            "此地址已於 {time:%Y-%m-%d} 遺忘；沒有更多資料",
        ),
        "forget-would": ("this would be erased, nothing was changed:", "將會清除下列資料，尚未變更："),
        "forget-did": ("erased:", "已清除："),
        "forget-rows": ("  {count} rows of {table}", "  {table}：{count} 列"),
        "forget-contents": (
            "  the contents of {count} mails that speak of it, or that it wrote",
            "  {count} 封提及或由此地址寄出的郵件內容",
        ),
        "forget-waited": (
            "  {count} of them waited to be handed on to a person, and never will be",
            "  其中 {count} 封尚待轉交，將不再轉交",
        ),
        "forget-kept": (
            "kept: {hidden} in place of the address in {count} list entries, so that it stays listed; codes, times and "
            "counts of reports under the name of a digest; a note that somebody was forgotten",
            "保留：名單中 {count} 筆以 {hidden} 代替地址，故仍在名單中；報表所需之代碼、時間與次數改以摘要為名；"
            "並記錄曾執行遺忘",
        ),
        "forget-key": (
            "the key of the digests is {path}: keep it in the backup, apart from the database's; without it the entries are "
            "not found again",
            "摘要所用金鑰為 {path}：請備份，並與資料庫的備份分開存放；遺失後將無法再對應這些名單",
        ),
        "forget-way": (
            "{count} mails to this address are still in Postfix's queue: what their log lines and bounces tell is new data; "
            "run this again when they are gone",
            "尚有 {count} 封寄往此地址的郵件在 Postfix 佇列中：其後之紀錄與退信屬新資料；待其離開佇列後請再執行一次",
        ),
        "forget-log": (
            "a reader holds on to old pages in the database's log; they go when the services are restarted",
            "資料庫的日誌中仍有讀取者佔用的舊頁面；服務重新啟動後即會消失",
        ),
        "forget-elsewhere": (
            "not erased from here, see docs/keeping.md: Postfix's logs and queue, logs of these services, backups, "
            "pages that earlier changes left in the database's file (`db purge --vacuum`), and what was handed on or sent out",
            "以下無法由此清除（見 docs/keeping.md）：Postfix 的日誌與佇列、本服務的日誌、備份、資料庫檔案中先前變更留下的頁面"
            "（`db purge --vacuum`），以及已轉交或寄出的郵件",
        ),
        "forget-file": ("  names it still: {path}", "  仍提及此地址：{path}"),
        "forget-release": (
            "  release {number} of the rules names it still; it is never changed",
            "  規則版本 {number} 仍提及此地址；已發布的版本不會變更",
        ),
        "forget-sure": ("Erase this? It cannot be undone", "確定清除？此動作無法復原"),
        "forget-not-asked": (
            "nobody can be asked here; write --yes, or --dry-run to see what would go. Nothing was changed.",
            "此處無法詢問；請加上 --yes，或以 --dry-run 查看。未作任何變更。",
        ),
        "forget-no-address": (
            "`{text}` is no address such as ann@example.com; domains are taken off with `lists remove`",
            "`{text}` 不是 ann@example.com 形式的地址；網域請以 `lists remove` 移除",
        ),
        "forget-looking": ("{table}: {count}", "{table}：{count}"),
    }
)


@click.command("forget")
@click.argument("address")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be erased.")
@click.option("--new-key", is_flag=True, help="Make a new key though others were forgotten by one that is lost.")
@click.pass_context
def forget_command(ctx: click.Context, address: str, yes: bool, dry_run: bool, new_key: bool) -> None:
    """Erase what is known of ADDRESS. In the lists a keyed digest stays, so that who is unsubscribed stays so.

    Exit 1 when nothing is known of it. Exactly this address is meant, in upper or lower case, its domain in both spellings.
    """
    if not local_part_of(address) or not domain_of(address):
        raise RelayError(say("forget-no-address", text=one_line(address, 80)))
    settings = settings_of(ctx)
    store, key_file = open_configured_store(settings), forget_key(settings)

    def run(*, dry: bool) -> Forgotten:
        return forget_address(
            store,
            key_file,
            address,
            who=who(),
            clock=lambda: datetime.now(UTC),
            dry_run=dry,
            on_progress=_progress(),
            new_key=new_key,
        )

    if not dry_run and not yes:
        if not sys.stdin.isatty():
            raise RelayError(say("forget-not-asked"))
        found = run(dry=True)
        if not found.is_nothing:
            _tell(found, dry=True)
            click.confirm(say("forget-sure"), abort=True)
    done = run(dry=dry_run)
    files = files_that_name(settings, address)
    if done.is_nothing:
        known = say("forget-before", time=done.before) if done.before else say("forget-nothing")
        click.echo(known, err=not done.before)
    else:
        _tell(done, dry=dry_run)
        if not dry_run:
            click.echo(say("forget-kept", hidden=done.hidden, count=done.changed.get("list_entry", 0)))
            click.echo(say("forget-key", path=key_file.path))
    if done.known.under_way:
        click.echo(say("forget-way", count=done.known.under_way))
    if done.log_is_full:
        click.echo(say("forget-log"))
    if files or done.releases or not done.is_nothing:
        click.echo(say("forget-elsewhere"))
    for path in files:
        click.echo(say("forget-file", path=one_line(str(path), 400)))
    for number in done.releases:
        click.echo(say("forget-release", number=number))
    ctx.exit(1 if done.is_nothing and not done.before else 0)


def _tell(done: Forgotten, *, dry: bool) -> None:
    click.echo(say("forget-would" if dry else "forget-did"))
    for table, count in sorted(done.changed.items()):
        click.echo(say("forget-rows", count=count, table=table))
    if done.contents:
        click.echo(say("forget-contents", count=done.contents))
    if done.waited:
        click.echo(say("forget-waited", count=done.waited))


def _progress() -> Callable[[str, int], None]:
    """What is being looked through, on a terminal alone."""
    if not sys.stderr.isatty():
        return lambda table, count: None
    return lambda table, count: click.echo(
        f"\r\x1b[K{say('forget-looking', table=table, count=count)}", nl=False, err=True
    )
