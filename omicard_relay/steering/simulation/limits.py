"""What a receiver counts about our IPs: buckets of tokens, offences and their blocks, a day's allowance of a young IP.

Each is told the time and what it counts together (an IP, its /24, or all); none knows what is answered.
"""

from collections import deque

from omicard_relay.tables.worldtables import Block, Rate, Warmup

__all__ = ["Blocks", "Bucket", "DayCount"]

_DAY = 86_400.0
_HOUR = 3600.0


class Bucket:
    """A bucket of tokens that fills evenly; a mail takes one."""

    __slots__ = ("_last", "_most", "_per_second", "_tokens")

    def __init__(self, rate: Rate) -> None:
        self._most = float(rate.burst or rate.mails)
        self._per_second = rate.mails / rate.every
        self._tokens, self._last = self._most, 0.0

    def take(self, now: float) -> bool:
        """Whether there was a token."""
        tokens = min(self._most, self._tokens + (now - self._last) * self._per_second)
        self._last = now
        # Evenly spaced mails at just the rate must pass: what rounding loses is no offence.
        if tokens < 1.0 - 1e-9:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True


class DayCount:
    """What a young IP brought today, against what its age allows."""

    __slots__ = ("_age", "_count", "_day", "_warmup")

    def __init__(self, warmup: Warmup, age_days: float) -> None:
        self._warmup, self._age = warmup, age_days
        self._day, self._count = -1, 0

    def take(self, now: float) -> bool:
        """Whether one more is allowed."""
        day = int(now // _DAY)
        if day != self._day:
            self._day, self._count = day, 0
        age = int(self._age + now / _DAY)
        if age >= self._warmup.days:
            return True
        if self._count >= self._warmup.mails * self._warmup.growth**age:
            return False
        self._count += 1
        return True


class Blocks:
    """The blocks of one IP (or one /24) at one receiver: they follow offences, and every poke lengthens them."""

    __slots__ = ("_last_rest", "_offences", "_rule", "_since", "_spent", "until")

    def __init__(self, rule: Block) -> None:
        self._rule = rule
        self._offences: deque[float] = deque(maxlen=rule.offences)
        self.until = float("-inf")
        self._since, self._spent, self._last_rest = 0.0, 0.0, 0.0

    def change(self, rule: Block) -> None:
        """From now on by this rule; a running block stays."""
        if rule is not self._rule:
            self._offences = deque(self._offences, maxlen=rule.offences)
            self._rule = rule

    def is_closed(self, now: float) -> bool:
        """Whether it is blocked; the question is an attempt, which lengthens the block."""
        if now >= self.until:
            return False
        self.until = max(self.until, min(self.until + self._rule.lengthens, self._since + self._rule.at_most))
        return True

    def offend(self, now: float) -> None:
        """One offence; enough of them within the span begin a block."""
        rule = self._rule
        self._offences.append(now)
        if len(self._offences) < rule.offences or now - self._offences[0] > rule.within or now < self.until:
            return
        was_lately = self._last_rest and now - self.until <= rule.memory
        rest = min(rule.at_most, self._last_rest * rule.growth if was_lately else rule.rest)
        self._spent += self._length(self.until)
        self._since, self.until, self._last_rest = now, now + rest, rest
        self._offences.clear()

    def hours(self, end: float) -> float:
        """For how many hours it was blocked until `end`."""
        return (self._spent + self._length(end)) / _HOUR

    def _length(self, end: float) -> float:
        return max(0.0, min(self.until, end) - self._since) if self._last_rest else 0.0
