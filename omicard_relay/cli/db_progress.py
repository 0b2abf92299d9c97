"""How far `db upgrade` is, where it takes longer than a second: on a terminal in one line, elsewhere a line now and then.

A migration is one statement of the database, or a few: what can be told is which one it is, and for how long it runs. A
thread tells it, as the main one waits for the database.
"""

import sys
import threading
import time
from types import TracebackType
from typing import Self

import click

from omicard_relay.cli.language import register, say

__all__ = ["UpgradeProgress"]

#: Seconds after which something is said; between two tellings on a terminal, and between two lines elsewhere.
_AFTER, _EVERY, _EVERY_LINE = 1.0, 0.5, 10.0

register(
    {
        "db-upgrading": (
            "upgrading the database, step {number} of {count} ({name}): {seconds:.0f} s; stopped, it stays as it was",
            "正在升級資料庫，第 {number} 步，共 {count} 步（{name}）：{seconds:.0f} 秒；中斷則維持原狀",
        )
    }
)


class UpgradeProgress:
    """Tells of the step that runs, from `with` to its end."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._step = ("", 0, 0)
        self._is_terminal = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._told = False

    def step(self, name: str, number: int, count: int) -> None:
        """Another one begins."""
        self._step = (name, number, count)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._told and self._is_terminal:
            click.echo("\r\x1b[K", nl=False, err=True)

    def _tell(self) -> None:
        begun, wait = time.monotonic(), _AFTER
        while not self._stop.wait(wait):
            wait = _EVERY if self._is_terminal else _EVERY_LINE
            name, number, count = self._step
            if number:
                text = say("db-upgrading", name=name, number=number, count=count, seconds=time.monotonic() - begun)
                click.echo(f"\r\x1b[K{text}" if self._is_terminal else text, nl=not self._is_terminal, err=True)
                self._told = True
