"""Moments and counts as people give them to several commands: `--since 2026-11-20`, `--since 12h`, and bars of progress."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import click

from omicard_relay.cli.language import register, say
from omicard_relay.mail import one_line

__all__ = ["MOMENT", "progress", "who"]

register(
    {
        "moment-bad": (
            "`{text}` is no moment; write 2026-11-20, 2026-11-20T08:00+08:00, or an age such as 12h or 7d",
            "`{text}` 不是時間；請寫 2026-11-20、2026-11-20T08:00+08:00，或像 12h、7d 這樣的時距",
        ),
        "who-unknown": ("unknown user", "不明使用者"),
    }
)

_AGE = re.compile(r"([0-9]{1,5})([hd])")


class _Moment(click.ParamType[datetime]):
    """An aware datetime; without a zone it is UTC. An age counts back from now."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        age = _AGE.fullmatch(text)
        try:
            if age:
                hours = int(age.group(1)) * (24 if age.group(2) == "d" else 1)
                return datetime.now(UTC) - timedelta(hours=hours)
            found = datetime.fromisoformat(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(say("moment-bad", text=one_line(text, 60)), param, ctx)


MOMENT = _Moment()


@contextmanager
def progress(total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where that is a terminal; gives the function that moves it on."""
    if not shown or not sys.stderr.isatty():
        yield lambda count: None
        return
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update


def who() -> str:
    """The user who gives the command."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return say("who-unknown")
