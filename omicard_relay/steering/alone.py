"""The policy alone: what happens when the model is off, or before it has anything to say."""

from omicard_relay.tables.retry import RetryRule

__all__ = ["rest_alone"]


def rest_alone(rule: RetryRule, failed: int) -> float:
    """Seconds of rest after so many failures before this one: from where the guess reaches half of its best, growing."""
    half = max(chance for _, chance in rule.guess) / 2
    first = next(minutes for minutes, chance in rule.guess if chance >= half) * 60
    # 40 steps of any growth above 1 reach every bound that a file may have.
    return max(rule.least, min(rule.most, first * rule.growth ** min(failed, 40)))
