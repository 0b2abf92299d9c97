"""`bounce parse FILE…`: what bounce mails say and how it is judged, one row a (mail, recipient); nothing is stored.

FILE is a mail, a folder (every file below it, in sorted order) or `-` for standard input. With `--jsonl` one object a line,
keys as in docs/bounces.md. A file that cannot be read gives one line on standard error, the rest goes on, and the
exit status is 1 in the end. At most MAIL_OCTETS octets of each mail are read.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator

import click

from omicard_relay.bounce import MailReader
from omicard_relay.cli.context import print_jsonl, print_table, ready_judge, settings_of
from omicard_relay.cli.language import current_language, register, say
from omicard_relay.cli.words import shown
from omicard_relay.mail import Evidence, MailKind, Stage, one_line
from omicard_relay.steering import decide
from omicard_relay.tables.active import load_active
from omicard_relay.tables.policies import Policies

__all__ = ["command"]

#: More than the reader looks at (bounce/mime.py), so that it can say that it cut.
MAIL_OCTETS = 8 * 1024 * 1024
#: Seconds of work after which a terminal is shown how far it is.
PROGRESS_AFTER_SECONDS = 2.0
PROGRESS_EVERY_SECONDS = 0.2

Row = dict[str, str | int | float | None]

register(
    {
        "bounce-unreadable": ("{file}: cannot be read: {why}", "{file}：無法讀取：{why}"),
        "bounce-progress": ("{done} of {total} mails read", "已讀取 {total} 封中的 {done} 封"),
        "bounce-file": ("file", "檔案"),
        "bounce-kind": ("kind", "類型"),
        "bounce-recipient": ("recipient", "收件人"),
        "bounce-verdict": ("verdict", "判定"),
        "bounce-words": ("[stage] words", "[階段] 說法"),
    }
)


@click.command("parse")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--jsonl", is_flag=True, help="One JSON object a line, for programs.")
@click.pass_context
def command(ctx: click.Context, files: tuple[str, ...], jsonl: bool) -> None:
    """Read bounce mails: files, folders or - for standard input."""
    policies = load_active(settings_of(ctx))
    reader = _Reader(policies)
    names = [name for file in files for name in _mails_below(file)]
    # On one terminal the rows themselves are the progress.
    shown = sys.stderr.isatty() and not (jsonl and sys.stdout.isatty())
    rows = (row for name in _counted(names, shown=shown) for row in reader.rows(name))
    if jsonl:
        print_jsonl(rows)
    else:
        keys = ("file", "kind", "recipient", "verdict", "words")
        print_table([say(f"bounce-{key}") for key in keys], [_cells(row, policies) for row in rows])
    if reader.failed:
        ctx.exit(1)


class _Reader:
    """Reads and judges mail after mail; remembers whether one could not be read."""

    def __init__(self, policies: Policies) -> None:
        self.policies, self.judge, self.failed = policies, ready_judge(policies), False
        self._mails = MailReader(policies.forms, policies.responders)

    def rows(self, name: str) -> list[Row]:
        """One row a recipient of a mail; one without a code for a mail that is no failure; none for an unreadable file."""
        try:
            raw = _octets(name)
        except OSError as error:
            self.failed = True
            why = error.strerror or str(error)
            click.echo(say("bounce-unreadable", file=one_line(name), why=why), err=True)
            return []
        found = self._mails.read(raw)
        if not found.evidence:
            return [_row(name, found.kind, None)]
        return [self._judged(name, found.kind, evidence) for evidence in found.evidence]

    def _judged(self, name: str, kind: MailKind, evidence: Evidence) -> Row:
        row = _row(name, kind, evidence)
        verdict = self.judge.judge(evidence) if kind not in (MailKind.OTHER, MailKind.NOT_A_BOUNCE) else None
        if verdict is not None:
            decision = decide(verdict, reply=evidence.reply, policies=self.policies)
            row |= {
                "code": str(verdict.bounce_code),
                "action": decision.action.value,
                "rule": verdict.rule_id,
                "confidence": round(verdict.confidence, 3),
            }
        return row


def _row(name: str, kind: MailKind, evidence: Evidence | None) -> Row:
    """The fixed keys, in their order; null for what is not told."""
    row: Row = {"file": name, "kind": kind.value}
    reply = evidence.reply if evidence else None
    replies = tuple(reversed(evidence.replies)) if evidence else ()
    status = evidence.status if evidence else None
    stage = reply.stage if reply and reply.stage is not Stage.UNKNOWN else Stage.LATER
    return row | {
        "recipient": one_line(evidence.recipient) or None if evidence else None,
        "original_recipient": one_line(evidence.original_recipient) or None if evidence else None,
        "status": status or next((item.enhanced_status for item in replies if item.enhanced_status), None),
        "reply_code": next((item.reply_code for item in replies if item.reply_code), None),
        "diagnostic": one_line(reply.text) if reply else None,
        "remote_mta": one_line(evidence.remote_mta or "") or None if evidence else None,
        "stage": stage.value if evidence else None,
        "code": None,
        "action": None,
        "rule": None,
        "confidence": None,
    }


def _cells(row: Row, policies: Policies) -> list[object]:
    """A row for people: few columns, so that a terminal of 80 characters can show it."""
    code = row["code"]
    verdict = "–"
    if code is not None:
        cause = policies.codes[int(code)]
        verdict = f"{code} {cause.zh_tw if current_language() == 'zh-TW' else cause.name}, {shown(str(row['action']))}"
    words = one_line(str(row["diagnostic"]), 120) if row["diagnostic"] else ""
    stage = f"[{row['stage']}] " if row["stage"] else ""
    return [os.path.basename(str(row["file"])), row["kind"], row["recipient"], verdict, stage + words]


def _mails_below(name: str) -> Iterator[str]:
    """The file itself, or every regular file below a folder, in sorted order."""
    if name == "-" or not os.path.isdir(name):
        yield name
        return
    for folder, folders, files in os.walk(name):
        folders.sort()
        yield from (path for file in sorted(files) if os.path.isfile(path := os.path.join(folder, file)))


def _octets(name: str) -> bytes:
    """The first octets of a mail. Raises OSError."""
    if name == "-":
        return sys.stdin.buffer.read(MAIL_OCTETS)
    with open(name, "rb") as file:
        return file.read(MAIL_OCTETS)


def _counted(names: list[str], *, shown: bool) -> Iterable[str]:
    """The names, while standard error is told how far it is, once the work is long enough to be wondered about."""
    begin = last = time.monotonic()
    written = False
    for done, name in enumerate(names):
        yield name
        now = time.monotonic()
        if shown and now - begin > PROGRESS_AFTER_SECONDS and now - last > PROGRESS_EVERY_SECONDS:
            click.echo("\r" + say("bounce-progress", done=done + 1, total=len(names)), nl=False, err=True)
            last, written = now, True
    if written:
        click.echo("\r\x1b[K", nl=False, err=True)
