"""`rules diff` and `rules publish`: what the working folder would change on the stored replies, and putting it in force.

`publish` shows the same comparison before it asks. Not here: what was published, and going back (rules_history.py).
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.moments import MOMENT, progress, who
from omicard_relay.cli.shifts import print_samples, print_shifts, shift_rows
from omicard_relay.mail import one_line

if TYPE_CHECKING:
    from omicard_relay.classify.examples import ExampleResult
    from omicard_relay.services.publishing import Draft
    from omicard_relay.services.rulebook import RuleSet
    from omicard_relay.services.rulediff import Difference
    from omicard_relay.store import Store
    from omicard_relay.store.replies import Period

__all__ = ["diff_command", "publish_command", "release_words"]

register(
    {
        "release-none": ("no release", "尚無版本"),
        "release-number": ("release {number}", "第 {number} 版"),
        "release-shipped": ("the shipped rules", "隨附規則"),
        "diff-draft": (
            "the working folder {folder} ({files} files) against {against}",
            "工作資料夾 {folder}（{files} 個檔案），比較對象：{against}",
        ),
        "diff-read": (
            "{read} stored replies read, {touched} read otherwise: {recoded} with another code, {actions} with another action",
            "已比對 {read} 則留存回應，{touched} 則判讀改變：{recoded} 則代碼不同，{actions} 則動作不同",
        ),
        "diff-limit": (
            "only the newest {limit} log replies and {limit} bounce reports were read; --limit changes that",
            "僅讀取最新的 {limit} 則紀錄回應與 {limit} 則退信報告；可用 --limit 變更",
        ),
        "diff-no-replies": (
            "no stored replies to compare with in this period",
            "此期間沒有可比對的留存回應",
        ),
        "diff-example": (
            "example of rule {rule} fails: wants {expected}, gets {got} by {by}: {example}",
            "規則 {rule} 的範例不符：應為 {expected}，得到 {got}（{by}）：{example}",
        ),
        "diff-counter": (
            "counter-example of rule {rule} gets that rule: {example}",
            "規則 {rule} 的反例誤中該規則：{example}",
        ),
        "diff-more-examples": (
            "… and {count} more; `omicard-relay rules test` lists all",
            "另有 {count} 個範例不符；`omicard-relay rules test` 可列出全部",
        ),
        "diff-failed-before": (
            "examples that fail here and in {against} alike: {count}; they do not stop a release",
            "有 {count} 個範例在此與{against}皆不符；不影響發布",
        ),
        "diff-bad-against": (
            "`{text}` is neither the number of a release nor `shipped`",
            "`{text}` 不是版本號碼，也不是 `shipped`",
        ),
        "publish-nothing": (
            "nothing to publish: {release} has the same tables (digest {digest})",
            "無須發布：{release}的內容相同（摘要 {digest}）",
        ),
        "publish-no-tables": (
            "nothing to publish: {folder} holds no tables; `omicard-relay rules add` writes the first rule there",
            "無可發布：{folder} 中沒有規則檔；`omicard-relay rules add` 可在該處寫入第一條規則",
        ),
        "publish-examples": (
            "failing examples: {count}; nothing was published. Mend the rules, or publish all the same with --force",
            "{count} 個範例不符，未發布；請修正規則，或以 --force 強制發布",
        ),
        "publish-forced": (
            "failing examples: {count}; --force publishes all the same",
            "{count} 個範例不符；依 --force 仍然發布",
        ),
        "publish-ask": ("Put this in force as release {number}?", "要以第 {number} 版生效嗎？"),
        "publish-no-terminal": (
            "nobody can be asked here: look at `omicard-relay rules diff`, then publish with --yes",
            "此處無法詢問：請先看 `omicard-relay rules diff`，再加上 --yes 發布",
        ),
        "publish-not": ("nothing was published", "未發布"),
        "publish-done": (
            "release {number} is in force (digest {digest}); running services follow in seconds",
            "第 {number} 版已生效（摘要 {digest}）；執行中的服務將在數秒內切換",
        ),
        "publish-undo": ("undo: omicard-relay rules rollback {target}", "還原：omicard-relay rules rollback {target}"),
        "publish-rejudge": (
            "stored replies keep their verdicts until `omicard-relay rules rejudge`",
            "留存回應的判讀維持不變，直到執行 `omicard-relay rules rejudge`",
        ),
        "publish-not-copied": (
            "this machine's copy could not be written ({why}); commands here go on with the old one until a service brings it",
            "無法寫入本機副本（{why}）；在服務帶入之前，本機指令仍使用舊版",
        ),
    }
)

#: Replies of each kind that are compared unless more are asked for: ten seconds of work or so.
_LIMIT = 20_000
#: Failing examples that are named.
_NAMED = 20


@click.command("diff", short_help="What the working folder would change on the stored replies.")
@click.option("--since", type=MOMENT, help="Only replies since then: 2026-11-20, 12h, 7d.")
@click.option(
    "--limit", type=click.IntRange(1), default=_LIMIT, show_default=True, help="Newest replies of each kind to read."
)
@click.option("--samples", type=click.IntRange(0, 1000), default=3, show_default=True, help="Samples of each change.")
@click.option("--against", metavar="N|shipped", help="A release to compare with (else the one in force).")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.pass_context
def diff_command(
    ctx: click.Context, since: datetime | None, limit: int, samples: int, against: str | None, jsonl: bool
) -> None:
    """Compare the rules of the working folder with those in force, on the replies in the store. Nothing is changed."""
    from omicard_relay.services.publishing import failing_examples, read_draft
    from omicard_relay.store.replies import Period

    settings = settings_of(ctx)
    store = open_configured_store(settings)
    draft = read_draft(settings)
    other, name = _against(ctx, store, against)
    found = _compare(store, other, draft.rules, Period(since=since), limit, samples)
    failing, failed_before = failing_examples(draft.rules, other)
    if jsonl:
        _print_objects(found, failing, name)
        return
    _print_difference(draft, found, name, limit)
    print_samples(found.samples)
    _print_failing(failing, failed_before, name)


@click.command("publish", short_help="Put the working folder's rules in force, as a numbered release.")
@click.option("--note", default="", help="Why; `rules history` shows it.")
@click.option("--author", help="Who (else the login user).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Publish although examples fail.")
@click.option(
    "--limit", type=click.IntRange(0), default=_LIMIT, show_default=True, help="Newest replies of each kind to compare."
)
@click.pass_context
def publish_command(ctx: click.Context, note: str, author: str | None, yes: bool, force: bool, limit: int) -> None:
    """Check the working folder, show what it changes, and put it in force. Running services follow without a restart."""
    from omicard_relay.services.publishing import failing_examples, publish, read_draft
    from omicard_relay.services.rulebook import newest_release
    from omicard_relay.store.replies import Period

    settings = settings_of(ctx)
    store = open_configured_store(settings)
    newest = newest_release(store)
    draft = read_draft(settings)
    if newest is not None and newest.digest == draft.digest:
        click.echo(say("publish-nothing", release=release_words(newest.number), digest=draft.digest[:16]))
        return
    if newest is None and not draft.files:
        click.echo(say("publish-no-tables", folder=one_line(str(draft.folder))))
        return
    other, name = _against(ctx, store, None)
    failing, failed_before = failing_examples(draft.rules, other)
    _print_failing(failing, failed_before, name)
    if failing and not force:
        click.echo(say("publish-examples", count=len(failing)), err=True)
        ctx.exit(1)
    _print_difference(draft, _compare(store, other, draft.rules, Period(), limit, 0), name, limit)
    if failing:
        click.echo(say("publish-forced", count=len(failing)))
    after = newest.number if newest else None
    if not yes:
        if not sys.stdin.isatty():
            click.echo(say("publish-no-terminal"), err=True)
            ctx.exit(2)
        if not click.confirm(say("publish-ask", number=(after or 0) + 1)):
            click.echo(say("publish-not"))
            ctx.exit(1)
    outcome = publish(
        settings,
        store,
        draft,
        after=after,
        author=one_line(author or who(), 200),
        note=one_line(note, 1000),
        now=datetime.now(UTC),
    )
    release = outcome.release
    click.echo(say("publish-done", number=release.number, digest=release.digest[:16]))
    click.echo(say("publish-undo", target=after or "shipped"))
    click.echo(say("publish-rejudge"))
    if outcome.not_copied:
        click.echo(say("publish-not-copied", why=one_line(outcome.not_copied)), err=True)


def release_words(number: int | None) -> str:
    """A release as people name it; None: none was published."""
    if number is None:
        return say("release-none")
    return say("release-number", number=number) if number else say("release-shipped")


def _against(ctx: click.Context, store: "Store", wanted: str | None) -> tuple["RuleSet", str]:
    """The set to compare with, and its name: the one wanted, else the one in force, before the first release the shipped."""
    from omicard_relay.services.publishing import get_release
    from omicard_relay.services.rulebook import load_release, load_rules, newest_release
    from omicard_relay.store.releases import SHIPPED

    if wanted is not None and wanted != "shipped":
        if not wanted.isdecimal() or len(wanted) > 9:
            raise click.BadParameter(say("diff-bad-against", text=one_line(wanted, 40)), ctx, param_hint="--against")
        release = get_release(store, int(wanted)) if int(wanted) != SHIPPED else None
    else:
        release = newest_release(store) if wanted is None else None
    if release is None:
        return load_rules({}, "shipped"), release_words(SHIPPED)
    return load_release(release), release_words(release.number)


def _compare(
    store: "Store", before: "RuleSet", after: "RuleSet", period: "Period", limit: int, samples: int
) -> "Difference":
    from omicard_relay.services.rulediff import compare
    from omicard_relay.store.replies import count_replies

    with store.read() as tx:
        total = sum(min(count, limit) for count in count_replies(tx, period).values())
    with progress(total) as move:
        return compare(store, before, after, period=period, limit=limit, samples=samples, on_progress=move)


def _print_difference(draft: "Draft", found: "Difference", name: str, limit: int) -> None:
    click.echo(say("diff-draft", folder=one_line(str(draft.folder)), files=len(draft.files), against=name))
    if not found.read:
        click.echo(say("diff-no-replies"))
        return
    click.echo(
        say("diff-read", read=found.read, touched=found.touched, recoded=found.recoded, actions=found.new_actions)
    )
    if found.read >= limit:
        click.echo(say("diff-limit", limit=limit))
    print_shifts(found.counts)


def _print_failing(failing: Sequence["ExampleResult"], failed_before: int, name: str) -> None:
    for one in failing[:_NAMED]:
        fields = {"rule": one.rule.id, "example": one_line(one.example, 160)}
        if one.is_counter:
            click.echo(say("diff-counter", **fields), err=True)
            continue
        got, by = (one.verdict.bounce_code, one.verdict.rule_id) if one.verdict else ("-", "-")
        click.echo(say("diff-example", expected=one.expected, got=got, by=by, **fields), err=True)
    if len(failing) > _NAMED:
        click.echo(say("diff-more-examples", count=len(failing) - _NAMED), err=True)
    if failed_before:
        click.echo(say("diff-failed-before", count=failed_before, against=name), err=True)


def _print_objects(found: "Difference", failing: Sequence["ExampleResult"], name: str) -> None:
    summary = {"read": found.read, "touched": found.touched, "recoded": found.recoded, "new_actions": found.new_actions}
    print_jsonl([{"section": "summary", "against": name, **summary, "failing_examples": len(failing)}])
    print_jsonl(shift_rows(found.counts, found.samples))
    print_jsonl(
        {
            "section": "failing-example",
            "rule": one.rule.id,
            "is_counter": one.is_counter,
            "example": one.example,
            "expected": str(one.expected) if one.expected else None,
            "got": str(one.verdict.bounce_code) if one.verdict else None,
            "by": one.verdict.rule_id if one.verdict else None,
        }
        for one in failing
    )
