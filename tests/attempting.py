"""For tests of steering on a store: rows of `attempt` as the follower writes them, one a call."""

import itertools
from datetime import datetime, timedelta

from omicard_relay.mail import Action, Outcome, address_key
from omicard_relay.store import schema
from omicard_relay.store.engine import Store
from tests.keeping import NOW

__all__ = ["GREY", "add_line"]

GREY = "450 4.2.0 greylisted, try again later"
_numbers = itertools.count(1)


def add_line(
    store: Store,
    outcome: Outcome = Outcome.DEFERRED,
    *,
    at: float = 0,
    address: str = "ann@a.example",
    queue_id: str = "4QAAAAA1",
    code: int | None = 935,
    action: Action | None = Action.RETRY,
    text: str = GREY,
    host: str | None = "mx.a.example",
    transport: str | None = "ip1",
    machine: str = "out",
    program: str = "smtp",
    is_attempt: bool = True,
    number: int | None = None,
    delay: float | None = None,
) -> int:
    """One line `at` seconds after NOW; gives its id. The mail came at NOW, unless a `delay` says otherwise."""
    time: datetime = NOW + timedelta(seconds=at)
    failed = outcome is not Outcome.SENT
    row = {
        "line_digest": f"line {next(_numbers)}",
        "time": time,
        "queue_id": queue_id,
        "address": address,
        "address_key": address_key(address),
        "outcome": outcome,
        "is_attempt": is_attempt,
        "is_hop": False,
        "program": program,
        "relay_host": host,
        "delay": float(at) if delay is None else delay,
        "enhanced_status": "4.2.0" if failed else "2.0.0",
        "reply_code": int(text[:3]) if text[:3].isdecimal() else None,
        "reply": text,
        "bounce_code": code if failed else None,
        "rule_id": "a-rule" if failed else None,
        "action": action if failed else None,
        "transport": transport,
        "machine": machine,
        **({"id": number} if number is not None else {}),
    }
    with store.write() as tx:
        found = tx.execute(schema.attempt.insert().values(row))
        return int(found.inserted_primary_key[0])
