"""The lab as a whole, on a real Postfix in the namespace: the table of domains holds, and the documentation shows it."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab.domains import DOMAINS
from lab.selfcheck import markdown_row

Run = Callable[..., subprocess.CompletedProcess[str]]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "lab.md"


def test_each_domain_behaves_as_its_row_says(in_lab: Run, tmp_path: Path) -> None:
    result = in_lab("lab.selfcheck", str(tmp_path))
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one for one in results if not one["ok"]] == [], result.stderr
    assert {one["domain"] for one in results if "domain" in one} == {domain.name for domain in DOMAINS}
    assert any("later" in one for one in results)
    assert result.returncode == 0, result.stderr


def test_a_killed_postfix_comes_back_with_its_queue_even_in_a_closed_and_deep_folder(
    in_lab: Run, tmp_path: Path
) -> None:
    result = in_lab("crash", str(tmp_path))
    facts = json.loads(result.stdout or "{}")
    assert facts.pop("delivered", None) == ["ann@quota.test"], result.stderr
    assert facts
    assert all(facts.values()), facts


def test_the_documentation_has_every_row_of_the_table() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if re.match(r"\| `[\w-]+\.test`", line)]
    named = {row.split("`")[1]: row for row in rows}
    assert list(named) == [domain.name for domain in DOMAINS]
    for domain in DOMAINS:
        assert named[domain.name].startswith(markdown_row(domain))
        assert domain.says.rstrip() in named[domain.name]
