"""Waiting for conditions, never for seconds; and the comparison that ends a scenario."""

import time
from collections.abc import Callable

from lab.campaign import Campaign
from lab.compare import differences, is_settled
from lab.line import Line
from omicard_relay.store import reports
from omicard_relay.store.reports import Subject

__all__ = ["assert_settles", "fates", "wait_until"]

#: Seconds in which a campaign must have settled; it takes a third of it on two free cores.
_PATIENCE = 180.0


def fates(line: Line, campaign: Campaign) -> list[Subject]:
    """Every recipient of the campaign as the store has it now."""
    store = line.store()
    try:
        with store.read() as tx:
            return reports.fates(tx, campaign=campaign.name)
    finally:
        store.close()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition. Raises AssertionError with `what` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.1)


def assert_settles(line: Line, campaign: Campaign) -> list[Subject]:
    """Wait until every recipient is settled; then store and books must agree, row by row."""
    deadline = time.monotonic() + _PATIENCE
    subjects = fates(line, campaign)
    while not is_settled(campaign, subjects) and time.monotonic() < deadline:
        time.sleep(0.5)
        subjects = fates(line, campaign)
    wrong = differences(campaign, subjects, line.internet.books())
    assert not wrong, "\n".join(wrong[:40])
    assert is_settled(campaign, subjects)
    return subjects
