"""`rules history`, `rules rollback`, `rules checkout`: which rules judged when, by whom and why, and going back.

Going back adds a release: the history only grows, and each stored verdict's release stays what it was.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.moments import who
from omicard_relay.cli.rules_release import release_words
from omicard_relay.mail import RelayError, TableError, one_line

if TYPE_CHECKING:
    from omicard_relay.services.publishing import Change
    from omicard_relay.store.releases import Release

__all__ = ["checkout_command", "history_command", "rollback_command"]

register(
    {
        "history-none": (
            "nothing has been published yet: the shipped rules are in force, with the working folder {folder} over them",
            "尚未發布任何版本：目前為隨附規則，並套用工作資料夾 {folder}",
        ),
        "history-release": ("release", "版本"),
        "history-time": ("time (UTC)", "時間（UTC）"),
        "history-kind": ("kind", "種類"),
        "history-author": ("author", "發布者"),
        "history-note": ("note", "備註"),
        "history-digest": ("digest", "摘要"),
        "history-change": ("rules", "規則變更"),
        "history-publish": ("publish", "發布"),
        "history-rollback": ("rollback to {target}", "還原至{target}"),
        "history-upgrade": ("upgrade of the program", "程式升級"),
        "history-in-force": (
            "in force: {store} in the store, {here} on this machine",
            "生效中：資料庫為{store}，本機為{here}",
        ),
        "history-lagging": (
            "this machine is not at the store's release: is a service running here?",
            "本機尚未跟上資料庫的版本：本機有執行中的服務嗎？",
        ),
        "history-added": ("added: {rules}", "新增：{rules}"),
        "history-removed": ("removed: {rules}", "移除：{rules}"),
        "history-changed": ("changed: {rules}", "修改：{rules}"),
        "history-files": ("other tables changed: {rules}", "其他表格變更：{rules}"),
        "history-shipped": ("shipped tables of {digest}", "隨附表格摘要 {digest}"),
        "history-unreadable": ("its rules do not load with this program: {why}", "本程式無法載入其規則：{why}"),
        "history-no-change": ("no change of the site's own tables", "站台表格無變更"),
        "rollback-bad": (
            "`{text}` is neither the number of a release nor `shipped`",
            "`{text}` 不是版本號碼，也不是 `shipped`",
        ),
        "rollback-done": (
            "release {number} is in force, with the tables of {target} (digest {digest}); running services follow in seconds",
            "第 {number} 版已生效，內容同{target}（摘要 {digest}）；執行中的服務將在數秒內切換",
        ),
        "rollback-same": (
            "{release} is in force with these very tables already; no release was added, this machine's copy is in order",
            "{release}已生效且內容相同；未新增版本，本機副本正常",
        ),
        "rollback-undo": ("undo: omicard-relay rules rollback {target}", "還原：omicard-relay rules rollback {target}"),
        "rollback-folder": (
            "the working folder {folder} was not touched; `omicard-relay rules checkout {number}` brings these tables there",
            "工作資料夾 {folder} 未變動；`omicard-relay rules checkout {number}` 可將此版內容放入",
        ),
        "checkout-done": (
            "the tables of {release} ({files} files) are in {folder} now; they are in force only once they are published",
            "{release}的內容（{files} 個檔案）已放入 {folder}；發布後才會生效",
        ),
        "checkout-backup": (
            "what was there before is in {backup}; undo: copy it back",
            "原有內容已存於 {backup}；還原：將其複製回來",
        ),
        "checkout-failed": ("{folder}: cannot be written: {why}", "{folder}：無法寫入：{why}"),
    }
)


class _Target(click.ParamType[int]):
    """The number of a release, or `shipped` (0)."""

    name = "release"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if text == "shipped":
            return 0
        if not text.isdecimal() or len(text) > 9:
            self.fail(say("rollback-bad", text=one_line(text, 40)), param, ctx)
        return int(text)


@click.command("history", short_help="Which rules were in force when, by whom and why.")
@click.argument("number", type=click.IntRange(1, 999_999_999), required=False)
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def history_command(ctx: click.Context, number: int | None, jsonl: bool) -> None:
    """Show the releases, newest first, or all about release NUMBER; and which one is in force."""
    from omicard_relay.services.publishing import get_release
    from omicard_relay.store.releases import releases
    from omicard_relay.tables.active import released_number, site_folder

    settings = settings_of(ctx)
    store = open_configured_store(settings)
    if number is not None:
        get_release(store, number)
    with store.read() as tx:
        found = releases(tx)
    if not found:
        if not jsonl:
            click.echo(say("history-none", folder=one_line(str(site_folder(settings)))))
        return
    try:
        here = released_number(settings)
    except TableError:
        here = None
    newest = found[-1].number
    pairs = list(zip([None, *found], found, strict=False))[::-1]
    pairs = [pair for pair in pairs if number in (None, pair[1].number)]
    if jsonl:
        print_jsonl(
            {**_plain(before, one), "in_force": one.number == newest, "here": one.number == here}
            for before, one in pairs
        )
        return
    if number is not None:
        _print_one(*pairs[0])
    else:
        columns = [say(f"history-{c}") for c in ("release", "time", "kind", "author", "note", "change", "digest")]
        print_table(columns, [_cells(before, one) for before, one in pairs])
    click.echo(say("history-in-force", store=release_words(newest), here=release_words(here)))
    if here != newest:
        click.echo(say("history-lagging"))


@click.command("rollback", short_help="Put an earlier release in force again.")
@click.argument("target", type=_Target(), metavar="N|shipped")
@click.option("--note", default="", help="Why; `rules history` shows it.")
@click.option("--author", help="Who (else the login user).")
@click.pass_context
def rollback_command(ctx: click.Context, target: int, note: str, author: str | None) -> None:
    """Put the rules of release N, or the shipped rules alone, in force again. The history grows by one release."""
    from omicard_relay.services.publishing import roll_back
    from omicard_relay.services.rulebook import newest_release
    from omicard_relay.tables.active import site_folder

    settings = settings_of(ctx)
    store = open_configured_store(settings)
    before = newest_release(store)
    outcome = roll_back(
        settings,
        store,
        target,
        author=one_line(author or who(), 200),
        note=one_line(note, 1000),
        now=datetime.now(UTC),
    )
    release = outcome.release
    if outcome.is_new:
        words = release_words(target)
        click.echo(say("rollback-done", number=release.number, target=words, digest=release.digest[:16]))
        if before is not None:
            click.echo(say("rollback-undo", target=before.number))
    elif not outcome.not_copied:
        click.echo(say("rollback-same", release=release_words(release.number)))
    click.echo(say("rollback-folder", folder=one_line(str(site_folder(settings))), number=release.number))
    if outcome.not_copied:
        click.echo(say("publish-not-copied", why=one_line(outcome.not_copied)), err=True)


@click.command("checkout", short_help="Bring a release's rules into the working folder.")
@click.argument("number", type=click.IntRange(1, 999_999_999))
@click.pass_context
def checkout_command(ctx: click.Context, number: int) -> None:
    """Write the tables of release NUMBER into the working folder, where they can be edited; what was there is kept."""
    from omicard_relay.services.publishing import check_out, get_release
    from omicard_relay.tables.active import site_folder

    settings = settings_of(ctx)
    release = get_release(open_configured_store(settings), number)
    folder = site_folder(settings)
    try:
        backup = check_out(settings, release.files, datetime.now(UTC))
    except OSError as error:
        raise RelayError(say("checkout-failed", folder=one_line(str(folder)), why=one_line(str(error)))) from None
    click.echo(
        say("checkout-done", release=release_words(number), files=len(release.files), folder=one_line(str(folder)))
    )
    if backup is not None:
        click.echo(say("checkout-backup", backup=one_line(str(backup))))


def _change(before: "Release | None", release: "Release") -> "Change":
    from omicard_relay.services.publishing import change_between

    return change_between(before.files if before else {}, release.files)


def _plain(before: "Release | None", release: "Release") -> dict[str, object]:
    row: dict[str, object] = {
        "number": release.number,
        "created": release.created.isoformat(),
        "author": release.author,
        "note": release.note,
        "kind": release.kind,
        "rollback_of": release.rollback_of,
        "digest": release.digest,
        "shipped_digest": release.shipped_digest,
        "files": sorted(release.files),
    }
    try:
        change = _change(before, release)
    except TableError as error:
        return {**row, "error": str(error)}
    return {
        **row,
        "added": change.added,
        "removed": change.removed,
        "changed": change.changed,
        "changed_files": change.files,
    }


def _kind(release: "Release") -> str:
    if release.kind == "rollback":
        return say("history-rollback", target=release_words(release.rollback_of))
    return say(f"history-{release.kind}")


def _cells(before: "Release | None", release: "Release") -> list[object]:
    try:
        change = _change(before, release)
        counts = f"+{len(change.added)} -{len(change.removed)} ~{len(change.changed)}"
    except TableError:
        counts = "?"
    return [
        release.number,
        f"{release.created:%Y-%m-%d %H:%M}",
        _kind(release),
        release.author,
        release.note,
        counts,
        release.digest[:16],
    ]


def _print_one(before: "Release | None", release: "Release") -> None:
    head = f"{release_words(release.number)}  {release.created:%Y-%m-%d %H:%M:%S} UTC  {_kind(release)}"
    click.echo(f"{head}  {one_line(release.author)}")
    if release.note:
        click.echo(f"  {one_line(release.note)}")
    click.echo(f"  {say('history-digest')} {release.digest}")
    click.echo(f"  {say('history-shipped', digest=release.shipped_digest)}")
    try:
        change = _change(before, release)
    except TableError as error:
        click.echo(f"  {say('history-unreadable', why=one_line(str(error)))}")
        return
    parts = {"added": change.added, "removed": change.removed, "changed": change.changed, "files": change.files}
    for name, rules in parts.items():
        if rules:
            click.echo("  " + say(f"history-{name}", rules=", ".join(map(one_line, rules))))
    if not any(parts.values()):
        click.echo(f"  {say('history-no-change')}")
