"""What steering speaks of: what it sees of an attempt, what it plans for a recipient, how mail of a provider goes out.

Times are Unix seconds (UTC) as floats, so that a simulated world may begin at 0. A source IP is spoken of by its name in the
configuration (`ip1`), never by its address. A reason is a key with its figures; the words stand where people read
them (cli/), in each language.
"""

import hashlib
from typing import Protocol

import msgspec

from omicard_relay.mail import Action, Outcome

__all__ = ["Alert", "Chance", "Lane", "Plan", "Reason", "Seen", "SourceIp", "thread_of"]


class SourceIp(msgspec.Struct, frozen=True, kw_only=True):
    """One IP from which mail goes out. `weight`: its share of ordinary mail; `age_days`: of its use, for the warm-up
    (None: it is warm)."""

    name: str
    weight: float = 1.0
    age_days: float | None = None


class Seen(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt of one recipient, as steering learns from it.

    `id` grows: that of the stored attempt, or the simulator's count. `thread` is one recipient of one mail (`thread_of`).
    `queued` is when the mail came. `ip` is "" where nobody knows from which IP it went, `speed` the class it went with.
    `code`, `rule_id` and `action` are those of the verdict; None, "" and None where it was delivered. `reply_class` is the
    first digit of the reply, 0 without one. `is_complaint`: no attempt, but a complaint that came for it later.
    """

    id: int
    time: float
    queued: float
    thread: str
    domain: str
    provider: str
    ip: str = ""
    speed: int = 0
    outcome: Outcome
    code: int | None = None
    rule_id: str = ""
    action: Action | None = None
    reply_class: int = 0
    is_complaint: bool = False


class Reason(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why: a key of the texts (`learned-rest`, `policy-attempts`, …) and its figures, as they stand in the sentence."""

    key: str
    figures: dict[str, str | int | float] = {}


class Plan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is to be done for one recipient of one mail after a failure.

    `action` is RETURN or RETRY. A retry is made at `at`, from `ip` ("": from whichever is free); `chance` is the expected
    probability that it delivers, `attempts_left` how many the policy still allows after it. `explores`: chosen to learn,
    not because it seemed best. The most important reason comes first.
    """

    action: Action
    at: float = 0.0
    ip: str = ""
    chance: float = 0.0
    attempts_left: int = 0
    explores: bool = False
    reasons: tuple[Reason, ...] = ()


class Lane(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How mail of a provider goes out from one source IP at the moment.

    `speed` is the class of pace, 0 the ordinary one, rising as it slows. `rests_until`: closed until then (None: open), and
    `is_probing`: of what waits, only a trickle goes, to see whether it is open again. `share`: its part of the provider's
    mail, over the open lanes they sum to 1.
    """

    provider: str
    ip: str
    speed: int = 0
    rests_until: float | None = None
    is_probing: bool = False
    share: float = 0.0
    reasons: tuple[Reason, ...] = ()


class Alert(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that a person should look at: `key` of the texts, what it is about, and its figures."""

    key: str
    time: float
    about: str
    figures: dict[str, str | int | float] = {}


class Chance(Protocol):
    """A source of chance, as random.Random(seed) is one; the pure floors get it passed."""

    def random(self) -> float: ...
    def betavariate(self, alpha: float, beta: float) -> float: ...
    def uniform(self, a: float, b: float) -> float: ...


def thread_of(queue_id: str, address_key: str) -> str:
    """The name of one recipient of one mail: 24 hex digits of a digest, so that no state and no snapshot holds an address."""
    return hashlib.blake2b(f"{queue_id}\n{address_key}".encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
