"""An expired mail's cause is the last one that a server stated."""

import pytest

from omicard_relay.mail import Verdict
from omicard_relay.steering import expiry_verdict


def verdict(code: int) -> Verdict:
    return Verdict(bounce_code=code, rule_id="r", confidence=0.9, words="w")


@pytest.mark.parametrize("last", [None, verdict(900), verdict(928)], ids=["no-attempt", "unknown", "delayed"])
def test_without_a_stated_cause_the_time_is_the_cause(last: Verdict | None) -> None:
    assert (expiry_verdict(last).bounce_code, expiry_verdict(last).rule_id) == (931, "queue-lifetime")


def test_a_stated_cause_stays() -> None:
    assert expiry_verdict(verdict(901)) == verdict(901)
