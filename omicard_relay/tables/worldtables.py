"""The tables of a world's file as values: what stands in it, with every default and its reason (docs/worlds.md).

All times and spans are seconds; `share` is a part of the recipients or mails, from 0 to 1. Reading and checking is in
tables/worlds.py.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "BEHAVIOURS",
    "SPANS",
    "TEXT_KINDS",
    "Banned",
    "Behaviour",
    "Block",
    "Campaign",
    "Dead",
    "False4xx",
    "False5xx",
    "Flaky",
    "Full",
    "Greylist",
    "Phase",
    "Provider",
    "Rate",
    "Refuse",
    "Source",
    "Warmup",
    "World",
    "WorldFile",
]

Share = Annotated[float, Meta(ge=0, le=1)]
#: A hundred years.
Span = Annotated[float, Meta(ge=0, le=3.2e9)]
LongSpan = Annotated[float, Meta(gt=0, le=3.2e9)]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
#: What an IP's limit counts together: the IP, its /24, or all of the world's IPs.
Scope = Literal["ip", "net", "all"]
ReplyClass = Literal[4, 5]

#: Keys that take a span of time, in whatever table.
SPANS = frozenset(
    {
        "after", "at", "at_most", "complaint_delay", "deadline", "down", "empties", "every", "expiry", "from", "latency",
        "lengthens", "memory", "offset", "rest", "start", "until", "up", "wait", "within",
    }
)  # fmt: skip
#: Behaviours that may be written `true` or `false`.
BEHAVIOURS = ("greylist", "rate", "block", "flaky", "dead", "full", "false_5xx", "false_4xx", "refuse", "warmup")
#: What a provider may have own words for.
TEXT_KINDS = (
    "greylist", "rate", "block", "banned", "connections", "warmup", "unknown", "full", "refuse", "false_5xx", "false_4xx",
    "busy",
)  # fmt: skip


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that is not known is an error, never ignored."""


class Greylist(_Table, frozen=True, kw_only=True):
    """A first mail of (sender, recipient, IP) is deferred; a later one passes."""

    wait: Span = 300.0
    #: Where the retry must come from; `all` is from anywhere.
    scope: Scope = "ip"
    #: A retry later than this is a first mail again.
    expiry: LongSpan = 86_400.0
    #: How long a pass is remembered.
    memory: Span = 35 * 86_400.0
    #: Part of the recipients who are greylisted at all.
    share: Share = 1.0
    #: After so many passes an IP (or /24) is not greylisted any more; 0: never.
    trusts_after: Natural = 0
    says: ReplyClass = 4


class Rate(_Table, frozen=True, kw_only=True):
    """A bucket of tokens, one a mail: `mails` in `every`, `burst` at once (0: as many as `mails`)."""

    mails: Positive = 60
    every: LongSpan = 60.0
    burst: Natural = 0
    scope: Scope = "ip"
    says: ReplyClass = 4


class Block(_Table, frozen=True, kw_only=True):
    """After `offences` within `within` an IP gets nothing through for `rest`; poking lengthens it."""

    offences: Positive = 20
    within: LongSpan = 600.0
    #: What counts as an offence.
    counts: tuple[Literal["rate", "connections", "warmup", "unknown", "complaint", "mail"], ...] = (
        "rate",
        "connections",
        "warmup",
    )
    rest: LongSpan = 3600.0
    #: By so much every attempt into the block lengthens it …
    lengthens: Span = 60.0
    #: … but no block is longer than this.
    at_most: LongSpan = 28_800.0
    #: Each further block rests so many times as long, when the last one ended less than `memory` ago.
    growth: Annotated[float, Meta(ge=1, le=100)] = 2.0
    memory: Span = 86_400.0
    scope: Literal["ip", "net"] = "ip"
    says: ReplyClass = 4


class Banned(_Table, frozen=True, kw_only=True):
    """These IPs get nothing through, however long they rest."""

    ips: Annotated[tuple[str, ...], Meta(min_length=1)]
    says: ReplyClass = 5


class Flaky(_Table, frozen=True, kw_only=True):
    """Up and down in turn, beginning `offset` into the turn; and by chance."""

    up: Span = 3000.0
    down: Span = 600.0
    offset: Span = 0.0
    #: A session fails so often also while it is up.
    chance: Share = 0.0
    how: Literal["timeout", "refused", "lost", "busy"] = "timeout"


class Dead(_Table, frozen=True, kw_only=True, rename={"start": "from"}):
    """Nobody answers, from `from` until `until` (for good where that is not told)."""

    start: Span = 0.0
    until: Span | None = None
    how: Literal["timeout", "refused"] = "timeout"


class Full(_Table, frozen=True, kw_only=True):
    """So many mailboxes are full; all but `never` of them are emptied, on average after `empties`."""

    share: Share = 0.05
    empties: LongSpan = 21_600.0
    never: Share = 0.3
    says: ReplyClass = 4


class False5xx(_Table, frozen=True, kw_only=True):
    """5xx that means 4xx: so many recipients are refused at first; `after` the first attempt one passes with `chance`."""

    share: Share = 0.3
    after: Span = 900.0
    chance: Share = 1.0
    looks: Literal["rate", "policy", "block", "unknown", "busy"] = "rate"


class False4xx(_Table, frozen=True, kw_only=True):
    """4xx that means 5xx: so many recipients are gone, and it is said with a 4xx."""

    share: Share = 0.05
    looks: Literal["unknown", "later", "full"] = "unknown"


class Refuse(_Table, frozen=True, kw_only=True):
    """So many recipients get this campaign refused for good."""

    share: Share = 0.02
    looks: Literal["content", "spam", "policy"] = "content"
    says: ReplyClass = 5


class Warmup(_Table, frozen=True, kw_only=True):
    """What a young IP may bring a day: `mails`, times `growth` for each day of its age; none is counted beyond `days`."""

    mails: Positive = 200
    growth: Annotated[float, Meta(ge=1, le=10)] = 2.0
    days: Positive = 30
    says: ReplyClass = 4


class Behaviour(_Table, frozen=True, kw_only=True):
    """How one provider answers."""

    #: Seconds that a session takes, on average; a time-out takes 30.
    latency: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    #: Part of its addresses that do not exist; it says so clearly.
    unknown: Share = 0.0
    #: Part of delivered mails about which somebody complains, and how much later.
    complaints: Share = 0.0
    complaint_delay: Span = 14_400.0
    #: Sessions at once from one IP; 0: no limit.
    connections: Natural = 0
    greylist: Greylist | None = None
    rate: tuple[Rate, ...] = ()
    block: Block | None = None
    banned: tuple[Banned, ...] = ()
    flaky: Flaky | None = None
    dead: Dead | None = None
    full: Full | None = None
    false_5xx: False5xx | None = None
    false_4xx: False4xx | None = None
    refuse: tuple[Refuse, ...] = ()
    warmup: Warmup | None = None
    #: Own words: behaviour -> replies, taken in turn by recipient. `{ip}` and `{recipient}` are filled in.
    texts: dict[str, tuple[str, ...]] = {}


class _ProviderRow(Behaviour, frozen=True, kw_only=True):
    name: str
    mx: str = ""
    domains: tuple[str, ...] = ()
    share: Annotated[float, Meta(ge=0)] = 1.0
    #: Checked one by one when they are laid over.
    change: tuple[dict[str, object], ...] = ()


class Campaign(_Table, frozen=True, kw_only=True):
    """So many mails, one a recipient, evenly at `rate` a second from `start`. Campaigns with the same `list` write to the
    same people."""

    recipients: Positive = 10_000
    start: Span = 0.0
    rate: Annotated[float, Meta(gt=0, le=1e6)] = 10.0
    list: str = "a"


class Source(_Table, frozen=True, kw_only=True):
    """One of our IPs; `age_days`: of its use at the start (without it: it is warm)."""

    name: str = ""
    weight: Annotated[float, Meta(ge=0)] = 1.0
    age_days: Annotated[float, Meta(ge=0)] | None = None
    address: str = ""


class WorldFile(_Table, frozen=True, kw_only=True):
    """What stands in the file."""

    name: str = ""
    about: str = ""
    #: So long after a mail came it must be delivered.
    deadline: LongSpan = 86_400.0
    campaign: tuple[Campaign, ...] = (Campaign(),)
    ip: tuple[Source, ...] = ()
    provider: tuple[_ProviderRow, ...] = ()


class Phase(_Table, frozen=True, kw_only=True):
    """From when on a provider behaves so."""

    at: float
    behaviour: Behaviour


class Provider(_Table, frozen=True, kw_only=True):
    """Who runs the receiving servers of some domains."""

    name: str
    mx: str
    domains: tuple[str, ...]
    share: float
    phases: tuple[Phase, ...]


class World(_Table, frozen=True, kw_only=True):
    """A whole world, checked."""

    name: str
    about: str
    deadline: float
    campaigns: tuple[Campaign, ...]
    ips: tuple[Source, ...]
    providers: tuple[Provider, ...]

    @property
    def recipients(self) -> int:
        """How many mails there are, over all campaigns."""
        return sum(campaign.recipients for campaign in self.campaigns)
