"""Choosing to learn: a draw from what is believed of each rest, instead of its mean (Thompson sampling).

What is well known is drawn near its mean and chosen as ever; what is hardly known gets its turn.
"""

from bisect import bisect_left

from omicard_relay.steering.rests import COUNT, TARGETS
from omicard_relay.steering.value import Choice, Table, worth_at
from omicard_relay.steering.values import Chance
from omicard_relay.tables.retry import Model

__all__ = ["sampled"]


def sampled(
    table: Table, tries: int, age: float, chance: Chance, model: Model, *, may_change: bool, delay_weight: float
) -> Choice | None:
    """The rest that is best by one draw of its chance; None where none ends before the deadline."""
    rule, best, top = table.rule, None, float("-inf")
    is_first = rule.counted_from == "first"
    for other in (False, True) if may_change else (False,):
        means, weights = table.chances.mean[tries][other], table.chances.weight[tries][other]
        for bucket in range(COUNT):
            target = TARGETS[bucket]
            reached = target if is_first else age + target
            if target * 1.0001 < rule.least or (reached - age) * 0.97 > rule.most:
                continue
            if reached >= table.deadline or reached <= age:
                continue
            mean, weight = means[bucket], weights[bucket]
            drawn = chance.betavariate(max(mean * weight, 0.05), max((1 - mean) * weight, 0.05))
            follow = table.choices[min(tries + 1, len(table.choices) - 1)]
            place = bisect_left(table.ages, reached)
            after = follow[place] if place < len(table.ages) else None
            later = after.worth if after is not None else 0.0
            worth = drawn * worth_at(reached, table.deadline, delay_weight, model)
            worth += (1 - drawn) * (later - rule.cost) - model.attempt_cost
            if worth > top:
                top, best = worth, Choice(bucket, other, mean, worth)
    return best
