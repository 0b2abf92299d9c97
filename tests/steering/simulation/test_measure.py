"""Measures: percentiles by nearest rank, and sums over providers."""

import pytest

from omicard_relay.steering.simulation.measure import Tally, percentile, summed


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [
        ([], 50, None),
        ([7.0], 50, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        (list(range(1, 101)), 95, 95),
    ],
)
def test_percentiles_are_values_that_occurred(values, percent, found):
    assert percentile(values, percent) == found


def test_a_result_sums_its_providers():
    one, other = Tally(), Tally()
    one.recipients, one.attempts, one.possible = 3, 7, 3
    other.recipients, other.attempts, other.returned, other.wrongly_returned, other.wasted = 1, 2, 1, 1, 1
    one.times.extend([30.0, 10.0, 20.0])
    result = summed([one, other], ["a", "b"], [1.5, 0.25], world="w", policy="p", seed=3)
    assert (result.recipients, result.delivered, result.returned, result.attempts) == (4, 3, 1, 9)
    assert (result.delivered_share, result.attempts_per_delivered, result.blocked_ip_hours) == (0.75, 3.0, 1.75)
    assert (result.median_seconds, result.p95_seconds) == (20.0, 30.0)
    assert [one.provider for one in result.providers] == ["a", "b"]
    assert result.providers[1].median_seconds is None


def test_the_curve_ends_with_the_last_full_hundredth():
    tally = Tally()
    tally.recipients = 200
    tally.times.extend(float(n) for n in range(1, 102))
    result = summed([tally], ["a"], [0.0], world="w", policy="p", seed=1)
    assert len(result.curve) == 50
    assert result.curve[:3] == (2.0, 4.0, 6.0)
    assert result.curve[-1] == 100.0
