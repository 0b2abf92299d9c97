"""One receiving provider of a world: what it answers to an attempt, and what it remembers of it.

It looks in the order of a real session: is anybody there, is the IP banned, is it blocked, are there too many sessions, is
it too young, too fast; then, at RCPT, does the recipient exist, is it greylisted, full; at the end of DATA, is the
content refused. The first that objects answers. What is hidden about a recipient is drawn once (luck.py), the same for
each strategy.
Known limits: one MX a provider, one recipient a session, no time of day.
"""

import math
from collections.abc import Sequence

from omicard_relay.steering.simulation.limits import Blocks, Bucket, DayCount
from omicard_relay.steering.simulation.luck import draw, key_of
from omicard_relay.steering.simulation.wording import Spoken, Wording, wordings
from omicard_relay.steering.values import Chance
from omicard_relay.tables.worldtables import Behaviour, Flaky, Full, Greylist, Provider, Source

__all__ = ["TIMEOUT_SECONDS", "Receiver"]

#: Postfix waits so long for a connection (smtp_connect_timeout); a refusal comes at once.
TIMEOUT_SECONDS = 30.0
_QUICK_SECONDS = 0.05
#: A session that ends with the greeting takes so much of an ordinary one.
_GREETING_PART = 0.2
_NEVER = math.inf

#: Purposes of the draws about a recipient; refusals take those from _REFUSED on.
_EXISTS, _GREY, _GONE, _FULL, _EMPTIES, _NEVER_EMPTIES, _LIED, _WORDS, _COMPLAINS, _REFUSED = range(1, 11)


class Receiver:
    """A provider's servers. `key` is that of its own draws, `chance` that of the moment; `remembers` whether recipients
    come again in another campaign, so that what is known about them must be kept."""

    def __init__(
        self, provider: Provider, ips: Sequence[Source], *, key: int, seed: int, chance: Chance, remembers: bool
    ) -> None:
        self.provider = provider
        self._ips, self._seed, self._chance, self._remembers = ips, seed, chance, remembers
        nets = [source.address.rsplit(".", 1)[0] for source in ips]
        self._groups = {
            "ip": list(range(len(ips))),
            "net": [nets.index(net) for net in nets],
            "all": [0] * len(ips),
        }
        self._pick = draw(key, _WORDS)
        self._address = f"198.51.100.{1 + key % 250}"
        self._words: dict[tuple[str, int, str], tuple[Wording, ...]] = {}
        self._said: dict[tuple[str, str, int], Spoken] = {}
        self._sessions = [0] * len(ips)
        self._buckets: dict[tuple[int, int], Bucket] = {}
        self._blocks: dict[int, Blocks] = {}
        self._days: dict[int, DayCount] = {}
        #: (recipient, group) -> when it was first seen, or, as a negative number, when it passed last.
        self._grey: dict[tuple[int, int], float] = {}
        self._passes = [0] * len(ips)
        self._first_lies: dict[int, float] = {}
        self._phase = 0
        self._now: Behaviour = provider.phases[0].behaviour

    # --- what happens ------------------------------------------------------------------------------------------------

    def attempt(self, person: int, ip: int, now: float) -> tuple[Spoken | None, float]:
        """The reply to one attempt, None where it is accepted, and how many seconds it took. A session begins."""
        self._turn(now)
        self._sessions[ip] += 1
        now_rule = self._now
        if how := self._is_away(now):
            seconds = TIMEOUT_SECONDS if how == "timeout" else _QUICK_SECONDS
            return self._say(how, 4, ip, person), seconds
        spoken = self._at_the_door(person, ip, now) or self._at_rcpt(person, ip, now) or self._at_the_end(person)
        part = _GREETING_PART if spoken is not None and spoken.at_greeting else 1.0
        return spoken, now_rule.latency * part * (0.5 + self._chance.random())

    def end(self, ip: int) -> None:
        """A session ended."""
        self._sessions[ip] -= 1

    def forget(self, person: int) -> None:
        """Nothing more will come for this recipient."""
        if self._remembers:
            return
        if self._grey:
            for group in range(len(self._ips)):
                self._grey.pop((person, group), None)
        self._first_lies.pop(person, None)

    def complains(self, person: int) -> bool:
        """Whether the recipient will complain about what was delivered."""
        share = self._now.complaints
        return share > 0 and draw(key_of(self._seed, person), _COMPLAINS) < share

    @property
    def complaint_delay(self) -> float:
        """How many seconds after the delivery a complaint comes."""
        return self._now.complaint_delay

    def complain(self, ip: int, now: float) -> None:
        """Somebody complained about mail from this IP."""
        self._turn(now)
        self._offend("complaint", ip, now)

    # --- what is counted ---------------------------------------------------------------------------------------------

    def would_take(self, person: int, now: float, until: float) -> bool:
        """Whether a mail for this recipient could still be delivered at some time from `now` to `until`."""
        key = key_of(self._seed, person)
        ends = [*(phase.at for phase in self.provider.phases[1:]), _NEVER]
        for phase, end in zip(self.provider.phases, ends, strict=True):
            start, last = max(now, phase.at), min(until, end)
            if start < last and self._is_possible(phase.behaviour, key, person, start, last):
                return True
        return False

    def blocked_hours(self, end: float) -> float:
        """IP-hours of blocks until `end`; those of a /24 count for each of its IPs."""
        total = 0.0
        for group, blocks in self._blocks.items():
            rule = next(p.behaviour.block for p in self.provider.phases if p.behaviour.block)
            count = self._groups["net"].count(group) if rule.scope == "net" else 1
            total += blocks.hours(end) * count
        return total

    def is_blocked(self, ip: int, now: float) -> bool:
        """Whether this IP is blocked for now; looking is no attempt."""
        rule = self._now.block
        blocks = self._blocks.get(self._groups[rule.scope][ip]) if rule else None
        return blocks is not None and now < blocks.until

    # --- the parts of a session --------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        """Be what it is by this time."""
        phases = self.provider.phases
        while self._phase + 1 < len(phases) and now >= phases[self._phase + 1].at:
            self._phase += 1
            self._now = phases[self._phase].behaviour
            for known in (self._buckets, self._days, self._words):
                known.clear()

    def _is_away(self, now: float) -> str:
        """How nobody answers, "" when somebody does."""
        dead, flaky = self._now.dead, self._now.flaky
        if dead and dead.start <= now < (_NEVER if dead.until is None else dead.until):
            return dead.how
        if flaky and (_is_down(flaky, now) or (flaky.chance and self._chance.random() < flaky.chance)):
            return flaky.how
        return ""

    def _at_the_door(self, person: int, ip: int, now: float) -> Spoken | None:
        """What speaks against the IP."""
        rule = self._now
        for banned in rule.banned:
            if self._ips[ip].name in banned.ips:
                return self._say("banned", banned.says, ip, person)
        block = self._blocks_of(ip)
        if block is not None and rule.block is not None and block.is_closed(now):
            return self._say("block", rule.block.says, ip, person)
        if rule.connections and self._sessions[ip] > rule.connections:
            self._offend("connections", ip, now)
            return self._say("connections", 4, ip, person)
        if rule.warmup and (age := self._ips[ip].age_days) is not None:
            days = self._days.get(ip) or self._days.setdefault(ip, DayCount(rule.warmup, age))
            if not days.take(now):
                self._offend("warmup", ip, now)
                return self._say("warmup", rule.warmup.says, ip, person)
        for number, rate in enumerate(rule.rate):
            place = (number, self._groups[rate.scope][ip])
            bucket = self._buckets.get(place) or self._buckets.setdefault(place, Bucket(rate))
            if not bucket.take(now):
                self._offend("rate", ip, now)
                return self._say("rate", rate.says, ip, person)
        self._offend("mail", ip, now)
        return None

    def _at_rcpt(self, person: int, ip: int, now: float) -> Spoken | None:
        """What speaks against the recipient."""
        rule, key = self._now, key_of(self._seed, person)
        if rule.unknown and draw(key, _EXISTS) < rule.unknown:
            self._offend("unknown", ip, now)
            return self._say("unknown", 5, ip, person)
        if rule.false_4xx and draw(key, _GONE) < rule.false_4xx.share:
            return self._say("false_4xx", 4, ip, person, rule.false_4xx.looks)
        grey = rule.greylist
        if grey and draw(key, _GREY) < grey.share and self._is_greylisted(grey, person, ip, now):
            return self._say("greylist", grey.says, ip, person)
        if rule.full and now < _emptied(rule.full, key):
            return self._say("full", rule.full.says, ip, person)
        lies = rule.false_5xx
        if lies and draw(key, _LIED) < lies.share:
            first = self._first_lies.setdefault(person, now)
            if now < first + lies.after or first == now or self._chance.random() >= lies.chance:
                return self._say("false_5xx", 5, ip, person, lies.looks)
        return None

    def _at_the_end(self, person: int) -> Spoken | None:
        """What speaks against the content."""
        for number, refuse in enumerate(self._now.refuse):
            if draw(key_of(self._seed, person), _REFUSED + number) < refuse.share:
                return self._say("refuse", refuse.says, 0, person, refuse.looks)
        return None

    def _is_greylisted(self, grey: Greylist, person: int, ip: int, now: float) -> bool:
        group = self._groups[grey.scope][ip]
        if grey.trusts_after and self._passes[group] >= grey.trusts_after:
            return False
        seen = self._grey.get((person, group))
        # A pass is kept as -1 - time, since a world may begin at 0.
        if seen is not None and seen < 0:
            if now <= -1.0 - seen + grey.memory:
                self._grey[person, group] = -1.0 - now
                return False
            seen = None
        if seen is None or now > seen + grey.expiry:
            self._grey[person, group] = now
            return True
        if now < seen + grey.wait:
            return True
        self._grey[person, group] = -1.0 - now
        self._passes[group] += 1
        return False

    def _blocks_of(self, ip: int) -> Blocks | None:
        rule = self._now.block
        if rule is None:
            return None
        group = self._groups[rule.scope][ip]
        blocks = self._blocks.get(group)
        if blocks is None:
            blocks = self._blocks[group] = Blocks(rule)
        blocks.change(rule)
        return blocks

    def _offend(self, kind: str, ip: int, now: float) -> None:
        rule = self._now.block
        if rule is not None and kind in rule.counts and (blocks := self._blocks_of(ip)) is not None:
            blocks.offend(now)

    def _is_possible(self, rule: Behaviour, key: int, person: int, start: float, end: float) -> bool:
        """Whether, behaving so from `start` to `end`, it would take a mail of this recipient from any IP at any time."""
        if draw(key, _EXISTS) < rule.unknown or (rule.false_4xx and draw(key, _GONE) < rule.false_4xx.share):
            return False
        if any(draw(key, _REFUSED + number) < refuse.share for number, refuse in enumerate(rule.refuse)):
            return False
        banned = {name for one in rule.banned for name in one.ips}
        if all(source.name in banned or not source.weight for source in self._ips):
            return False
        if rule.full:
            start = max(start, _emptied(rule.full, key))
        if rule.false_5xx and draw(key, _LIED) < rule.false_5xx.share:
            start = max(start, self._first_lies.get(person, start) + rule.false_5xx.after)
            if not rule.false_5xx.chance:
                return False
        if rule.dead and rule.dead.start <= start:
            start = max(start, _NEVER if rule.dead.until is None else rule.dead.until)
        return start < end

    def _say(self, kind: str, says: int, ip: int, person: int, looks: str = "") -> Spoken:
        """The reply in this provider's words; each is made once."""
        place = (kind, says, looks)
        words = self._words.get(place)
        if words is None:
            words = self._words[place] = wordings(self._now, kind, says, self._pick, looks)
        text = words[person % len(words)]
        said = self._said.get((kind, text.text, ip))
        if said is None:
            recipient = f"someone@{self.provider.domains[0]}"
            said = text.spoken(kind, self.provider.mx, self._address, self._ips[ip].address, recipient)
            self._said[kind, text.text, ip] = said
        return said


def _is_down(flaky: Flaky, now: float) -> bool:
    turn = flaky.up + flaky.down
    return turn > 0 and (now + flaky.offset) % turn >= flaky.up


def _emptied(full: Full, key: int) -> float:
    """When a mailbox is emptied; a time gone by where it is not full."""
    if draw(key, _FULL) >= full.share:
        return -_NEVER
    if draw(key, _NEVER_EMPTIES) < full.never:
        return _NEVER
    return -math.log(1.0 - draw(key, _EMPTIES)) * full.empties
