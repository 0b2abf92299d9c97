"""Names of transports both ways, and the values of the exceptions table."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.wire.transports import read_transport, resting_value, returned_value, transport_name, transport_value


@given(st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True), st.integers(0, 99))
def test_a_name_is_read_as_it_was_made(ip: str, speed: int) -> None:
    assert read_transport(transport_name(ip, speed)) == (ip, speed)


@pytest.mark.parametrize(
    "name", ["", "IP1", "ip1-s0", "ip1-s", "ip1-s100", "ip1-t3", "omi-lmtp", "1ip", "ip1 ", "ip1-s3-s4"]
)
def test_what_has_not_the_form_is_none(name: str) -> None:
    assert read_transport(name) is None


@given(st.text(max_size=40))
def test_any_text_is_read(name: str) -> None:
    read_transport(name)


def test_a_transport_leaves_the_destination_as_it_is() -> None:
    assert transport_value("ip2") == "ip2:"
    assert transport_value("ip2", 3) == "ip2-s3:"


def test_rest_is_told_to_the_minute_in_utc_and_never_too_short() -> None:
    taipei = timezone(timedelta(hours=8))
    assert (
        resting_value(938, datetime(2026, 11, 25, 5, 39, 1, tzinfo=taipei))
        == "retry:4.3.2 [938] resting until 2026-11-24 21:40 UTC"
    )
    assert resting_value(935, datetime(2026, 11, 24, 21, 40, tzinfo=UTC)).endswith("21:40 UTC")


@pytest.mark.parametrize(
    ("code", "text", "status", "value"),
    [
        (917, "550 5.7.1 listed", "5.7.1", "error:5.7.1 [917] returned: 550 5.7.1 listed"),
        (902, "450 4.1.1 who?", "4.1.1", "error:5.1.1 [902] returned: 450 4.1.1 who?"),
        (901, "452 full", "", "error:5.2.2 [901] returned: 452 full"),
        (900, "a\nb\x07 信", "", "error:5.0.0 [900] returned: a b\\x07 \\u4fe1"),
        (931, "", "", "error:5.4.7 [931] returned:"),
    ],
)
def test_a_return_carries_the_last_reply_and_a_status_that_fits(code: int, text: str, status: str, value: str) -> None:
    assert returned_value(code, text, status) == value


def test_a_long_reply_is_cut_so_that_a_log_line_holds_it() -> None:
    assert len(returned_value(907, "x" * 5000)) < 1000
