"""The demonstration campaign: recipients over all the habits of the private internet, with what must become of each.

The same seed gives the same campaign. Numbers are for 1,000 recipients and scale; few go to hosts that hang, so that a run ends
within two minutes. Of two spellings of one address only the first to arrive is kept, so with several connections it
is the pair that has the two fates.
Not here: sending (lab/submit.py).
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lab.domains import Fate, domain_named
from omicard_relay.mail import ListName, address_key

__all__ = ["Campaign", "Planned", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One line of the address list.

    `domain` is the row of lab/domains.py, or "" where the mail never gets there. `drop_reason` is the scrub step that
    keeps it back (tables.settings.StepName), "" when none does. `bounce_code` is the cause that must be found, 0 when
    there is none. `big` asks for a mail above domains.BIG_OCTETS.
    """

    address: str
    domain: str = ""
    fate: Fate
    drop_reason: str = ""
    bounce_code: int = 0
    big: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """The address list in its order, and the lists that the scrub must hold before it is sent."""

    name: str
    recipients: tuple[Planned, ...]
    lists: dict[ListName, tuple[str, ...]]


#: Recipients a thousand of each domain; what is left goes to good.test.
_WEIGHTS = {
    "unknown.test": 50,
    "full.test": 30,
    "quota.test": 15,
    "grey.test": 50,
    "yahoo-style.test": 20,
    "microsoft-style.test": 15,
    "droppy.test": 10,
    "later.test": 20,
    "full-later.test": 10,
    "vacation.test": 15,
    "moved.test": 10,
    "complains.test": 8,
    "toobig.test": 4,
    "size.test": 4,
    "content.test": 12,
    "busy.test": 8,
    "slow.test": 15,
    "blocked.test": 5,
    "hang.test": 2,
    "silent.test": 4,
    "dead.test": 10,
    "nullmx.test": 8,
    "nx.test": 12,
    "nomx.test": 4,
    "lostmx.test": 4,
    "servfail.test": 6,
    "loopy.test": 3,
}
_MIXED_KNOWN, _MIXED_UNKNOWN = 50, 30
_INVALID, _DUPLICATE, _OF_BLOCKED_DOMAIN = 20, 30, 10
#: Recipients of good.test that stand on lists: which, how many, and the step that drops them. A whitelist wins over the
#: blacklist and known bounces (the default of [scrub]), so those are delivered.
_LISTED: tuple[tuple[tuple[ListName, ...], int, str], ...] = (
    ((ListName.UNSUBSCRIBED,), 30, "unsubscribed"),
    ((ListName.KNOWN_BOUNCE,), 30, "known-bounce"),
    ((ListName.BLACKLIST,), 10, "blacklist"),
    ((ListName.BLACKLIST, ListName.WHITELIST), 5, ""),
    ((ListName.KNOWN_BOUNCE, ListName.WHITELIST), 5, ""),
)
#: Addresses outside ASCII (RFC 6531).
_INTERNATIONAL = 5
#: A domain of which every address is on the blacklist.
_BLOCKED_DOMAIN = "competitor.test"
#: None of them is an address (RFC 5321 §4.1.2), and each fits between the angle brackets of RCPT.
_BROKEN = (
    "no-at-sign-{}",
    "two@@signs{}.test",
    "dot..dot{}@good.test",
    "end-dot{}.@good.test",
    ".first-dot{}@good.test",
    "dash{}@-good-.test",
    "dots{}@good..test",
    "no-domain{}@",
    "far-too-long-" + "x" * 60 + "{}@good.test",
    "comma,comma{}@good.test",
)
_GIVEN = [
    "ann",
    "ben",
    "chen",
    "dora",
    "emil",
    "fang",
    "gina",
    "hugo",
    "ida",
    "jun",
    "kai",
    "lin",
    "mei",
    "nora",
    "otto",
]
_FAMILY = ["berg", "chang", "dahl", "evans", "frost", "garcia", "huang", "ito", "jensen", "kim", "lopez", "meyer", "wu"]
_CHINESE = ("王小明", "李美玲", "陳志豪", "林雅婷", "張家豪")


def plan(total: int = 1000, *, seed: int = 900, campaign: str = "autumn-sale") -> Campaign:
    """The campaign of `total` lines (at least 1,000, for every habit to be there in its measure)."""
    if total < 1000:
        raise ValueError("a campaign has at least 1,000 recipients")
    chance = random.Random(seed)  # noqa: S311
    factor = total / 1000
    numbers = itertools.count(1)

    def people(domain: str, weight: float) -> list[Planned]:
        return [
            _at(domain, f"{chance.choice(_GIVEN)}.{chance.choice(_FAMILY)}{next(numbers)}")
            for _ in range(round(weight * factor))
        ]

    lines = [planned for domain, weight in _WEIGHTS.items() for planned in people(domain, weight)]
    lines += people("mixed.test", _MIXED_UNKNOWN)
    for planned in people("mixed.test", _MIXED_KNOWN):
        lines.append(replace(planned, address=f"ok.{planned.address}", fate=Fate.DELIVERED, bounce_code=0))
    for _ in range(round(_INTERNATIONAL * factor)):
        lines.append(_at("good.test", f"{chance.choice(_CHINESE)}{next(numbers)}"))
    for at in range(round(_INVALID * factor)):
        lines.append(_dropped(_BROKEN[at % len(_BROKEN)].format(next(numbers)), "syntax"))
    lists: dict[ListName, tuple[str, ...]] = dict.fromkeys(ListName, ())
    for names, weight, reason in _LISTED:
        members = people("good.test", weight)
        for name in names:
            lists[name] += tuple(address_key(member.address) for member in members)
        lines += [_dropped(member.address, reason) for member in members] if reason else members
    for planned in people("good.test", _OF_BLOCKED_DOMAIN):
        lines.append(_dropped(planned.address.replace("@good.test", f"@{_BLOCKED_DOMAIN}"), "blacklist"))
    lists[ListName.BLACKLIST] += (f"@{_BLOCKED_DOMAIN}",)
    twice = round(_DUPLICATE * factor)
    good = people("good.test", (total - len(lines) - twice) / factor)
    lines += good
    chance.shuffle(lines)
    recipients = tuple(_with_duplicates(lines, good[:twice], chance))
    return Campaign(name=campaign, recipients=recipients, lists=lists)


def _at(domain: str, local_part: str) -> Planned:
    row = domain_named(domain)
    return Planned(
        address=f"{local_part}@{domain}",
        domain=domain,
        fate=row.fate,
        bounce_code=row.bounce_code,
        big=row.bounce_code == 932,
    )


def _dropped(address: str, reason: str) -> Planned:
    return Planned(address=address, fate=Fate.DROPPED, drop_reason=reason)


def _with_duplicates(lines: list[Planned], twice: list[Planned], chance: random.Random) -> Iterator[Planned]:
    """The lines, with a second spelling of some of them somewhere after the first."""
    waiting = {planned.address for planned in twice}
    second: list[Planned] = []
    for planned in lines:
        yield planned
        if planned.address in waiting:
            spelling = chance.choice((str.upper, str.title, str))(planned.address)
            second.append(_dropped(spelling, "duplicate"))
        if second and chance.random() < 0.2:
            yield second.pop(0)
    yield from second
