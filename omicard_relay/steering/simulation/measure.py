"""What a run is measured by: counts and times while it goes, one `Result` at its end.

Delivered share: of all mails, within the deadline. Times are from the arrival of a mail to its delivery, of delivered
mails only. Attempts per delivered mail: all attempts, also those of mails that were not delivered. Wasted: attempts at a
recipient after the receiver had already said, with whatever digit, what never changes. Wrongly returned: given back
although the receiver would still have taken the mail before the deadline. Blocked IP-hours: one IP that one provider
blocks for one hour; a ban that nobody caused does not count.
"""

from array import array
from collections.abc import Sequence

import msgspec

__all__ = ["ProviderResult", "Result", "Tally", "percentile", "summed"]

_HUNDRED = 100


class ProviderResult(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one provider; hours and seconds as in Result."""

    provider: str
    recipients: int
    delivered: int
    returned: int
    wrongly_returned: int
    past_deadline: int
    attempts: int
    wasted: int
    blocked_ip_hours: float
    median_seconds: float | None
    p95_seconds: float | None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `possible`: mails that somebody could have delivered. `curve`: by when 1 %, 2 %, … of all mails were there."""

    world: str
    policy: str
    seed: int
    recipients: int
    possible: int
    delivered: int
    returned: int
    wrongly_returned: int
    past_deadline: int
    attempts: int
    wasted: int
    blocked_ip_hours: float
    median_seconds: float | None
    p95_seconds: float | None
    providers: tuple[ProviderResult, ...]
    curve: tuple[float, ...]

    @property
    def delivered_share(self) -> float:
        """Part of all mails that was delivered by the deadline."""
        return self.delivered / self.recipients

    @property
    def attempts_per_delivered(self) -> float | None:
        """All attempts over the mails delivered; None where there is none."""
        return self.attempts / self.delivered if self.delivered else None


class Tally:
    """The counts of one provider while a run goes; memory is eight octets a delivered mail."""

    __slots__ = (
        "attempts", "past_deadline", "possible", "recipients", "returned", "times", "wasted", "wrongly_returned",
    )  # fmt: skip

    def __init__(self) -> None:
        self.recipients = self.possible = self.returned = self.wrongly_returned = self.past_deadline = 0
        self.attempts = self.wasted = 0
        self.times = array("d")

    def result(self, name: str, blocked_ip_hours: float) -> ProviderResult:
        """Its figures at the end."""
        times = sorted(self.times)
        return ProviderResult(
            provider=name,
            recipients=self.recipients,
            delivered=len(times),
            returned=self.returned,
            wrongly_returned=self.wrongly_returned,
            past_deadline=self.past_deadline,
            attempts=self.attempts,
            wasted=self.wasted,
            blocked_ip_hours=_rounded(blocked_ip_hours),
            median_seconds=percentile(times, 50),
            p95_seconds=percentile(times, 95),
        )


def summed(
    tallies: Sequence[Tally], names: Sequence[str], hours: Sequence[float], *, world: str, policy: str, seed: int
) -> Result:
    """The result of a run from the tallies of its providers and their blocked IP-hours."""
    providers = tuple(tally.result(name, one) for tally, name, one in zip(tallies, names, hours, strict=True))
    times = sorted(time for tally in tallies for time in tally.times)
    recipients = sum(tally.recipients for tally in tallies)
    # The k-th hundredth is there with the mail that makes it full.
    places = (-(-recipients * k // _HUNDRED) - 1 for k in range(1, _HUNDRED + 1))
    return Result(
        world=world,
        policy=policy,
        seed=seed,
        recipients=recipients,
        possible=sum(tally.possible for tally in tallies),
        delivered=len(times),
        returned=sum(tally.returned for tally in tallies),
        wrongly_returned=sum(tally.wrongly_returned for tally in tallies),
        past_deadline=sum(tally.past_deadline for tally in tallies),
        attempts=sum(tally.attempts for tally in tallies),
        wasted=sum(tally.wasted for tally in tallies),
        blocked_ip_hours=_rounded(sum(hours)),
        median_seconds=percentile(times, 50),
        p95_seconds=percentile(times, 95),
        providers=providers,
        curve=tuple(_rounded(times[place]) for place in places if 0 <= place < len(times)),
    )


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest value that at least so many percent do not exceed (nearest rank); None of nothing."""
    if not ordered:
        return None
    return _rounded(ordered[max(0, -(-len(ordered) * percent // _HUNDRED) - 1)])


def _rounded(value: float) -> float:
    """To the thousandth: what is below is noise of the sums."""
    return round(value, 3)
