"""Our steering as a strategy: the very `Steer` of production, told of every attempt and asked after every failure.

What the service does around it in production is done here: lanes are looked at once a second, as the table for Postfix
is written; a mail that was given an IP keeps it while that lane is open; mails that wait for a lane that closes, or grows
slower, are spread anew over the open ones.
Known limits: a reply is learned from at once, not a second later; Postfix's own hold on dead destinations is left out.
"""

from collections.abc import Callable, Sequence

from omicard_relay.mail import Action, Outcome
from omicard_relay.steering.providers import provider_of
from omicard_relay.steering.simulation.spreading import drawn
from omicard_relay.steering.simulation.strategy import ANEW, EMPTY, GO, RETURN, Judged, Mail, Place, Turn
from omicard_relay.steering.simulation.wording import Spoken
from omicard_relay.steering.steer import Steer
from omicard_relay.steering.values import Chance, Lane, Seen, SourceIp
from omicard_relay.tables.providers import ProviderBook
from omicard_relay.tables.retry import RetryPolicy
from omicard_relay.tables.worldtables import World

__all__ = ["Ours"]

#: How often the service looks at the lanes, in seconds.
_LOOK_EVERY = 1.0


class _View:
    """The lanes of one provider as last looked at."""

    __slots__ = ("lanes", "limits", "looked", "open", "opens", "shares")

    def __init__(self, ips: int) -> None:
        self.looked = float("-inf")
        self.lanes: list[Lane | None] = [None] * ips
        self.limits: list[tuple[int, float]] = [(1, 0.0)] * ips
        self.open: list[bool] = [True] * ips
        self.shares: list[float] = [0.0] * ips
        #: When the first of them opens, where all are closed.
        self.opens = 0.0


class Ours:
    """Steering with this policy; `seed` and `chance` are those of its own draws."""

    by_domain = False

    def __init__(
        self,
        world: World,
        places: Sequence[Place],
        chance: Chance,
        *,
        policy: RetryPolicy,
        book: ProviderBook,
        seed: int,
        chance_of: Callable[[int], Chance],
    ) -> None:
        self._chance = chance
        self._names = [source.name for source in world.ips]
        self._numbers = {name: number for number, name in enumerate(self._names)}
        ips = [SourceIp(name=s.name, weight=s.weight, age_days=s.age_days) for s in world.ips]
        self.steer = Steer(policy.within(world.deadline), ips, seed=seed, chance=chance_of)
        self._providers = [provider_of(place.mx, place.domain, book) for place in places]
        self._domains = [place.domain for place in places]
        self._views = [_View(len(ips)) for _ in places]
        self._speeds: dict[tuple[int, int], tuple[bool, int]] = {}
        self._count = 0

    def choose(self, mail: Mail, now: float) -> tuple[int, float]:
        view = self._view(mail.provider, now)
        if mail.rests >= 0 and view.open[mail.rests]:
            return mail.rests, 0.0
        if not any(view.shares):
            return -1, view.opens
        return drawn(view.shares, self._chance), 0.0

    def may_go(self, mail: Mail, ip: int, group: int, now: float) -> tuple[Turn, float]:
        view = self._view(group, now)
        lane = view.lanes[ip]
        before = self._speeds.get((ip, group), (True, 0))
        after = (view.open[ip], lane.speed if lane is not None else 0)
        self._speeds[ip, group] = after
        if not after[0]:
            if not any(view.shares):
                return Turn.HOLD, view.opens
            return EMPTY if before[0] else ANEW
        # A lane that grew slower shares what waits for it with the others.
        if after[1] > before[1] and sum(share > 0 for share in view.shares) > 1:
            return EMPTY
        return GO

    def limits(self, ip: int, group: int, now: float) -> tuple[int, float]:
        return self._view(group, now).limits[ip]

    def failed(self, mail: Mail, ip: int, group: int, spoken: Spoken, judged: Judged, now: float) -> float:
        seen = self._seen(mail, ip, now, judged)
        self.steer.learn(seen)
        plan = self.steer.plan(seen)
        if plan.action is not Action.RETRY:
            return RETURN
        mail.rests = self._numbers.get(plan.ip, -1)
        return max(plan.at, now)

    def delivered(self, mail: Mail, ip: int, group: int, now: float) -> None:
        self.steer.learn(self._seen(mail, ip, now, None))

    def complained(self, mail: Mail, ip: int, now: float) -> None:
        self.steer.learn(self._seen(mail, ip, now, None, is_complaint=True))

    def _seen(self, mail: Mail, ip: int, now: float, judged: Judged | None, *, is_complaint: bool = False) -> Seen:
        self._count += 1
        lane = self._views[mail.provider].lanes[ip]
        # A 5xx that is kept is deferred by the status filter; what is returned is not asked about again.
        return Seen(
            id=self._count,
            time=now,
            queued=mail.queued,
            thread=str(mail.number),
            domain=self._domains[mail.provider],
            provider=self._providers[mail.provider],
            ip=self._names[ip],
            speed=lane.speed if lane is not None else 0,
            outcome=Outcome.SENT if judged is None else Outcome.DEFERRED,
            code=judged.code if judged is not None else None,
            rule_id=judged.rule_id if judged is not None else "",
            action=judged.action if judged is not None else None,
            reply_class=judged.reply_class if judged is not None else 0,
            is_complaint=is_complaint,
        )

    def _view(self, place: int, now: float) -> _View:
        """The lanes of a provider, looked at anew when a second has gone by or the first closed one opens."""
        view = self._views[place]
        if now < view.looked + _LOOK_EVERY and not (view.opens and now >= view.opens):
            return view
        view.looked, view.opens = now, float("inf")
        for number in range(len(view.shares)):
            view.open[number], view.shares[number] = False, 0.0
        for lane in self.steer.lanes(self._providers[place], now):
            number = self._numbers[lane.ip]
            is_open = lane.rests_until is None or lane.rests_until <= now
            view.lanes[number], view.open[number] = lane, is_open
            if is_open:
                pace = self.steer.pace(lane)
                view.limits[number] = (self.steer.concurrency(lane), 1.0 / pace if pace > 0 else _LOOK_EVERY)
                view.shares[number] = lane.share
            elif lane.rests_until is not None:
                view.opens = min(view.opens, lane.rests_until)
        if any(view.shares):
            view.opens = 0.0 if view.opens == float("inf") else view.opens
        elif view.opens == float("inf"):
            # No lane is open and none says when: look again soon.
            view.opens = now + 60.0
        return view
