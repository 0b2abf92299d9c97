"""For tests of rule administration: a small shipped set, so that they are fast and no change of the real rules breaks them.

`SHIPPED` judges a full mailbox, an unknown recipient and a bare 550. Started as a program, this module is the command line
on such a set: `python -m tests.ruling SHIPPED_FOLDER WORD...`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from omicard_relay.cli.root import root
from omicard_relay.mail import RelayError
from omicard_relay.tables import layers, policies, toml

ROOT = Path(__file__).resolve().parent.parent

SHIPPED = """\
# The shipped rules.

[[rule]]
id = "base-full"
bounce_code = 901
strength = "text"
phrases = ["mailbox is full"]
source = "made up"
examples = ["552 5.2.2 mailbox is full"]
not_examples = ["550 5.1.1 no such user"]

# Who is not there.
[[rule]]
id = "base-unknown"
bounce_code = 902
strength = "text"
phrases = ["no such user", "user unknown"]
unless = 'in directory'
source = "made up"
examples = ["550 5.1.1 no such user"]

[[rule]]
id = "base-550"
bounce_code = 907
strength = "reply"
phrases = ["550"]
source = "RFC 5321"
examples = ["550 xyzzy"]
"""


def rule_text(rule_id: str = "own-moon", **keys: Any) -> str:
    """A `[[rule]]` as an author writes it; a key of None is left out."""
    shown = {
        "id": rule_id,
        "bounce_code": 938,
        "strength": "text",
        "phrases": ["when the moon is high"],
        "source": "made up",
        "examples": ["450 come back when the moon is high"],
        **keys,
    }
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in shown.items() if value is not None]
    return "\n".join(["[[rule]]", *lines]) + "\n"


def small_set(folder: Path, rules: str = SHIPPED) -> Path:
    """A policies folder with the real codes and few rules."""
    (folder / "rules").mkdir(parents=True)
    (folder / "codes.toml").write_bytes((ROOT / "policies" / "codes.toml").read_bytes())
    (folder / "rules" / "base.toml").write_text(rules, "utf-8")
    return folder


def ship(folder: Path, put: Callable[..., None]) -> None:
    """Make `folder` what is shipped; `put` is `monkeypatch.setattr` or `setattr`."""
    real = toml.shipped

    def shipped(*parts: str) -> Path:
        return folder.joinpath(*parts[1:]) if parts[:1] == ("policies",) else real(*parts)

    put(layers, "shipped", shipped)
    put(policies, "shipped", shipped)


@dataclass(frozen=True)
class Site:
    """A site with a configuration of its own, a small shipped set, and a command line."""

    folder: Path

    @property
    def policies(self) -> Path:
        return self.folder / "data" / "policies"

    @property
    def own(self) -> Path:
        return self.policies / "rules" / "own.toml"

    @property
    def config(self) -> Path:
        return self.folder / "relay.toml"

    def write(self, text: str, name: str = "own.toml") -> Path:
        path = self.policies / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    def run(self, *words: str | Path, lang: str = "en") -> Result:
        """`rules WORD...`; an error of ours gives 1 and its message on standard error, as `main` does."""
        arguments = ["--config", str(self.config), "--lang", lang, "rules", *map(str, words)]
        result = CliRunner().invoke(root, arguments)
        if isinstance(result.exception, RelayError):
            result.stderr_bytes = str(result.exception).encode()
            result.exit_code = 1
        elif result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def start(self, shipped: Path, *words: str | Path) -> "subprocess.Popen[str]":
        """The same in a process of its own."""
        return start(shipped, ["--config", str(self.config), "rules", *map(str, words)])


def site_in(folder: Path) -> Site:
    """A new site."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "relay.toml").write_text('data_dir = "data"\n', "utf-8")
    return Site(folder)


def start(shipped: Path, words: Sequence[str]) -> "subprocess.Popen[str]":
    """The command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ruling", str(shipped), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


if __name__ == "__main__":
    from omicard_relay.cli.root import main

    ship(Path(sys.argv[1]), setattr)
    main(sys.argv[2:])
