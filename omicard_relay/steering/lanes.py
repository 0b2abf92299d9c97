"""Lanes: a provider's mail from one IP, open, slowed, resting or probing, as the replies to everybody's mail tell.

One block closes the lane for all, so that nobody else pokes it; after the rest a trickle probes, a pass opens it and a failure
rests again, for as long as was learned. What the provider's hosts themselves suffer from (scope provider) rests all its lanes.
A first block among much mail that passes is tried once more before it is believed, until that has shown to be no use.
Not here: how speeds change (speeds.py), and what one recipient does (plans.py).
"""

from collections.abc import Callable, Sequence
from math import ceil, log

from omicard_relay.steering.alone import rest_alone
from omicard_relay.steering.cells import try_class
from omicard_relay.steering.exploring import sampled
from omicard_relay.steering.knowledge import LANE, LANE_DELAY_WEIGHT, Knowledge
from omicard_relay.steering.luck import draw, seed_of
from omicard_relay.steering.rests import TARGETS, bucket_of
from omicard_relay.steering.speeds import accepted, limited, reopened
from omicard_relay.steering.state import LaneState, ProviderState
from omicard_relay.steering.trials import Thread, Trial
from omicard_relay.steering.values import Chance, Seen
from omicard_relay.steering.warmup import count_mail
from omicard_relay.tables.retry import RetryPolicy, RetryRule

__all__ = ["VAGUE", "Watch"]

#: Replies that name no cause: they open nothing and close nothing.
VAGUE = frozenset({900, 907, 913, 915, 928})
#: Replies to what was under way when a lane closed come within so many seconds, and are no pokes.
_ECHO, _CLOSED_ECHO = 2.0, 30.0
#: A session is over in so many seconds, mostly; so many passes of later ones open a lane that has just closed.
_UNDER_WAY, _AGAINST = 5.0, 2
#: So many doubts tell whether it is right to doubt a block: it must be right this often.
_DOUBT_KNOWN, _DOUBT_RIGHT = 2.0, 0.15
#: Strikes in a row that chance alone brings this seldom are believed; so many always.
_BY_CHANCE, _MOST_STRIKES = 0.003, 16
#: Where no IP of ours is open, the first rest is an hour at most, and none longer than four.
_NONE_OPEN, _NONE_OPEN_MOST = 3600.0, 14_400.0
#: A retry is one after so many seconds.
_RETRIED = 120.0
_DOUBT_PAUSE = 5.0
#: One event in a hundred is forgotten with each new one: rates speak of about the last hundred mails.
_FADE = 0.99


class Watch:
    """Folds attempts into the lanes of a state."""

    def __init__(
        self,
        policy: RetryPolicy,
        knowledge: Knowledge,
        ips: Sequence[str],
        *,
        seed: int,
        chance: Callable[[int], Chance],
    ) -> None:
        self._policy, self._knowledge, self._ips = policy, knowledge, ips
        self._seed, self._chance = seed, chance

    def fold(self, provider: ProviderState, seen: Seen, before: Thread | None) -> None:
        """Learns from one attempt what it says of the lane and of the provider; `before`: its thread until now."""
        lane = provider.lanes.get(seen.ip)
        if lane is None:
            lane = provider.lanes[seen.ip] = LaneState()
        now = seen.time
        if seen.is_complaint:
            lane.complaints = lane.complaints * _FADE + 1
            return
        count_mail(lane, now)
        if seen.code is None:
            lane.good = lane.good * _FADE + 1
            lane.bad *= _FADE
            self._passes(lane, provider, seen)
            if not lane.is_closed:
                accepted(lane, now, self._policy.speeds)
            return
        rule = self._policy.rule(seen.code, seen.provider)
        if rule.lane == "none":
            if seen.code in VAGUE:
                lane.good *= _FADE
                lane.bad = lane.bad * _FADE + 1
            elif seen.reply_class:
                self._passes(lane, provider, seen)
                if not lane.is_closed:
                    # The recipient was refused, the lane was not: its pace is all right.
                    accepted(lane, now, self._policy.speeds)
            return
        lane.good *= _FADE
        lane.bad = lane.bad * _FADE + 1
        if seen.code in VAGUE and (before is None or seen.time - before.last < _RETRIED):
            # Greylisting without its name says so at every first attempt: only those that come back tell of an outage.
            return
        if rule.scope == "provider":
            self._strike(provider.whole, rule, seen, others_open=False)
            return
        if seen.reply_class and provider.whole.strikes:
            self._pass(provider.whole, seen, is_whole=True)
        open_ones = sum(
            1 for ip in self._ips if ip != seen.ip and ((one := provider.lanes.get(ip)) is None or not one.is_closed)
        )
        was_closed = lane.is_closed
        self._strike(lane, rule, seen, others_open=open_ones > 0)
        if lane.is_closed and not was_closed and not open_ones and self._policy.model.model:
            # The others rested long because this one was open.
            for other in provider.lanes.values():
                if other is not lane and other.is_closed:
                    other.until = min(other.until, max(now, other.struck + _NONE_OPEN))

    def _passes(self, lane: LaneState, provider: ProviderState, seen: Seen) -> None:
        if lane.strikes:
            self._pass(lane, seen)
        if provider.whole.strikes:
            self._pass(provider.whole, seen, is_whole=True)

    def _pass(self, lane: LaneState, seen: Seen, *, is_whole: bool = False) -> None:
        """A reply that shows the lane open: counts the pass after the strike, and opens it."""
        since, is_echo = seen.time - lane.struck, False
        if lane.is_closed and seen.time < lane.until and since < _CLOSED_ECHO:
            # What was under way before the first strike may still pass; more than that speaks against closing.
            lane.against += seen.time - lane.began > _UNDER_WAY
            is_echo = lane.against >= _AGAINST
            if not is_echo:
                return
        if lane.is_closed or self._policy.rule(lane.code, seen.provider).lane == "close":
            self._count(lane, seen, since, passed=True)
        if lane.is_closed and not is_whole and not is_echo:
            reopened(lane, since, seen.time, self._policy.speeds)
        lane.strikes = lane.probes = lane.code = lane.against = 0
        lane.is_closed, lane.until = False, min(lane.until, seen.time)

    def _count(self, lane: LaneState, seen: Seen, since: float, *, passed: bool) -> None:
        trial = Trial(lane.code * 4 + LANE, try_class(max(lane.probes - 1, 0)), False, bucket_of(since), passed)
        self._knowledge.count(seen.provider, trial, seen.time)

    def _strike(self, lane: LaneState, rule: RetryRule, seen: Seen, *, others_open: bool) -> None:
        now, since = seen.time, seen.time - lane.struck
        if lane.strikes and since < _ECHO:
            return
        if lane.is_closed and now < lane.until and since < _CLOSED_ECHO:
            return
        pause = 0.0
        if rule.lane in ("slow", "narrow"):
            slowed = (
                0.0
                if lane.is_closed
                else limited(lane, seen.speed, now, self._policy.speeds, sessions=rule.lane == "narrow")
            )
            if slowed is None:
                return
            pause = slowed
        if lane.strikes and lane.code == rule.code:
            if lane.is_closed or rule.lane == "close":
                self._count(lane, seen, since, passed=False)
        elif lane.code != rule.code:
            lane.code, lane.strikes = rule.code, 0
            lane.probes = lane.probes if lane.is_closed else 0
        if not lane.strikes:
            lane.began = now
        lane.strikes += 1
        lane.struck = now
        if lane.strikes < self._needed(lane, rule, seen):
            lane.until = max(lane.until, now + max(pause, _DOUBT_PAUSE if rule.scope == "ip" else 0.0))
            return
        rest = self.rest(rule, seen.provider, lane.probes, f"{seen.provider} {seen.ip}", seen.id)
        if rule.scope == "ip" and not others_open and self._policy.model.model:
            # Nothing goes out at all: a poke costs less than a provider's whole mail that waits.
            rest = max(rule.least, min(rest, min(_NONE_OPEN * 1.5 ** min(lane.probes, 10), _NONE_OPEN_MOST)))
        lane.until = now + rest
        lane.is_closed = True
        lane.probes += 1

    def _needed(self, lane: LaneState, rule: RetryRule, seen: Seen) -> int:
        """How many strikes in a row close the lane. Where the next mail often passed all the same, one means little."""
        if lane.is_closed or rule.lane != "close" or not self._policy.model.model:
            return 1 if lane.is_closed else rule.strikes
        kind = rule.code * 4 + LANE
        # To close is no use where most mail passes before the shortest rest is over.
        soon = self._knowledge.table(seen.provider, rule, kind).chances.mean[0][0][: bucket_of(rule.least) + 1]
        passes = max(soon)
        own = self._knowledge.trials(seen.provider, kind)
        if own is None or own.weight(0) < _DOUBT_KNOWN:
            # Hardly known here: a first block is tried once more before it is believed.
            return max(rule.strikes, 2)
        if passes < _DOUBT_RIGHT:
            again = draw(self._seed, seen.provider, seen.id, 4) < 2 * self._policy.model.explore
            return max(rule.strikes, 2 if again else 1)
        return max(rule.strikes, min(_MOST_STRIKES, ceil(log(_BY_CHANCE) / log(1 - passes))))

    def rest(self, rule: RetryRule, provider: str, probes: int, what: str, number: int) -> float:
        """Seconds for which a lane closes after so many probes that failed."""
        model = self._policy.model
        if not model.model:
            return rest_alone(rule, probes)
        table = self._knowledge.table(provider, rule, rule.code * 4 + LANE)
        tries = try_class(probes)
        choice = table.choice(tries, 0.0)
        rest = TARGETS[choice.bucket] if choice is not None and choice.bucket >= 0 else rule.most
        if draw(self._seed, what, number, 1) < 2 * model.explore:
            chance = self._chance(seed_of(self._seed, what, number, 2))
            choice = sampled(table, tries, 0.0, chance, model, may_change=False, delay_weight=LANE_DELAY_WEIGHT)
            rest = TARGETS[choice.bucket] if choice is not None else rest
        # Many lanes that close at once do not probe at once.
        rest *= 1 + 0.08 * draw(self._seed, what, number, 3)
        return max(rule.least, min(rule.most, rest))
