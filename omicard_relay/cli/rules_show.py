"""`rules list` and `rules show`: which rules there are, where each comes from, and what one of them does."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from omicard_relay.classify.examples import ExampleResult, example_results
from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.rules_findings import code_name, layer_name, origin, place_of
from omicard_relay.mail import RelayError, one_line, printable
from omicard_relay.services.judging import judge_of
from omicard_relay.services.rulefiles import read_layers
from omicard_relay.tables.active import active_folder, site_folder
from omicard_relay.tables.codes import FIRST_CODE, LAST_CODE
from omicard_relay.tables.layers import LayerKind, PlacedRule, stacked
from omicard_relay.tables.lint import Linted
from omicard_relay.tables.rules import Strength
from omicard_relay.tables.ruletext import written

__all__ = ["list_command", "show_command"]

register(
    {
        "rules-id": ("rule", "規則"),
        "rules-code": ("code", "代碼"),
        "rules-name": ("name", "名稱"),
        "rules-strength": ("strength", "強度"),
        "rules-origin": ("from", "來源"),
        "rules-words": ("words", "文字"),
        "rules-count": ("{shown} of {all} rules", "{all} 條規則中的 {shown} 條"),
        "rules-none": (
            "no rule is like that; `omicard-relay rules list` shows all",
            "沒有符合的規則；`omicard-relay rules list` 列出全部",
        ),
        "rules-unknown": (
            "there is no rule `{rule}`; `omicard-relay rules list` shows all",
            "沒有規則 `{rule}`；可用 `omicard-relay rules list` 列出全部",
        ),
        "rules-unknown-near": ("there is no rule `{rule}`; did you mean {near}?", "沒有規則 `{rule}`；是否為 {near}？"),
        "rules-place": ("{place}, {origin}", "{place}，{origin}"),
        "rules-means": ("{code} {name}: {text}", "{code} {name}：{text}"),
        "rules-temporary": ("for a 4xx reply {code} {name}: {text}", "4xx 回覆時為 {code} {name}：{text}"),
        "rules-examples": ("Examples, judged now", "範例（以目前規則判讀）"),
        "rules-example": ("example", "範例"),
        "rules-kind": ("kind", "類別"),
        "rules-is-example": ("example", "範例"),
        "rules-is-counter": ("counter-example", "反例"),
        "rules-as-it-should": ("as it should", "符合預期"),
        "rules-result": ("result", "結果"),
        "rules-passed": ("good", "符合"),
        "rules-failed": ("FAILS", "不符"),
        "rules-decided": ("decided by", "判定規則"),
        "rules-takes-place": (
            "It takes the place of {place}, {layer}:",
            "它取代 {place}（{layer}）：",
        ),
    }
)  # fmt: skip

_WORDS = 40
#: The rules of one id, the weakest layer first; the last one holds.
Tower = tuple[PlacedRule, ...]


@click.command("list")
@click.option("--code", type=click.IntRange(FIRST_CODE, LAST_CODE), help="Only rules that lead to this code.")
@click.option("--strength", type=click.Choice([str(strength) for strength in Strength]), help="Only of this strength.")
@click.option("--file", "file_name", metavar="NAME", help="Only of files with NAME in their name.")
@click.option("--source", metavar="WORDS", help="Only with WORDS in their source.")
@click.option("--site", is_flag=True, help="Only the site's own rules.")
@click.option("--text", metavar="WORDS", help="Only with WORDS in their id, words or examples.")
@click.option("--draft", is_flag=True, help="The working copy instead of the rules in force.")
@click.option("--jsonl", is_flag=True, help="One JSON object a line, for programs.")
@click.pass_context
def list_command(
    ctx: click.Context,
    code: int | None,
    strength: str | None,
    file_name: str | None,
    source: str | None,
    site: bool,
    text: str | None,
    draft: bool,
    jsonl: bool,
) -> None:
    """The rules in force, and where each comes from: shipped, an imported pack, or the site's own."""
    linted = _read(ctx, draft=draft)
    towers = tuple(stacked(linted.stack).values())

    def wanted(placed: PlacedRule) -> bool:
        rule = placed.rule
        return (
            (code is None or code in (rule.bounce_code, rule.temporary_code))
            and (strength is None or rule.strength == strength)
            and (file_name is None or file_name.lower() in placed.path.name.lower())
            and (source is None or source.lower() in rule.source.lower())
            and (not site or placed.layer.kind is LayerKind.SITE)
            and (text is None or text.lower() in _all_words(placed))
        )

    found = [tower for tower in towers if wanted(tower[-1])]
    if jsonl:
        print_jsonl(_row(tower, linted) for tower in found)
        return
    if not found:
        click.echo(say("rules-none"), err=True)
        return
    columns = [say(f"rules-{name}") for name in ("id", "code", "name", "strength", "origin", "words")]
    print_table(columns, _cells(found, linted), whole=(0, 1, 3))
    click.echo(say("rules-count", shown=len(found), all=len(towers)), err=True)


@click.command("show")
@click.argument("rule_id", metavar="ID")
@click.option("--draft", is_flag=True, help="The working copy instead of the rules in force.")
@click.option("--jsonl", is_flag=True, help="One JSON object, for programs.")
@click.pass_context
def show_command(ctx: click.Context, rule_id: str, draft: bool, jsonl: bool) -> None:
    """Everything about one rule: place, text, code, what its examples get now, and what it replaces."""
    linted = _read(ctx, draft=draft)
    tower = stacked(linted.stack).get(rule_id)
    if tower is None:
        near = difflib.get_close_matches(rule_id, [one.rule.id for one in linted.stack], 3)
        key = "rules-unknown-near" if near else "rules-unknown"
        raise RelayError(say(key, rule=one_line(rule_id, 80), near=", ".join(dict.fromkeys(near))))
    results = list(example_results(linted.policies, judge_of(linted.policies), {rule_id}))
    if jsonl:
        print_jsonl([{**_row(tower, linted), "results": [_result_row(result) for result in results]}])
        return
    placed = tower[-1]
    click.echo(say("rules-place", place=place_of(placed), origin=origin(tower)) + "\n")
    click.echo(printable(placed.block or written(placed.rule).rstrip("\n")) + "\n")
    codes = linted.policies.codes
    for key, number in (("rules-means", placed.rule.bounce_code), ("rules-temporary", placed.rule.temporary_code)):
        if number is not None:
            english = codes[number].name
            click.echo(say(key, code=number, name=english, text=_reason(linted, number)))
    click.echo()
    columns = [say(f"rules-{name}") for name in ("example", "kind", "code", "decided", "result")]
    print_table(columns, _example_cells(results), title=say("rules-examples"))
    for other in reversed(tower[:-1]):
        click.echo("\n" + say("rules-takes-place", place=place_of(other), layer=layer_name(other.layer)) + "\n")
        click.echo(printable(other.block or written(other.rule).rstrip("\n")))


def _read(ctx: click.Context, *, draft: bool) -> Linted:
    settings = settings_of(ctx)
    folder: Path | None = site_folder(settings) if draft else active_folder(settings)
    return read_layers(folder)


def _reason(linted: Linted, number: int) -> str:
    return linted.policies.codes[number].text(current_language())


def _cells(found: list[Tower], linted: Linted) -> Iterator[tuple[object, ...]]:
    for tower in found:
        rule = tower[-1].rule
        both = f"{rule.bounce_code}/{rule.temporary_code}" if rule.temporary_code else rule.bounce_code
        words = one_line(" | ".join(rule.phrases) or rule.pattern, _WORDS)
        name = code_name(linted.policies.codes[rule.bounce_code])
        yield rule.id, both, name, rule.strength, origin(tower), words


def _example_cells(results: list[ExampleResult]) -> Iterator[tuple[object, ...]]:
    for result in results:
        verdict = result.verdict
        yield (
            one_line(result.example, 200),
            say("rules-is-counter") if result.is_counter else say("rules-is-example"),
            verdict.bounce_code if verdict else "-",
            verdict.rule_id if verdict else "-",
            say("rules-passed") if result.passed else say("rules-failed"),
        )


def _row(tower: Tower, linted: Linted) -> dict[str, Any]:
    placed = tower[-1]
    rule = placed.rule
    return {
        "id": rule.id,
        "code": str(rule.bounce_code),
        "name": linted.policies.codes[rule.bounce_code].name,
        "strength": rule.strength,
        "layer": placed.layer.label,
        "replaces": [other.layer.label for other in tower[:-1]],
        "file": str(placed.path),
        "line": placed.line,
        "rule": msgspec.to_builtins(rule),
    }


def _result_row(result: ExampleResult) -> dict[str, Any]:
    verdict = result.verdict
    return {
        "example": result.example,
        "counter": result.is_counter,
        "expected": str(result.expected) if result.expected else None,
        "code": str(verdict.bounce_code) if verdict else None,
        "rule": verdict.rule_id if verdict else None,
        "passed": result.passed,
    }


def _all_words(placed: PlacedRule) -> str:
    rule = placed.rule
    return "\n".join((rule.id, rule.pattern, *rule.phrases, *rule.examples, *rule.not_examples)).lower()
