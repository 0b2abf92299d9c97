"""How a mail server spreads mails over its IPs: by chance for each attempt, in turn for each attempt, or in turn for each mail.

`randmap` of Postfix draws by weight whenever it looks up the route; KumoMTA goes round by weight; PowerMTA and ZoneMTA
give a mail its IP once, so that greylisting sees the same one.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate

from omicard_relay.steering.values import Chance
from omicard_relay.tables.worldtables import Source

__all__ = ["InTurn", "drawn"]


def drawn(weights: Sequence[float], chance: Chance) -> int:
    """The number of a place, drawn by weight."""
    sums = list(accumulate(weights))
    return min(bisect_right(sums, chance.random() * sums[-1]), len(sums) - 1)


class InTurn:
    """Round by weight, evenly mixed: each time the IP that is farthest behind its part; those to be skipped are left out."""

    __slots__ = ("_behind", "_weights")

    def __init__(self, ips: Sequence[Source]) -> None:
        self._weights = [source.weight for source in ips]
        self._behind = [0.0] * len(ips)

    def next(self, skipped: Collection[int] = ()) -> int:
        """The next IP; -1 where all are skipped."""
        behind, best, total = self._behind, -1, 0.0
        for number, weight in enumerate(self._weights):
            if weight and number not in skipped:
                behind[number] += weight
                total += weight
                if best < 0 or behind[number] > behind[best]:
                    best = number
        if best >= 0:
            behind[best] -= total
        return best
