"""`eval`: measure the judge on a folder of labelled replies and bounce mails that lies outside the project.

The folder has `gold.jsonl` (labels), `replies.jsonl` (texts), `mails.jsonl` (one row per mail and recipient) and the
`.eml` files that it names. A hit is strict when the answer is the label, "also" when it is the label or another code
that the label allows, and an action hit when the actions agree. Nothing of the folder is kept.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from omicard_relay.bounce import MailReader
from omicard_relay.classify import Judge
from omicard_relay.cli.context import print_jsonl, print_table, ready_judge, settings_of
from omicard_relay.cli.language import register, say
from omicard_relay.mail import Evidence, RelayError, Verdict, address_key, one_line
from omicard_relay.steering import decide
from omicard_relay.tables import Policies
from omicard_relay.tables.active import load_active

__all__ = ["command"]

#: Seconds between two words of progress on standard error; the first one comes after as long.
_PROGRESS_SECONDS = 2.0
_NULL = "null"
T = TypeVar("T")

register(
    {
        "eval-missing": (
            "{folder}: has no `{name}`; a folder to measure by holds gold.jsonl, replies.jsonl, mails.jsonl and the mails.",
            "{folder}：缺少 `{name}`；量測用的資料夾需有 gold.jsonl、replies.jsonl、mails.jsonl 與郵件檔。",
        ),
        "eval-bad-line": ("{path}, line {number}: is not a JSON object.", "{path} 第 {number} 行：不是 JSON 物件。"),
        "eval-no-key": ("{path}, line {number}: has no `{name}`.", "{path} 第 {number} 行：缺少 `{name}`。"),
        "eval-unreadable": (
            "{path}: cannot be read ({why}); it counts as a miss.",
            "{path}：無法讀取（{why}），視為未中。",
        ),
        "eval-progress": ("{done} of {total} {kind} judged", "已判讀 {kind} {done}/{total}"),
        "eval-by-source": ("By source", "依來源"),
        "eval-by-code": ("By code", "依代碼"),
        "eval-misses": ("Misses", "未中"),
        "eval-confusions": ("Confusions", "混淆"),
        "eval-key-source": ("source", "來源"),
        "eval-key-code": ("code", "代碼"),
        "eval-rows": ("rows", "筆數"),
        "eval-strict": ("strict", "完全符合"),
        "eval-also": ("code or also", "符合或可接受"),
        "eval-action": ("action", "動作相同"),
        "eval-id": ("id", "編號"),
        "eval-expected": ("expected", "應為"),
        "eval-got": ("got", "判為"),
        "eval-rule": ("rule", "規則"),
        "eval-text": ("text", "文字"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One labelled row and the answer to it; None stands for "no bounce"."""

    identifier: str
    kind: str
    source: str
    expected: str | None
    also: tuple[str, ...]
    expected_action: str | None
    got: str | None
    got_action: str | None
    rule: str
    text: str

    @property
    def strict(self) -> bool:
        return self.got == self.expected

    @property
    def allowed(self) -> bool:
        return self.strict or self.got in self.also

    @property
    def same_action(self) -> bool:
        return self.got_action == self.expected_action


@dataclass(slots=True)
class _Score:
    rows: int = 0
    strict: int = 0
    also: int = 0
    action: int = 0

    def add(self, case: _Case) -> None:
        self.rows += 1
        self.strict += case.strict
        self.also += case.allowed
        self.action += case.same_action


@dataclass(slots=True)
class _Scores:
    by_source: dict[str, _Score] = field(default_factory=lambda: defaultdict(_Score))
    by_code: dict[str, _Score] = field(default_factory=lambda: defaultdict(_Score))
    totals: dict[str, _Score] = field(default_factory=lambda: defaultdict(_Score))
    #: How often one code was taken for another, as (label, answer).
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, case: _Case) -> None:
        self.by_source[case.source].add(case)
        self.by_code[case.expected or _NULL].add(case)
        self.totals[case.kind].add(case)
        self.totals["all"].add(case)
        if not case.strict:
            self.confusions[case.expected or _NULL, case.got or _NULL] += 1


@click.command()
@click.argument("corpus_dir", type=click.Path(path_type=Path, file_okay=False))
@click.option("--misses", is_flag=True, help="List the rows whose answer is neither the label nor allowed beside it.")
@click.option("--jsonl", is_flag=True, help="JSON lines instead of tables.")
@click.pass_context
def command(ctx: click.Context, corpus_dir: Path, misses: bool, jsonl: bool) -> None:
    """Measure the judge on the labelled bounces of CORPUS_DIR: strict hits, code-or-also hits, action hits."""
    policies = load_active(settings_of(ctx))
    scores, missed = _Scores(), []
    for case in _cases(corpus_dir, ready_judge(policies), policies):
        scores.add(case)
        if not case.allowed:
            missed.append(case)
    shown = missed if misses else []
    if jsonl:
        print_jsonl(_rows(scores, shown))
    else:
        _print_for_people(scores, shown)


def _cases(folder: Path, judge: Judge, policies: Policies) -> Iterator[_Case]:
    gold = {row["id"]: row for row in _read(folder, "gold.jsonl", ("id", "code"))}
    replies = [row for row in _read(folder, "replies.jsonl", ("id", "text")) if row["id"] in gold]
    mails = [row for row in _read(folder, "mails.jsonl", ("id", "file")) if row["id"] in gold]
    for row in _with_progress(replies, "replies"):
        verdict = judge.judge_text(row["text"])
        yield _case("replies", gold[row["id"]], verdict, None, row["text"], policies)
    reader = MailReader(policies.forms, policies.responders)
    by_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in mails:
        by_file[row["file"]].append(row)
    for file, rows in _with_progress(list(by_file.items()), "mails"):
        for row, evidence in _matched(rows, _evidence(folder / file, reader)):
            found = judge.judge(evidence) if evidence else None
            text = evidence.reply.text if evidence and evidence.reply else ""
            yield _case("mails", gold[row["id"]], found, evidence, text, policies)


def _case(
    kind: str, label: dict[str, Any], verdict: Verdict | None, evidence: Evidence | None, text: str, policies: Policies
) -> _Case:
    decision = decide(verdict, reply=evidence.reply if evidence else None, policies=policies) if verdict else None
    return _Case(
        identifier=str(label["id"]),
        kind=kind,
        source=str(label.get("source", "")),
        expected=label["code"],
        also=tuple(label.get("also") or ()),
        expected_action=label.get("action"),
        got=str(verdict.bounce_code) if verdict else None,
        got_action=str(decision.action) if decision else None,
        rule=verdict.rule_id if verdict else "",
        text=text,
    )


def _evidence(path: Path, reader: MailReader) -> tuple[Evidence, ...]:
    """What a mail states. An unreadable file states nothing, with a word on standard error."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        click.echo(say("eval-unreadable", path=path, why=error.strerror), err=True)
        return ()
    return tuple(reader.read(raw).evidence)


def _matched(
    rows: list[dict[str, Any]], statements: tuple[Evidence, ...]
) -> Iterator[tuple[dict[str, Any], Evidence | None]]:
    """Each row with the statement about its recipient; by order where no recipient agrees."""
    left = list(enumerate(statements))
    later: list[tuple[int, dict[str, Any]]] = []
    answers: dict[int, Evidence | None] = {}
    for place, row in enumerate(rows):
        wanted = address_key(str(row.get("recipient") or ""))
        match = next((item for item in left if wanted and wanted in _keys(item[1])), None)
        if match:
            left.remove(match)
            answers[place] = match[1]
        else:
            later.append((place, row))
    for place, row in later:
        number = int(row.get("n") or 0)
        match = next((item for item in left if item[0] == number), left[0] if left else None)
        if match:
            left.remove(match)
        answers[place] = match[1] if match else None
    for place, row in enumerate(rows):
        yield row, answers[place]


def _keys(statement: Evidence) -> set[str]:
    return {address_key(statement.recipient), address_key(statement.original_recipient)} - {""}


def _read(folder: Path, name: str, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows of one file. Raises RelayError: missing file, bad line, missing key."""
    path = folder / name
    if not path.is_file():
        raise RelayError(say("eval-missing", folder=folder, name=name))
    rows = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise RelayError(say("eval-bad-line", path=path, number=number))
        for key in keys:
            if key not in row:
                raise RelayError(say("eval-no-key", path=path, number=number, name=key))
        rows.append(row)
    return rows


def _with_progress(items: list[T], kind: str) -> Iterator[T]:
    said = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - said >= _PROGRESS_SECONDS:
            said = now
            click.echo(say("eval-progress", done=done, total=len(items), kind=kind), err=True)
        yield item


def _rows(scores: _Scores, missed: Iterable[_Case]) -> Iterator[dict[str, Any]]:
    for by, part in (("source", scores.by_source), ("code", scores.by_code), ("total", scores.totals)):
        for key, score in sorted(part.items()):
            yield {
                "by": by,
                "key": key,
                "rows": score.rows,
                "strict": score.strict,
                "also": score.also,
                "action": score.action,
            }
    for (expected, got), count in scores.confusions.most_common():
        yield {"by": "confusion", "expected": expected, "got": got, "rows": count}
    for case in missed:
        yield {
            "by": "miss",
            "id": case.identifier,
            "source": case.source,
            "expected": case.expected,
            "also": case.also,
            "got": case.got,
            "rule": case.rule,
            "text": one_line(case.text, 300),
        }


def _print_for_people(scores: _Scores, missed: list[_Case]) -> None:
    for by, part in (("source", {**scores.by_source, **scores.totals}), ("code", scores.by_code)):
        columns = [say(f"eval-key-{by}"), *(say(f"eval-{key}") for key in ("rows", "strict", "also", "action"))]
        ordered = part.items() if by == "source" else sorted(part.items())
        print_table(columns, (_cells(key, score) for key, score in ordered), title=say(f"eval-by-{by}"))
    if scores.confusions:
        columns = [say(f"eval-{key}") for key in ("expected", "got", "rows")]
        print_table(columns, ((*pair, n) for pair, n in scores.confusions.most_common()), title=say("eval-confusions"))
    if missed:
        columns = [say(f"eval-{key}") for key in ("id", "expected", "got", "rule", "text")]
        cells = ((c.identifier, c.expected or _NULL, c.got or _NULL, c.rule, one_line(c.text, 160)) for c in missed)
        print_table(columns, cells, title=say("eval-misses"))


def _cells(key: str, score: _Score) -> tuple[object, ...]:
    return (
        key,
        score.rows,
        *(f"{hits} ({hits / score.rows:.1%})" for hits in (score.strict, score.also, score.action)),
    )
