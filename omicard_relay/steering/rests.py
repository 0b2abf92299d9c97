"""Rests in classes: from seconds to a bucket and back.

The edges lie where receivers put their own: greylisting at 1, 2, 5, 10, 15, 30 min, blocks at 1, 2, 4, 12, 24 h. A rest that
is chosen lies just above an edge, so that a wait of exactly five minutes is over when the mail comes back.
"""

from bisect import bisect_left, bisect_right

__all__ = ["COUNT", "EDGES", "TARGETS", "bucket_of", "guessed"]

#: The lower edge of each bucket but the first, in seconds.
EDGES = (
    60.0, 120.0, 180.0, 240.0, 300.0, 450.0, 600.0, 900.0, 1200.0, 1500.0, 1800.0, 2400.0, 3000.0, 3600.0, 5400.0, 7200.0,
    14400.0, 21600.0, 28800.0, 43200.0, 86400.0, 172800.0, 345600.0,
)  # fmt: skip
COUNT = len(EDGES) + 1
#: The rest that is chosen in each bucket: its edge, and a little for clocks that differ.
TARGETS = (5.0, *(edge * 1.02 + 2.0 for edge in EDGES))


def bucket_of(rest_seconds: float) -> int:
    """The bucket of a rest; whatever is no number, or below nothing, is the shortest."""
    return bisect_right(EDGES, rest_seconds) if rest_seconds > 0 else 0


def guessed(points: tuple[tuple[float, float], ...], rest_seconds: float) -> float:
    """The chance of a guess curve (minutes, chance) after this rest: straight between its points, level outside."""
    minutes = rest_seconds / 60
    place = bisect_left(points, (minutes, 0.0))
    if place == 0:
        # Below the first point the chance falls with the rest: nobody promised anything for it.
        return points[0][1] * min(1.0, max(minutes, 0.0) / points[0][0]) if points[0][0] > 0 else points[0][1]
    if place == len(points):
        return points[-1][1]
    (low, before), (high, after) = points[place - 1], points[place]
    return before + (after - before) * (minutes - low) / (high - low)
