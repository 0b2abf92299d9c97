"""The time stamp at the head of a log line -> aware UTC time, and where the rest of the line begins.

Read are the traditional stamp of syslog and of Postfix's own `maillog_file` (`Nov 24 08:31:31`, RFC 3164 §4.1.2), the
same with a year before it or with a fraction (`2013 Jun 16 16:05:07.123`), and RFC 3339 as rsyslog and journald write it,
with `T` or a space, `+08:00`, `+0800`, `Z` or no offset at all.
Known limits: a stamp without an offset is read in the zone the caller names, and in the hour that a clock change repeats
as the first of the two; a leap second is read as the second before it.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

__all__ = ["read_stamp"]

_STAMP = re.compile(
    r"(?:(?P<year>[0-9]{4}) )?(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>[0-9]{1,2}) "
    r"(?P<clock>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))? "
    r"|(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?"
    r"(?P<offset>Z|[+-][0-9]{2}:?[0-9]{2})? "
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
#: How far ahead of the reader's clock a stamp without a year may be before it belongs to the year before.
_AHEAD = timedelta(days=1)
#: 29 February may be eight years back (1896 and 1904, 2096 and 2104).
_YEARS_BACK = 8


def read_stamp(text: str, *, now: datetime, tz: tzinfo = UTC) -> tuple[datetime, int] | None:
    """The time in UTC and the offset of what follows the stamp and its space; None when the text begins otherwise."""
    match = _STAMP.match(text)
    if match is None:
        return None
    if match["date"]:
        moment = _with_date(match["date"], match["time"], match["offset"], tz)
        fraction = match["part"]
    else:
        # `now` counts to the minute only: thousands of lines of one second share one entry of the cache.
        moment = _without_date(match["year"], match["month"], match["day"], match["clock"], _minute(now), tz)
        fraction = match["fraction"]
    if moment is None:
        return None
    if fraction:
        moment = moment.replace(microsecond=int(f"{fraction:0<6}"[:6]))
    return moment, match.end()


def _minute(now: datetime) -> datetime:
    """The minute of `now`: near enough for a rule of a day, and stable enough for a cache."""
    return now.replace(second=0, microsecond=0)


@lru_cache(maxsize=64)
def _with_date(date: str, clock: str, offset: str | None, tz: tzinfo) -> datetime | None:
    try:
        if offset:
            return datetime.fromisoformat(f"{date}T{_no_leap(clock)}{offset}").astimezone(UTC)
        return datetime.fromisoformat(f"{date}T{_no_leap(clock)}").replace(tzinfo=tz).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=64)
def _without_date(year: str | None, month: str, day: str, clock: str, now: datetime, tz: tzinfo) -> datetime | None:
    if month not in _MONTHS:
        return None
    hour, minute, second = map(int, _no_leap(clock).split(":"))
    here = now.astimezone(tz)
    # From next year's 1 January, seen on 31 December by a clock that is a little late, down to the last 29 February.
    years = (int(year),) if year else range(here.year + 1, here.year - _YEARS_BACK - 1, -1)
    for candidate in years:
        try:
            moment = datetime(candidate, _MONTHS[month], int(day), hour, minute, second, tzinfo=tz).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
        if year or moment - now <= _AHEAD:
            return moment
    return None


def _no_leap(clock: str) -> str:
    """`23:59:60` as `23:59:59`: Python has no leap seconds."""
    return clock[:6] + "59" if clock.endswith(":60") else clock
