"""Counts of trials, and what they say: how likely an attempt delivers after a rest, from the same or another IP.

A trial is two consecutive attempts of one recipient. A `Cell` holds those of one provider (or family, or all) and one kind of
reply: passes and failures by bucket of rest, same or other IP, and how often it had failed before. Old trials fade with a
half-life, and no count outgrows the memory, so that what changes is followed. `refined` shrinks what little is known of a
provider towards its family, all providers, and the policy's guess.

Plans read the `shown` counts: a copy that is renewed as trials come in, so that look-aheads can be kept in between and a state
that was stored gives the same plans bit for bit.
"""

from collections.abc import Mapping

import msgspec

from omicard_relay.steering.rests import COUNT, TARGETS, guessed
from omicard_relay.tables.retry import Model, RetryRule

__all__ = ["HEARD", "TRIES", "Cell", "Chances", "guesses", "kind_of", "refined", "try_class"]

#: First, second, third, later retry: each has counts of its own, those next to it lend theirs.
TRIES = 4


class _Lent(msgspec.Struct, frozen=True):
    """How much counts lend, besides what one IP lends to another: to the retry before and after; a pass to the next longer
    rest and a failure to the next shorter one (`along`), and against the grain."""

    tries: float
    along: float
    against: float


#: A rest that counts from the first attempt is a wait that is over or not, whichever retry it is; troubles that come and go
#: say less about other rests.
_OTHER_IP = 0.3
_FIRST, _LAST = _Lent(0.9, 0.85, 0.12), _Lent(0.3, 0.55, 0.15)
#: What all providers, or a family, say about one of them is heard as so many trials at most.
HEARD = 30.0

Shown = Mapping[int, tuple[float, float]]


def kind_of(code: int, returned: bool, permanent: bool) -> int:
    """What is counted together: the code, whether the server called it permanent, and whether the verdict does."""
    return code * 4 + (2 if permanent and returned else 1 if permanent else 0)


def try_class(tries: int) -> int:
    """The class of a retry by how many of the same run failed before it."""
    return tries if tries < TRIES else TRIES - 1


class Cell(msgspec.Struct, kw_only=True):
    """Counts of one kind. `counts`: place -> [passes, failures, time of the last]; `shown` as plans see them."""

    counts: dict[int, list[float]] = {}
    shown: dict[int, tuple[float, float]] = {}
    trials: int = 0
    stamp: int = 0

    def add(self, tries: int, other_ip: bool, bucket: int, passed: bool, now: float, model: Model, each: int) -> bool:
        """Counts one trial; whether the shown counts are due: at 1, 2, 3, 4, 6, 9, 13 ... trials (half as many again), and
        later after `each`."""
        place = (tries * 2 + other_ip) * COUNT + bucket
        entry = self.counts.get(place)
        if entry is None:
            entry = self.counts[place] = [0.0, 0.0, now]
        fade = _faded(now - entry[2], model)
        total = (entry[0] + entry[1]) * fade + 1
        if total > model.memory:
            fade *= model.memory / total
        entry[0] = entry[0] * fade + passed
        entry[1] = entry[1] * fade + (not passed)
        entry[2] = max(now, entry[2])
        self.trials += 1
        return self.trials - self.stamp >= min(each, max(1, self.stamp // 2))

    def show(self, now: float, model: Model) -> None:
        """Renews the shown counts; those that have faded away are forgotten."""
        shown: dict[int, tuple[float, float]] = {}
        for place, (passes, failures, at) in list(self.counts.items()):
            fade = _faded(now - at, model)
            if (passes + failures) * fade < 0.02:
                del self.counts[place]
            else:
                shown[place] = (passes * fade, failures * fade)
        # The status filter reads beside us, and tells new counts by the stamp: it comes last.
        self.shown = shown
        self.stamp = self.trials

    def weight(self, tries: int | None = None) -> float:
        """How many trials the shown counts are worth, of one class of retries or of all."""
        width = 2 * COUNT
        return sum(a + b for place, (a, b) in self.shown.items() if tries is None or place // width == tries)


def _faded(seconds: float, model: Model) -> float:
    return 1.0 if seconds <= 0 else 0.5 ** (seconds / (model.half_life_days * 86_400))


class Chances(msgspec.Struct, frozen=True):
    """For each class of retry, then same and other IP: the chance by bucket, and how many trials stand behind it."""

    mean: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    weight: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]


def guesses(rule: RetryRule, factor: float) -> Chances:
    """What the policy alone believes."""
    curve = [guessed(rule.guess, target) for target in TARGETS]
    weight = (rule.weight,) * COUNT
    means = []
    for tries in range(TRIES):
        scale = factor * rule.fade ** (tries if tries < TRIES - 1 else tries + 1)
        same = tuple(min(0.98, scale * chance) for chance in curve)
        means.append((same, tuple(min(0.98, scale * chance * rule.other_ip) for chance in curve)))
    return Chances(tuple(means), ((weight, weight),) * TRIES)


def refined(before: Chances, shown: Shown, strength: float, most: float, *, from_first: bool) -> Chances:
    """The posterior: what was believed before counts as `strength` trials, what was shown as `most` at most."""
    if not shown:
        return before
    touched = {place // (2 * COUNT) for place in shown}
    means, weights = [], []
    for tries in range(TRIES):
        pair = []
        for other in (0, 1):
            mean, weight = before.mean[tries][other], before.weight[tries][other]
            if touched.isdisjoint((tries - 1, tries, tries + 1)):
                pair.append((mean, weight))
                continue
            passes, failures = _supported(shown, tries, other, _FIRST if from_first else _LAST)
            new_mean, new_weight = [], []
            for a, b, old in zip(passes, failures, mean, strict=True):
                seen = a + b
                if seen > most:
                    a, seen = a * most / seen, most
                new_mean.append((a + strength * old) / (seen + strength))
                new_weight.append(seen + strength)
            pair.append((tuple(new_mean), tuple(new_weight)))
        means.append((pair[0][0], pair[1][0]))
        weights.append((pair[0][1], pair[1][1]))
    return Chances(tuple(means), tuple(weights))


def _supported(shown: Shown, tries: int, other: int, lent: _Lent) -> tuple[list[float], list[float]]:
    """Passes and failures by bucket, with what the buckets beside them and the retries before and after lend."""
    passes, failures = [0.0] * COUNT, [0.0] * COUNT
    width = 2 * COUNT
    for place, (a, b) in shown.items():
        lender, rest = divmod(place, width)
        if abs(lender - tries) > 1:
            continue
        part = 1.0 if lender == tries else lent.tries
        ip, bucket = divmod(rest, COUNT)
        if ip != other:
            part *= _OTHER_IP
        passes[bucket] += a * part
        failures[bucket] += b * part
    return _spread(passes, lent.along, lent.against), _spread(failures, lent.against, lent.along)


def _spread(own: list[float], upwards: float, downwards: float) -> list[float]:
    """Each count lent to the longer buckets (upwards) and to the shorter ones, less with each step."""
    up, down = own[:], own[:]
    for bucket in range(1, COUNT):
        up[bucket] += up[bucket - 1] * upwards
    for bucket in range(COUNT - 2, -1, -1):
        down[bucket] += down[bucket + 1] * downwards
    return [a + b - c for a, b, c in zip(up, down, own, strict=True)]
