"""`make run`: a campaign of 1,000 recipients through the whole line, on a private Postfix and a private internet.

Started outside, it takes a lock, clears its folder and goes into the namespace by itself; everything in there ends with
it. What it stored stays below the state folder, for `report` and `explain`, until the next run.
"""

import argparse
import fcntl
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lab.campaign import Campaign, plan
from lab.compare import differences, is_settled
from lab.line import Line, wipe
from lab.namespace import enter, inside
from lab.submit import Told, submit
from omicard_relay.cli.language import choose_language, current_language, register, say
from omicard_relay.cli.words import shown
from omicard_relay.mail import RecipientState, RelayError
from omicard_relay.store import reports
from omicard_relay.store.reports import Subject
from omicard_relay.tables.policies import load_policies

__all__ = ["main"]

_STATE = Path(__file__).resolve().parent.parent / "state"
#: Seconds after which what has not come back by then is no longer waited for.
_PATIENCE = 90.0
#: Rows that differ and are shown: enough to see what is wrong.
_SHOWN_ROWS = 20

register(
    {
        "run-busy": (
            "another run is under way (process {pid}); wait for it, or stop it with Ctrl-C",
            "另一個執行正在進行（行程 {pid}）；請等候，或按 Ctrl-C 停止它",
        ),
        "run-step": ("starting: {what}", "啟動：{what}"),
        "run-lists": (
            "filling the lists: unsubscribed, blacklist, whitelist, known bounces",
            "匯入名單：取消訂閱、黑名單、白名單、已知退信",
        ),
        "run-submit": ("submitting", "產信"),
        "run-settle": ("delivering, waiting for what comes back", "發信並等候退信"),
        "run-stopped": ("stopped; no process is left", "已停止，沒有留下任何行程"),
        "run-title": (
            "What happened to the {count} recipients of campaign {name}",
            "活動 {name} 共 {count} 位收件人的結果",
        ),
        "run-dropped": ("dropped before sending", "發信前剔除"),
        "run-delivered": ("delivered", "送達"),
        "run-resting": ("resting, will be tried again", "休息中，稍後重送"),
        "run-returned": ("returned", "退信"),
        "run-later": ("delivered, and came back later (soft bounce)", "送達後才退回（Soft bounce）"),
        "run-open": ("not settled in time", "尚未有結果"),
        "run-agree": (
            "checked against the receivers' own books, row by row: all {count} agree",
            "逐筆核對接收端自己的紀錄：{count} 筆完全一致",
        ),
        "run-differ": ("these rows differ from the receivers' own books:", "以下各筆與接收端紀錄不符："),
        "run-more": ("  … and {count} more", "  … 還有 {count} 筆"),
        "run-time": (
            "submitted in {submitted:.0f} s, settled after {settled:.0f} s",
            "{submitted:.0f} 秒內產信完畢，{settled:.0f} 秒後全部有結果",
        ),
        "run-look": ("look further:", "進一步查看："),
    }
)


def main(arguments: list[str]) -> int:
    """The command: 0 when all went as planned and the store agrees with the books, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="make run ARGS=…", description="A campaign through the whole line.")
    parser.add_argument("--recipients", type=int, default=1000, help="at least 1000 (default)")
    parser.add_argument("--state", type=Path, default=_STATE, help="folder for all that the run writes")
    parser.add_argument("--lang", choices=["en", "zh-TW"], help="language of what it prints (else $LANG)")
    options = parser.parse_args(arguments)
    choose_language(options.lang)
    if options.recipients < 1000:
        parser.error("--recipients must be at least 1000, so that every habit of the receivers is there")
    folder: Path = options.state.absolute() / "run"
    try:
        if inside():
            return _run(folder, plan(options.recipients))
        with _Lock(options.state.absolute()):
            wipe(folder)
            words = ["--recipients", str(options.recipients), "--state", str(options.state.absolute())]
            status = enter(["lab.run", *words, "--lang", current_language()], folder / "namespace")
    except RelayError as error:
        print(say("error", message=error), file=sys.stderr)
        return 1
    return status


class _Lock:
    """One run at a time in a state folder; the lock goes with the process, however it ends."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._file = (state / "run.lock").open("a+")

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            raise RelayError(say("run-busy", pid=self._file.read().strip())) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _run(folder: Path, campaign: Campaign) -> int:
    console = Console(markup=False, highlight=False)
    line = Line(folder, say=lambda what: console.print(say("run-step", what=_step(what))))
    try:
        with line:
            console.print(say("run-lists"))
            line.fill_lists(campaign)
            begun = time.monotonic()
            _submit(line, campaign, console)
            submitted = time.monotonic() - begun
            subjects = _settle(line, campaign, console)
            settled = time.monotonic() - begun
            books = line.internet.books()
            wrong = differences(campaign, subjects, books)
    except KeyboardInterrupt:
        console.print(say("run-stopped"))
        return 130
    _tell(console, campaign, subjects)
    console.print(say("run-time", submitted=submitted, settled=settled))
    if wrong:
        console.print(say("run-differ"))
        for sentence in wrong[:_SHOWN_ROWS]:
            console.print(f"  {sentence}", soft_wrap=True)
        if len(wrong) > _SHOWN_ROWS:
            console.print(say("run-more", count=len(wrong) - _SHOWN_ROWS))
    else:
        console.print(say("run-agree", count=len(campaign.recipients)))
    _point_on(console, line, subjects)
    return 1 if wrong else 0


def _step(what: str) -> str:
    """A step of the line's start in the chosen language."""
    if current_language() != "zh-TW":
        return what
    chinese = {
        "private internet: DNS and receivers": "私有網路：DNS 與接收端",
        "private Postfix": "私有 Postfix",
    }
    return chinese.get(what, what.replace("service ", "服務 "))


def _submit(line: Line, campaign: Campaign, console: Console) -> None:
    with _progress(console) as progress:
        task = progress.add_task(say("run-submit"), total=len(campaign.recipients))

        def told(_: Told) -> None:
            progress.advance(task)

        submit(campaign, line.submission(), on_told=told)


def _settle(line: Line, campaign: Campaign, console: Console) -> list[Subject]:
    """Wait until every recipient is where the plan names it, at most for `_PATIENCE`."""
    deadline = time.monotonic() + _PATIENCE
    store = line.store()
    with _progress(console) as progress:
        task = progress.add_task(say("run-settle"), total=len(campaign.recipients))
        while True:
            with store.read() as tx:
                subjects = reports.fates(tx, campaign=campaign.name)
            progress.update(task, completed=sum(s.state not in _OPEN for s in subjects))
            if is_settled(campaign, subjects) or time.monotonic() > deadline:
                return subjects
            time.sleep(0.5)


_OPEN = (RecipientState.HANDING_OVER, RecipientState.QUEUED)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


def _tell(console: Console, campaign: Campaign, subjects: list[Subject]) -> None:
    console.print()
    console.print(say("run-title", count=len(subjects), name=campaign.name))
    codes = load_policies().codes

    def named(code: object) -> str:
        entry = codes[int(str(code))]
        return f"{entry.number} {entry.name} ({entry.text(current_language())})"

    def show(
        title: str, rows: Iterable[Subject], key: Callable[[Subject], object], name: Callable[[object], str]
    ) -> None:
        found = Counter(key(row) for row in rows)
        console.print(f"  {sum(found.values()):>5}  {say(title)}")
        for what, count in sorted(found.items(), key=lambda item: (-item[1], str(item[0]))):
            if what is not None:
                console.print(f"           {count:>5}  {name(what)}", soft_wrap=True)

    def of(*states: str) -> list[Subject]:
        return [row for row in subjects if row.state in states]

    show("run-dropped", of("dropped"), lambda row: row.drop_step, lambda step: shown(str(step)))
    show("run-delivered", of("delivered"), lambda row: None, str)
    later = [row for row in subjects if row.later_code is not None]
    show("run-later", later, lambda row: row.later_code, named)
    show("run-resting", of("resting"), lambda row: row.bounce_code, named)
    show("run-returned", of("returned", "refused"), lambda row: row.bounce_code, named)
    if open_rows := of("handing-over", "queued", "not-taken"):
        show("run-open", open_rows, lambda row: row.state, lambda state: shown(str(state)))
    console.print()


def _point_on(console: Console, line: Line, subjects: list[Subject]) -> None:
    program = f".venv/bin/omicard-relay --config {_shown(line.configuration)}"
    console.print()
    console.print(say("run-look"))
    console.print(f"  {program} report", soft_wrap=True)
    shown = [s for state in ("returned", "resting") for s in subjects if s.state == state][:1]
    shown += [s for s in subjects if s.later_code is not None][:1]
    for subject in shown:
        console.print(f"  {program} explain {subject.address}", soft_wrap=True)


def _shown(path: Path) -> str:
    """Relative to where the person stands, when that is shorter."""
    return os.path.relpath(path) if len(os.path.relpath(path)) < len(str(path)) else str(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
