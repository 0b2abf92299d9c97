"""Moments on the command line: always aware, always UTC, and never a crash."""

import contextlib
from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.cli.moments import MOMENT


def read(text):
    return MOMENT.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00+08:00", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:00:01Z", datetime(2026, 11, 20, 8, 0, 1, tzinfo=UTC)),
    ],
)
def test_a_date_or_a_time(text, wanted):
    assert read(text) == wanted


@pytest.mark.parametrize(
    ("text", "age"), [("12h", timedelta(hours=12)), ("7d", timedelta(days=7)), ("0h", timedelta())]
)
def test_an_age_counts_back_from_now(text, age):
    before = datetime.now(UTC)
    assert before - age <= read(text) <= datetime.now(UTC) - age


@pytest.mark.parametrize("text", ["", "yesterday", "7w", "99999999d", "2026-13-01", "0001-01-01T00:00+14:00"])
def test_anything_else_is_refused_with_what_to_write(text):
    with pytest.raises(click.BadParameter, match="12h or 7d"):
        read(text)


@given(st.text(max_size=30))
def test_no_text_crashes(text):
    with contextlib.suppress(click.BadParameter):
        assert read(text).tzinfo is not None
