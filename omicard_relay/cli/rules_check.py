"""`rules check` and `rules test`: what is wrong with the rules, and what they make of a text.

Both look at the working copy (the shipped rules, the packs, the site's folder) unless told otherwise.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from omicard_relay.classify.check import check_rules, flips
from omicard_relay.classify.compare import WinReason, why_it_wins
from omicard_relay.classify.examples import ExampleResult, example_results
from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.cli.rules_findings import code_name, finding_row, placed_findings, print_findings, working
from omicard_relay.cli.words import shown
from omicard_relay.mail import Evidence, Reply, Road, Stage, TableError, Verdict, one_line, printable, read_reply
from omicard_relay.services.judging import judge_of, prepare
from omicard_relay.services.rulefiles import read_layers
from omicard_relay.steering import decide
from omicard_relay.tables import Policies
from omicard_relay.tables.active import active_folder, site_folder
from omicard_relay.tables.findings import Finding, FindingKind, Level
from omicard_relay.tables.layers import Layer, LayerKind, in_force, layers_of
from omicard_relay.tables.lint import Linted, lint
from omicard_relay.tables.settings import Settings

__all__ = ["check_command", "test_command"]

register(
    {
        "check-working": ("judging the examples of {rules} rules", "正在判讀 {rules} 條規則的範例"),
        "check-summary": (
            "{rules} rules: {errors} errors, {warnings} warnings",
            "{rules} 條規則：{errors} 個錯誤，{warnings} 個警告",
        ),
        "check-no-file": (
            "{path}: there is no such file or folder; name a *.toml file, or a folder that holds some",
            "{path}：沒有這個檔案或資料夾；請指定 *.toml 檔，或內有此類檔案的資料夾",
        ),
        "test-draft": ("by the working copy", "依工作副本"),
        "test-active": ("by the rules in force", "依現行規則"),
        "test-differs": ("The rules in force say something else.", "現行規則的判讀不同。"),
        "test-code": ("code", "代碼"),
        "test-verdict": ("{set}: {code} {name}, {action}", "{set}：{code} {name}，{action}"),
        "test-rule": ("rule", "規則"),
        "test-strength": ("strength", "強度"),
        "test-confidence": ("confidence", "把握"),
        "test-why": ("why", "原因"),
        "test-won": ("decides by “{words}”", "依「{words}」判定"),
        "test-strength-lost": ("a weaker kind of statement", "屬較弱的依據"),
        "test-host-lost": ("does not name the host", "未指明主機"),
        "test-yields-lost": ("yields to the cause that was stated, too", "讓步給同時出現的原因"),
        "test-specific-lost": ("a more general cause", "屬較籠統的原因"),
        "test-longer-lost": ("as strong, but fewer words: the two contradict each other", "同樣強，但文字較短：兩者互相矛盾"),
        "test-failed": (
            "rule {rule}: “{example}” should get {expected}, gets {got} by {by}",
            "規則 {rule}：「{example}」應為 {expected}，卻由 {by} 判為 {got}",
        ),
        "test-counter-failed": (
            "rule {rule}: “{example}” must not get this rule, and does",
            "規則 {rule}：「{example}」不應符合此規則，卻符合了",
        ),
        "test-summary": (
            "{examples} examples of {rules} rules: {failed} fail",
            "{rules} 條規則的 {examples} 則範例：{failed} 則不符",
        ),
    }
)  # fmt: skip


#: Tables that stand beside rules in a folder and are none.
_OTHER_TABLES = ("codes.toml", "suppress.toml")


@click.command("check")
@click.argument("paths", metavar="[FILE|FOLDER]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--jsonl", is_flag=True, help="One JSON object a finding, for programs.")
@click.pass_context
def check_command(ctx: click.Context, paths: tuple[Path, ...], strict: bool, jsonl: bool) -> None:
    """All that is wrong with the working copy, with file and line and what to do; exit 1 when there are errors.

    With FILE or FOLDER: these rules laid over the working copy, and what they would break there.
    """
    folder = _site(settings_of(ctx))
    base = layers_of(folder)
    linted = lint([*base, *_named_layers(paths)]) if paths else lint(base)
    named = {file.resolve() for layer in _named_layers(paths) for file in layer.files}
    with working(say("check-working", rules=len(linted.policies.rules))):
        found = list(_findings(linted, lint(base), named) if paths else _all(linted))
    if strict:
        found = [replace(finding, level=Level.ERROR) for finding in found]
    errors = sum(finding.level is Level.ERROR for finding in found)
    if jsonl:
        print_jsonl(finding_row(finding) for finding in found)
    else:
        print_findings(found)
        rules = sum(not named or one.path.resolve() in named for one in in_force(linted.stack).values())
        summary = say("check-summary", rules=rules, errors=errors, warnings=len(found) - errors)
        click.echo(summary, err=True)
    ctx.exit(1 if errors else 0)


@click.command("test")
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option("--stage", type=click.Choice([str(stage) for stage in Stage]), help="The SMTP stage of the reply.")
@click.option("--host", help="The host that said it.")
@click.option("--recipient", help="The address it speaks of.")
@click.option("--draft", "which", flag_value="draft", help="The working copy alone.")
@click.option("--active", "which", flag_value="active", help="The rules in force alone.")
@click.option("--jsonl", is_flag=True, help="One JSON object a text (or a failed example), for programs.")
@click.pass_context
def test_command(
    ctx: click.Context,
    texts: tuple[str, ...],
    stage: str | None,
    host: str | None,
    recipient: str | None,
    which: str | None,
    jsonl: bool,
) -> None:
    """Judge a text with the working copy: every code that was proposed, and why one won.

    The rules in force stand beside it when they say something else.

    Without TEXT: all examples of the rules; exit 1 when one fails.
    """
    settings = settings_of(ctx)
    if not texts:
        folder = active_folder(settings) if which == "active" else _site(settings)
        ctx.exit(_test_examples(read_layers(folder).policies, jsonl=jsonl))
    sets: dict[str, Policies] = {}
    if which != "active":
        sets["draft"] = read_layers(_site(settings)).policies
    if which != "draft":
        in_use = active_folder(settings)
        same = "draft" in sets and in_use == _site(settings)
        sets["active"] = sets["draft"] if same else read_layers(in_use).policies
    judges = {name: judge_of(policies) for name, policies in sets.items()}
    for text in texts:
        reply = read_reply(text, stage=Stage(stage) if stage else None, host=host)
        evidence = Evidence(road=Road.MANUAL, recipient=recipient or "", replies=(reply,))
        answers = {name: _answer(judge.judge(evidence), reply, sets[name]) for name, judge in judges.items()}
        differs = len(answers) == 2 and answers["draft"] != answers["active"]
        if jsonl:
            print_jsonl([{"text": text, "differs": differs, **answers}])
            continue
        click.echo(one_line(text, 400))
        for name in answers if differs else list(answers)[:1]:
            _print_answer(name, answers[name], sets[name])
        if differs:
            click.echo(say("test-differs"))
        click.echo()


def _all(linted: Linted) -> Iterator[Finding]:
    prepare(linted.policies)
    yield from linted.findings
    yield from placed_findings(check_rules(linted.policies), in_force(linted.stack))


def _findings(linted: Linted, base: Linted, named: set[Path]) -> Iterator[Finding]:
    """What is wrong with the named files, and the examples of other rules that they would break."""
    prepare(linted.policies)
    yield from (f for f in linted.findings if f.path is not None and f.path.resolve() in named)
    holding = in_force(linted.stack)
    own = {rule_id for rule_id, placed in holding.items() if placed.path.resolve() in named}
    yield from placed_findings(check_rules(linted.policies, own), holding)
    broken = {flip.after.rule.id for flip in flips(base.policies, linted.policies) if flip.breaks} - own
    for finding in check_rules(linted.policies, broken) if broken else ():
        if finding.kind in (FindingKind.EXAMPLE_FAILS, FindingKind.NOT_EXAMPLE_HITS):
            yield from placed_findings([finding], holding)


def _named_layers(paths: tuple[Path, ...]) -> list[Layer]:
    """One layer a name: a file, the files of a folder, or those of a policies folder's `rules`."""
    layers = []
    for path in paths:
        if path.is_dir():
            inside = path / "rules" if (path / "rules").is_dir() else path
            names = sorted(inside.glob("*.toml"))
            files = tuple(file for file in names if file.name not in _OTHER_TABLES)
            codes = path / "codes.toml" if (path / "codes.toml").is_file() else None
        else:
            files, codes = (path,) if path.is_file() else (), None
        if not files:
            raise TableError(say("check-no-file", path=one_line(str(path))))
        layers.append(Layer(kind=LayerKind.FILE, files=files, codes=codes))
    return layers


def _site(settings: Settings) -> Path | None:
    folder = site_folder(settings)
    return folder if folder.is_dir() else None


def _answer(verdict: Verdict | None, reply: Reply, policies: Policies) -> dict[str, Any]:
    """The verdict with all that lost, for programs and for the table."""
    assert verdict is not None  # noqa: S101 - a pasted text has no dsn_action that could say "delivered"
    codes, rules = policies.codes, policies.rules_by_id
    winner = rules.get(verdict.rule_id)
    lost = []
    for other in verdict.runners_up:
        rule = rules.get(other.rule_id)
        if rule is None:
            continue
        why = (
            why_it_wins((winner, verdict.bounce_code), (rule, other.bounce_code), codes)
            if winner
            else WinReason.STRENGTH
        )
        lost.append(
            {
                "code": str(other.bounce_code),
                "rule": rule.id,
                "strength": rule.strength,
                "confidence": other.confidence,
                "why": why,
            }
        )
    return {
        "code": str(verdict.bounce_code),
        "name": codes[verdict.bounce_code].name,
        "action": decide(verdict, reply=reply, policies=policies).action,
        "confidence": verdict.confidence,
        "rule": verdict.rule_id,
        "strength": winner.strength if winner else None,
        "words": verdict.words,
        "runners_up": lost,
    }


def _print_answer(name: str, answer: dict[str, Any], policies: Policies) -> None:
    set_name = say("test-draft") if name == "draft" else say("test-active")
    code = policies.codes[int(answer["code"])]
    action = shown(str(answer["action"]))
    click.echo(printable(say("test-verdict", set=set_name, code=code.number, name=code_name(code), action=action)))

    def cells() -> Iterator[tuple[object, ...]]:
        why = say("test-won", words=one_line(answer["words"], 80))
        for row in (answer, *answer["runners_up"]):
            reason = why if row is answer else say(f"test-{row['why']}-lost")
            yield row["code"], row["rule"], row["strength"] or "", f"{row['confidence']:.2f}", reason

    print_table(
        [say(f"test-{one}") for one in ("code", "rule", "strength", "confidence", "why")], cells(), whole=(0, 1, 2)
    )


def _test_examples(policies: Policies, *, jsonl: bool) -> int:
    """Judge all examples; the exit status."""
    with working(say("check-working", rules=len(policies.rules))):
        results = list(example_results(policies, judge_of(policies)))
    failed = [result for result in results if not result.passed]
    if jsonl:
        print_jsonl(_failed_row(result) for result in failed)
    else:
        for result in failed:
            verdict = result.verdict
            key = "test-counter-failed" if result.is_counter else "test-failed"
            fields = {"got": verdict.bounce_code if verdict else "-", "by": verdict.rule_id if verdict else "-"}
            example = one_line(result.example, 160)
            click.echo(say(key, rule=result.rule.id, example=example, expected=result.expected, **fields))
    click.echo(say("test-summary", examples=len(results), rules=len(policies.rules), failed=len(failed)), err=jsonl)
    return 1 if failed else 0


def _failed_row(result: ExampleResult) -> dict[str, Any]:
    verdict = result.verdict
    return {
        "rule": result.rule.id,
        "example": result.example,
        "counter": result.is_counter,
        "expected": str(result.expected) if result.expected else None,
        "code": str(verdict.bounce_code) if verdict else None,
        "by": verdict.rule_id if verdict else None,
    }
