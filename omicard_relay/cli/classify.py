"""`classify`: what a reply means, for a person (a table) or for a program (JSON lines, streaming, same order).

A bad line of JSON gives an error on standard error that names the line; the rest goes on, and the exit code is 1.
"""

import io
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import click
import msgspec

from omicard_relay.classify import Judge
from omicard_relay.cli.context import json_line, print_table, ready_judge, settings_of
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.words import shown
from omicard_relay.mail import Stage, Verdict, one_line
from omicard_relay.mail.stagewords import stage_of
from omicard_relay.steering import action_of
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


#: Octets of standard input that are read at once.
_CHUNK = 1 << 18


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
    judge = ready_judge(policies)
    if jsonl:
        if not _answer_lines(texts, judge, policies):
            ctx.exit(1)
        return
    lines = texts or [line.decode("utf-8", "replace") for line in sys.stdin.buffer if line.strip()]
    if not lines:
        click.echo(say("classify-nothing"), err=True)
        ctx.exit(2)
    _print_for_people(lines, judge, policies)


def _answer_lines(texts: Iterable[str], judge: Judge, policies: Policies) -> bool:
    """One answer a line for texts given as arguments, or for the objects of standard input; False when a line was bad."""
    answers = _Answers(judge, policies)
    for number, text in enumerate(texts, start=1):
        answers.add(_Question(text=text, identifier=number))
    if not texts:
        number = 0
        for lines in _input_lines():
            for line in lines:
                number += 1
                if line.strip():
                    answers.take(line, number)
            # What came at once is answered at once: a program may wait for it before it asks again.
            answers.flush()
    answers.flush()
    return answers.are_good


def _input_lines() -> Iterator[list[bytes]]:
    """Standard input as it comes: each time the lines that are whole."""
    begun: list[bytes] = []
    stream = cast(io.BufferedReader, sys.stdin.buffer)
    while chunk := stream.read1(_CHUNK):
        first, *lines = chunk.split(b"\n")
        begun.append(first)
        if lines:
            whole, begun = b"".join(begun), [lines.pop()]
            yield [whole, *lines]
    yield [b"".join(begun)]


class _Answers:
    """Answers on their way to standard output."""

    def __init__(self, judge: Judge, policies: Policies) -> None:
        self._judge, self._policies = judge, policies
        self._lines: list[bytes] = []
        #: By verdict and class of the reply, all of a line but the id.
        self._ends: dict[tuple[Verdict, int | None], bytes] = {}
        self.are_good = True

    def take(self, line: bytes, number: int) -> None:
        """Answer one line of input, or say on standard error what is wrong with it."""
        try:
            question = _read(line)
        except _BadLineError as error:
            self.flush()
            click.echo(say("classify-bad-line", number=number, fault=error), err=True)
            self.are_good = False
            return
        self.add(question)

    def add(self, question: _Question) -> None:
        """Answer one question."""
        said = self._judge.judge_said(question.text, question.stage, question.host, question.recipient)
        end = self._ends.get(said)
        if end is None:
            verdict, reply_class = said
            row = {
                "code": str(verdict.bounce_code),
                "name": self._policies.codes[verdict.bounce_code].name,
                "action": str(action_of(verdict, reply_class, self._policies)[0]),
                "confidence": verdict.confidence,
                "rule": verdict.rule_id,
            }
            end = self._ends[said] = json_line(row)[1:]
        identifier = question.identifier
        named = b"%d" % identifier if type(identifier) is int else json_line(identifier)
        self._lines.append(b'{"id": ' + named + b", " + end)

    def flush(self) -> None:
        """Write what there is."""
        if self._lines:
            sys.stdout.flush()
            sys.stdout.buffer.write(b"\n".join([*self._lines, b""]))
            sys.stdout.buffer.flush()
            self._lines.clear()


def _read(line: bytes) -> _Question:
    """One JSON object as a question. Raises _BadLineError."""
    try:
        row = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        # Slower, takes octets that are no UTF-8, and says better what is wrong.
        try:
            row = json.loads(line.decode("utf-8", "replace").removeprefix("\ufeff"), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise _BadLineError(say("classify-no-json", why=one_line(str(error), 120))) from None
    if not isinstance(row, dict):
        raise _BadLineError(say("classify-no-object"))
    if isinstance(row.get("id"), float) and not math.isfinite(row["id"]):
        raise _BadLineError(say("classify-no-json", why="a number too large"))
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


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _stage(word: str | None) -> Stage | None:
    if not word:
        return None
    try:
        return Stage(word.strip().lower().replace("_", "-").replace(" ", "-"))
    except ValueError:
        # `RCPT TO`, `ehlo`, `tls`: other programs' names for the same.
        if (named := stage_of(word[:60])) is not Stage.UNKNOWN:
            return named
        allowed = ", ".join(Stage)
        raise _BadLineError(say("classify-bad-stage", stage=one_line(word, 40), allowed=allowed)) from None


def _print_for_people(lines: Iterable[str], judge: Judge, policies: Policies) -> None:
    def rows() -> Iterator[tuple[object, ...]]:
        for line in lines:
            verdict, reply_class = judge.judge_said(line)
            action = action_of(verdict, reply_class, policies)[0]
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
