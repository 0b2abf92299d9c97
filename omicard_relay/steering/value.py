"""The look-ahead: which rest, and from which IP, is worth most for a recipient that has failed.

What a delivery is worth falls with the logarithm of its delay (each doubling costs about the same) and is nothing after the
deadline; an attempt costs a little, one that fails costs reputation as its code says. From the last retry backwards, over a
grid of ages, the best of all rests is kept: its expected worth with all that may follow. Nothing worth more than 0: return.
"""

from bisect import bisect_left
from math import log1p

import msgspec

from omicard_relay.steering.cells import TRIES, Chances
from omicard_relay.steering.rests import COUNT, TARGETS, bucket_of
from omicard_relay.tables.retry import Model, RetryRule

__all__ = ["LAST", "NEARLY", "Choice", "Grid", "Table", "grid_of", "look_ahead", "worth_at"]

#: The last attempt is made this part of the time before the deadline, so that it is over when that comes.
NEARLY = 0.985
#: The grid of ages is as fine as the rests at first, and near the deadline as these parts of it.
_LATE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.76, 0.82, 0.87, 0.91, 0.94, 0.96, 0.975)
LAST = -1


class Choice(msgspec.Struct, frozen=True, gc=False):
    """What to do at one age: `bucket` of the rest (LAST: shortly before the deadline), the IP, its chance and its worth."""

    bucket: int
    other_ip: bool
    chance: float
    worth: float


class Table(msgspec.Struct, frozen=True):
    """The choices of one provider and kind by class of retry and age; None: not worth another attempt."""

    chances: Chances
    ages: tuple[float, ...]
    choices: tuple[tuple[Choice | None, ...], ...]
    deadline: float
    rule: RetryRule

    def place(self, age: float) -> int:
        """The place of an age in the grid; its length when it is past."""
        return bisect_left(self.ages, age)

    def choice(self, tries: int, age: float) -> Choice | None:
        """The best choice for a mail of this age."""
        place = self.place(age)
        return None if place >= len(self.ages) else self.choices[tries][place]


def worth_at(age: float, deadline: float, delay_weight: float, model: Model) -> float:
    """The worth of a delivery at this age: 1 at once, `1 - delay_weight` at the deadline, 0 after it."""
    unit = model.delay_unit_minutes * 60
    return 0.0 if age > deadline else 1.0 - delay_weight * log1p(max(age, 0.0) / unit) / log1p(deadline / unit)


class Grid(msgspec.Struct, frozen=True):
    """What a look-ahead needs besides the chances: ages, the worth of a delivery at each, and for each age the rests that
    are allowed, as (bucket, place of the age that is reached). `last`: the bucket of an attempt shortly before the deadline,
    or -1."""

    ages: tuple[float, ...]
    worths: tuple[float, ...]
    rests: tuple[tuple[tuple[int, int], ...], ...]
    last: tuple[int, ...]
    deadline: float
    rule: RetryRule
    attempt_cost: float


def grid_of(rule: RetryRule, deadline: float, model: Model, delay_weight: float) -> Grid:
    """The grid of a rule; it depends on the policy alone."""
    ages = sorted({0.0, *TARGETS, *(deadline * part for part in _LATE)})
    ages = [age for age in ages if age < deadline * NEARLY] + [deadline]
    is_first = rule.counted_from == "first"
    # From the first attempt on, a target may lie beyond the longest rest: what is left of it then must not.
    usable = [
        (b, TARGETS[b])
        for b in range(COUNT)
        if rule.least <= TARGETS[b] * 1.0001 and (is_first or TARGETS[b] * 0.97 <= rule.most)
    ]
    if not usable:
        near = bucket_of(rule.least)
        usable = [(near, max(TARGETS[near], rule.least))]
    longest = max(rule.most, rule.least)
    rests, last = [], []
    for age in ages:
        reached = [(bucket, target if is_first else age + target) for bucket, target in usable]
        allowed = [
            (bucket, end) for bucket, end in reached if age * 1.05 < end <= deadline and (end - age) * 0.97 <= longest
        ]
        rests.append(tuple((bucket, bisect_left(ages, end)) for bucket, end in allowed))
        rest = deadline * NEARLY - age
        near = bucket_of(deadline * NEARLY if is_first else rest)
        last.append(near if rule.least <= rest <= rule.most else -1)
    worths = tuple(worth_at(age, deadline, delay_weight, model) for age in ages)
    return Grid(tuple(ages), worths, tuple(rests), tuple(last), deadline, rule, model.attempt_cost)


def look_ahead(grid: Grid, chances: Chances, *, may_change: bool) -> Table:
    """The table of choices. `may_change`: there is another IP, and the rule allows it."""
    worths, failed, cost = grid.worths, grid.rule.cost, grid.attempt_cost
    rows: list[tuple[Choice | None, ...]] = []
    after: list[float] = []
    for tries in range(TRIES - 1, -1, -1):
        same, another = chances.mean[tries]
        values = [0.0] * len(worths)
        row: list[Choice | None] = [None] * len(worths)
        # Later retries follow each other: the last class goes on into itself, at a later age.
        follow = after or values
        for place in range(len(worths) - 2, -1, -1):
            top, best, ip = 0.0, LAST - 1, False
            for bucket, there in grid.rests[place]:
                later = follow[there] - failed
                gain = worths[there] - later
                value = same[bucket] * gain + later
                if value > top + cost:
                    top, best, ip = value - cost, bucket, False
                if may_change:
                    value = another[bucket] * gain + later
                    if value > top + cost:
                        top, best, ip = value - cost, bucket, True
            near = grid.last[place]
            if near >= 0:
                value = same[near] * (worths[-1] + failed) - failed - cost
                if value > top:
                    top, best, ip = value, LAST, False
            if best >= LAST:
                chance = chances.mean[tries][ip][best if best != LAST else near]
                row[place] = Choice(best, ip, chance, top)
            values[place] = top
        after = values
        rows.append(tuple(row))
    rows.reverse()
    return Table(chances, grid.ages, tuple(rows), grid.deadline, grid.rule)
