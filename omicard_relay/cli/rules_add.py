"""`rules add` and `rules remove`: the site's own rules, without an editor.

A new rule is judged together with all the others before a single octet is written: its own examples must come out right,
and no example of another rule may change. `--force` writes it all the same.
"""

import re
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from omicard_relay.classify.check import Flip
from omicard_relay.classify.propose import propose_phrase
from omicard_relay.cli.context import settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.rules_findings import describe, flip_line, layer_name, place_of, print_findings, working
from omicard_relay.mail import Action, RelayError, Stage, one_line, printable
from omicard_relay.services.rulefiles import (
    OWN_FILE,
    Change,
    prepare_add,
    prepare_remove,
    read_layers,
    save,
    site_lock,
    site_rules,
)
from omicard_relay.tables.active import released_number, site_folder
from omicard_relay.tables.codes import FIRST_CODE, LAST_CODE
from omicard_relay.tables.findings import Finding, FindingKind, Level
from omicard_relay.tables.layers import in_force
from omicard_relay.tables.lint import entry_faults
from omicard_relay.tables.rules import Rule, Strength
from omicard_relay.tables.ruletext import written
from omicard_relay.tables.settings import Settings

__all__ = ["add_command", "remove_command"]

register(
    {
        "add-no-phrase": (
            "the example has no words of its own to make a phrase of; give --phrase or --pattern",
            "範例中沒有可當作片語的文字；請用 --phrase 或 --pattern 指定",
        ),
        "add-proposed": ("phrase taken from the example: “{phrase}”", "由範例取出的片語：「{phrase}」"),
        "add-exists": (
            "rule {rule} exists already ({place}, {layer}); choose another --id, or lay yours over it with --replace",
            "規則 {rule} 已存在（{place}，{layer}）；請改用其他 --id，或以 --replace 取代",
        ),
        "add-checking": ("judging the examples of all rules", "正在判讀所有規則的範例"),
        "add-bad": ("the rule is not well-formed; nothing was written:", "規則格式有誤，未寫入任何內容："),
        "add-refused": (
            "the rule is refused, nothing was written; --force writes it all the same. The reasons:",
            "規則遭拒，未寫入任何內容；--force 可強制寫入。原因：",
        ),
        "add-would-break": ("it changes what is said about others' examples:", "它會改變其他規則範例的判讀："),
        "add-forced": ("written in spite of this:", "儘管有以下問題，仍寫入："),
        "add-dry-run": ("This would be written to {path}; nothing was:", "將寫入 {path}（未寫入）："),
        "add-done": ("rule {rule} now stands in {path}:", "規則 {rule} 已寫入 {path}："),
        "add-takes-place": ("It takes the place of the one in {place} ({layer}).", "它取代 {place}（{layer}）中的規則。"),
        "add-publish": (
            "Release {number} is in force and does not have it yet: `omicard-relay rules diff`, then "
            "`omicard-relay rules publish`.",
            "現行為發行版 {number}，尚未包含此變更：請執行 `omicard-relay rules diff`，再 `omicard-relay rules publish`。",
        ),
        "add-in-force": (
            "There is no release yet: commands read the site's folder itself, so it holds for them now; running services "
            "take it with `omicard-relay rules publish`.",
            "尚無發行版：指令直接讀取自訂資料夾，已即時生效；執行中的服務待 `omicard-relay rules publish` 後生效。",
        ),
        "add-undo": ("To undo: omicard-relay rules remove {rule}", "復原：omicard-relay rules remove {rule}"),
        "remove-none": (
            "the site has no rule `{rule}` of its own; only those can be removed, and `omicard-relay rules list --site "
            "--draft` shows them",
            "自訂規則中沒有 `{rule}`；只能移除自訂規則，可用 `omicard-relay rules list --site --draft` 查看",
        ),
        "remove-refused": (
            "rule {rule} was not removed, because examples of other rules would come out otherwise; --force removes it "
            "all the same:",
            "未移除規則 {rule}，因為其他規則的範例判讀會改變；--force 可強制移除：",
        ),
        "remove-done": ("rule {rule} is taken out of {path}; it was:", "規則 {rule} 已自 {path} 移除，內容為："),
        "remove-dry-run": (
            "rule {rule} would be taken out of {path}; nothing was changed:",
            "將自 {path} 移除規則 {rule}（未變更）：",
        ),
        "remove-holds-again": ("The rule in {place} ({layer}) holds again.", "{place}（{layer}）中的規則重新生效。"),
        "remove-undo": (
            "To undo: put the lines above back into {path}.",
            "復原：將以上各行放回 {path}。",
        ),
    }
)  # fmt: skip

_SLUG = re.compile(r"[a-z0-9]+")
_CODE = click.IntRange(FIRST_CODE, LAST_CODE)
_ACTION = click.Choice([str(action) for action in Action])


@click.command("add")
@click.option("--code", type=_CODE, required=True, help="The bounce code that it gives.")
@click.option(
    "--example", "examples", metavar="TEXT", multiple=True, required=True, help="A reply that must get the code."
)
@click.option(
    "--not-example", "not_examples", metavar="TEXT", multiple=True, help="A reply that must not get this rule."
)
@click.option(
    "--phrase", "phrases", metavar="WORDS", multiple=True, help="Words to look for; … is a gap. Else from the example."
)
@click.option("--pattern", metavar="EXPRESSION", default="", help="A google-re2 expression to look for.")
@click.option("--unless", metavar="EXPRESSION", default="", help="An expression that must not stand in the text.")
@click.option(
    "--strength",
    type=click.Choice([str(one) for one in Strength]),
    default="text",
    show_default=True,
    help="What kind of statement it reads.",
)
@click.option(
    "--stage", "stages", type=click.Choice([str(one) for one in Stage]), multiple=True, help="Only at this SMTP stage."
)
@click.option("--host", "hosts", metavar="SUFFIX", multiple=True, help="Only from hosts, or for domains, that end so.")
@click.option("--reply-class", type=click.Choice(["2", "4", "5"]), help="Only for replies that begin with this digit.")
@click.option("--weak", is_flag=True, help="The words often stand beside a better cause.")
@click.option("--action", type=_ACTION, help="Instead of the code's own action.")
@click.option("--temporary-code", type=_CODE, help="The code for a 4xx reply.")
@click.option("--temporary-action", type=_ACTION, help="The action for a 4xx reply.")
@click.option("--id", "rule_id", help="The rule's name; else made of code and words.")
@click.option("--source", default="own log", show_default=True, help="Whose sentence it is.")
@click.option("--seen", type=click.DateTime(["%Y-%m-%d"]), help="The day on which it was seen; else today.")
@click.option("--replace", is_flag=True, help="Take the place of the rule with that id, shipped or own.")
@click.option("--dry-run", is_flag=True, help="Check and show, write nothing.")
@click.option("--force", is_flag=True, help="Write it although examples fail or change.")
@click.pass_context
def add_command(
    ctx: click.Context,
    /,
    *,
    code: int,
    examples: tuple[str, ...],
    phrases: tuple[str, ...],
    pattern: str,
    strength: str,
    rule_id: str | None,
    seen: datetime | None,
    replace: bool,
    dry_run: bool,
    force: bool,
    **given: Any,
) -> None:
    """Write a rule into the site's own file, after judging it together with all the others.

    It outranks shipped rules of the same id, and survives upgrades.
    """
    settings = settings_of(ctx)
    folder = site_folder(settings)
    if not phrases and not pattern:
        phrases = (_proposed(examples[0]),)
    entry: dict[str, Any] = {
        "bounce_code": code,
        "strength": strength,
        "phrases": list(phrases),
        "pattern": pattern,
        "unless": given["unless"],
        "stage": list(given["stages"]),
        "host": list(given["hosts"]),
        "weak": given["weak"],
        "source": one_line(given["source"]),
        "seen": seen.date() if seen else _today(),
        "examples": list(examples),
        "not_examples": list(given["not_examples"]),
    }
    numbers = {"temporary_code": given["temporary_code"], "reply_class": given["reply_class"]}
    entry |= {key: int(value) for key, value in numbers.items() if value is not None}
    entry |= {key: given[key] for key in ("action", "temporary_action") if given[key] is not None}
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(site_lock(folder))
        taken = in_force(read_layers(folder).stack)
        entry["id"] = rule_id or _free_id(code, phrases or (pattern,), taken)
        rule = _rule(entry, folder)
        if (other := taken.get(rule.id)) is not None and not replace:
            place, layer = place_of(other), layer_name(other.layer)
            raise RelayError(say("add-exists", rule=rule.id, place=place, layer=layer))
        with working(say("add-checking")):
            change = prepare_add(folder, rule)
        _check(ctx, change, force=force)
        if not dry_run:
            save(change)
    _tell(settings, change, rule, dry_run=dry_run)


@click.command("remove")
@click.argument("rule_id", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Show what would change, change nothing.")
@click.option("--force", is_flag=True, help="Remove it although examples of other rules change.")
@click.pass_context
def remove_command(ctx: click.Context, rule_id: str, dry_run: bool, force: bool) -> None:
    """Take one of the site's own rules out of its file; a shipped one that it replaced holds again."""
    settings = settings_of(ctx)
    folder = site_folder(settings)
    with ExitStack() as stack:
        if not dry_run and folder.is_dir():
            stack.enter_context(site_lock(folder))
        own = site_rules(read_layers(folder)).get(rule_id)
        with working(say("add-checking")):
            change = prepare_remove(folder, rule_id) if own else None
        if own is None or change is None:
            raise RelayError(say("remove-none", rule=one_line(rule_id, 80)))
        if change.flips and not force:
            click.echo(say("error", message=say("remove-refused", rule=rule_id)), err=True)
            _print_flips(change.flips)
            ctx.exit(1)
        if not dry_run:
            save(change)
    path = printable(str(change.path))
    click.echo(say("remove-dry-run" if dry_run else "remove-done", rule=rule_id, path=path) + "\n")
    click.echo(printable(own.block or written(own.rule).rstrip("\n")) + "\n")
    if change.taken_over is not None:
        other = change.taken_over
        click.echo(say("remove-holds-again", place=place_of(other), layer=layer_name(other.layer)))
    if not dry_run:
        click.echo(_how_to_publish(settings))
        click.echo(say("remove-undo", path=path))


def _proposed(example: str) -> str:
    phrase = propose_phrase(example)
    if phrase is None:
        raise RelayError(say("add-no-phrase"))
    click.echo(printable(say("add-proposed", phrase=phrase)), err=True)
    return phrase


def _today() -> date:
    return datetime.now(UTC).astimezone().date()


def _free_id(code: int, words: Iterable[str], taken: Iterable[str]) -> str:
    """`site-938-come-back-later`, with a number behind it when that stands already."""
    slug = "-".join(_SLUG.findall(next(iter(words)).lower())[:5])[:40].strip("-")
    name = f"site-{code}-{slug}" if slug else f"site-{code}"
    return next(one for n in range(1, 100_000) if (one := name if n == 1 else f"{name}-{n}") not in set(taken))


def _rule(entry: dict[str, Any], folder: Path) -> Rule:
    """The entry as a rule. Raises RelayError with all that is wrong."""
    path = folder / OWN_FILE
    kept = {key: value for key, value in entry.items() if value not in ("", [], False)}
    faults = [
        Finding(kind=kind, rule_id=str(entry["id"]), path=path, fields=fields)
        for _, kind, fields in entry_faults(kept, path)
        if kind is not FindingKind.MISSING_SOURCE
    ]
    if faults:
        raise RelayError("\n".join([say("add-bad"), *(describe(fault) for fault in faults)]))
    return msgspec.convert(kept, Rule)


def _check(ctx: click.Context, change: Change, *, force: bool) -> None:
    """Say what speaks against the change; end with 1 unless `force`."""
    bad = any(finding.level is Level.ERROR for finding in change.findings) or bool(change.flips)
    if bad:
        click.echo(say("add-forced") if force else say("error", message=say("add-refused")), err=True)
    print_findings(change.findings, err=True)
    if change.flips:
        click.echo(say("add-would-break"), err=True)
        _print_flips(change.flips)
    if bad and not force:
        ctx.exit(1)


def _print_flips(flips: Iterable[Flip]) -> None:
    for flip in flips:
        click.echo(f"  {flip_line(flip)}", err=True)


def _tell(settings: Settings, change: Change, rule: Rule, *, dry_run: bool) -> None:
    path = printable(str(change.path))
    click.echo(say("add-dry-run", path=path) if dry_run else say("add-done", rule=rule.id, path=path))
    click.echo("\n" + printable(written(rule)))
    if change.taken_over is not None:
        place, layer = place_of(change.taken_over), layer_name(change.taken_over.layer)
        click.echo(say("add-takes-place", place=place, layer=layer))
    if not dry_run:
        click.echo(_how_to_publish(settings))
        click.echo(say("add-undo", rule=rule.id))


def _how_to_publish(settings: Settings) -> str:
    number = released_number(settings)
    return say("add-publish", number=number) if number is not None else say("add-in-force")
