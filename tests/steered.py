"""Attempts for tests of steering: short to write, in order, with ids that grow."""

from itertools import count
from random import Random

from omicard_relay.mail import Action, Outcome
from omicard_relay.steering import Steer
from omicard_relay.steering.values import Seen, SourceIp
from omicard_relay.tables.retry import load_retry

POLICY = load_retry()
TWO = (SourceIp(name="ip1"), SourceIp(name="ip2"))
ONE = TWO[:1]
PROVIDER = "mx.example"
_IDS = count(1)


def steer(policy=POLICY, ips=TWO, state=None, seed=1):
    """A Steer as production makes it."""
    return Steer(policy, ips, seed=seed, chance=Random, state=state)


def seen(
    time,
    thread="t",
    code=None,
    *,
    queued=None,
    ip="ip1",
    reply=4,
    action=Action.RETRY,
    provider=PROVIDER,
    number=None,
    outcome=None,
    speed=0,
    complaint=False,
):
    """One attempt; a delivery where `code` is None."""
    return Seen(
        id=next(_IDS) if number is None else number,
        time=time,
        queued=time if queued is None else queued,
        thread=thread,
        domain="example.org",
        provider=provider,
        ip=ip,
        speed=speed,
        outcome=outcome or (Outcome.SENT if code is None else Outcome.DEFERRED),
        code=code,
        action=None if code is None else action,
        reply_class=2 if code is None else reply,
        is_complaint=complaint,
    )


def ask(steering, attempt):
    """Learns from a failure and plans for it, as the service does."""
    steering.learn(attempt)
    return steering.plan(attempt)
