"""What the README files paste is what the commands print; and both tell the same commands in the same order.

A console block holds lines that begin with `$ ` and, below each, what it prints; a line `…` stands for any number of
lines. What needs neither root nor a run of the lab is run here. Of all else the command at least exists, and what the
lab's run prints agrees with its plan.
"""

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from lab.campaign import plan
from lab.domains import Fate
from omicard_relay.cli.root import root

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "README.zh-TW.md")
PROGRAM = ".venv/bin/omicard-relay"
#: Where the checkout lay whose output is pasted.
PASTED_ROOT = "/srv/omicard-relay"
#: Columns of the terminal that the output was pasted from.
WIDTH = 100
#: The folder that the attaching example writes; the test uses one of its own.
TRY = "state/try"

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LANGUAGE = re.compile(r" --lang zh-TW| ARGS=\"--lang zh-TW\"")
#: Programs of every Debian machine, and of Postfix, that the pages may name.
_ORDINARY = frozenset({"cp", "echo", "mkdir", "postfix", "postsuper", "printf", "sudo", "systemctl", "tee", "useradd"})
_INSTALLED = ("/opt/omicard-relay/bin/omicard-relay", PROGRAM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One command of a page, and what it prints."""

    page: str
    line: str
    output: tuple[str, ...]

    @property
    def plain(self) -> str:
        """The command without its choice of language."""
        return _LANGUAGE.sub("", self.line)

    @property
    def own_words(self) -> list[str]:
        """The words behind our program's name, options of the root left out; empty when it is not called."""
        words = self.plain.split("|")[-1]
        for program in _INSTALLED:
            _, found, rest = words.partition(f"{program} ")
            if found:
                return shlex.split(re.sub(r"^--config \S+ ", "", rest))
        return []

    @property
    def runs_here(self) -> bool:
        """Whether it needs neither root nor what the lab has left behind."""
        return bool(self.own_words) and not re.search(r"state/|sudo |/opt/|/etc/", self.plain)

    @property
    def tries_postfix(self) -> bool:
        return TRY in self.line


def examples(page: Path) -> Iterator[Example]:
    for block in _BLOCK.findall(page.read_text("utf-8")):
        command, output = "", []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield Example(page=page.name, line=command, output=tuple(output))
                command, output = line[2:], []
            else:
                output.append(line)
        yield Example(page=page.name, line=command, output=tuple(output))


EXAMPLES = [example for page in PAGES for example in examples(page)]
BY_LINE = {"ids": lambda example: f"{example.page}: {example.line[:70]}"}


def run(line: str) -> str:
    """What a command prints on both outputs, one after the other, run in the checkout."""
    command = line.replace(PROGRAM, f"{shlex.quote(sys.executable)} -m omicard_relay")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMICARD", "LC_"))}
    environment |= {"COLUMNS": str(WIDTH), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def assert_pasted(pasted: tuple[str, ...], printed: str) -> None:
    """Compare by lines, blanks at their ends left out; `…` alone on a line stands for any number of lines."""
    pieces = [re.escape(line.rstrip()) if line.strip() != "…" else None for line in pasted]
    expression = "".join(r"(?:.*\n)*?" if piece is None else f"{piece}\n" for piece in pieces)
    lines = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    assert re.fullmatch(expression, lines), f"pasted:\n{chr(10).join(pasted)}\n\nprinted:\n{lines}"


def test_both_pages_tell_the_same_commands_in_the_same_order() -> None:
    english, chinese = ([example.plain for example in EXAMPLES if example.page == page.name] for page in PAGES)
    assert english == chinese
    assert len(english) > 15


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example.runs_here], **BY_LINE)
def test_pasted_output_is_what_the_command_prints(example: Example) -> None:
    assert example.output
    assert_pasted(example.output, run(example.line))


def is_taken(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_attaching_example_runs_as_pasted(page: Path, tmp_path: Path) -> None:
    if shutil.which("postconf") is None or os.geteuid() != 0:
        pytest.skip("needs Postfix's tools and root")
    if any(is_taken(port) for port in (10025, 10026)):
        pytest.skip("a relay runs on this machine, and the example was pasted where none does")
    tried = [example for example in EXAMPLES if example.page == page.name and example.tries_postfix]
    assert len(tried) > 5
    for example in tried:
        printed = run(example.line.replace(TRY, str(tmp_path)))
        printed = printed.replace(str(tmp_path), f"{PASTED_ROOT}/{TRY}").replace(str(ROOT), PASTED_ROOT)
        # How wide a column is depends on the folder's name.
        assert_pasted(tuple(map(squeezed, example.output)), "\n".join(map(squeezed, printed.splitlines())))


def squeezed(line: str) -> str:
    """The line with every run of blanks, or of a rule, as one."""
    return re.sub(r"━+", "━", re.sub(r" +", " ", line))


def own_command(words: list[str]) -> click.Command:
    """The command that the words name, as deep as they go."""
    command: click.Command = root
    context = click.Context(root, info_name="omicard-relay")
    for word in words:
        if not isinstance(command, click.Group):
            break
        below = command.get_command(context, word)
        assert below is not None, f"there is no command `{word}`"
        command = below
    return command


@pytest.mark.parametrize("example", EXAMPLES, **BY_LINE)
def test_every_command_exists(example: Example) -> None:
    if example.own_words:
        command = own_command(example.own_words)
        assert not isinstance(command, click.Group)
        context = click.Context(command)
        assert command.get_help(context)
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in example.own_words if word.startswith("--")} <= options
        return
    words = shlex.split(example.plain)
    names = [word for word in words if word != "sudo"]
    if names[0] == "make":
        assert re.search(rf"^{names[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    elif "-m" in names:
        module = names[names.index("-m") + 1]
        assert module == "venv" or (ROOT / module / "__main__.py").is_file()
    elif not names[0].endswith("/pip"):
        assert names[0] in _ORDINARY


def test_recipients_of_the_examples_are_in_the_lab_s_campaign() -> None:
    known = {planned.address for planned in plan().recipients}
    named = {example.own_words[-1] for example in EXAMPLES if "explain" in example.own_words}
    assert named
    assert named <= known


#: Lines of the run's summary, in the order in which both languages tell them: how many, then what.
_COUNT = re.compile(r"^ {2,7}(\d+)  \S")
_STEP = re.compile(r"^ +(\d+)  (duplicate|known-bounce|unsubscribed|blacklist|syntax)$")
_CAUSE = re.compile(r"^ +(\d+)  (9\d\d) ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pasted_run_agrees_with_the_plan(page: Path) -> None:
    planned = plan().recipients
    (output,) = (e.output for e in EXAMPLES if e.page == page.name and e.plain == "make run")
    dropped, delivered, later, resting, returned = (int(m.group(1)) for line in output if (m := _COUNT.match(line)))
    back = sum(p.fate in (Fate.RETURNED_LATER, Fate.ANSWERED_LATER) for p in planned)
    assert dropped == sum(bool(p.drop_reason) for p in planned)
    assert later == back
    assert delivered == sum(not p.drop_reason and p.fate is Fate.DELIVERED for p in planned) + back
    assert resting == sum(p.fate is Fate.RESTING for p in planned)
    assert returned == sum(p.fate is Fate.RETURNED for p in planned)
    steps = {m.group(2): int(m.group(1)) for line in output if (m := _STEP.match(line))}
    reasons = Counter(p.drop_reason for p in planned if p.drop_reason)
    assert steps.items() <= reasons.items()
    causes = Counter(p.bounce_code for p in planned if p.fate is not Fate.DELIVERED and p.bounce_code)
    told: Counter[int] = Counter()
    for line in output:
        if match := _CAUSE.match(line):
            told[int(match.group(2))] += int(match.group(1))
    assert told
    assert all(count <= causes[code] for code, count in told.items())
