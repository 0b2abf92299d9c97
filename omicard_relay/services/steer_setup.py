"""By what steering decides, as one value that can be stored and made anew: the policy, the book of providers, the source
IPs, the seed.

`Setup.content` is JSON and holds all of it with every layer of the tables, so that an old decision is recomputed by
what was in force then, whatever the tables say today. Its digest names it in the steps.
"""

import hashlib
import random
from datetime import date
from pathlib import Path
from types import MappingProxyType

import msgspec

from omicard_relay.mail import StoreError
from omicard_relay.steering.providers import provider_of
from omicard_relay.steering.state import Counts, State
from omicard_relay.steering.steer import Steer
from omicard_relay.steering.values import Chance, SourceIp
from omicard_relay.tables.providers import ProviderBook, load_providers
from omicard_relay.tables.retry import Model, RetryPolicy, RetryRule, load_retry
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.speeds import Speeds

__all__ = ["Setup", "UnreadableError", "decode_state", "encode_state", "read_counts", "read_setup", "setup_of"]


class UnreadableError(StoreError):
    """Something stored was written by a program that does not fit to this one."""


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    model: Model
    rules: tuple[RetryRule, ...]
    overrides: tuple[tuple[str, RetryRule], ...]
    speeds: Speeds
    families: dict[str, str]
    suffixes: dict[str, str]
    ips: tuple[SourceIp, ...]
    seed: int


class Setup:
    """What decides; two of the same digest decide the same."""

    def __init__(self, policy: RetryPolicy, book: ProviderBook, ips: tuple[SourceIp, ...], seed: int) -> None:
        raw = _Content(
            model=policy.model,
            rules=tuple(policy.rules[code] for code in sorted(policy.rules)),
            overrides=tuple((name, policy.overrides[name, code]) for name, code in sorted(policy.overrides)),
            speeds=policy.speeds,
            families=dict(sorted(policy.families.items())),
            suffixes=dict(sorted(book.suffixes.items())),
            ips=ips,
            seed=seed,
        )
        # Used is what can be read back: a figure that a table wrote as 7 is 7.0 there, in every sentence, too.
        parts = msgspec.json.decode(msgspec.json.encode(raw), type=_Content)
        self.content = msgspec.json.encode(parts)
        self.digest = hashlib.sha256(self.content).hexdigest()
        families = MappingProxyType(parts.families)
        self.policy = RetryPolicy(
            model=parts.model,
            rules=MappingProxyType({rule.code: rule for rule in parts.rules}),
            overrides=MappingProxyType({(name, rule.code): rule for name, rule in parts.overrides}),
            speeds=parts.speeds,
            families=families,
        )
        self.ips, self.seed = parts.ips, parts.seed
        self._book = ProviderBook(suffixes=MappingProxyType(parts.suffixes), families=families)
        self._named: dict[tuple[str, str], str] = {}

    def provider_of(self, host: str, domain: str) -> str:
        """The provider of a server, or of a domain where no server is known."""
        key = (host, domain)
        name = self._named.get(key)
        if name is None:
            if len(self._named) > _MOST_NAMES:
                self._named.clear()
            name = self._named[key] = provider_of(host, domain, self._book)
        return name

    def steer(self, state: State | None = None) -> Steer:
        """The core over a state; None: an empty one."""
        return Steer(self.policy, self.ips, seed=self.seed, chance=_chance, state=state)


#: Names of hosts that are remembered: finding the registered domain of one costs some ten microseconds.
_MOST_NAMES = 100_000


def _chance(seed: int) -> Chance:
    return random.Random(seed)  # noqa: S311 - it explores; nobody gains by guessing it


def setup_of(settings: Settings, *, machine: str, today: date) -> Setup:
    """What the settings and tables of this site say on a day (an IP's age is counted in days). Raises TableError.

    The seed is made of the machine's name: machines explore differently, and each the same after a restart.
    """
    site = Path(settings.policies_dir) if settings.policies_dir else None
    ips = tuple(
        SourceIp(
            name=one.name,
            weight=one.weight,
            age_days=None if one.since is None else float(max((today - one.since).days, 0)),
        )
        for one in settings.steer.ip
    )
    seed = int.from_bytes(hashlib.blake2b(machine.encode("utf-8", "surrogatepass"), digest_size=4).digest())
    return Setup(load_retry(site), load_providers(site), ips, seed)


def read_setup(content: bytes) -> Setup:
    """The same out of a stored content. Raises UnreadableError where this program cannot read it."""
    try:
        parts = msgspec.json.decode(content, type=_Content)
    except msgspec.ValidationError as error:
        raise UnreadableError(f"a stored policy of steering is not readable by this program ({error}).") from None
    policy = RetryPolicy(
        model=parts.model,
        rules={rule.code: rule for rule in parts.rules},
        overrides={(name, rule.code): rule for name, rule in parts.overrides},
        speeds=parts.speeds,
        families=parts.families,
    )
    return Setup(policy, ProviderBook(suffixes=parts.suffixes, families=parts.families), parts.ips, parts.seed)


def encode_state(state: State) -> bytes:
    """The state as octets: the same state gives the same."""
    return msgspec.msgpack.encode(state)


def decode_state(content: bytes) -> State:
    """The state of these octets. Raises UnreadableError where this program cannot read it."""
    try:
        return msgspec.msgpack.decode(content, type=State)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise UnreadableError(f"a stored state of steering is not readable by this program ({error}).") from None


def read_counts(content: bytes) -> Counts:
    """Counts of another site out of JSON. Raises StoreError where they are none."""
    try:
        counts = msgspec.json.decode(content, type=Counts)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise StoreError(f"these are no counts that `steer export` wrote ({error}).") from None
    if counts.format != Counts(cells={}).format:
        raise StoreError(f"these counts are of format {counts.format}, which this program does not know; update it.")
    return counts
