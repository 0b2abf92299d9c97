"""`rules suggest`: replies that no rule reads surely, as templates, most frequent first, each with a rule to accept or edit.

They come from the store, or from a file (JSON lines with `text`, or plain text one a line). `--accept` goes the way of
`rules add`, with all its checks.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from omicard_relay.cli.context import open_configured_store, print_jsonl, ready_judge, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.moments import MOMENT, progress
from omicard_relay.cli.rules_add import add_command
from omicard_relay.cli.rules_findings import code_name, working
from omicard_relay.mail import RelayError, one_line, printable
from omicard_relay.services.gathering import Gatherer, gather_lines, gather_stored
from omicard_relay.services.suggestions import CHOOSE, Suggested, Suggestion, suggest
from omicard_relay.tables.active import load_active, load_draft, released_number
from omicard_relay.tables.codes import FIRST_CODE, LAST_CODE
from omicard_relay.tables.policies import Policies
from omicard_relay.tables.settings import Settings

__all__ = ["suggest_command"]

register(
    {
        "suggest-head": (
            "{number}. {count} replies, {domains} domains  [{mark}]",
            "{number}. {count} 則回應，{domains} 個網域  [{mark}]",
        ),
        "suggest-template": ("template: {text}", "樣板：{text}"),
        "suggest-codes": ("codes:    {text}", "代碼：{text}"),
        "suggest-no-codes": ("none", "無"),
        "suggest-now": (
            "now:      {code} {name}, rule {rule}, confidence {confidence:.2f}",
            "現判：{code} {name}，規則 {rule}，把握 {confidence:.2f}",
        ),
        "suggest-example": ("example:  {text}", "範例：{text}"),
        "suggest-phrase": ("phrase:   {text}", "片語：{text}"),
        "suggest-no-phrase": (
            "phrase:   none; write the rule by hand with --pattern",
            "片語：無；請以 --pattern 自行撰寫規則",
        ),
        "suggest-code": ("code:     {code} {name} ({by})", "建議代碼：{code} {name}（{by}）"),
        "suggest-no-code": (
            "code:     nobody proposes one; choose it and put it in the place of {choose}",
            "建議代碼：無；請自行選定並取代 {choose}",
        ),
        "suggest-by-verdict": ("the weak verdict of now", "現有但把握不高的判讀"),
        "suggest-by-runner-up": ("a reading that lost", "落選的判讀"),
        "suggest-by-reply-class": ("from the first digit alone", "僅依回覆碼首位數字"),
        "suggest-also": (
            "caution:  the phrase also stands in {keys}",
            "注意：此片語也出現於 {keys}",
        ),
        "suggest-stopped": (
            "caution:  rule {rule} would decide instead; the words need a stronger rule, or that one an exception",
            "注意：規則 {rule} 會先作出判定；請加強此規則，或為該規則加上例外",
        ),
        "suggest-none": (
            "there is nothing to suggest: the rules read all {read} replies, or what they did not read has no words",
            "沒有建議：規則已能判讀全部 {read} 則回應，或其餘回應沒有文字",
        ),
        "suggest-summary": (
            "{unclear} unclear replies in {templates} templates, {shown} shown (--top changes that)",
            "{unclear} 則不明回應，共 {templates} 個樣板，顯示 {shown} 個（可用 --top 變更）",
        ),
        "suggest-wordless": ("{count} replies have no words of their own", "{count} 則回應沒有可用的文字"),
        "suggest-clear": ("{count} replies are read by the rules in force", "{count} 則回應已由現行規則判讀"),
        "suggest-waiting": (
            "{count} replies are read by rules that wait for `omicard-relay rules publish`",
            "{count} 則回應可由尚待 `omicard-relay rules publish` 發行的規則判讀",
        ),
        "suggest-dropped": (
            "{count} replies were left out: there are too many different ones",
            "{count} 則回應因種類過多而略過",
        ),
        "suggest-no-such": (
            "there is no suggestion `{wanted}`; there are 1 to {last}, or the words in brackets",
            "沒有建議 `{wanted}`；可用 1 至 {last}，或方括號中的代號",
        ),
        "suggest-must-choose": (
            "nobody proposes a code for suggestion `{wanted}`; give one with --code",
            "建議 `{wanted}` 沒有建議代碼；請以 --code 指定",
        ),
        "suggest-must-write": (
            "suggestion `{wanted}` has no phrase; write its rule with `omicard-relay rules add --pattern`",
            "建議 `{wanted}` 沒有片語；請以 `omicard-relay rules add --pattern` 撰寫規則",
        ),
        "suggest-bad-line": ("error: line {number}: {fault}", "錯誤：第 {number} 行：{fault}"),
        "suggest-no-json": ("is not JSON", "不是 JSON"),
        "suggest-no-object": ("is not a JSON object", "不是 JSON 物件"),
        "suggest-no-string": (
            "`text`, `stage`, `host` and `recipient` must be strings",
            "`text`、`stage`、`host`、`recipient` 必須是字串",
        ),
        "suggest-no-text": ("has no `text`", "缺少 `text`"),
        "suggest-bad-stage": ("`stage` is no SMTP stage", "`stage` 不是 SMTP 階段"),
        "suggest-unreadable": ("{path}: cannot be read ({why})", "{path}：無法讀取（{why}）"),
        "suggest-working": ("comparing {count} replies", "正在比對 {count} 則回應"),
    }
)  # fmt: skip

_BELOW = 0.5
_TOP = 20


@click.command("suggest", short_help="Propose rules for replies that no rule reads.")
@click.option(
    "--file", "file", metavar="FILE", help="Replies one a line, JSON with `text` or plain; `-` standard input."
)
@click.option("--since", type=MOMENT, help="Only stored replies since then: 2026-11-20, 12h, 7d.")
@click.option("--limit", type=click.IntRange(1), help="Newest replies of each kind to read; of a file, the first ones.")
@click.option(
    "--below", type=click.FloatRange(0, 1), default=_BELOW, show_default=True, help="Confidence that is no answer."
)
@click.option("--top", type=click.IntRange(1), default=_TOP, show_default=True, help="Suggestions to show.")
@click.option("--toml", is_flag=True, help="The rules alone, as [[rule]] text.")
@click.option("--jsonl", is_flag=True, help="One object a line, for programs.")
@click.option("--accept", metavar="N", help="Write the rule of this suggestion, by its number or its key.")
@click.option(
    "--code", type=click.IntRange(FIRST_CODE, LAST_CODE), help="With --accept: the code, if not the proposed one."
)
@click.option("--dry-run", is_flag=True, help="With --accept: check and show, write nothing.")
@click.pass_context
def suggest_command(
    ctx: click.Context,
    /,
    *,
    file: str | None,
    since: datetime | None,
    limit: int | None,
    below: float,
    top: int,
    toml: bool,
    jsonl: bool,
    accept: str | None,
    code: int | None,
    dry_run: bool,
) -> None:
    """Gather the replies that get 900 or an unsure code into templates, and propose a rule for each.

    The most frequent come first. Addresses in examples are exchanged for user@example.com.
    """
    if sum((toml, jsonl, accept is not None)) > 1:
        raise click.UsageError("--toml, --jsonl and --accept exclude each other.")
    if (code is not None or dry_run) and accept is None:
        raise click.UsageError("--code and --dry-run belong to --accept.")
    if file is not None and since is not None:
        raise click.UsageError("--since is for the store, --file for a file.")
    settings = settings_of(ctx)
    gathered, in_force, good = _gather(settings, file, since, limit, below)
    # An acceptance may name any suggestion that was shown with another --top.
    most = top if accept is None or not accept.isdecimal() else max(top, int(accept[:6]))
    with working(say("suggest-working", count=gathered.read)):
        today = datetime.now(UTC).astimezone().date()
        # Before the first release, the working copy is in force.
        draft = in_force if released_number(settings) is None else load_draft(settings)
        found = suggest(gathered, in_force, draft, today=today, most=most)
    if accept is not None:
        _accept(ctx, found, accept, code, dry_run=dry_run)
    elif jsonl:
        print_jsonl(_rows(found))
    elif toml:
        click.echo("\n".join(printable(item.toml) for item in found.items if item.toml), nl=False)
        _tell_rest(gathered, found)
    else:
        for number, item in enumerate(found.items, start=1):
            _print(number, item, in_force)
        _tell_rest(gathered, found)
    if not good:
        ctx.exit(1)


def _gather(
    settings: Settings, file: str | None, since: datetime | None, limit: int | None, below: float
) -> tuple[Gatherer, Policies, bool]:
    """What is unclear, the rules by which it is so, and whether every line of the file was readable."""
    if file is not None:
        policies = load_active(settings)
        gatherer = Gatherer(ready_judge(policies), below)
        return gatherer, policies, _gather_file(file, gatherer, limit)
    from omicard_relay.services.rulebook import open_rulebook
    from omicard_relay.store.replies import Period, count_replies

    store = open_configured_store(settings)
    try:
        rules = open_rulebook(settings, store).current
        gatherer = Gatherer(rules.judge, below)
        period = Period(since=since)
        with store.read() as tx:
            counts = count_replies(tx, period, unclear=below).values()
        total = sum(count if limit is None else min(count, limit) for count in counts)
        with progress(total) as move:
            gather_stored(store, gatherer, period=period, below=below, limit=limit, on_progress=move)
    finally:
        store.close()
    return gatherer, rules.policies, True


def _gather_file(file: str, gatherer: Gatherer, limit: int | None) -> bool:
    def take(lines: BinaryIO, size: int) -> bool:
        good = True
        with progress(size, shown=size > 0) as move:
            for bad in gather_lines(lines, gatherer, limit=limit, on_progress=move):
                click.echo(say("suggest-bad-line", number=bad.number, fault=say(f"suggest-{bad.why}")), err=True)
                good = False
        return good

    if file == "-":
        return take(sys.stdin.buffer, 0)
    try:
        with Path(file).open("rb") as lines:
            return take(lines, Path(file).stat().st_size)
    except OSError as error:
        raise RelayError(say("suggest-unreadable", path=one_line(file), why=error.strerror)) from None


def _accept(ctx: click.Context, found: Suggested, wanted: str, code: int | None, *, dry_run: bool) -> None:
    """Write the rule as `rules add` writes it."""
    shown = one_line(wanted, 40)
    by_name = {str(number): item for number, item in enumerate(found.items, start=1)}
    by_name |= {item.key: item for item in found.items}
    item = by_name.get(wanted)
    if item is None:
        raise RelayError(say("suggest-no-such", wanted=shown, last=len(found.items)))
    if item.rule is None:
        raise RelayError(say("suggest-must-write", wanted=shown))
    if code is None and item.proposal is None:
        raise RelayError(say("suggest-must-choose", wanted=shown))
    ctx.invoke(
        add_command,
        code=code or item.rule.bounce_code,
        phrases=item.rule.phrases,
        examples=item.rule.examples,
        strength=str(item.rule.strength),
        dry_run=dry_run,
    )


def _rows(found: Suggested) -> Iterator[dict[str, Any]]:
    for number, item in enumerate(found.items, start=1):
        code, rule, confidence = item.verdict
        yield {
            "number": number,
            "key": item.key,
            "count": item.count,
            "domains": item.domains,
            "domains_at_least": item.is_more,
            "template": item.template,
            "codes": dict(item.codes),
            "code": str(code),
            "rule": rule,
            "confidence": confidence,
            "examples": list(item.examples),
            "phrase": item.phrase,
            "proposed_code": str(item.proposal.bounce_code) if item.proposal else None,
            "proposed_by": item.proposal.by if item.proposal else None,
            "also_in": list(item.also),
            "stopped_by": item.stopped_by or None,
            "command": item.command,
            "toml": item.toml,
        }


def _print(number: int, item: Suggestion, policies: Policies) -> None:
    domains = f"{item.domains}+" if item.is_more else str(item.domains)
    code, rule, confidence = item.verdict
    lines = [say("suggest-template", text=item.template)]
    codes = ", ".join(f"{words} ({count})" for words, count in item.codes)
    lines.append(say("suggest-codes", text=codes or say("suggest-no-codes")))
    lines.append(say("suggest-now", code=code, name=code_name(policies.codes[code]), rule=rule, confidence=confidence))
    lines += [say("suggest-example", text=example) for example in item.examples]
    lines.append(say("suggest-phrase", text=item.phrase) if item.phrase else say("suggest-no-phrase"))
    if item.proposal is not None:
        name = code_name(policies.codes[item.proposal.bounce_code])
        by = say(f"suggest-by-{item.proposal.by}")
        lines.append(say("suggest-code", code=item.proposal.bounce_code, name=name, by=by))
    else:
        lines.append(say("suggest-no-code", choose=CHOOSE))
    if item.also:
        lines.append(say("suggest-also", keys=", ".join(item.also[:5])))
    if item.stopped_by:
        lines.append(say("suggest-stopped", rule=item.stopped_by))
    click.echo(say("suggest-head", number=number, count=item.count, domains=domains, mark=item.key))
    for line in lines:
        click.echo("   " + printable(line))
    if item.command is not None:
        click.echo(printable(item.command))
    click.echo()


def _tell_rest(gathered: Gatherer, found: Suggested) -> None:
    """What was read and is not shown, on standard error."""
    unclear = sum(form.count for form in gathered.forms.values()) - found.waiting
    if not found.items:
        click.echo(say("suggest-none", read=gathered.read), err=True)
    else:
        click.echo(say("suggest-summary", unclear=unclear, templates=found.templates, shown=len(found.items)), err=True)
    counts = {
        "suggest-clear": gathered.clear,
        "suggest-wordless": gathered.wordless,
        "suggest-waiting": found.waiting,
        "suggest-dropped": gathered.dropped,
    }
    for key, count in counts.items():
        if count:
            click.echo(say(key, count=count), err=True)
