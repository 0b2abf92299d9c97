"""Runs of `simulate`: names of policies -> strategies, with the real judge, the real core and seeded chance.

Here chance is made (random.Random) and the judge of replies is joined to the world: the pure floor gets both passed in.
"""

import random
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from omicard_relay.classify import Judge
from omicard_relay.mail import TableError
from omicard_relay.steering import action_of
from omicard_relay.steering.simulation import Judged, Judging, Result, simulate
from omicard_relay.steering.simulation.engine import Make, Watch
from omicard_relay.steering.simulation.kumomta import KumoMta
from omicard_relay.steering.simulation.ours import Ours
from omicard_relay.steering.simulation.peers import Fixed, Postfix, PowerMta, ZoneMta
from omicard_relay.steering.simulation.wording import Spoken
from omicard_relay.steering.values import Chance
from omicard_relay.tables import Policies
from omicard_relay.tables.providers import load_providers
from omicard_relay.tables.retry import load_retry
from omicard_relay.tables.worldtables import World

__all__ = ["OURS", "PEERS", "POLICY_NAMES", "judging_of", "run_world", "strategy_of"]

#: Other servers by name.
PEERS: dict[str, Make] = {
    "postfix": Postfix,
    "kumomta": KumoMta,
    "kumomta:sticky": partial(KumoMta, is_sticky=True),
    "zonemta": ZoneMta,
    "powermta": PowerMta,
}
OURS = ("ours", "ours-policy-only")
POLICY_NAMES = (*OURS, *PEERS, "fixed:REST[/REST…]")

_REST = re.compile(r"([0-9]{1,7})(s|m|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def judging_of(judge: Judge, policies: Policies) -> Judging:
    """The judge of a world's replies; what it is told is what the log would tell."""

    def judged(spoken: Spoken) -> Judged:
        verdict, reply_class = judge.judge_said(spoken.text, spoken.stage, spoken.host)
        action = action_of(verdict, reply_class, policies)[0]
        return Judged(code=verdict.bounce_code, rule_id=verdict.rule_id, action=action, reply_class=reply_class or 0)

    return judged


def strategy_of(name: str, *, seed: int = 1, site_dir: Path | None = None) -> Make:
    """The strategy of a policy's name, such as `ours`, `postfix` or `fixed:5m/10m/1h`; ours goes by the site's own tables.

    Raises TableError for a name that is not known, and for tables that are broken.
    """
    if name in PEERS:
        return PEERS[name]
    if name in OURS:
        policy = load_retry(site_dir)
        return partial(
            Ours,
            policy=policy if name == "ours" else policy.without_model(),
            book=load_providers(site_dir),
            seed=seed,
            chance_of=_chance,
        )
    kind, _, rests = name.partition(":")
    if kind == "fixed":
        return partial(Fixed, rests=_rests(rests, name))
    raise TableError(f"there is no policy {name!r}; allowed are {', '.join(POLICY_NAMES)}.")


def run_world(
    world: World,
    policy: str,
    judging: Judging,
    *,
    seed: int,
    site_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    watch: Watch | None = None,
) -> Result:
    """One run. Raises TableError as `strategy_of` does."""
    make = strategy_of(policy, seed=seed, site_dir=site_dir)
    return simulate(world, make, judging, policy=policy, seed=seed, chance=_chance, progress=progress, watch=watch)


def _chance(seed: int) -> Chance:
    return random.Random(seed)  # noqa: S311  a world needs chance that can be repeated, not secrets


def _rests(text: str, name: str) -> Sequence[float]:
    found = [_REST.fullmatch(part) for part in text.split("/")]
    rests = [float(one[1]) * _SECONDS[one[2]] for one in found if one]
    if len(rests) < len(found) or not all(rests):
        raise TableError(f"{name!r} is no policy; write its rests such as fixed:15m or fixed:5m/10m/1h.")
    return rests
