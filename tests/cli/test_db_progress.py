"""How far an upgrade is: told after a while, never before, and never in the way of what comes after it."""

import pytest

from omicard_relay.cli import db_progress
from omicard_relay.cli.db_progress import UpgradeProgress
from omicard_relay.cli.language import choose_language
from tests.keeping import wait_for


@pytest.fixture
def told(monkeypatch):
    """What is written, and not a second of patience."""
    texts = []
    monkeypatch.setattr(db_progress, "_AFTER", 0.0)
    monkeypatch.setattr(db_progress, "_EVERY", 0.001)
    monkeypatch.setattr(db_progress, "_EVERY_LINE", 0.001)
    monkeypatch.setattr(db_progress.click, "echo", lambda text, **how: texts.append((text, how["nl"])))
    return texts


def test_the_step_that_runs_is_told_in_lines_where_nobody_looks_on(told):
    choose_language("en")
    with UpgradeProgress() as progress:
        progress.step("0002", 1, 2)
        wait_for(lambda: told)
        progress.step("0003", 2, 2)
        wait_for(lambda: "0003" in told[-1][0])
    assert told[0] == (
        "upgrading the database, step 1 of 2 (0002): 0 s; stopped, it stays as it was",
        True,
    )
    assert not any("\r" in text for text, _ in told)


def test_on_a_terminal_it_is_one_line_that_goes_in_the_end(told, monkeypatch):
    choose_language("zh-TW")
    monkeypatch.setattr(db_progress.sys.stderr, "isatty", lambda: True, raising=False)
    try:
        with UpgradeProgress() as progress:
            progress.step("0002", 1, 2)
            wait_for(lambda: told)
    finally:
        choose_language("en")
    assert "正在升級資料庫，第 1 步，共 2 步（0002）" in told[0][0]
    assert told[-1] == ("\r\x1b[K", False)


def test_what_is_quick_says_nothing(told, monkeypatch):
    monkeypatch.setattr(db_progress, "_AFTER", 3600.0)
    with UpgradeProgress() as progress:
        progress.step("0002", 1, 1)
    assert told == []


def test_an_error_goes_through(told):
    with pytest.raises(ZeroDivisionError), UpgradeProgress():
        raise ZeroDivisionError
