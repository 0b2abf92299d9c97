"""Worlds that nobody designed: behaviours and figures drawn at random, so that strategies are not fitted to the shipped worlds.

    .venv/bin/python benchmarks/randomworlds.py NUMBER > world.toml      one of them as a file, for `simulate`

Each has 3,000 mails over a quarter of an hour to four hours, one to four IPs and providers, and a deadline of 4 to 24
hours; most figures are drawn evenly on a logarithmic scale. benchmarks/steering.py runs them with `--random N`.
"""

import random
import sys
from pathlib import Path
from typing import Any

from omicard_relay.tables.worlds import world_of
from omicard_relay.tables.worldtables import World

HOUR = 3600
RECIPIENTS = 3000


def random_world(number: int) -> World:
    """The world of this number, always the same."""
    return world_of(tables(number), Path(f"random-{number}"))


def tables(number: int) -> dict[str, Any]:
    """Its tables, as they would stand in a file."""
    chance = random.Random(number * 7919 + 13)  # noqa: S311
    ips = []
    for n in range(chance.choice([1, 2, 2, 3, 3, 4])):
        ip: dict[str, Any] = {"address": f"{'192.0.2' if chance.random() < 0.7 else '203.0.113'}.{n + 1}"}
        if chance.random() < 0.15:
            ip["age_days"] = chance.choice([0, 1, 3, 7])
        ips.append(ip)
    rate = round(RECIPIENTS / spread(chance, HOUR / 4, 4 * HOUR), 3)
    count = chance.choice([1, 2, 3, 4])
    a_minute = rate / count / len(ips) * 60
    providers = [provider(chance, n, len(ips), a_minute, any("age_days" in ip for ip in ips)) for n in range(count)]
    if chance.random() < 0.25:
        change: dict[str, Any] = {"at": round(RECIPIENTS / rate * chance.uniform(0.2, 0.8))}
        change[chance.choice(["greylist", "flaky"])] = True
        if chance.random() < 0.5:
            change["rate"] = {"mails": max(1, int(a_minute / 2))}
        providers[0]["change"] = [change]
    return {
        "deadline": chance.choice([4, 8, 12, 24, 24]) * HOUR,
        "campaign": {"recipients": RECIPIENTS, "rate": rate},
        "ip": ips,
        "provider": providers,
    }


def provider(chance: random.Random, number: int, ips: int, a_minute: float, has_young: bool) -> dict[str, Any]:
    """One provider with some of the behaviours; `a_minute`: mails that come to it from one IP."""
    made: dict[str, Any] = {
        "name": f"p{number}", "share": spread(chance, 0.5, 3), "latency": spread(chance, 0.3, 4),
    }  # fmt: skip

    def maybe(share: float) -> bool:
        return chance.random() < share

    if maybe(0.4):
        made["unknown"] = spread(chance, 0.005, 0.1)
    if maybe(0.35):
        made["greylist"] = {"wait": spread(chance, 30, 2400), "scope": chance.choice(["ip", "ip", "net", "all"])}
        if maybe(0.3):
            made["greylist"]["trusts_after"] = chance.randint(5, 200)
    if maybe(0.35):
        every = chance.choice([60, 60, 600, HOUR])
        mails = max(1, int(a_minute * spread(chance, 0.3, 2) * every / 60))
        scope = chance.choice(["ip", "ip", "ip", "net", "all"])
        made["rate"] = {"mails": mails, "every": every, "scope": scope, "says": chance.choice([4, 4, 5])}
    if maybe(0.3):
        made["block"] = block(chance, a_minute)
    if ips > 1 and maybe(0.12):
        made["banned"] = {"ips": [f"ip{chance.randint(1, ips)}"], "says": chance.choice([4, 5, 5])}
    if maybe(0.2):
        how = chance.choice(["timeout", "refused", "lost", "busy"])
        made["flaky"] = {"up": spread(chance, 300, 7200), "down": spread(chance, 60, HOUR), "how": how}
        made["flaky"]["chance"] = chance.choice([0, 0, 0.05, 0.3])
    if maybe(0.08):
        made["dead"] = chance.choice(
            [{"until": spread(chance, 1800, 6 * HOUR)}, {}, {"from": spread(chance, 600, 7200)}]
        )
    if maybe(0.25):
        made["full"] = {"share": spread(chance, 0.01, 0.3), "empties": spread(chance, 1800, 86_400)}
        made["full"] |= {"never": chance.choice([0.1, 0.3, 0.7]), "says": chance.choice([4, 4, 5])}
    if maybe(0.15):
        looks = chance.choice(["rate", "policy", "block", "unknown", "busy"])
        made["false_5xx"] = {"share": spread(chance, 0.05, 0.5), "after": spread(chance, 60, 7200), "looks": looks}
        made["false_5xx"]["chance"] = chance.choice([1, 1, 0.6])
    if maybe(0.15):
        made["false_4xx"] = {"share": spread(chance, 0.02, 0.2), "looks": chance.choice(["unknown", "later", "full"])}
    if maybe(0.15):
        made["connections"] = chance.randint(1, 6)
    if maybe(0.15):
        looks = chance.choice(["content", "spam", "policy"])
        made["refuse"] = {"share": spread(chance, 0.01, 0.1), "looks": looks, "says": chance.choice([5, 5, 4])}
    if maybe(0.1):
        made["complaints"] = 0.01
    if has_young and maybe(0.4):
        made["warmup"] = {"mails": chance.randint(20, 300), "growth": spread(chance, 1.2, 2)}
    return made


def block(chance: random.Random, a_minute: float) -> dict[str, Any]:
    """A block after overuse, complaints, or mere volume."""
    counts = chance.choice([["rate", "connections", "warmup"], ["rate", "unknown", "complaint"], ["mail"]])
    by_volume = counts == ["mail"]
    return {
        "counts": counts,
        "offences": max(5, int(a_minute * spread(chance, 0.7, 2) * 5)) if by_volume else chance.randint(3, 60),
        "within": 300 if by_volume else chance.choice([300, 600, 1800]),
        "rest": spread(chance, 600, 7200),
        "lengthens": chance.choice([0, 0, 10, 60]),
        "growth": chance.choice([1, 1.5, 2]),
        "scope": chance.choice(["ip", "ip", "net"]),
        "says": chance.choice([4, 4, 5]),
    }


def spread(chance: random.Random, least: float, most: float) -> float:
    """A figure between these, evenly on a logarithmic scale."""
    return round(least * (most / least) ** chance.random(), 3)


def toml(value: Any) -> str:
    """A value as TOML writes it, tables in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    for name, table in tables(int(sys.argv[1])).items():
        print(f"{name} = {toml(table)}")
