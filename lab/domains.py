"""The table of the private internet: each domain, how its receiver behaves, and what Postfix then logs.

`says` is a part of the text in the log line's parentheses. lab/selfcheck.py holds each row against a real Postfix, and
docs/lab.md shows the same table. `bounce_code` is the cause by the product's own definitions; 0 where the mail is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lab.behaviour import Behaviour
from lab.later import Postman
from lab.receivers import (
    AnswersLater,
    DropsConnection,
    Greylists,
    Hangs,
    Mixed,
    Refuses,
    Slow,
    TooBig,
    later_habits,
)
from omicard_relay.mail import Stage

__all__ = ["BIG_OCTETS", "DOMAINS", "Domain", "Fate", "Pace", "domain_named", "make_behaviour"]

#: The limit of the receivers that find a mail too big.
BIG_OCTETS = 20_000


class Fate(StrEnum):
    """What finally becomes of a recipient."""

    DELIVERED = "delivered"
    #: Refused for good in the session, or by Postfix itself.
    RETURNED = "returned"
    #: Deferred for as long as the lab runs.
    RESTING = "resting"
    #: Accepted; a failure report came later.
    RETURNED_LATER = "returned-later"
    #: Accepted; an automatic reply or a complaint came later.
    ANSWERED_LATER = "answered-later"
    #: The scrub kept it back.
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the patient habits take, in seconds; short enough for a demonstration."""

    greylist_seconds: float = 3.0
    later_seconds: float = 0.5
    slow_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """One row. `number` N: the receiver is at 127.0.1.N; None: there is none. `example` is the local part that shows it."""

    name: str
    habit: str
    number: int | None = None
    fate: Fate
    status: str
    dsn: str
    says: str
    bounce_code: int = 0
    example: str = "ann"

    @property
    def ip(self) -> str:
        """The receiver's address; empty when there is none."""
        return f"127.0.1.{self.number}" if self.number else ""

    @property
    def host(self) -> str:
        """The receiver's name in the MX record."""
        return f"mx.{self.name}"


def _row(
    name: str, number: int | None, fate: Fate, dsn: str, says: str, habit: str, code: int = 0, example: str = "ann"
) -> Domain:
    status = {"2": "sent", "4": "deferred", "5": "bounced"}[dsn[0]]
    return Domain(
        name=name,
        habit=habit,
        number=number,
        fate=fate,
        status=status,
        dsn=dsn,
        says=says,
        bounce_code=code,
        example=example,
    )


_ACCEPTED = "250 2.0.0 Ok: taken as "
DOMAINS: tuple[Domain, ...] = (
    _row("good.test", 1, Fate.DELIVERED, "2.0.0", _ACCEPTED, "accepts everybody"),
    _row("unknown.test", 2, Fate.RETURNED, "5.1.1", "user unknown (in reply to RCPT TO", "knows nobody", 902),
    _row(
        "mixed.test", 3, Fate.RETURNED, "5.1.1", "no such user here (in", "knows local parts that begin with `ok`", 902
    ),
    _row("full.test", 4, Fate.RETURNED, "5.2.2", "552 5.2.2 <ann@full.test>: mailbox", "mailbox full, for good", 901),
    _row("quota.test", 5, Fate.RESTING, "4.2.2", "452 4.2.2 <ann@quota.test>: over", "mailbox full, for now", 901),
    _row("grey.test", 6, Fate.DELIVERED, "4.7.1", "greylisted", "greylists, then accepts", 935),
    _row("yahoo-style.test", 7, Fate.RESTING, "4.7.0", "421 4.7.0 [TSS04]", "defers our IP at MAIL", 938),
    _row("microsoft-style.test", 8, Fate.RETURNED, "5.7.1", "(S3150)", "has our IP on its block list, at MAIL", 939),
    _row("droppy.test", 9, Fate.RESTING, "4.4.2", "lost connection with", "closes the connection at the greeting", 911),
    _row("later.test", 10, Fate.RETURNED_LATER, "2.0.0", _ACCEPTED, "accepts, then reports: no such user", 902),
    _row("full-later.test", 11, Fate.RETURNED_LATER, "2.0.0", _ACCEPTED, "accepts, then reports: mailbox full", 901),
    _row("vacation.test", 12, Fate.ANSWERED_LATER, "2.0.0", _ACCEPTED, "accepts, then an out-of-office reply", 906),
    _row("moved.test", 13, Fate.ANSWERED_LATER, "2.0.0", _ACCEPTED, "accepts, then tells a new address", 908),
    _row("complains.test", 14, Fate.ANSWERED_LATER, "2.0.0", _ACCEPTED, "accepts, then an abuse report", 913),
    _row("toobig.test", 15, Fate.RETURNED, "5.3.4", "552 5.3.4 Message is too big", "refuses big mails at MAIL", 932),
    _row(
        "size.test",
        16,
        Fate.RETURNED,
        "5.3.4",
        "exceeds size limit",
        "announces a SIZE; Postfix refuses by itself",
        932,
    ),
    _row(
        "content.test",
        17,
        Fate.RETURNED,
        "5.7.1",
        "554-5.7.1 The content of this mail was refused: 554 5.7.1 it",
        "refuses the content at end of data",
        918,
    ),
    _row(
        "busy.test", 18, Fate.RESTING, "4.3.2", "refused to talk to me: 421 4.3.2", "is too busy at the greeting", 915
    ),
    _row("slow.test", 19, Fate.DELIVERED, "2.0.0", _ACCEPTED, "accepts, but takes its time"),
    _row(
        "blocked.test", 20, Fate.RESTING, "4.7.1", "refused to talk to me: 554 5.7.1", "refuses us at the greeting", 939
    ),
    _row("hang.test", 21, Fate.RESTING, "4.4.2", "timed out while sending MAIL FROM", "never answers MAIL", 911),
    _row("silent.test", 22, Fate.RESTING, "4.4.1", "Connection timed out", "has a host that does not answer", 910),
    _row("dead.test", 23, Fate.RESTING, "4.4.1", "Connection refused", "has a host where nobody listens", 910),
    _row("nullmx.test", None, Fate.RETURNED, "5.1.0", "does not accept mail (nullMX)", "null MX (RFC 7505)", 910),
    _row(
        "nx.test", None, Fate.RETURNED, "5.4.4", "name=nx.test type=A: Host not found", "does not exist (NXDOMAIN)", 905
    ),
    _row("nomx.test", None, Fate.RETURNED, "5.4.4", "no data record", "exists, but without MX or address", 927),
    _row("lostmx.test", None, Fate.RETURNED, "5.4.4", "name=mx.nowhere.test", "its MX does not exist", 905),
    _row(
        "servfail.test", None, Fate.RESTING, "4.4.3", "Host not found, try again", "its DNS is broken (SERVFAIL)", 911
    ),
    _row("loopy.test", None, Fate.RETURNED, "5.4.6", "loops back to myself", "its MX is our own host", 937),
)


def domain_named(name: str) -> Domain:
    """The row of a domain. Raises KeyError when there is none."""
    return _BY_NAME[name]


def make_behaviour(domain: Domain, postman: Postman, pace: Pace) -> Behaviour | None:
    """The receiver's behaviour; None where nobody listens, or nobody answers."""
    make = _HABITS.get(domain.name.removesuffix(".test"))
    if make is not None:
        return make(pace)
    later = later_habits().get(domain.name.removesuffix(".test"))
    if later is None:
        return None
    kind, maker = later
    return AnswersLater(postman, kind, maker, hostname=domain.host, rest_seconds=pace.later_seconds)


_BY_NAME = {domain.name: domain for domain in DOMAINS}
_HABITS: dict[str, Callable[[Pace], Behaviour]] = {
    "good": lambda pace: Behaviour(),
    "unknown": lambda pace: Refuses(Stage.RCPT, "550 5.1.1 <{recipient}>: user unknown"),
    "mixed": lambda pace: Mixed(),
    "full": lambda pace: Refuses(Stage.RCPT, "552 5.2.2 <{recipient}>: mailbox is full"),
    "quota": lambda pace: Refuses(
        Stage.RCPT, "452 4.2.2 <{recipient}>: over quota, the mailbox takes no more mail now"
    ),
    "grey": lambda pace: Greylists(pace.greylist_seconds),
    "yahoo-style": lambda pace: Refuses(
        Stage.MAIL, "421 4.7.0 [TSS04] Mail from {ip} is temporarily deferred because of user complaints"
    ),
    "microsoft-style": lambda pace: Refuses(
        Stage.MAIL, "550 5.7.1 Mail from [{ip}] was not taken: part of its network is on our block list (S3150)"
    ),
    "droppy": lambda pace: DropsConnection(),
    "toobig": lambda pace: TooBig(BIG_OCTETS, announced=False),
    "size": lambda pace: TooBig(BIG_OCTETS, announced=True),
    "content": lambda pace: Refuses(
        Stage.END_OF_DATA, "554-5.7.1 The content of this mail was refused:\n554 5.7.1 it looks like spam"
    ),
    "busy": lambda pace: Refuses(Stage.CONNECT, "421 4.3.2 Server is too busy, please come back later"),
    "slow": lambda pace: Slow(pace.slow_seconds),
    "blocked": lambda pace: Refuses(Stage.CONNECT, "554 5.7.1 Your IP {ip} is blocked here"),
    "hang": lambda pace: Hangs(),
}
