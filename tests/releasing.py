"""For tests of releases: shipped tables of a few rules, a site's folder, and rules written in a line.

Few rules compile in a moment, and a test can let the program bring other tables, as an upgrade does. Started as a program,
this module is the command line with such tables: `python -m tests.releasing FOLDER WORD…`.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

from omicard_relay.tables import toml
from tests.keeping import ROOT

SHIPPED_RULES = """
[[rule]]
id = "base-unknown"
bounce_code = 902
strength = "text"
phrases = ["no such user"]
source = "ours"
examples = ["550 5.1.1 no such user here"]

[[rule]]
id = "base-full"
bounce_code = 901
strength = "text"
phrases = ["mailbox is full"]
source = "ours"
examples = ["552 5.2.2 the mailbox is full"]

[[rule]]
id = "base-refused"
bounce_code = 907
strength = "reply"
phrases = ["550", "554"]
source = "ours"
examples = ["550 go away"]
"""


def rule(name: str, code: int, phrase: str, *, example: str = "", extra: str = "") -> str:
    """One rule of strength token, as TOML."""
    return (
        f'[[rule]]\nid = "{name}"\nbounce_code = {code}\nstrength = "token"\nphrases = ["{phrase}"]\nsource = "ours"\n'
        f'examples = ["{example or f"550 {phrase}"}"]\n{extra}\n'
    )


def ship(monkeypatch: pytest.MonkeyPatch, folder: Path, rules: str = SHIPPED_RULES) -> Path:
    """Let the program bring these rules, with its own codes and suppression; gives the folder of the tables."""
    policies = folder / "_data" / "policies"
    (policies / "rules").mkdir(parents=True, exist_ok=True)
    for name in ("codes.toml", "suppress.toml"):
        shutil.copy(ROOT / "policies" / name, policies / name)
    shutil.copytree(ROOT / "policies" / "formats", policies / "formats", dirs_exist_ok=True)
    (policies / "rules" / "base.toml").write_text(rules, encoding="utf-8")
    monkeypatch.setattr(toml, "_PACKAGE", folder)
    return policies


def program_with(folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    """The words and the environment that start the command line with the tables that `ship` put into a folder."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    command = [sys.executable, "-m", "tests.releasing", str(folder), *words]
    return command, {**environment, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}


def write_rules(site: Path, *rules: str, name: str = "own.toml") -> None:
    """The site's own rules, in place of those it had in that file."""
    (site / "rules").mkdir(parents=True, exist_ok=True)
    (site / "rules" / name).write_text("\n".join(rules), encoding="utf-8")


if __name__ == "__main__":
    from omicard_relay.cli.root import main

    toml._PACKAGE = Path(sys.argv[1])
    main(sys.argv[2:])
