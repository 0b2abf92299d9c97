"""`plan_of`: what to do for one recipient that has failed, within the bounds of the policy.

Order of what decides: the policy's attempts and deadline; a final verdict, unless it was learned that it passes here, a
surge makes it doubtful, or chance has it tried; then the lanes, where the reply spoke of the IP or the provider and the lane
is not open; else the best rest by the look-ahead. The rest's bounds hold for the same IP; another need not rest for a fault
of the first.
"""

from collections.abc import Callable, Sequence

from omicard_relay.mail import Action
from omicard_relay.steering.alone import rest_alone
from omicard_relay.steering.cells import Cell, kind_of
from omicard_relay.steering.exploring import sampled
from omicard_relay.steering.knowledge import Knowledge
from omicard_relay.steering.luck import draw, seed_of
from omicard_relay.steering.quiet import after_quiet
from omicard_relay.steering.rests import COUNT, TARGETS, bucket_of
from omicard_relay.steering.state import EVERYONE, ProviderState
from omicard_relay.steering.trials import Thread, is_permanent, is_returned, tries_of
from omicard_relay.steering.value import LAST, NEARLY, Choice, Table
from omicard_relay.steering.values import Chance, Lane, Plan, Reason, Seen
from omicard_relay.tables.retry import RetryPolicy, RetryRule

__all__ = ["Planner", "is_final"]

#: Below so many trials nothing is given up because of what was learned, and a provider counts as unknown.
_ENOUGH, _UNKNOWN = 8.0, 10.0
#: So many trials of a final reply are enough to know it at a provider; of a surge, so many.
_FINAL_KNOWN, _SURGE_KNOWN = 30.0, 12.0
_SURGE_REST, _FINAL_REST = 3600.0, 3600.0
#: Retries spread over this part of their rest, so that they do not come all at once.
_SPREAD = 0.08
_OTHER_IP_REST = 5.0
#: So many IPs at most are tried in a row: where none of them helps, it is the recipient, and all would be burnt for it.
_MOST_IPS = 3


def is_final(seen: Seen, rule: RetryRule) -> bool:
    """Whether the verdict's own action ends it: it says return, and the server's 4xx is no reason to try again."""
    return is_returned(seen) and (is_permanent(seen) or rule.temporary == "return")


class Planner:
    """Plans by a policy and what is known; changes nothing."""

    def __init__(
        self,
        policy: RetryPolicy,
        knowledge: Knowledge,
        lanes: Callable[[str, float], Sequence[Lane]],
        *,
        seed: int,
        chance: Callable[[int], Chance],
    ) -> None:
        self._policy, self._knowledge, self._lanes = policy, knowledge, lanes
        self._seed, self._chance = seed, chance
        #: Whatever the codes between, no mail gets more attempts than the most that any code grants.
        self._most = max(rule.attempts for rule in (*policy.rules.values(), *policy.overrides.values()))

    def plan(self, seen: Seen, thread: Thread, provider: ProviderState | None) -> Plan:
        """The plan after this failure; `thread` includes it."""
        code = seen.code if seen.code is not None else 900
        rule = self._policy.rule(code, seen.provider)
        deadline = self._policy.deadline(rule)
        if not self._left(rule, thread):
            return _returned("policy-attempts", {"code": code, "attempts": thread.total})
        if seen.time - seen.queued + rule.least >= deadline:
            return _returned("policy-deadline", {"code": code, "hours": round(deadline / 3600, 1)})
        if not self._policy.model.model:
            if is_final(seen, rule):
                return _returned("verdict-final", {"code": code})
            return self._by_lanes(seen, thread, rule, 0.0) or self._alone(seen, thread, rule)
        kind = kind_of(code, is_returned(seen), is_permanent(seen))
        table = self._knowledge.table(seen.provider, rule, kind)
        own = self._knowledge.trials(seen.provider, kind)
        if is_final(seen, rule):
            return self._final(seen, thread, rule, table, own, provider)
        tries, age = tries_of(thread, rule), _age(seen, thread, rule)
        choice = table.choice(tries, age)
        is_known = choice is None and _weight(own) >= _ENOUGH
        if is_known and is_returned(seen) and rule.scope == "recipient":
            return _returned("not-worth", {"code": code, "trials": round(_weight(own))})
        by_lanes = self._by_lanes(seen, thread, rule, choice.chance if choice is not None else 0.0)
        if by_lanes is not None:
            return by_lanes
        if choice is None:
            return self._alone(seen, thread, rule, longest=is_known)
        share = self._policy.model.explore if rule.explore is None else rule.explore
        if share and _weight(own) < _UNKNOWN:
            share = max(share, self._policy.model.explore_unknown)
        explores = draw(self._seed, seen.thread, thread.total, 10) < share
        if explores:
            drawn = sampled(
                table,
                tries,
                age,
                self._chance(seed_of(self._seed, seen.thread, thread.total, 11)),
                self._policy.model,
                may_change=rule.may_change_ip and not rule.same_ip and len(self._lanes(seen.provider, seen.time)) > 1,
                delay_weight=self._policy.model.delay_weight,
            )
            explores, choice = drawn is not None and drawn != choice, drawn or choice
        return self._chosen(seen, thread, rule, choice, explores, own)

    # --- the kinds of plan ------------------------------------------------------------------------------------------

    def _final(
        self,
        seen: Seen,
        thread: Thread,
        rule: RetryRule,
        table: Table,
        own: Cell | None,
        provider: ProviderState | None,
    ) -> Plan:
        if rule.scope == "ip" and (elsewhere := self._other_ip(seen, thread, rule, 0.0)) is not None:
            # It is final for this IP, not for the recipient.
            return elsewhere
        tries, age = tries_of(thread, rule), _age(seen, thread, rule)
        choice, known = table.choice(tries, age), _weight(own)
        if own is None or not any(passes > 0 for passes, _ in own.shown.values()):
            # What a final reply means is each provider's own: only the policy's guess, never others' trials, speaks for it.
            choice = choice if self._knowledge.guess(rule, seen.provider, thread.kind).choice(tries, age) else None
        if choice is not None:
            return self._chosen(seen, thread, rule, choice, False, own)
        if thread.total <= 2 and known < _SURGE_KNOWN and provider is not None and self._is_surge(provider):
            return self._at(seen, thread, rule, _SURGE_REST, "surge", 0.0, {"code": rule.code})
        share = 0.5 * (self._policy.model.explore if rule.explore is None else rule.explore)
        everyone = _weight(self._knowledge.trials(EVERYONE, kind_of(rule.code, True, is_permanent(seen))))
        share *= _FINAL_KNOWN / (_FINAL_KNOWN + everyone)
        if thread.total == 1 and known < _FINAL_KNOWN and draw(self._seed, seen.thread, 1, 12) < share:
            rest = _FINAL_REST * (0.25 + 3 * draw(self._seed, seen.thread, 1, 13))
            return self._at(seen, thread, rule, rest, "explores", 0.0, {"code": rule.code}, explores=True)
        return _returned("verdict-final", {"code": rule.code, "trials": round(known)})

    def _left(self, rule: RetryRule, thread: Thread) -> int:
        return max(0, min(rule.attempts - thread.run, self._most - thread.total))

    def _is_surge(self, provider: ProviderState) -> bool:
        """Whether final replies have become far more than they were: the receiver's directory may be out."""
        (final, all_), (before, before_all) = provider.recent, provider.earlier
        if all_ < 20 or before_all < 50:
            return False
        share = final / all_
        return share >= self._policy.model.surge_share and before / before_all < share / 2

    def _alone(self, seen: Seen, thread: Thread, rule: RetryRule, *, longest: bool = False) -> Plan:
        """By the policy's own schedule, or its longest rest: for an outage whose end nobody knows, that nobody gives up."""
        rest = rule.most if longest else rest_alone(rule, thread.run - 1)
        key = "policy-rest"
        return self._at(seen, thread, rule, rest, key, 0.0, {"code": rule.code, "minutes": round(rest / 60, 1)})

    def _chosen(
        self, seen: Seen, thread: Thread, rule: RetryRule, choice: Choice, explores: bool, own: Cell | None
    ) -> Plan:
        now = seen.time
        if choice.bucket == LAST:
            rest = seen.queued + self._policy.deadline(rule) * NEARLY - now
        elif rule.counted_from == "first":
            rest = max(thread.first + TARGETS[choice.bucket] - now, rule.least)
        else:
            rest = TARGETS[choice.bucket]
        bucket = choice.bucket if choice.bucket != LAST else bucket_of(rest)
        passes, trials = _seen_at(own, tries_of(thread, rule), choice.other_ip, bucket)
        figures: dict[str, str | int | float] = {
            "code": rule.code,
            "minutes": round(rest / 60, 1),
            "passes": passes,
            "trials": trials,
            "chance": round(choice.chance, 3),
        }
        key = (
            "explores"
            if explores
            else "last-before-deadline"
            if choice.bucket == LAST
            else "learned-rest"
            if trials
            else "guessed-rest"
        )
        return self._at(seen, thread, rule, rest, key, choice.chance, figures, explores=explores, other=choice.other_ip)

    def _by_lanes(self, seen: Seen, thread: Thread, rule: RetryRule, chance: float) -> Plan | None:
        """Where the lane is at fault: another lane at once, or when the first one opens; None where it is open all the same."""
        if rule.lane == "none":
            return None
        now = seen.time
        lanes = self._lanes(seen.provider, now)
        mine = next((lane for lane in lanes if lane.ip == seen.ip), None)
        if mine is None or (mine.rests_until is None and not mine.is_probing):
            return None
        if rule.scope == "ip" and (elsewhere := self._other_ip(seen, thread, rule, chance)) is not None:
            return elsewhere
        figures: dict[str, str | int | float] = {"code": rule.code}
        waits = [lane.rests_until for lane in lanes if lane.rests_until is not None]
        if len(waits) < len(lanes):
            return None
        last = seen.queued + self._policy.deadline(rule) * NEARLY
        # Whoever pokes again and again makes its attempts last to the deadline: each age is so much more than the one before.
        age, left = max(now - seen.queued, 60.0), max(1, self._left(rule, thread))
        paced = age * ((max(self._policy.deadline(rule), age) / age) ** (1 / left) - 1)
        rest = max(rule.least, min(max(min(waits), now + paced), last) - now)
        figures["minutes"] = round(rest / 60, 1)
        return self._at(seen, thread, rule, rest, "lane-rests", chance, figures, to="")

    def _other_ip(self, seen: Seen, thread: Thread, rule: RetryRule, chance: float) -> Plan | None:
        """A retry from another open IP at once, where there is one that this mail may not have tried."""
        lanes = self._lanes(seen.provider, seen.time)
        if not rule.may_change_ip or not seen.ip or thread.run >= min(len(lanes), _MOST_IPS):
            return None
        others = [one for one in lanes if one.ip != seen.ip and one.rests_until is None and not one.is_probing]
        if not others:
            return None
        best = max(others, key=lambda one: one.share)
        figures: dict[str, str | int | float] = {"code": rule.code, "ip": best.ip}
        # Which of the open ones is left to the lanes, where by then they cannot choose the one that failed.
        then = seen.time + _OTHER_IP_REST * (1 + _SPREAD)
        is_open = any(one.ip == seen.ip and not one.is_probing and (one.rests_until or 0.0) <= then for one in lanes)
        ip = best.ip if is_open or len(others) == 1 else ""
        return self._at(seen, thread, rule, _OTHER_IP_REST, "other-ip", chance, figures, to=ip, least=_OTHER_IP_REST)

    # --- the plan itself --------------------------------------------------------------------------------------------

    def _at(
        self,
        seen: Seen,
        thread: Thread,
        rule: RetryRule,
        rest: float,
        key: str,
        chance: float,
        figures: dict[str, str | int | float],
        *,
        explores: bool = False,
        other: bool = False,
        to: str | None = None,
        least: float | None = None,
    ) -> Plan:
        """A retry after the rest, within bounds, spread, out of the quiet hours, and before the deadline."""
        now = seen.time
        bound = rule.least if least is None else least
        rest *= 1 + _SPREAD * draw(self._seed, seen.thread, thread.total, 14)
        rest = max(bound, min(rest, max(rule.most, bound)))
        last = seen.queued + self._policy.deadline(rule)
        at = after_quiet(min(now + rest, max(last - 1, now + bound)), self._policy.model)
        if at > last:
            return _returned(
                "policy-deadline", {"code": rule.code, "hours": round(self._policy.deadline(rule) / 3600, 1)}
            )
        ip = self._ip(seen, rule, at, other) if to is None else to
        reasons = [Reason(key=key, figures=figures)]
        if rule.same_ip and ip:
            reasons.append(Reason(key="same-ip", figures={"ip": ip}))
        return Plan(
            action=Action.RETRY,
            at=at,
            ip=ip,
            chance=chance,
            attempts_left=self._left(rule, thread),
            explores=explores,
            reasons=tuple(reasons),
        )

    def _ip(self, seen: Seen, rule: RetryRule, at: float, other: bool) -> str:
        """The IP of a retry: the same one while it is open, another where that is better, "" for any."""
        lanes = self._lanes(seen.provider, seen.time)
        if other:
            others = [one for one in lanes if one.ip != seen.ip and one.rests_until is None and not one.is_probing]
            return max(others, key=lambda one: one.share).ip if others else ""
        mine = next((lane for lane in lanes if lane.ip == seen.ip), None)
        if mine is None or (not rule.same_ip and (mine.speed or mine.is_probing)):
            return ""
        # A greylist waits for the same IP, but not as long as a block lasts.
        return "" if mine.rests_until is not None and mine.rests_until > at + (1800 if rule.same_ip else 0) else seen.ip


def _returned(key: str, figures: dict[str, str | int | float]) -> Plan:
    return Plan(action=Action.RETURN, reasons=(Reason(key=key, figures=figures),))


def _weight(cell: Cell | None) -> float:
    return cell.weight() if cell is not None else 0.0


def _seen_at(cell: Cell | None, tries: int, other: bool, bucket: int) -> tuple[int, int]:
    """Passes and trials that were shown for just this rest."""
    found = cell.shown.get((tries * 2 + other) * COUNT + bucket) if cell is not None else None
    return (round(found[0]), round(found[0] + found[1])) if found is not None else (0, 0)


def _age(seen: Seen, thread: Thread, rule: RetryRule) -> float:
    """The age at which the look-ahead stands: of the mail, or of the run whose wait counts from its first attempt."""
    return seen.time - (thread.first if rule.counted_from == "first" else seen.queued)
