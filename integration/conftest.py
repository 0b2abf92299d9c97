"""What the scenarios share: a line that is started and stopped, and campaigns."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.campaign import Campaign, plan
from lab.line import Line
from lab.namespace import inside


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Outside of the namespace the scenarios would speak to the machine's own ports: they are skipped with a sentence."""
    if not inside():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs the namespace: run `make integration`"))


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[Callable[..., Line]]:
    """`make_line(**how)` gives a line that runs; it is stopped at the end, and its logs are shown when the test failed."""
    lines: list[Line] = []

    def make(**how: Any) -> Line:
        line = Line(tmp_path / "line", **how)
        lines.append(line)
        line.start()
        return line

    yield make
    for line in lines:
        line.stop()
        for name in ("relay", "follow", "ingest", "steer"):
            if line.service_log(name).exists():
                print(f"--- {name}\n{line.service_log(name).read_text(errors='replace')[-3000:]}")


@pytest.fixture
def campaign() -> Campaign:
    """All 1,000 recipients."""
    return plan()


@pytest.fixture
def small_campaign() -> Callable[..., Campaign]:
    """Every n-th recipient of the campaign, so that all habits are still there; without those that `leave_out` names."""

    def cut(step: int, leave_out: Callable[[Any], bool] = lambda planned: False) -> Campaign:
        whole = plan()
        chosen = [one for one in whole.recipients[::step] if one.drop_reason != "duplicate" and not leave_out(one)]
        return replace(whole, recipients=tuple(chosen))

    return cut
