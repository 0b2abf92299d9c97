"""What the scenarios share: a line that is started and stopped, small campaigns, and waiting for conditions."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.campaign import Campaign, plan
from lab.compare import differences, is_settled
from lab.line import Line
from lab.namespace import inside
from omicard_relay.store import reports
from omicard_relay.store.reports import Subject

#: Seconds in which a campaign must have settled; it takes a third of it on two free cores.
PATIENCE = 180.0


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
        for name in ("relay", "follow", "ingest"):
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


def fates(line: Line, campaign: Campaign) -> list[Subject]:
    """Every recipient of the campaign as the store has it now."""
    store = line.store()
    try:
        with store.read() as tx:
            return reports.fates(tx, campaign=campaign.name)
    finally:
        store.close()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition; fails with `what` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.1)


def assert_settles(line: Line, campaign: Campaign) -> list[Subject]:
    """Wait until every recipient is settled; then store and books must agree, row by row."""
    deadline = time.monotonic() + PATIENCE
    subjects = fates(line, campaign)
    while not is_settled(campaign, subjects) and time.monotonic() < deadline:
        time.sleep(0.5)
        subjects = fates(line, campaign)
    wrong = differences(campaign, subjects, line.internet.books())
    assert not wrong, "\n".join(wrong[:40])
    assert is_settled(campaign, subjects)
    return subjects
