"""The speed of a lane: slower at once by a factor when a limit is met, faster by a step after mail that went well.

As TCP does it, with classes for windows: the fastest class that failed is remembered, and not tried again before a hold
that doubles each time; so a lane settles below the limit instead of sawing at it.
"""

from math import exp

from omicard_relay.steering.state import LaneState
from omicard_relay.tables.speeds import Speeds

__all__ = ["accepted", "limited", "reopened"]

#: The flow of a lane is what it took in about the last minute; steady is what it took in ten.
_FLOW_SECONDS, _STEADY_SECONDS = 60.0, 600.0
#: Replies to mails that were under way when the lane slowed say nothing new for so long.
_UNDER_WAY = 2.0
#: No lane begins slower than this after its first limit: a burst may have met it, and rising is quick.
_FIRST_PACE, _FIRST_SESSIONS = 0.2, 2
#: A lane opens no slower than this; a block at less than this part of an earlier pace has other causes.
_SLOWEST, _NOT_THE_PACE, _OF_STEADY = 0.04, 0.3, 0.7
#: A lane is idle below about three mails in ten minutes; where that says nothing, it opens at this pace.
_IDLE, _NEW_PACE, _LONGEST_HOLD = 0.005, 0.5, 4 * 3600.0
#: Limits met are counted over about the last twenty mails.
_FADE = 0.95
#: After so many decreases, with limits among so many of the mails, a test some classes faster tells whether slowing helps.
_FALLS, _SEEN_ENOUGH, _SOME, _MOST = 4, 8.0, 0.05, 0.6
_TEST_STEPS, _TEST_MAILS, _TEST_HITS, _MORE = 5, 12, 4, 0.3
_TEST_AGAIN = 2 * 3600.0


def accepted(lane: LaneState, now: float, speeds: Speeds) -> None:
    """Counts a mail that went well, and makes the lane faster when it is time."""
    passed = now - lane.flow_at
    lane.flow = (lane.flow * exp(-passed / _FLOW_SECONDS) if passed > 0 else lane.flow) + 1 / _FLOW_SECONDS
    lane.steady = (lane.steady * exp(-passed / _STEADY_SECONDS) if passed > 0 else lane.steady) + 1 / _STEADY_SECONDS
    lane.flow_at = max(now, lane.flow_at)
    if not lane.speed and not lane.tried:
        return
    lane.hits *= _FADE
    lane.tried = lane.tried * _FADE + 1
    if lane.test is not None:
        before, mails, hits = lane.test
        lane.test = before, mails + 1, hits
        _judge(lane, now)
        return
    if lane.speed == 0:
        return
    lane.oks += 1
    change = speeds.change
    if lane.oks < change.rise_after or now - lane.changed < change.rise_seconds:
        return
    step = 2 if lane.speed - 2 > lane.ceiling else 1
    faster = max(0, lane.speed - step)
    if lane.ceiling and faster <= lane.ceiling:
        if now < lane.ceiling_until:
            return
        # The pace that failed is tried; where it holds, the next faster one becomes the doubtful one.
        lane.ceiling = max(0, faster - 1)
        lane.ceiling_until = now + lane.hold
    lane.speed, lane.changed, lane.oks, lane.falls = faster, now, 0, 0


def limited(lane: LaneState, went_with: int, now: float, speeds: Speeds, *, sessions: bool) -> float | None:
    """Slows a lane that met a limit, of `sessions` or of mails; how many seconds it pauses.

    None where nothing changes: the mail was sent faster, before, or the lane's limits do not follow its pace.
    """
    lane.hits = lane.hits * _FADE + 1
    lane.tried = lane.tried * _FADE + 1
    if lane.test is not None:
        before, mails, hits = lane.test
        lane.test = before, mails + 1, hits + 1
        _judge(lane, now)
        return None
    if lane.is_deaf:
        if lane.tried < _SEEN_ENOUGH or lane.hits / lane.tried <= lane.deaf_share + _MORE:
            return None
        # More than the words alone: here the pace is the cause. What has always been met is no part of it.
        lane.hits = lane.deaf_share * lane.tried
    if went_with < lane.speed or (lane.speed and now - lane.changed < _UNDER_WAY):
        return None
    if not lane.is_deaf and _is_doubtful(lane, now):
        lane.test = lane.speed, 0, 0
        lane.speed, lane.changed = max(1, lane.speed - _TEST_STEPS), now
        return None
    change = speeds.change
    if lane.falls and not lane.oks:
        # Nothing passed since it slowed: slower still would tell no more than a longer pause.
        lane.changed = now
        return change.pause_seconds[1]
    least, most = (minutes * 60 for minutes in change.hold_minutes)
    if sessions:
        # So many were allowed, but nobody knows how many there were: two, at first; later seven in ten, whatever the pace.
        wanted = speeds.concurrency(lane.speed) * change.decrease
        if not lane.ceiling:
            wanted = min(wanted, _FIRST_SESSIONS)
        failed = lane.speed or 1
        slower = speeds.narrower(wanted)
    else:
        failed = lane.speed or speeds.at_most(max(_flow(lane, now), _FIRST_PACE))
        slower = speeds.at_most(speeds.pace(failed) * change.decrease)
    # A failure at about the same pace, after it had been slower and rose, doubles the hold.
    again = lane.hold and lane.ceiling and failed <= lane.ceiling + 2 and not lane.falls
    lane.hold = min(most, lane.hold * 2) if again else least
    lane.ceiling, lane.ceiling_until = failed, now + lane.hold
    lane.speed = max(slower, min(lane.speed + 1, speeds.slowest))
    lane.changed, lane.oks = now, 0
    lane.falls += 1
    if sessions and speeds.concurrency(failed) > 1:
        return change.pause_seconds[0]
    return min(max(3 / speeds.pace(lane.speed), change.pause_seconds[0]), change.pause_seconds[1])


def _is_doubtful(lane: LaneState, now: float) -> bool:
    """Whether slowing has been no use: the lane fell again and again, and still meets limits among mails that pass."""
    if lane.falls < _FALLS or now < lane.test_after or lane.tried < _SEEN_ENOUGH or not lane.speed:
        return False
    return _SOME <= lane.hits / lane.tried <= _MOST


def _judge(lane: LaneState, now: float) -> None:
    """Ends a test at a faster pace: as many limits as before mean that the pace is not their cause."""
    assert lane.test is not None  # noqa: S101
    before, mails, hits = lane.test
    share = lane.hits / lane.tried if not mails else lane.deaf_share
    if mails == 1:
        # What was met before the test is what it is held against.
        lane.deaf_share = share = min(_MOST, lane.hits / lane.tried)
    is_worse = hits >= _TEST_HITS and hits / mails > share + _MORE
    if not is_worse and mails < _TEST_MAILS:
        return
    lane.test = None
    if is_worse:
        lane.speed, lane.changed, lane.oks = before, now, 0
        lane.test_after = now + _TEST_AGAIN
    else:
        lane.is_deaf, lane.ceiling, lane.falls = True, 0, 0
        lane.deaf_share = max(share, hits / mails)
        lane.changed, lane.oks = now, 0


def reopened(lane: LaneState, rested: float, now: float, speeds: Speeds) -> None:
    """A lane that opens after a rest begins at half of what it carried before, or less, and rises from there."""
    failed = max(lane.flow, lane.steady, _SLOWEST)
    if lane.speed:
        failed = min(failed, speeds.pace(lane.speed))
    least, most = (minutes * 60 for minutes in speeds.change.hold_minutes)
    lane.test, lane.falls, lane.changed, lane.oks = None, 0, now, 0
    if lane.ceiling and failed <= speeds.pace(lane.ceiling) * _NOT_THE_PACE:
        # Blocked again at a fraction of the pace that was blocked before: it is not the pace that they mind.
        lane.ceiling, lane.hold = 0, 0.0
        return
    if lane.steady < _IDLE:
        # It had hardly been used: no pace of ours can be the cause.
        lane.speed = max(lane.speed, speeds.at_most(_NEW_PACE))
        return
    # Many blocks follow so many mails in some minutes: what went in ten, not in the burst, is near what they allow.
    pace = min(failed / 2, lane.steady * _OF_STEADY) if lane.steady else failed / 2
    doubtful = speeds.at_most(max(min(failed, 2 * pace), _SLOWEST))
    # A pace that led to a block is not worth another: it is held for twice as long as the block was, and doubles.
    again = lane.hold and lane.ceiling and doubtful <= lane.ceiling + 2
    lane.hold = min(most, max(least, min(2 * rested, _LONGEST_HOLD), lane.hold * 2 if again else 0.0))
    lane.speed = max(speeds.at_most(max(pace, _SLOWEST)), lane.speed)
    lane.ceiling, lane.ceiling_until = max(1, min(doubtful, lane.speed - 3)), now + lane.hold


def _flow(lane: LaneState, now: float) -> float:
    passed = now - lane.flow_at
    return lane.flow * exp(-passed / _FLOW_SECONDS) if passed > 0 else lane.flow
