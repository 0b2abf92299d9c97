"""The warm-up of a new IP: so many mails a day to each provider, by its age.

An IP's age counts on from the moment at which its mail was first seen; one that is warm has none.
"""

from omicard_relay.steering.state import LaneState
from omicard_relay.tables.speeds import Speeds

__all__ = ["DAY", "count_mail", "is_exhausted"]

DAY = 86_400.0


def count_mail(lane: LaneState, now: float) -> None:
    """Counts one mail of this day (UTC); one of a day before, told late, belongs to no allowance that still counts."""
    day = int(now // DAY)
    if day > lane.day:
        lane.day, lane.day_count = day, 0
    lane.day_count += day == lane.day


def is_exhausted(lane: LaneState | None, age: tuple[float, float] | None, now: float, speeds: Speeds) -> bool:
    """Whether the day's allowance is used up. `age`: days, and when it had them; None: a warm IP."""
    if lane is None or age is None or lane.day != int(now // DAY):
        return False
    return lane.day_count >= speeds.allowance(age[0] + max(0.0, now - age[1]) / DAY)
