"""What the engine asks a strategy, and the mail it asks about. Peers and ours stand behind the same questions.

Way of one mail: `choose` an IP (or wait), queue at that IP for its group, `may_go` when its turn comes, then `delivered` or
`failed`, which tells when it is due again. Times are seconds of the world.
"""

from enum import Enum
from typing import Final, Protocol

import msgspec

from omicard_relay.mail import Action
from omicard_relay.steering.simulation.wording import Spoken

__all__ = ["ANEW", "EMPTY", "GO", "RETURN", "Judged", "Mail", "Place", "Strategy", "Turn"]

#: What `failed` answers for a mail that is returned.
RETURN: Final = -1.0


class Judged(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the judge made of a reply."""

    code: int
    rule_id: str
    action: Action
    reply_class: int


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A provider or one of its domains, as strategies see it: never its hidden behaviour."""

    number: int
    name: str
    mx: str
    domain: str
    provider: int


class Mail:
    """One mail to one recipient. `ip`: the one it went from last, or shall keep (-1: none yet); `number` counts all mails.
    `rests` is the strategy's own: from which IP the retry must come (-1: any)."""

    __slots__ = (
        "attempts",
        "deadline",
        "domain",
        "first",
        "ip",
        "number",
        "person",
        "provider",
        "queued",
        "rests",
        "told_final",
    )

    def __init__(self, number: int, person: int, provider: int, domain: int, queued: float, deadline: float) -> None:
        self.number, self.person, self.provider, self.domain = number, person, provider, domain
        self.queued, self.deadline = queued, deadline
        self.attempts, self.ip, self.rests = 0, -1, -1
        self.first = queued
        self.told_final = False


class Turn(Enum):
    """What a mail does whose turn has come."""

    #: It is tried.
    GO = "go"
    #: It, and all behind it, wait until the time.
    HOLD = "hold"
    #: It looks for an IP anew.
    ANEW = "anew"
    #: It is put off until the time, without an attempt.
    DEFER = "defer"
    #: All that wait here look for an IP anew.
    EMPTY = "empty"


GO: Final = (Turn.GO, 0.0)
ANEW: Final = (Turn.ANEW, 0.0)
EMPTY: Final = (Turn.EMPTY, 0.0)


class Strategy(Protocol):
    """How a mail server decides when to try, and from which IP."""

    #: Whether mails queue by domain (True) or by provider.
    by_domain: bool

    def choose(self, mail: Mail, now: float) -> tuple[int, float]:
        """The number of the IP for this mail; (-1, time) to wait until then."""
        ...

    def may_go(self, mail: Mail, ip: int, group: int, now: float) -> tuple[Turn, float]:
        """Whether this mail may be tried now from this IP."""
        ...

    def limits(self, ip: int, group: int, now: float) -> tuple[int, float]:
        """Sessions at once, and seconds between two mails."""
        ...

    def failed(self, mail: Mail, ip: int, group: int, spoken: Spoken, judged: Judged, now: float) -> float:
        """When the mail is due again; RETURN to give it back."""
        ...

    def delivered(self, mail: Mail, ip: int, group: int, now: float) -> None:
        """It was accepted."""
        ...

    def complained(self, mail: Mail, ip: int, now: float) -> None:
        """The recipient complained, as a feedback loop tells."""
        ...
