"""The speed of a lane: slower when a limit is met, faster when mail goes well, settled below what failed."""

from omicard_relay.steering.speeds import accepted, limited, reopened
from omicard_relay.steering.state import LaneState
from tests.steered import POLICY

SPEEDS = POLICY.speeds


def run(lane, seconds, limit, start=0.0, refused_share=0.0, demand=20.0, burst=0.0):
    """Sends as fast as the lane allows into a bucket of tokens; (accepted, refused)."""
    now, last, tokens, most = start, start, burst, max(burst, 3.0)
    took = refused = 0
    number = 0
    while now < start + seconds:
        now += 1 / min(SPEEDS.pace(lane.speed), demand)
        tokens, last = min(most, tokens + (now - last) * limit), now
        number += 1
        fails = tokens < 1 or (refused_share and number * refused_share % 1 < refused_share)
        if not fails:
            tokens -= 1
            took += 1
            accepted(lane, now, SPEEDS)
        else:
            refused += 1
            pause = limited(lane, lane.speed, now, SPEEDS, sessions=False)
            now += pause or 0.0
    return took, refused


def test_a_limit_is_met_seldom_and_used_well():
    for limit in (0.2, 1.0, 5.0):
        took, refused = run(LaneState(), 4 * 3600, limit, burst=limit * 30)
        assert took >= 0.6 * limit * 4 * 3600
        assert refused <= 0.01 * took + 40


def test_a_burst_before_the_limit_does_not_deceive_for_long():
    took, refused = run(LaneState(), 4 * 3600, 0.5, burst=500)
    assert took >= 0.5 * 0.5 * 4 * 3600
    assert refused < 80


def test_a_pace_that_failed_is_not_tried_again_at_once():
    lane = LaneState(speed=5, changed=-100.0)
    limited(lane, 5, 0.0, SPEEDS, sessions=False)
    assert lane.speed > 5
    assert lane.ceiling == 5
    for second in range(500):
        accepted(lane, float(second), SPEEDS)
    assert lane.speed > 5


def test_what_was_sent_faster_before_slows_it_no_further():
    lane = LaneState(speed=8, changed=0.0)
    assert limited(lane, 0, 100.0, SPEEDS, sessions=False) is None
    assert lane.speed == 8


def test_too_many_connections_are_answered_with_fewer_of_them():
    lane = LaneState()
    limited(lane, 0, 100.0, SPEEDS, sessions=True)
    assert SPEEDS.concurrency(lane.speed) <= 0.7 * SPEEDS.concurrency(0)
    # They are fewer, not slower: the pace is still that of connections that are used.
    assert SPEEDS.pace(lane.speed) > 3


def test_limits_that_do_not_follow_the_pace_are_found_out():
    """Three mails in ten are told of a limit, at whatever pace: to slow would be no use."""
    lane = LaneState()
    run(lane, 6 * 3600, 1e9, refused_share=0.3, demand=2.0)
    assert lane.is_deaf
    assert SPEEDS.pace(lane.speed) >= 1


def test_a_true_limit_is_not_taken_for_such_words():
    lane = LaneState()
    run(lane, 6 * 3600, 0.3, demand=5.0, burst=20)
    assert not lane.is_deaf


def test_a_lane_that_was_blocked_begins_slower_and_rises():
    lane = LaneState()
    for second in range(600):
        accepted(lane, float(second), SPEEDS)
    reopened(lane, 3600.0, 4200.0, SPEEDS)
    assert SPEEDS.pace(lane.speed) <= 0.5
    slow = lane.speed
    for second in range(4200, 4500):
        accepted(lane, float(second), SPEEDS)
    assert lane.speed < slow


def test_a_lane_that_was_hardly_used_is_not_slowed_to_nothing_by_a_block():
    lane = LaneState()
    reopened(lane, 86_400.0, 1e5, SPEEDS)
    assert SPEEDS.pace(lane.speed) >= 0.4
    assert lane.ceiling == 0
