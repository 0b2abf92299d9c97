"""`Steer`: the whole of steering behind one door: learn from attempts, plan for failures, say how the lanes stand.

Deterministic: the same attempts in the same order give the same state and the same plans, bit for bit; chance comes from the
seed and from what is decided. It keeps no clock, reads no table, and writes nothing.
Not here: who carries it out (services/), and where the state is kept (store/).
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from omicard_relay.mail import Action, Verdict
from omicard_relay.steering.alerts import alerts_of
from omicard_relay.steering.cells import kind_of
from omicard_relay.steering.filtering import filtered
from omicard_relay.steering.knowledge import Knowledge
from omicard_relay.steering.lanes import Watch
from omicard_relay.steering.plans import Planner
from omicard_relay.steering.roads import lanes_of
from omicard_relay.steering.state import LaneState, ProviderState, State
from omicard_relay.steering.trials import is_permanent, is_returned, next_thread, trial_of
from omicard_relay.steering.values import Alert, Chance, Lane, Plan, Seen, SourceIp
from omicard_relay.tables.retry import RetryPolicy

__all__ = ["Steer"]

#: No attempt is made in 30,000 years.
_END_OF_TIME = 1e12
#: What no table knows is a failure without a cause.
_UNKNOWN = 900
#: Recent replies: about the last 40; earlier ones: about the last 400.
_RECENT, _EARLIER = 0.975, 0.9975
_FADE_CODES = 0.99
#: What is old falls out a few at a time, so that no fold takes long.
_DROPPED_AT_ONCE = 2


class Steer:
    """Learns and plans by one policy for one set of source IPs. `chance(n)` is a fresh source of chance for the seed n."""

    def __init__(
        self,
        policy: RetryPolicy,
        ips: Sequence[SourceIp],
        *,
        seed: int,
        chance: Callable[[int], Chance],
        state: State | None = None,
    ) -> None:
        self.policy, self.ips = policy, tuple(ips)
        self.state = state if state is not None else State()
        self._knowledge = Knowledge(policy, self.state, len(self.ips) > 1)
        self._watch = Watch(policy, self._knowledge, [ip.name for ip in self.ips], seed=seed, chance=chance)
        self._planner = Planner(policy, self._knowledge, self.lanes, seed=seed, chance=chance)
        self._seed = seed
        self._odd = {
            name
            for name, one in self.state.providers.items()
            if any(self._is_odd(one, lane, self.state.time) for lane in one.lanes.values())
        }
        self._deadline = policy.model.deadline_hours * 3600

    # --- learning ---------------------------------------------------------------------------------------------------

    def learn(self, seen: Seen) -> None:
        """Folds one attempt, or a complaint, into the state. Of other machines too; the order matters."""
        state = self.state
        state.version += 1
        if not _is_sane(seen):
            # No attempt was ever made at no time: it is counted, and teaches nothing.
            return
        seen = self._known(seen)
        state.time = max(state.time, seen.time)
        provider = state.providers.pop(seen.provider, None) or ProviderState()
        # The longest unused stands first.
        state.providers[seen.provider] = provider
        provider.seen = max(provider.seen, seen.time)
        for ip in self.ips:
            if ip.age_days is not None and ip.name not in state.ages:
                state.ages[ip.name] = (ip.age_days, seen.time)
        before = state.threads.get(seen.thread)
        if not seen.is_complaint:
            self._trial(seen)
            self._count(provider, seen)
        self._watch.fold(provider, seen, before)
        if seen.provider not in self._odd and self._is_odd(provider, provider.lanes[seen.ip], seen.time):
            self._odd.add(seen.provider)
        self._forget(seen.time)

    def _known(self, seen: Seen) -> Seen:
        """The attempt, with a code that the policy has."""
        if seen.code is None or seen.code in self.policy.rules:
            return seen
        return msgspec.structs.replace(seen, code=_UNKNOWN)

    def _is_odd(self, provider: ProviderState, lane: LaneState, now: float) -> bool:
        """Whether one of its lanes may differ from the default; quickly."""
        whole = provider.whole
        if whole.is_closed or whole.until > now or lane.is_closed or lane.until > now or lane.speed:
            return True
        return bool(self.state.ages) or lane.bad * 2 > lane.good

    def _trial(self, seen: Seen) -> None:
        threads = self.state.threads
        before = threads.get(seen.thread)
        if before is not None and before.id >= seen.id:
            return
        if before is not None:
            trial = trial_of(before, seen, self.policy)
            if trial is not None:
                self._knowledge.count(seen.provider, trial, seen.time)
            del threads[seen.thread]
        thread = next_thread(before, seen)
        if thread is not None:
            threads[seen.thread] = thread

    def _count(self, provider: ProviderState, seen: Seen) -> None:
        is_final = seen.code is not None and is_returned(seen) and is_permanent(seen)
        final, all_ = provider.recent
        provider.recent = (final * _RECENT + is_final, all_ * _RECENT + 1)
        final, all_ = provider.earlier
        provider.earlier = (final * _EARLIER + is_final, all_ * _EARLIER + 1)
        if seen.code is not None:
            codes = provider.codes
            for code in codes:
                codes[code] *= _FADE_CODES
            codes[seen.code] = codes.get(seen.code, 0.0) + 1

    def _forget(self, now: float) -> None:
        state, model = self.state, self.policy.model
        for _ in range(_DROPPED_AT_ONCE):
            if not state.threads:
                break
            oldest = next(iter(state.threads))
            if len(state.threads) <= model.most_threads and now - state.threads[oldest].last <= self._deadline:
                break
            del state.threads[oldest]
        if len(state.providers) > model.most_providers:
            oldest = next(iter(state.providers))
            del state.providers[oldest]
            self._knowledge.drop(oldest)

    # --- planning ---------------------------------------------------------------------------------------------------

    def plan(self, seen: Seen) -> Plan:
        """What to do for the recipient of this failure, by the state as it is; whether it was learned from yet or not."""
        if not _is_sane(seen):
            seen = msgspec.structs.replace(seen, time=self.state.time, queued=self.state.time)
        seen = self._known(seen)
        thread = next_thread(self.state.threads.get(seen.thread), seen)
        if thread is None:
            return Plan(action=Action.RETURN)
        return self._planner.plan(seen, thread, self.state.providers.get(seen.provider))

    def lanes(self, provider: str, now: float) -> tuple[Lane, ...]:
        """One lane for each source IP, in their order."""
        state = self.state
        return lanes_of(provider, state.providers.get(provider), self.ips, state, self.policy.speeds, now)

    def is_ordinary(self, provider: str, now: float) -> bool:
        """Whether no lane differs from the default, so that Postfix needs no entry."""
        known = self.state.providers.get(provider)
        if known is None:
            return True
        total = sum(ip.weight for ip in self.ips) or 1.0
        return all(
            lane.speed == 0
            and lane.rests_until is None
            and not lane.is_probing
            and lane.share >= 0.5 * ip.weight / total
            for ip, lane in zip(self.ips, self.lanes(provider, now), strict=True)
        )

    def providers(self, now: float | None = None) -> Iterable[str]:
        """Those with a lane that is not ordinary, at this time or the state's own; in the order of their names."""
        moment = self.state.time if now is None else now
        self._odd = {name for name in self._odd if not self.is_ordinary(name, moment)}
        return tuple(sorted(self._odd))

    def pace(self, lane: Lane) -> float:
        """Mails per second of a lane; infinite where only Postfix's own limits hold."""
        return self.policy.speeds.pace(lane.speed)

    def concurrency(self, lane: Lane) -> int:
        """Connections of a lane at the same time."""
        return 1 if lane.is_probing else self.policy.speeds.concurrency(lane.speed)

    def alerts(self, now: float) -> tuple[Alert, ...]:
        """What a person should look at."""
        return alerts_of(self.state, self.ips, now)

    def filter_action(self, provider: str, verdict: Verdict, reply_class: int, action: Action, text: str) -> Action:
        """RETURN or RETRY for a reply whose recipient is not known: the status filter is asked with the text alone."""
        rule = self.policy.rule(verdict.bounce_code, provider)
        kind = kind_of(verdict.bounce_code, action is Action.RETURN, reply_class == 5)
        return filtered(self.policy, self._knowledge, rule, kind, provider, reply_class, action, text, self._seed)


def _is_sane(seen: Seen) -> bool:
    """Whether its times are times; what is no number compares with nothing."""
    return abs(seen.time) < _END_OF_TIME and abs(seen.queued) < _END_OF_TIME
