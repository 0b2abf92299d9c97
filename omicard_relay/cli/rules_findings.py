"""The sentences of findings about rules, and how findings, places and origins are shown; shared by the `rules` commands."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import click

from omicard_relay.classify.check import Flip
from omicard_relay.cli.context import console
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.mail import one_line, printable
from omicard_relay.tables.codes import BounceCode
from omicard_relay.tables.findings import Finding, FindingKind, Level
from omicard_relay.tables.layers import Layer, LayerKind, PlacedRule

__all__ = [
    "code_name",
    "describe",
    "finding_row",
    "flip_line",
    "layer_name",
    "origin",
    "place_of",
    "placed_findings",
    "print_findings",
    "working",
]

register(
    {
        "finding-unreadable": ("the file cannot be read: {why}", "檔案無法讀取：{why}"),
        "finding-bad-codes": ("the table of codes is wrong: {why}", "代碼表有誤：{why}"),
        "finding-unknown-key": (
            "there is no key `{entry}`; allowed are {allowed}",
            "沒有 `{entry}` 這個鍵；可用的有 {allowed}",
        ),
        "finding-unknown-key-near": (
            "there is no key `{entry}`; did you mean `{near}`?",
            "沒有 `{entry}` 這個鍵；是否為 `{near}`？",
        ),
        "finding-wrong-value": ("`{entry}` has a wrong value; {why}", "`{entry}` 的值有誤；{why}"),
        "finding-missing-key": ("`{entry}` is missing; add it", "缺少 `{entry}`；請補上"),
        "finding-missing-example": (
            "there is no example; give at least one reply that must get the code under `examples`",
            "沒有範例；請在 `examples` 至少放一則應判為此代碼的回覆",
        ),
        "finding-missing-source": (
            "there is no `source`; say whose sentence it is and where it was seen",
            "沒有 `source`；請註明這句話出自何處、在哪裡看到",
        ),
        "finding-duplicate-id": (
            "the id also stands in {other}; give each rule of a folder its own",
            "此 id 也出現在 {other}；同一資料夾內每條規則的 id 不可重複",
        ),
        "finding-no-words": (
            "nothing says when it holds; write `phrases`, `pattern`, or a condition on road, feedback_type, dsn_action, "
            "new_address",
            "未說明何時成立；請寫 `phrases`、`pattern`，或 road、feedback_type、dsn_action、new_address 條件",
        ),
        "finding-bad-phrase": (
            "`{found}` is no code; for this strength write codes such as {why}",
            "`{found}` 不是代碼；此強度請寫如 {why} 的代碼",
        ),
        "finding-pattern-for-code": (
            "strength `{found}` reads whole codes; list them under `phrases` and take `pattern` out",
            "強度 `{found}` 只讀完整代碼；請列在 `phrases`，並移除 `pattern`",
        ),
        "finding-bad-pattern": (
            "`{entry}` is `{found}`, which is not linear-time, or no expression ({why}); write it without look-around and "
            "back-references",
            "`{entry}` 的 `{found}` 無法以線性時間比對，或不是運算式（{why}）；請勿使用環視與反向參照",
        ),
        "finding-empty-match": (
            "`{entry}` is `{found}`, which also matches an empty text; make some part of it obligatory",
            "`{entry}` 的 `{found}` 連空白文字也會符合；請讓其中一部分成為必要",
        ),
        "finding-unbounded": (
            "`{entry}` is `{found}`, with a gap that has no bound, or one above 320; write a bounded one such as {gap}",
            "`{entry}` 的 `{found}` 有未設上限或超過 320 的間隔；請改為有上限的間隔，如 {gap}",
        ),
        "finding-example-fails": (
            "the example “{example}” should get {expected} and gets {got} by rule {by} (“{words}”); make the words more "
            "exact, or correct the code",
            "範例「{example}」應為 {expected}，卻由規則 {by} 判為 {got}（「{words}」）；請讓文字更精確，或更正代碼",
        ),
        "finding-not-example-hits": (
            "the counter-example “{example}” gets this rule (“{words}”); narrow it with `unless` or longer words",
            "反例「{example}」符合了此規則（「{words}」）；請用 `unless` 或更長的文字縮小範圍",
        ),
        "finding-conflict": (
            "on the example “{example}” rule {by} says {code} and rule {other}, as strong, says {other_code}; change the "
            "strength or words of one, or let one code yield in codes.toml",
            "對範例「{example}」，規則 {by} 判為 {code}，同強度的規則 {other} 判為 {other_code}；"
            "請改其中一條的強度或文字，或在 codes.toml 設定讓步",
        ),
        "finding-same-phrase": (
            "the phrase “{phrase}” means {code} here and {other_code} in rule {other}; leave it in one of them",
            "片語「{phrase}」在此為 {code}，在規則 {other} 為 {other_code}；請只留在其中一條",
        ),
        "finding-dead-phrase": (
            "the phrase “{phrase}” ({code}) never decides: rule {other} has it too, for {other_code}, and is stronger; "
            "take it out here",
            "片語「{phrase}」（{code}）永遠不會生效：規則 {other} 也有它（{other_code}）且較強；請在此移除",
        ),
        "finding-unreachable-phrase": (
            "the phrase “{phrase}” stands in no text, for texts are read with plain punctuation, single blanks and addresses "
            "masked; write “{wanted}”",
            "片語「{phrase}」不會出現在任何文字中（判讀前會統一標點與空白並遮蔽地址）；請寫成「{wanted}」",
        ),
        "finding-shadowed": (
            "none of its examples is decided by it, but by {by}; give an example that only this rule knows, or remove the rule",
            "它的範例都由 {by} 判定；請補上只有此規則認得的範例，或移除此規則",
        ),
        "finding-never-decides": (
            "it can never decide: wherever its phrases stand, {by} is there, too, and stronger; remove it, or name a condition",
            "它永遠不會生效：只要出現它的片語，{by} 也成立且較強；請移除，或加上條件",
        ),
        "finding-redundant": (
            "it adds nothing: wherever its phrases stand, {by} says the same; remove it, or add its example there",
            "它沒有增加任何判斷：只要出現它的片語，{by} 就已判為相同結果；請移除，或把範例併入該規則",
        ),
        "finding-code-without-rule": (
            "no rule leads to code {code} ({name}); write one",
            "沒有任何規則會判為代碼 {code}（{name}）；請新增",
        ),
        "finding-rule": ("rule {rule}", "規則 {rule}"),
        "finding-error": ("error", "錯誤"),
        "finding-warning": ("warning", "警告"),
        "flip-line": (
            "the example “{example}” of rule {rule} was {before} by {before_rule}, and would be {after} by {after_rule}",
            "規則 {rule} 的範例「{example}」原由 {before_rule} 判為 {before}，將由 {after_rule} 判為 {after}",
        ),
        "origin-shipped": ("shipped", "內建"),
        "origin-pack": ("pack {name}", "規則包 {name}"),
        "origin-site": ("site", "自訂"),
        "origin-file": ("file", "檔案"),
        "origin-replaces": ("{layer} replaces {others}", "{layer}（取代{others}）"),
    }
)


def layer_name(layer: Layer) -> str:
    """The layer in the chosen language."""
    if layer.kind is LayerKind.PACK:
        return say("origin-pack", name=printable(layer.name))
    if layer.kind is LayerKind.SITE:
        return say("origin-site")
    return say("origin-file") if layer.kind is LayerKind.FILE else say("origin-shipped")


def origin(tower: Sequence[PlacedRule]) -> str:
    """Where a rule comes from, and whose place it takes; `tower`: the rules of one id, the weakest layer first."""
    layer = layer_name(tower[-1].layer)
    others = ", ".join(layer_name(other.layer) for other in tower[:-1])
    return say("origin-replaces", layer=layer, others=others) if others else layer


def place_of(placed: PlacedRule) -> str:
    """`file:line`, for editors."""
    return printable(f"{placed.path}:{placed.line}" if placed.line else str(placed.path))


def code_name(code: BounceCode) -> str:
    """The code's short name for readers of English, its reason for readers of Chinese."""
    return code.name if current_language() == "en" else code.text("zh-TW")


def describe(finding: Finding) -> str:
    """What is wrong and what to do, in the chosen language."""
    fields = dict(finding.fields)
    if finding.kind is FindingKind.UNBOUNDED:
        fields["gap"] = "`.{0,60}`"
    return printable(say(f"finding-{finding.kind}", **fields))


def finding_row(finding: Finding) -> dict[str, Any]:
    """The finding for programs; `text` is in the chosen language."""
    return {
        "level": finding.level,
        "kind": finding.kind,
        "file": str(finding.path) if finding.path else None,
        "line": finding.line,
        "rule": finding.rule_id or None,
        "text": describe(finding),
        **{f"found_{key}": value for key, value in finding.fields.items()},
    }


def print_findings(findings: Iterable[Finding], *, err: bool = False) -> None:
    """One line each: `file:line: error: rule ID: what is wrong; what to do`, errors first."""
    for finding in sorted(findings, key=lambda one: one.level is not Level.ERROR):
        place = f"{finding.path}:{finding.line}: " if finding.line else f"{finding.path}: " if finding.path else ""
        rule = f"{say('finding-rule', rule=finding.rule_id)}: " if finding.rule_id else ""
        level = say("finding-error") if finding.level is Level.ERROR else say("finding-warning")
        click.echo(printable(f"{place}{level}: {rule}") + describe(finding), err=err)


def flip_line(flip: Flip) -> str:
    """An example that would be judged otherwise."""
    first, second = flip.before.verdict, flip.after.verdict
    return printable(
        say(
            "flip-line",
            rule=flip.before.rule.id,
            example=one_line(flip.before.example, 160),
            before=first.bounce_code if first else "-",
            before_rule=first.rule_id if first else "-",
            after=second.bounce_code if second else "-",
            after_rule=second.rule_id if second else "-",
        )
    )


def placed_findings(findings: Iterable[Finding], places: Mapping[str, PlacedRule]) -> Iterator[Finding]:
    """The findings with file and line of their rules put in."""
    for finding in findings:
        placed = places.get(finding.rule_id)
        yield replace(finding, path=placed.path, line=placed.line) if placed and finding.path is None else finding


@contextmanager
def working(text: str) -> Iterator[None]:
    """A sign of life on a terminal's standard error while something takes its time."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(printable(text)):
        yield
