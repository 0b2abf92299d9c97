"""What a client hears of a drop."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.scrub import Drop, smtp_reply


@pytest.mark.parametrize(
    ("step", "code", "reply"),
    [
        pytest.param("syntax", 902, "553 5.1.3 [902] why", id="syntax"),
        pytest.param("known-bounce", 902, "550 5.1.1 [902] why", id="unknown"),
        pytest.param("known-bounce", 901, "550 5.2.2 [901] why", id="full"),
        pytest.param("known-bounce", 905, "550 5.1.2 [905] why", id="no-domain"),
        pytest.param("known-bounce", 912, "550 5.2.1 [912] why", id="closed"),
        pytest.param("unsubscribed", 926, "550 5.7.1 [926] why", id="unsubscribed"),
        pytest.param("blacklist", 999, "550 5.7.1 [999] why", id="any-other-code"),
        pytest.param("duplicate", None, "550 5.7.1 why", id="duplicate"),
    ],
)
def test_the_enhanced_status_fits_the_code(step, code, reply) -> None:
    assert smtp_reply(Drop(step=step, reason="why", bounce_code=code)) == reply


def test_foreign_reasons_stay_one_ascii_line() -> None:
    drop = Drop(step="unsubscribed", reason="取消\r\n250 ok\x1b[2J", bounce_code=926)
    assert smtp_reply(drop) == "550 5.7.1 [926] \\u53d6\\u6d88 250 ok\\x1b[2J"


@given(st.text(max_size=2000), st.sampled_from([None, 900, 902, 939]))
def test_any_reason_gives_one_printable_ascii_line_of_bounded_length(reason: str, code: int | None) -> None:
    reply = smtp_reply(Drop(step="blacklist", reason=reason, bounce_code=code))
    assert re.fullmatch(r"550 5\.\d\.\d( \[\d{3}\])?( [ -~]*)?", reply)
    assert len(reply) <= 510
