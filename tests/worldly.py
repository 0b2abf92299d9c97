"""For tests of the simulator: worlds from a few lines, one receiver alone, a judge that knows kinds, books of attempts."""

import random
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from omicard_relay.mail import Action
from omicard_relay.steering.simulation import Judged, Result, simulate
from omicard_relay.steering.simulation.engine import Make
from omicard_relay.steering.simulation.receivers import Receiver
from omicard_relay.steering.simulation.wording import Spoken
from omicard_relay.tables.worlds import world_of
from omicard_relay.tables.worldtables import World

#: What the real judge makes of each kind of reply (tests/services/test_simulating.py holds it).
CODES = {
    "greylist": 935, "rate": 921, "block": 938, "banned": 939, "connections": 929, "warmup": 938, "unknown": 902,
    "full": 901, "refuse": 918, "false_5xx": 921, "false_4xx": 902, "busy": 915, "timeout": 910, "refused": 910, "lost": 911,
}  # fmt: skip


def world(text: str) -> World:
    return world_of(tomllib.loads(text), Path("world.toml"))


def receiver(text: str, *, head: str = "", number: int = 0, seed: int = 1, remembers: bool = False) -> Receiver:
    """The receiver of a world with one provider, whose tables are `text`."""
    made = world(f'{head}\n[[provider]]\nname = "a"\n{text}')
    return Receiver(made.providers[number], made.ips, key=7, seed=seed, chance=random.Random(seed), remembers=remembers)  # noqa: S311


def asked(who: Receiver, person: int, ip: int, now: float) -> str:
    """The kind of the reply to a session that is over at once; "250" where it is accepted."""
    spoken, _ = who.attempt(person, ip, now)
    who.end(ip)
    return "250" if spoken is None else spoken.kind


def judged(spoken: Spoken) -> Judged:
    code = CODES[spoken.kind]
    action = Action.RETURN if code in (902, 901, 918, 939) else Action.RETRY
    return Judged(code=code, rule_id=f"test-{spoken.kind}", action=action, reply_class=spoken.reply_class)


def run(made: World, make: Make, *, seed: int = 1, watch: Callable[..., None] | None = None) -> Result:
    return simulate(made, make, judged, policy="test", seed=seed, chance=random.Random, watch=watch)


def attempts_of(made: World, make: Make, **options: Any) -> list[tuple[float, int, str, str]]:
    """Every attempt as it ended: time, number of the mail, IP, kind ("250" where it was accepted)."""
    rows: list[tuple[float, int, str, str]] = []

    def watch(now: float, mail: Any, provider: str, ip: str, spoken: Spoken | None, due: float) -> None:
        rows.append((now, mail.number, ip, "250" if spoken is None else spoken.kind))

    run(made, make, watch=watch, **options)
    return rows


def made_with(kind: Callable[..., Any], **options: Any) -> Make:
    return partial(kind, **options)
