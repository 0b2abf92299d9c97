"""Runs with the real judge and the real core: replies mean what they are meant to, and ours keeps the books on each world."""

from functools import cache
from pathlib import Path

import msgspec
import pytest

from omicard_relay.mail import TableError
from omicard_relay.services.judging import judge_of
from omicard_relay.services.simulating import OURS, PEERS, judging_of, run_world, strategy_of
from omicard_relay.steering.simulation.wording import _W, Wording
from omicard_relay.tables.policies import load_policies
from omicard_relay.tables.worlds import load_world, shipped_worlds
from tests.worldly import CODES, world


@cache
def judging():
    policies = load_policies()
    return judging_of(judge_of(policies), policies)


#: What each kind of words may be read as.
READ_AS = {
    "greylist": {935}, "rate": {921}, "block": {938, 921}, "banned": {939, 938}, "connections": {929}, "warmup": {938, 921},
    "unknown": {902}, "full": {901}, "content": {918}, "spam": {913}, "policy": {907}, "false-rate": {921},
    "false-policy": {907}, "false-block": {938}, "false-unknown": {902}, "false-busy": {915}, "gone-unknown": {902},
    "gone-later": {928}, "gone-full": {901}, "timeout": {910}, "refused": {910}, "lost": {911}, "busy": {915},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, some in _W.items() for words in some], ids=lambda value: str(value)[:50]
)
def test_the_judge_reads_the_words_as_they_are_meant(name, words):
    kind = name.removesuffix("-4").removesuffix("-5")
    spoken = Wording(*words).spoken(kind, "mx1.a.example", "198.51.100.1", "192.0.2.1", "someone@a.example")
    judged = judging()(spoken)
    assert judged.code in READ_AS[kind]
    assert judged.reply_class == spoken.reply_class


def test_the_codes_of_the_tests_are_those_of_the_judge():
    assert all(code in READ_AS.get(kind, {code}) for kind, code in CODES.items())


SMALL = """
deadline = "6h"
[campaign]
recipients = 300
rate = 2
[[provider]]
name = "a"
greylist = true
unknown = 0.05
[[provider]]
name = "b"
rate = { mails = 10 }
block = true
complaints = 0.1
[[provider]]
name = "c"
banned = { ips = ["ip1"] }
flaky = true
"""


@pytest.mark.parametrize("policy", [*OURS, *PEERS, "fixed:5m/10m/1h"])
def test_every_policy_keeps_the_books_and_repeats_itself(policy):
    made = world(SMALL)
    one, again = (run_world(made, policy, judging(), seed=5) for _ in range(2))
    assert msgspec.json.encode(one) == msgspec.json.encode(again)
    assert one.delivered + one.returned + one.past_deadline == one.recipients == 300
    assert one.delivered > 150


@pytest.mark.parametrize("name", [name for name in shipped_worlds() if name != "million"])
def test_ours_delivers_at_least_as_much_as_postfix(name):
    made = load_world(Path(name))
    made = msgspec.structs.replace(
        made, campaigns=tuple(msgspec.structs.replace(c, recipients=c.recipients // 5) for c in made.campaigns)
    )
    ours, postfix = (run_world(made, policy, judging(), seed=1) for policy in ("ours", "postfix"))
    # A hundredth is left to chance, since ours tries what it does not know.
    assert ours.delivered >= postfix.delivered - made.recipients // 100
    assert ours.blocked_ip_hours <= postfix.blocked_ip_hours + 1


def test_a_greylisted_mail_of_ours_comes_back_from_the_same_ip():
    rows = []

    def watch(now, mail, provider, ip, spoken, due):
        rows.append((mail.number, ip))

    run_world(
        world('campaign = { recipients = 40, rate = 0.1 }\n[[provider]]\nname = "a"\ngreylist = true'),
        "ours",
        judging(),
        seed=1,
        watch=watch,
    )
    ips = {number: {ip for n, ip in rows if n == number} for number, _ in rows}
    assert sum(len(each) == 1 for each in ips.values()) >= 39


@pytest.mark.parametrize("name", ["", "our", "fixed", "fixed:", "fixed:5", "fixed:5m//1h", "postfix:sticky"])
def test_an_unknown_policy_is_refused(name):
    with pytest.raises(TableError):
        strategy_of(name)
