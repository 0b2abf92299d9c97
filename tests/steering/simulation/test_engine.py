"""The engine: nothing lost or doubled, the pace of a pipe, figures checked by hand, the same again for the same seed."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.steering.simulation.engine import places_of, simulate
from omicard_relay.steering.simulation.peers import Fixed, Postfix
from omicard_relay.steering.simulation.strategy import ANEW, EMPTY, GO, Turn
from tests.worldly import attempts_of, judged, made_with, run, world

HARD = """
deadline = "8h"
[[campaign]]
recipients = 400
rate = 2
[[campaign]]
recipients = 300
start = "2h"
rate = 5
[[provider]]
name = "a"
greylist = { wait = "5m" }
unknown = 0.1
complaints = 0.1
[[provider]]
name = "b"
rate = { mails = 5 }
block = { counts = ["rate", "complaint"] }
[[provider]]
name = "c"
full = { share = 0.5 }
false_5xx = true
flaky = true
"""


def test_every_mail_ends_once():
    result = run(world(HARD), Postfix)
    assert result.recipients == 700
    assert result.delivered + result.returned + result.past_deadline == 700
    for one in result.providers:
        assert one.delivered + one.returned + one.past_deadline == one.recipients
    assert sum(one.attempts for one in result.providers) == result.attempts


def test_no_mail_is_accepted_twice():
    accepted = [number for _, number, _, kind in attempts_of(world(HARD), Postfix) if kind == "250"]
    assert len(accepted) == len(set(accepted))


def test_the_same_seed_gives_the_same_to_the_bit_and_another_does_not():
    made = world(HARD)
    one, same, other = run(made, Postfix), run(made, Postfix), run(made, Postfix, seed=2)
    assert msgspec.json.encode(one) == msgspec.json.encode(same)
    assert msgspec.json.encode(one) != msgspec.json.encode(other)


def test_a_tiny_world_by_hand():
    """Three mails, ten seconds apart, to a host that is back after 15 minutes: rests of ten minutes."""
    text = (
        'deadline = "1h"\n[campaign]\nrecipients = 3\nrate = 0.1\n[[ip]]\n[[provider]]\nname = "a"\n'
        'dead = { from = 0, until = "15m", how = "refused" }\nlatency = 0.001'
    )
    rows = attempts_of(world(text), made_with(Fixed, rests=(600.0,)))
    assert [(round(time), number, kind) for time, number, _, kind in rows] == [
        (0, 0, "refused"), (10, 1, "refused"), (20, 2, "refused"),
        (600, 0, "refused"), (610, 1, "refused"), (620, 2, "refused"),
        (1200, 0, "250"), (1210, 1, "250"), (1220, 2, "250"),
    ]  # fmt: skip
    result = run(world(text), made_with(Fixed, rests=(600.0,)))
    assert (result.delivered, result.attempts, result.attempts_per_delivered) == (3, 9, 3.0)
    assert (round(result.median_seconds or 0), round(result.p95_seconds or 0)) == (1200, 1200)
    assert (result.returned, result.past_deadline, result.wasted, result.possible) == (0, 0, 0, 3)
    assert [round(time) for time in (result.curve[0], result.curve[-1])] == [1200, 1200]
    assert len(result.curve) == 100


def test_what_is_past_its_deadline_is_not_tried_again():
    text = 'deadline = "1h"\n[campaign]\nrecipients = 5\n[[provider]]\nname = "a"\ndead = true'
    rows = attempts_of(world(text), made_with(Fixed, rests=(900.0,)))
    assert max(time for time, *_ in rows) < 3600 + 1 + 30
    result = run(world(text), made_with(Fixed, rests=(900.0,)))
    assert (result.past_deadline, result.delivered, result.possible) == (5, 0, 0)
    assert (result.median_seconds, result.attempts_per_delivered, result.curve) == (None, None, ())


def test_wrongly_returned_and_wasted_are_counted():
    wrong = run(world('[campaign]\nrecipients = 50\n[[provider]]\nname = "a"\nfalse_5xx = { share = 1.0 }'), Fixed)
    assert (wrong.returned, wrong.wrongly_returned, wrong.possible) == (50, 50, 50)
    right = run(world('[campaign]\nrecipients = 50\n[[provider]]\nname = "a"\nunknown = 1.0'), Fixed)
    assert (right.returned, right.wrongly_returned, right.wasted, right.possible) == (50, 0, 0, 0)
    text = 'deadline = "61m"\n[campaign]\nrecipients = 50\n[[provider]]\nname = "a"\nfalse_4xx = { share = 1.0 }'
    wasted = run(world(text), made_with(Fixed, rests=(900.0,)))
    # At 0, 15, 30, 45 and 60 minutes; the first one told it.
    assert (wasted.attempts, wasted.wasted, wasted.past_deadline) == (250, 200, 50)


def test_mails_come_evenly_from_their_start():
    text = '[campaign]\nrecipients = 4\nrate = 0.5\nstart = "1m"\n[[provider]]\nname = "a"\nlatency = 0.000001'
    assert [round(time, 3) for time, *_ in attempts_of(world(text), Fixed)] == [60.0, 62.0, 64.0, 66.0]


def test_shares_of_providers_and_domains_are_kept():
    text = (
        '[campaign]\nrecipients = 4000\nrate = 1000\n[[provider]]\nname = "a"\nshare = 3\n'
        'domains = ["x.example", "y.example"]\n'
        '[[provider]]\nname = "b"'
    )
    made = world(text)
    result = run(made, Fixed)
    assert 2900 < result.providers[0].recipients < 3100
    assert [place.domain for place in places_of(made, by_domain=True)] == ["x.example", "y.example", "b.example"]


def test_campaigns_of_one_list_write_to_the_same_people():
    text = (
        '[[campaign]]\nrecipients = 100\n[[campaign]]\nrecipients = 100\nstart = "1h"\nlist = "{}"\n'
        '[[provider]]\nname = "a"\ngreylist = true'
    )
    known = run(world(text.format("a")), made_with(Fixed, rests=(600.0,)))
    strangers = run(world(text.format("b")), made_with(Fixed, rests=(600.0,)))
    assert strangers.attempts == 400
    # One IP in two gets the one that was greylisted before.
    assert 300 <= known.attempts < 400


class _Told(Fixed):
    """A strategy of which each part can be told."""

    most, apart = 100, 0.0
    turn = staticmethod(lambda mail, ip, now: GO)

    def limits(self, ip, group, now):
        return self.most, self.apart

    def may_go(self, mail, ip, group, now):
        return self.turn(mail, ip, now)


BURST = '[campaign]\nrecipients = 6\nrate = 100000\n[[ip]]\n[[provider]]\nname = "a"\nlatency = 0.000001'


def test_a_pipe_keeps_its_distance():
    class Slow(_Told):
        apart = 10.0

    assert [round(time) for time, *_ in attempts_of(world(BURST), Slow)] == [0, 10, 20, 30, 40, 50]


def test_a_pipe_opens_no_more_sessions_than_it_may():
    class Two(_Told):
        most = 2

    text = BURST.replace("0.000001", "10").replace("recipients = 6", "recipients = 40")
    starts = []

    def watch(now, mail, provider, ip, spoken, due):
        starts.append(now)

    run(world(text), Two, watch=watch)
    # Forty sessions of ten seconds on average, two at once.
    assert 150 < max(starts) < 250


def test_a_held_pipe_goes_on_when_the_time_has_come():
    class Held(_Told):
        turn = staticmethod(lambda mail, ip, now: (Turn.HOLD, 500.0) if now < 500 else GO)

    assert {round(time) for time, *_ in attempts_of(world(BURST), Held)} == {500}


def test_a_mail_that_is_put_off_comes_again_without_an_attempt():
    class Deferred(_Told):
        turn = staticmethod(lambda mail, ip, now: (Turn.DEFER, 700.0) if now < 700 else GO)

    result = run(world(BURST), Deferred)
    assert (result.attempts, round(result.median_seconds or 0)) == (6, 700)


@pytest.mark.parametrize("turn", [ANEW, EMPTY])
def test_mails_that_look_anew_find_another_ip(turn):
    class Moving(_Told):
        turn_ = turn

        def choose(self, mail, now):
            return (0 if mail.rests < 0 else 1), 0.0

        def may_go(self, mail, ip, group, now):
            if ip == 0:
                mail.rests = 1
                return self.turn_
            return GO

    rows = attempts_of(world(BURST.replace("[[ip]]", "[[ip]]\n[[ip]]")), Moving)
    assert sorted(number for _, number, _, _ in rows) == list(range(6))
    assert {ip for _, _, ip, _ in rows} == {"ip2"}


def test_a_strategy_that_names_the_past_does_not_stop_the_clock():
    class Hasty(_Told):
        def failed(self, mail, ip, group, spoken, judged, now):
            return now - 5

    text = 'deadline = "1s"\n[campaign]\nrecipients = 2\n[[provider]]\nname = "a"\ngreylist = true\nlatency = 0.01'
    assert run(world(text), Hasty).past_deadline == 2


def test_complaints_reach_receiver_and_strategy():
    class Listening(_Told):
        heard = 0

        def complained(self, mail, ip, now):
            Listening.heard += 1

    text = (
        '[campaign]\nrecipients = 200\nrate = 1\n[[ip]]\n[[provider]]\nname = "a"\ncomplaints = 0.5\ncomplaint_delay = "10s"\n'
        'block = { counts = ["complaint"], offences = 5, within = "1h", rest = "1h", lengthens = 0 }'
    )
    result = run(world(text), Listening)
    assert Listening.heard >= 5
    assert result.blocked_ip_hours >= 1


def test_progress_is_told():
    told = []
    text = '[campaign]\nrecipients = 9000\nrate = 1000\n[[provider]]\nname = "a"'
    simulate(
        world(text), Fixed, judged, policy="t", seed=1, chance=random.Random, progress=lambda *row: told.append(row)
    )
    assert len(told) >= 2
    assert all(count == 9000 for _, count in told)
    assert told == sorted(told)


SOME = st.sampled_from([
    "greylist = true", "unknown = 0.3", "dead = true", "flaky = { how = 'busy' }", "full = true", "connections = 1",
    "false_5xx = true", "false_4xx = true", "rate = { mails = 3, says = 5 }", "warmup = { mails = 5 }",
    'banned = { ips = ["ip1"] }', "refuse = { share = 0.2 }", "complaints = 0.2",
    'block = { counts = ["mail", "unknown", "complaint"], offences = 5 }',
])  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(SOME, unique_by=lambda text: text.split()[0], max_size=5), min_size=1, max_size=3),
    st.integers(0, 99),
)
def test_any_world_keeps_the_books(providers, seed):
    text = 'deadline = "3h"\n[campaign]\nrecipients = 60\nrate = 1\n[[ip]]\nage_days = 0\n[[ip]]\n'
    text += "".join(f'[[provider]]\nname = "p{n}"\n' + "\n".join(lines) + "\n" for n, lines in enumerate(providers))
    made = world(text)
    for make in (Postfix, made_with(Fixed, rests=(300.0, 1800.0))):
        result = run(made, make, seed=seed)
        assert result.delivered + result.returned + result.past_deadline == 60
        assert result.delivered <= result.possible
        assert result.attempts >= result.delivered
        assert result.wrongly_returned <= result.returned
        assert result.wasted <= result.attempts
