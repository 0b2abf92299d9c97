"""`classify`: what a reply means, for a person (a table) or for a program (JSON lines, streaming, same order).

A bad line of JSON gives an error on standard error that names the line; the rest goes on, and the exit code is 1.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import click

from omicard_relay.classify import Judge
from omicard_relay.cli.context import print_jsonl, print_table, settings_of
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.words import shown
from omicard_relay.mail import Evidence, Road, Stage, Verdict, one_line, read_reply
from omicard_relay.steering import decide
from omicard_relay.tables import Policies
from omicard_relay.tables.active import load_active

__all__ = ["command"]

register(
    {
        "classify-code": ("code", "代碼"),
        "classify-name": ("name", "名稱"),
        "classify-action": ("action", "動作"),
        "classify-confidence": ("confidence", "把握"),
        "classify-rule": ("rule", "規則"),
        "classify-words": ("deciding words", "依據文字"),
        "classify-bad-line": ("error: line {number}: {fault}", "錯誤：第 {number} 行：{fault}"),
        "classify-no-json": ("is not JSON ({why})", "不是 JSON（{why}）"),
        "classify-no-object": ("is not a JSON object", "不是 JSON 物件"),
        "classify-no-string": ("`{name}` must be a string", "`{name}` 必須是字串"),
        "classify-no-text": ("has no `text`", "缺少 `text`"),
        "classify-bad-stage": (
            "`stage` is `{stage}`; allowed are {allowed}",
            "`stage` 是 `{stage}`；可用的有 {allowed}",
        ),
        "classify-nothing": (
            "nothing to classify: give a text, or lines on standard input",
            "沒有內容：請給文字，或由標準輸入逐行提供",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    text: str
    identifier: Any = None
    stage: Stage | None = None
    host: str | None = None
    recipient: str | None = None


class _BadLineError(Exception):
    """One line of input that cannot be read; the message says why, in the chosen language."""


@click.command()
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option("--jsonl", is_flag=True, help="Read JSON objects from standard input, one a line, and answer in kind.")
@click.pass_context
def command(ctx: click.Context, texts: tuple[str, ...], jsonl: bool) -> None:
    """Say what a server's reply means: code, name, action, confidence, rule and the deciding words.

    Without TEXT the replies are read from standard input, one a line.
    """
    policies = load_active(settings_of(ctx))
    judge = Judge(policies)
    if jsonl:
        if not _answer_lines(texts or sys.stdin.buffer, judge, policies, parse=not texts):
            ctx.exit(1)
        return
    lines = texts or [line.decode("utf-8", "replace") for line in sys.stdin.buffer if line.strip()]
    if not lines:
        click.echo(say("classify-nothing"), err=True)
        ctx.exit(2)
    _print_for_people(lines, judge, policies)


def _answer_lines(lines: Iterable[str | bytes], judge: Judge, policies: Policies, *, parse: bool) -> bool:
    """One answer a line, in order; False when some line was bad."""
    good = True
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            question = _read(line) if parse else _Question(text=str(line), identifier=number)
        except _BadLineError as error:
            click.echo(say("classify-bad-line", number=number, fault=error), err=True)
            good = False
            continue
        print_jsonl([_row(question, judge, policies)])
    return good


def _read(line: str | bytes) -> _Question:
    """One JSON object as a question. Raises _BadLineError."""
    text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _BadLineError(say("classify-no-json", why=one_line(str(error), 120))) from None
    if not isinstance(row, dict):
        raise _BadLineError(say("classify-no-object"))
    if row.get("text") is None:
        raise _BadLineError(say("classify-no-text"))
    for key in ("text", "stage", "host", "recipient"):
        if row.get(key) is not None and not isinstance(row[key], str):
            raise _BadLineError(say("classify-no-string", name=key))
    return _Question(
        text=row["text"],
        identifier=row.get("id"),
        stage=_stage(row.get("stage")),
        host=row.get("host"),
        recipient=row.get("recipient"),
    )


def _stage(word: str | None) -> Stage | None:
    if not word:
        return None
    try:
        return Stage(word.strip().lower().replace("_", "-").replace(" ", "-"))
    except ValueError:
        allowed = ", ".join(Stage)
        raise _BadLineError(say("classify-bad-stage", stage=one_line(word, 40), allowed=allowed)) from None


def _row(question: _Question, judge: Judge, policies: Policies) -> dict[str, Any]:
    verdict, action = _judge(question, judge, policies)
    return {
        "id": question.identifier,
        "code": str(verdict.bounce_code),
        "name": policies.codes[verdict.bounce_code].name,
        "action": action,
        "confidence": verdict.confidence,
        "rule": verdict.rule_id,
    }


def _judge(question: _Question, judge: Judge, policies: Policies) -> tuple[Verdict, str]:
    reply = read_reply(question.text, stage=question.stage, host=question.host)
    verdict = judge.judge(Evidence(road=Road.MANUAL, recipient=question.recipient or "", replies=(reply,)))
    assert verdict is not None  # noqa: S101 - a pasted text has no dsn_action that could say "delivered"
    return verdict, str(decide(verdict, reply=reply, policies=policies).action)


def _print_for_people(lines: Iterable[str], judge: Judge, policies: Policies) -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        for line in lines:
            verdict, action = _judge(_Question(text=line), judge, policies)
            code = policies.codes[verdict.bounce_code]
            yield (
                code.number,
                code.name if current_language() == "en" else code.text("zh-TW"),
                shown(action),
                f"{verdict.confidence:.2f}",
                verdict.rule_id,
                verdict.words,
            )

    keys = ("code", "name", "action", "confidence", "rule", "words")
    print_table([say(f"classify-{key}") for key in keys], rows())
