"""Our steering as a strategy: what the adapter does with lanes and plans, with a core that can be told."""

from random import Random

import pytest

from omicard_relay.mail import Action, Outcome, Stage
from omicard_relay.steering.simulation import ours as module
from omicard_relay.steering.simulation.engine import places_of
from omicard_relay.steering.simulation.ours import Ours
from omicard_relay.steering.simulation.strategy import ANEW, EMPTY, GO, RETURN, Mail, Turn
from omicard_relay.steering.simulation.wording import Wording
from omicard_relay.steering.values import Lane, Plan
from omicard_relay.tables.providers import load_providers
from omicard_relay.tables.retry import load_retry
from tests.worldly import attempts_of, judged, world

WORLD = '[[ip]]\n[[ip]]\n[[ip]]\n[[provider]]\nname = "g"\nmx = "gmail-smtp-in.l.google.com"'
GREY = Wording(Stage.RCPT, "450 4.7.1 later").spoken("greylist", "mx", "198.51.100.1", "192.0.2.1", "u@g.example")


class Told:
    """A core that says what it is told and remembers what it hears."""

    def __init__(self, policy, ips, *, seed, chance):
        self.policy, self.ips, self.heard = policy, ips, []
        self.lanes_told = {ip.name: Lane(provider="google", ip=ip.name, share=1 / len(ips)) for ip in ips}
        self.planned = Plan(action=Action.RETURN)
        self.looked = 0

    def learn(self, seen):
        self.heard.append(seen)

    def plan(self, seen):
        return self.planned

    def lanes(self, provider, now):
        self.looked += 1
        assert provider == "google"
        return tuple(self.lanes_told.values())

    def pace(self, lane):
        return float("inf") if not lane.speed else 1.0 / lane.speed

    def concurrency(self, lane):
        return 20

    def tell(self, ip, **changes):
        self.lanes_told[ip] = Lane(provider="google", ip=ip, **changes)


def make(one, places, chance):
    return Ours(one, places, chance, policy=load_retry(), book=load_providers(), seed=1, chance_of=Random)


@pytest.fixture
def strategy(monkeypatch):
    monkeypatch.setattr(module, "Steer", Told)
    one = world(WORLD)
    return make(one, places_of(one, by_domain=False), Random(1))  # noqa: S311


def mail(number=0):
    return Mail(number, number, 0, 0, 0.0, 86_400.0)


def test_the_policy_knows_the_deadline_of_the_world(strategy):
    assert strategy.steer.policy.model.deadline_hours == 24
    assert [ip.name for ip in strategy.steer.ips] == ["ip1", "ip2", "ip3"]


def test_mail_is_spread_by_the_shares_of_the_lanes(strategy):
    for ip, share in (("ip1", 0.0), ("ip2", 0.25), ("ip3", 0.75)):
        strategy.steer.tell(ip, share=share)
    chosen = [strategy.choose(mail(n), 0.0)[0] for n in range(1000)]
    assert 0 not in chosen
    assert 200 < chosen.count(1) < 300


def test_a_planned_ip_is_kept_while_its_lane_is_open(strategy):
    one = mail()
    one.rests = 2
    assert {strategy.choose(one, 0.0)[0] for _ in range(20)} == {2}
    strategy.steer.tell("ip3", rests_until=500.0)
    assert 2 not in {strategy.choose(one, 2.0)[0] for _ in range(20)}


def test_where_all_lanes_rest_mail_waits_for_the_first(strategy):
    for ip, until in (("ip1", 500.0), ("ip2", 300.0), ("ip3", 900.0)):
        strategy.steer.tell(ip, rests_until=until)
    assert strategy.choose(mail(), 0.0) == (-1, 300.0)
    assert strategy.may_go(mail(), 0, 0, 0.0) == (Turn.HOLD, 300.0)


def test_mail_at_a_lane_that_closes_is_spread_anew_once_all_at_once(strategy):
    assert strategy.may_go(mail(), 0, 0, 0.0) == GO
    strategy.steer.tell("ip1", rests_until=500.0)
    assert strategy.may_go(mail(), 0, 0, 2.0) == EMPTY
    assert strategy.may_go(mail(), 0, 0, 3.0) == ANEW
    strategy.steer.tell("ip1", share=0.3)
    assert strategy.may_go(mail(), 0, 0, 501.0) == GO


def test_mail_at_a_lane_that_grows_slower_is_spread_anew_and_pace_follows(strategy):
    assert strategy.limits(0, 0, 0.0) == (20, 0.0)
    assert strategy.may_go(mail(), 0, 0, 0.0) == GO
    strategy.steer.tell("ip1", speed=6, share=0.2)
    assert strategy.may_go(mail(), 0, 0, 2.0) == EMPTY
    assert strategy.may_go(mail(), 0, 0, 2.0) == GO
    assert strategy.limits(0, 0, 2.0) == (20, 6.0)


def test_lanes_are_looked_at_once_a_second(strategy):
    for tenth in range(25):
        strategy.choose(mail(), tenth / 10)
    assert strategy.steer.looked == 3


def test_a_failure_is_learned_and_the_plan_followed(strategy):
    strategy.steer.planned = Plan(action=Action.RETRY, at=320.0, ip="ip2")
    one = mail(7)
    assert strategy.failed(one, 0, 0, GREY, judged(GREY), 20.0) == 320.0
    assert one.rests == 1
    seen = strategy.steer.heard[0]
    assert (seen.thread, seen.provider, seen.ip, seen.code, seen.reply_class, seen.outcome) == (
        "7", "google", "ip1", 935, 4, Outcome.DEFERRED,
    )  # fmt: skip
    strategy.steer.planned = Plan(action=Action.RETURN)
    assert strategy.failed(one, 0, 0, GREY, judged(GREY), 320.0) == RETURN


def test_deliveries_and_complaints_are_learned(strategy):
    strategy.delivered(mail(), 1, 0, 5.0)
    strategy.complained(mail(), 1, 9.0)
    delivered, complaint = strategy.steer.heard
    assert (delivered.outcome, delivered.code, delivered.is_complaint, delivered.ip) == (
        Outcome.SENT,
        None,
        False,
        "ip2",
    )
    assert (complaint.is_complaint, complaint.id) == (True, 2)


def test_after_a_ban_was_seen_mail_goes_from_the_other_ips():
    text = (
        '[campaign]\nrecipients = 300\nrate = 1\n[[ip]]\n[[ip]]\n[[provider]]\nname = "a"\nbanned = { ips = ["ip1"] }'
    )
    rows = attempts_of(world(text), make)
    assert sum(ip == "ip1" for _, _, ip, _ in rows) < 15
    assert sum(kind == "250" for *_, kind in rows) > 285
