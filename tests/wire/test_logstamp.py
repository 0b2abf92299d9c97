"""Time stamps of every writer, and the year that a traditional stamp leaves out."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.wire.logstamp import read_stamp

NOW = datetime(2026, 11, 24, 9, 0, 0, tzinfo=UTC)
TAIPEI = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        pytest.param("Nov 24 08:31:31", "2026-11-24T08:31:31+00:00", id="traditional"),
        pytest.param("Nov  4 08:31:31", "2026-11-04T08:31:31+00:00", id="day-padded-with-a-space"),
        pytest.param("Nov 04 08:31:31", "2026-11-04T08:31:31+00:00", id="day-padded-with-a-zero"),
        pytest.param("Nov 24 08:31:31.5", "2026-11-24T08:31:31.500000+00:00", id="traditional-with-fraction"),
        pytest.param("2013 Jun 16 16:05:07.123", "2013-06-16T16:05:07.123000+00:00", id="year-before-it"),
        pytest.param("2026-11-24T08:31:31.123456+08:00", "2026-11-24T00:31:31.123456+00:00", id="rfc-3339"),
        pytest.param("2026-11-24T08:31:31.123456789Z", "2026-11-24T08:31:31.123456+00:00", id="nanoseconds-and-z"),
        pytest.param("2026-11-24T08:31:31+0800", "2026-11-24T00:31:31+00:00", id="journald-short-iso"),
        pytest.param("2026-11-24T08:31:31-03:30", "2026-11-24T12:01:31+00:00", id="journald-newer-short-iso"),
        pytest.param("2026-11-24 08:31:31,250", "2026-11-24T08:31:31.250000+00:00", id="space-comma-no-offset"),
        pytest.param("2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00", id="leap-second"),
    ],
)
def test_stamps_are_read_to_utc(stamp: str, expected: str) -> None:
    read = read_stamp(f"{stamp} host", now=NOW)
    assert read is not None
    assert (read[0].isoformat(), read[1]) == (expected, len(stamp) + 1)


@pytest.mark.parametrize(
    ("stamp", "now", "year"),
    [
        pytest.param("Nov 24 08:31:31", NOW, 2026, id="today"),
        pytest.param("Nov 25 08:31:31", NOW, 2026, id="within-a-day-ahead-is-a-clock-that-is-late"),
        pytest.param("Nov 25 10:31:31", NOW, 2025, id="more-than-a-day-ahead-is-last-year"),
        pytest.param("Dec 31 23:59:59", datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC), 2026, id="new-years-eve-read-after"),
        pytest.param(
            "Jan  1 00:00:03", datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC), 2027, id="new-year-read-before"
        ),
        pytest.param("Feb 29 12:00:00", NOW, 2024, id="last-leap-day"),
    ],
)
def test_a_stamp_without_a_year_is_the_latest_that_is_not_ahead(stamp: str, now: datetime, year: int) -> None:
    read = read_stamp(f"{stamp} host", now=now)
    assert read is not None
    assert read[0].year == year


def test_a_stamp_without_an_offset_is_read_in_the_named_zone() -> None:
    for stamp in ("Nov 24 08:31:31", "2026 Nov 24 08:31:31", "2026-11-24 08:31:31"):
        read = read_stamp(f"{stamp} host", now=NOW, tz=TAIPEI)
        assert read is not None
        assert read[0] == datetime(2026, 11, 24, 0, 31, 31, tzinfo=UTC)


def test_a_zone_with_clock_changes_is_read_by_the_day_of_the_stamp() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    summer, winter = (read_stamp(f"{day} 12:00:00 host", now=NOW, tz=berlin) for day in ("Jul  1", "Nov  1"))
    assert summer is not None
    assert winter is not None
    assert (summer[0].hour, winter[0].hour) == (10, 11)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Nov 24 08:31",
        "Nov 31 08:31:31 h",
        "Foo 24 08:31:31 h",
        "Nov 24 25:31:31 h",
        "Nov ２4 08:31:31 h",
        "2026-13-01T00:00:00Z h",
        "0000-01-01T00:00:00Z h",
        "0001-01-01T00:00:00+23:59 h",
        "2026-11-24T08:31:31+99:99 h",
    ],
)
def test_what_is_no_stamp_is_none(text: str) -> None:
    assert read_stamp(text, now=NOW) is None


@given(st.text(alphabet="0123456789:-+TZ. NovFebJan,", max_size=40))
def test_no_text_raises(text: str) -> None:
    read_stamp(text, now=NOW)


@given(st.integers(31_536_000_000_000, 3_786_912_000_000_000))
def test_a_written_stamp_is_read_back(microseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC).astimezone(TAIPEI) + timedelta(microseconds=microseconds)
    read = read_stamp(moment.isoformat(timespec="microseconds") + " h", now=NOW)
    assert read is not None
    assert read[0] == moment
    ago = moment.replace(microsecond=0)
    traditional = read_stamp(f"{ago:%b %d %H:%M:%S} h", now=moment.astimezone(UTC), tz=TAIPEI)
    assert traditional is not None
    assert traditional[0] == ago
