"""The run of a world: mails arrive, wait, are tried and end; one heap of events, no step of the clock.

A mail that is due asks the strategy for an IP and queues there (a pipe: one IP and one group, which is a domain or a
provider, as the strategy queues). A pipe starts mails in order, as many at once and as far apart as the strategy says.
Every mail ends once: delivered, returned, or past its deadline. Memory: mails that live, eight octets for each delivered
one, and what the receivers remember.
Known limits: no DNS, no shared connections, one recipient a mail; the pace of a pipe is evened, never in bursts.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import accumulate

from omicard_relay.steering.simulation.luck import draw, key_of
from omicard_relay.steering.simulation.measure import Result, Tally, summed
from omicard_relay.steering.simulation.receivers import Receiver
from omicard_relay.steering.simulation.strategy import RETURN, Judged, Mail, Place, Strategy, Turn
from omicard_relay.steering.simulation.wording import Spoken
from omicard_relay.steering.values import Chance
from omicard_relay.tables.worldtables import World

__all__ = ["Judging", "Make", "Watch", "places_of", "simulate"]

#: The judge of replies, passed in: steering does not know classify/.
Judging = Callable[[Spoken], Judged]
#: A strategy for these places and IPs, with a source of chance of its own.
Make = Callable[[World, Sequence[Place], Chance], Strategy]
#: Called for every attempt, for traces: time, mail, provider, IP, what was said (None: accepted), when it is due again.
Watch = Callable[[float, Mail, str, str, Spoken | None, float], None]

_ARRIVE, _DUE, _DONE, _PUMP, _COMPLAIN = range(5)
#: Purposes of draws here; receivers use small ones.
_WHICH_PROVIDER = 1001
#: Numbers of people in one list; lists are farther apart than any list is long.
_LIST_GAP = 1 << 34
#: Events between two tellings of the progress: some tenths of a second.
_TELL_EVERY = 8192


class _Pipe:
    """Mails that wait for one IP and one group."""

    __slots__ = ("group", "held", "ip", "last", "queue", "sessions", "wakes")

    def __init__(self, ip: int, group: int) -> None:
        self.ip, self.group = ip, group
        self.queue: deque[Mail] = deque()
        self.sessions = 0
        #: When the last mail started, until when the strategy holds it, when it wakes by itself.
        self.last, self.held, self.wakes = float("-inf"), 0.0, float("inf")


def places_of(world: World, *, by_domain: bool) -> tuple[Place, ...]:
    """What a strategy may know of the world: its providers, or each of their domains."""
    rows = [
        (number, provider, domain)
        for number, provider in enumerate(world.providers)
        for domain in (provider.domains if by_domain else provider.domains[:1])
    ]
    return tuple(
        Place(number=n, name=provider.name, mx=provider.mx, domain=domain, provider=number)
        for n, (number, provider, domain) in enumerate(rows)
    )


def simulate(
    world: World,
    make: Make,
    judging: Judging,
    *,
    policy: str,
    seed: int,
    chance: Callable[[int], Chance],
    progress: Callable[[int, int], None] | None = None,
    watch: Watch | None = None,
) -> Result:
    """The result of one strategy on one world; the same for the same seed, to the bit.

    `chance(n)` is a fresh source of chance with the seed n. `progress` is told how many mails have ended, and of how many.
    """
    run = _Run(world, make, judging, seed=seed, chance=chance, progress=progress, watch=watch)
    run.go()
    return run.result(policy)


class _Run:
    def __init__(
        self,
        world: World,
        make: Make,
        judging: Judging,
        *,
        seed: int,
        chance: Callable[[int], Chance],
        progress: Callable[[int, int], None] | None,
        watch: Watch | None,
    ) -> None:
        self._world, self._seed, self._progress, self._watch = world, seed, progress, watch
        self._judging = judging
        self._judged: dict[str, Judged] = {}
        by_provider = places_of(world, by_domain=False)
        self._strategy = make(world, by_provider, chance(key_of(seed, 1)))
        lists = sorted({campaign.list for campaign in world.campaigns})
        self._lists = [lists.index(campaign.list) * _LIST_GAP for campaign in world.campaigns]
        remembers = len(lists) < len(world.campaigns)
        self._receivers = [
            Receiver(
                provider,
                world.ips,
                key=key_of(seed, -2 - number),
                seed=seed,
                chance=chance(key_of(seed, -100_002 - number)),
                remembers=remembers,
            )
            for number, provider in enumerate(world.providers)
        ]
        self._shares = list(accumulate(provider.share for provider in world.providers))
        self._first_domain = list(accumulate((len(p.domains) for p in world.providers), initial=0))
        self._tallies = [Tally() for _ in world.providers]
        self._pipes: dict[tuple[int, int], _Pipe] = {}
        self._events: list[tuple[float, int, int, object, object, object]] = []
        self._count = self._numbers = self._ended = 0
        self._ends = max(c.start + (c.recipients - 1) / c.rate for c in world.campaigns) + world.deadline

    def go(self) -> None:
        """Until nothing is left to happen."""
        for number, campaign in enumerate(self._world.campaigns):
            self._push(campaign.start, _ARRIVE, number, 0)
        events, steps = self._events, 0
        while events:
            now, _, kind, first, second, third = heappop(events)
            if kind == _DONE:
                self._done(first, second, third, now)  # type: ignore[arg-type]
            elif kind == _DUE:
                self._place(first, now)  # type: ignore[arg-type]
            elif kind == _PUMP:
                if first.wakes == now:  # type: ignore[attr-defined]
                    first.wakes = float("inf")  # type: ignore[attr-defined]
                    self._pump(first, now)  # type: ignore[arg-type]
            elif kind == _ARRIVE:
                self._arrive(first, second, now)  # type: ignore[arg-type]
            else:
                self._complaint(first, second, now)  # type: ignore[arg-type]
            steps += 1
            if self._progress is not None and steps % _TELL_EVERY == 0:
                self._progress(self._ended, self._world.recipients)

    def result(self, policy: str) -> Result:
        """The figures at the end."""
        hours = [receiver.blocked_hours(self._ends) for receiver in self._receivers]
        names = [provider.name for provider in self._world.providers]
        return summed(self._tallies, names, hours, world=self._world.name, policy=policy, seed=self._seed)

    # --- events ------------------------------------------------------------------------------------------------------

    def _push(self, time: float, kind: int, first: object, second: object = None, third: object = None) -> None:
        self._count += 1
        heappush(self._events, (time, self._count, kind, first, second, third))

    def _arrive(self, campaign: int, number: int, now: float) -> None:
        """One mail comes; the next of its campaign is due after it."""
        rule = self._world.campaigns[campaign]
        if number + 1 < rule.recipients:
            self._push(rule.start + (number + 1) / rule.rate, _ARRIVE, campaign, number + 1)
        person = self._lists[campaign] + number
        key = key_of(self._seed, person)
        place = draw(key, _WHICH_PROVIDER) * self._shares[-1]
        provider = min(bisect_right(self._shares, place), len(self._shares) - 1)
        domain = self._first_domain[provider] + person % len(self._world.providers[provider].domains)
        mail = Mail(self._numbers, person, provider, domain, now, now + self._world.deadline)
        self._numbers += 1
        tally = self._tallies[provider]
        tally.recipients += 1
        tally.possible += self._receivers[provider].would_take(person, now, mail.deadline)
        self._place(mail, now)

    def _place(self, mail: Mail, now: float) -> None:
        """A mail that is due finds its pipe, or waits."""
        if now >= mail.deadline:
            self._past(mail)
            return
        ip, until = self._strategy.choose(mail, now)
        if ip < 0:
            self._wait(mail, until, now)
            return
        group = mail.domain if self._strategy.by_domain else mail.provider
        pipe = self._pipes.get((ip, group))
        if pipe is None:
            pipe = self._pipes[ip, group] = _Pipe(ip, group)
        pipe.queue.append(mail)
        self._pump(pipe, now)

    def _wait(self, mail: Mail, until: float, now: float) -> None:
        """Due again at a time; past its deadline it never will be."""
        if until >= mail.deadline:
            self._past(mail)
        else:
            # A strategy that names the past, or this moment, must not stop the clock.
            self._push(max(until, now + 0.001), _DUE, mail)

    def _pump(self, pipe: _Pipe, now: float) -> None:
        """Start what may start."""
        queue, strategy = pipe.queue, self._strategy
        while queue:
            if now < pipe.held:
                self._wake(pipe, pipe.held)
                return
            most, apart = strategy.limits(pipe.ip, pipe.group, now)
            if pipe.sessions >= most:
                return
            if now < pipe.last + apart:
                self._wake(pipe, pipe.last + apart)
                return
            mail = queue[0]
            if now >= mail.deadline:
                queue.popleft()
                self._past(mail)
                continue
            turn, until = strategy.may_go(mail, pipe.ip, pipe.group, now)
            if turn is Turn.HOLD:
                pipe.held = max(until, now + 0.001)
                continue
            if turn is Turn.EMPTY:
                for waiting in queue:
                    self._push(now, _DUE, waiting)
                queue.clear()
                return
            queue.popleft()
            if turn is Turn.GO:
                self._start(mail, pipe, now)
            elif turn is Turn.DEFER:
                self._wait(mail, until, now)
            else:
                self._push(now, _DUE, mail)

    def _wake(self, pipe: _Pipe, time: float) -> None:
        """Have the pipe looked at again then, at the latest."""
        if time < pipe.wakes:
            pipe.wakes = time
            self._push(time, _PUMP, pipe)

    def _start(self, mail: Mail, pipe: _Pipe, now: float) -> None:
        receiver, tally = self._receivers[mail.provider], self._tallies[mail.provider]
        pipe.sessions += 1
        pipe.last = now
        mail.attempts += 1
        mail.ip = pipe.ip
        tally.attempts += 1
        tally.wasted += mail.told_final
        spoken, seconds = receiver.attempt(mail.person, pipe.ip, now)
        self._push(now + seconds, _DONE, pipe, mail, spoken)

    def _done(self, pipe: _Pipe, mail: Mail, spoken: Spoken | None, now: float) -> None:
        receiver = self._receivers[mail.provider]
        pipe.sessions -= 1
        receiver.end(pipe.ip)
        if spoken is None:
            self._delivered(mail, pipe, receiver, now)
            due = now
        else:
            due = self._failed(mail, pipe, receiver, spoken, now)
        if self._watch is not None:
            self._watch(now, mail, receiver.provider.name, self._world.ips[pipe.ip].name, spoken, due)
        self._pump(pipe, now)

    def _delivered(self, mail: Mail, pipe: _Pipe, receiver: Receiver, now: float) -> None:
        # What began before the deadline and ended after it was late all the same.
        if now >= mail.deadline:
            self._past(mail)
        else:
            self._tallies[mail.provider].times.append(now - mail.queued)
            self._ended += 1
        self._strategy.delivered(mail, pipe.ip, pipe.group, now)
        if receiver.complains(mail.person):
            self._push(now + receiver.complaint_delay, _COMPLAIN, mail, pipe.ip)
        receiver.forget(mail.person)

    def _failed(self, mail: Mail, pipe: _Pipe, receiver: Receiver, spoken: Spoken, now: float) -> float:
        mail.told_final = mail.told_final or spoken.is_final
        judged = self._judged.get(spoken.text)
        if judged is None:
            judged = self._judged[spoken.text] = self._judging(spoken)
        due = self._strategy.failed(mail, pipe.ip, pipe.group, spoken, judged, now)
        if due == RETURN:
            tally = self._tallies[mail.provider]
            tally.returned += 1
            tally.wrongly_returned += receiver.would_take(mail.person, now, mail.deadline)
            self._ended += 1
            receiver.forget(mail.person)
        else:
            self._wait(mail, due, now)
        return due

    def _past(self, mail: Mail) -> None:
        self._tallies[mail.provider].past_deadline += 1
        self._ended += 1
        self._receivers[mail.provider].forget(mail.person)

    def _complaint(self, mail: Mail, ip: int, now: float) -> None:
        self._receivers[mail.provider].complain(ip, now)
        self._strategy.complained(mail, ip, now)
