"""The enhanced status code that goes with a bounce code."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.mail.statuses import status_for


@pytest.mark.parametrize(
    ("code", "reply_class", "original", "status"),
    [
        pytest.param(901, 5, "4.2.2", "5.2.2", id="the-subject-fits"),
        pytest.param(902, 5, "4.1.1", "5.1.1", id="unknown"),
        pytest.param(902, 5, "4.7.1", "5.1.1", id="a-policy-status-for-an-unknown-user"),
        pytest.param(921, 4, "5.1.1", "4.7.1", id="an-unknown-user-status-for-a-rate-limit"),
        pytest.param(921, 4, "5.7.28", "4.7.28", id="a-detail-of-the-same-subject"),
        pytest.param(921, 4, "5.2.1", "4.2.1", id="a-subject-that-can-say-it"),
        pytest.param(938, 4, "5.0.0", "4.7.1", id="zero-says-nothing"),
        pytest.param(938, 4, "5.7.0", "4.7.1", id="a-detail-of-zero"),
        pytest.param(907, 4, "5.6.1", "4.6.1", id="any-subject"),
        pytest.param(910, 5, "4.4.1", "5.4.1", id="no-answer"),
        pytest.param(912, 5, "4.1.1", "5.2.1", id="closed"),
        pytest.param(935, 4, "", "4.7.1", id="no-status"),
    ],
)
def test_status(code: int, reply_class: int, original: str, status: str) -> None:
    assert status_for(code, reply_class, original) == status


@given(
    st.integers(900, 939),
    st.sampled_from([4, 5]),
    st.text(max_size=12) | st.from_regex(r"[245]\.\d{1,3}\.\d{1,3}", fullmatch=True),
)
def test_it_is_always_a_status_of_the_class(code: int, reply_class: int, original: str) -> None:
    assert re.fullmatch(rf"{reply_class}\.\d{{1,3}}\.\d{{1,3}}", status_for(code, reply_class, original), re.ASCII)
