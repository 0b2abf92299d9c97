"""Peers: their schedules to the second, how they spread mail, and what they make of replies."""

from random import Random

import pytest

from omicard_relay.mail import Action, Stage
from omicard_relay.steering.simulation import Judged
from omicard_relay.steering.simulation.engine import places_of
from omicard_relay.steering.simulation.kumomta import KumoMta
from omicard_relay.steering.simulation.peers import Fixed, Postfix, PowerMta, ZoneMta
from omicard_relay.steering.simulation.strategy import RETURN, Mail, Turn
from omicard_relay.steering.simulation.wording import Wording
from tests.worldly import CODES, attempts_of, made_with, run, world

MINUTE, HOUR = 60.0, 3600.0
THREE_IPS = '[[ip]]\n[[ip]]\n[[ip]]\nweight = 2\n[[provider]]\nname = "a"\ndomains = ["a.example", "b.example"]'


def made(kind, text=THREE_IPS, **options):
    one = world(text)
    return kind(one, places_of(one, by_domain=False), Random(1), **options)  # noqa: S311


def mail(queued=0.0, number=0, provider=0, domain=0):
    return Mail(number, number, provider, domain, queued, queued + 1e9)


def spoken(kind, text, stage=Stage.RCPT):
    return Wording(stage, text).spoken(kind, "mx1.a.example", "198.51.100.1", "192.0.2.1", "u@a.example")


LATER = spoken("greylist", "450 4.7.1 later")
NEVER = spoken("unknown", "550 5.1.1 unknown")
SLOW = spoken("rate", "421 4.7.0 too many", Stage.MAIL)
BLOCKED = spoken("block", "421 4.7.0 blocked", Stage.MAIL)
BLOCKED_5 = spoken("banned", "550 5.7.1 blocked", Stage.MAIL)
TIMEOUT = spoken("timeout", "connect to {host}:25: Connection timed out", Stage.CONNECT)


def failed(strategy, one, reply, now, ip=0, group=0):
    """What the strategy says after one more attempt."""
    one.attempts += 1
    one.ip = ip
    code = CODES[reply.kind]
    judged = Judged(code=code, rule_id="t", action=Action.RETRY, reply_class=reply.reply_class)
    return strategy.failed(one, ip, group, reply, judged, now)


def schedule(strategy, reply=LATER, most=50):
    """The times of all retries, each attempt failing at once."""
    one, now, times = mail(), 0.0, []
    while len(times) < most and (now := failed(strategy, one, reply, now)) != RETURN:
        times.append(now)
    return times


def test_postfix_waits_its_age_within_bounds_at_queue_runs():
    assert schedule(made(Postfix), most=8) == [300, 600, 1200, 2400, 4800, 8_999 // 300 * 300 + 300, 13_200, 17_400]


def test_postfix_gives_up_after_five_days():
    times = schedule(made(Postfix), most=1000)
    assert 5 * 86_400 <= times[-1] < 5 * 86_400 + 4300


def test_postfix_draws_an_ip_by_weight_at_every_attempt():
    strategy = made(Postfix)
    one = mail()
    drawn = [strategy.choose(one, 0.0)[0] for _ in range(4000)]
    assert 900 < drawn.count(0) < 1100
    assert 1850 < drawn.count(2) < 2150


def test_postfix_opens_more_sessions_with_every_success_up_to_twenty():
    strategy = made(Postfix)
    sizes = []
    for _ in range(30):
        sizes.append(strategy.limits(0, 0, 0.0)[0])
        strategy.delivered(mail(), 0, 0, 0.0)
    assert sizes[:3] == [5, 6, 7]
    assert sizes[-1] == 20


def test_postfix_holds_a_destination_for_dead_after_a_window_of_failures():
    strategy = made(Postfix)
    count = 0
    while strategy.may_go(mail(), 0, 0, 10.0) == (Turn.GO, 0.0):
        failed(strategy, mail(), TIMEOUT, 10.0)
        count += 1
    assert count == 4  # of windows of 5, 4, 3 and 2: 1/5 + 1/4 + 1/3 + 1/2 is more than one
    assert strategy.may_go(mail(queued=10.0), 0, 0, 10.0) == (Turn.DEFER, 600.0)
    # Another domain, and another transport, are not touched.
    assert strategy.may_go(mail(), 0, 1, 10.0)[0] is Turn.GO
    assert strategy.may_go(mail(), 1, 0, 10.0)[0] is Turn.GO
    assert strategy.may_go(mail(), 0, 0, 310.0)[0] is Turn.GO
    assert strategy.limits(0, 0, 310.0) == (5, 0.0)


def test_postfix_does_not_hold_a_destination_for_refusals_after_the_greeting():
    strategy = made(Postfix)
    for _ in range(50):
        failed(strategy, mail(), SLOW, 10.0)
    assert strategy.may_go(mail(), 0, 0, 10.0)[0] is Turn.GO


def test_kumomta_doubles_from_twenty_minutes_with_jitter():
    times = schedule(made(KumoMta), most=6)
    rests = [after - before for before, after in zip([0.0, *times], times, strict=False)]
    for number, rest in enumerate(rests):
        assert abs(rest - 20 * MINUTE * 2**number) <= 30
    assert any(rest % 1 for rest in rests)


def test_kumomta_gives_up_after_seven_days():
    assert schedule(made(KumoMta))[-1] >= 7 * 86_400


def test_kumomta_takes_sources_in_turn_by_weight():
    strategy = made(KumoMta)
    one = mail()
    assert [strategy.choose(one, 0.0)[0] for _ in range(8)] == [2, 0, 1, 2, 2, 0, 1, 2]


def test_sticky_kumomta_keeps_the_source():
    strategy = made(KumoMta, is_sticky=True)
    one = mail()
    one.ip = 1
    assert {strategy.choose(one, 0.0)[0] for _ in range(5)} == {1}


@pytest.mark.parametrize(("kind", "many", "long"), [(BLOCKED, 3, 1800.0), (BLOCKED_5, 5, 7200.0)])
def test_kumomta_stops_a_source_after_so_many_blocks(kind, many, long):
    strategy = made(KumoMta)
    for number in range(many):
        assert strategy.may_go(mail(), 0, 0, 100.0)[0] is Turn.GO, number
        failed(strategy, mail(), kind, 100.0)
    assert strategy.may_go(mail(), 0, 0, 100.0 + long - 1)[0] is Turn.ANEW
    assert 0 not in {strategy.choose(mail(), 101.0)[0] for _ in range(8)}
    assert strategy.may_go(mail(), 0, 0, 100.0 + long)[0] is Turn.GO


def test_kumomta_waits_for_the_first_source_where_all_are_stopped():
    strategy = made(KumoMta)
    for ip in range(3):
        for _ in range(3):
            failed(strategy, mail(), BLOCKED, 100.0 * ip, ip=ip)
    assert strategy.choose(mail(), 300.0) == (-1, 1800.0)


def test_kumomta_slows_down_when_it_is_told_to():
    strategy = made(KumoMta)
    assert strategy.limits(0, 0, 0.0) == (10, 0.01)
    for _ in range(3):
        failed(strategy, mail(), SLOW, 0.0)
    assert strategy.limits(0, 0, 1799.0) == (10, 6.0)
    assert strategy.limits(0, 0, 1800.0) == (10, 0.01)


def test_kumomta_knows_large_providers():
    text = '[[provider]]\nname = "y"\nmx = "mta5.am0.yahoodns.net"\n[[provider]]\nname = "q"\nmx = "mx1.qq.com"'
    strategy = made(KumoMta, text)
    assert (strategy.limits(0, 0, 0.0)[0], strategy.limits(0, 1, 0.0)[0]) == (10, 4)
    for _ in range(2):
        failed(strategy, mail(), BLOCKED, 0.0)
    assert strategy.may_go(mail(), 0, 0, 7199.0)[0] is Turn.ANEW


def test_zonemta_keeps_its_own_schedule_for_seventeen_retries():
    minutes = [time / 60 for time in schedule(made(ZoneMta))]
    assert minutes == [5, 12, 20, 45, 120, 240, *[480 + 240 * n for n in range(11)]]


def test_zonemta_gives_a_mail_one_ip_and_spreads_mails():
    strategy = made(ZoneMta)
    chosen = [[strategy.choose(mail(number=n), 0.0)[0] for _ in range(3)] for n in range(300)]
    assert all(len(set(each)) == 1 for each in chosen)
    assert 70 < sum(each[0] == 0 for each in chosen) < 130


def test_zonemta_goes_on_from_another_ip_where_one_is_blocked():
    strategy = made(ZoneMta)
    one = mail()
    first = strategy.choose(one, 0.0)[0]
    assert failed(strategy, one, BLOCKED_5, 0.0, ip=first) == 300.0
    second = strategy.choose(one, 300.0)[0]
    assert second != first
    assert failed(strategy, one, BLOCKED_5, 300.0, ip=second) != RETURN
    third = strategy.choose(one, 900.0)[0]
    assert failed(strategy, one, BLOCKED_5, 900.0, ip=third) != RETURN
    # All are left out: the next block is the end.
    assert failed(strategy, one, BLOCKED_5, 1300.0, ip=strategy.choose(one, 1300.0)[0]) == RETURN
    assert strategy.choose(mail(), 7 * HOUR)[0] == first


def test_powermta_tries_every_ten_minutes_and_hourly_in_back_off():
    strategy = made(PowerMta)
    assert schedule(strategy, most=4) == [600, 1200, 1800, 2400]
    assert strategy.limits(0, 0, 0.0) == (20, 0.0)
    assert failed(strategy, mail(), SLOW, 0.0) == 3600.0
    assert strategy.limits(0, 0, 10.0) == (1, 60.0)
    assert failed(strategy, mail(), LATER, 10.0) == 3610.0
    assert strategy.limits(0, 0, 3600.0) == (20, 0.0)
    assert failed(strategy, mail(), LATER, 3600.0) == 4200.0


def test_fixed_rests_in_a_row_and_the_last_again():
    assert schedule(made(Fixed, rests=(300.0, 600.0, 3600.0)), most=5) == [300, 900, 4500, 8100, 11_700]


@pytest.mark.parametrize("kind", [Postfix, KumoMta, ZoneMta, PowerMta, Fixed], ids=lambda kind: kind.__name__)
def test_every_peer_returns_what_is_refused_with_5xx(kind):
    assert failed(made(kind), mail(), NEVER, 0.0) == RETURN


@pytest.mark.parametrize("kind", [Postfix, KumoMta, ZoneMta, PowerMta, Fixed], ids=lambda kind: kind.__name__)
def test_every_peer_runs_a_world_to_its_end(kind):
    text = (
        'deadline = "6h"\n[campaign]\nrecipients = 300\n[[provider]]\nname = "a"\ngreylist = true\nunknown = 0.1\n'
        '[[provider]]\nname = "b"\nrate = { mails = 5 }\nblock = true\n[[provider]]\nname = "c"\ndead = true\n'
        '[[provider]]\nname = "d"\nbanned = { ips = ["ip1"] }\n[[provider]]\nname = "e"\nconnections = 1\n'
    )
    result = run(world(text), kind)
    assert result.delivered + result.returned + result.past_deadline == 300
    assert result.delivered > 150


def test_a_greylisted_mail_of_postfix_goes_out_at_the_queue_run():
    text = (
        'campaign = { recipients = 1, start = 40 }\n[[ip]]\n[[provider]]\nname = "a"\ngreylist = true\nlatency = 0.001'
    )
    times = [round(time) for time, *_ in attempts_of(world(text), Postfix)]
    assert times == [40, 600]


def test_a_mail_of_fixed_keeps_its_ip():
    text = 'campaign = { recipients = 20, rate = 1 }\n[[provider]]\nname = "a"\ngreylist = true'
    rows = attempts_of(world(text), made_with(Fixed, rests=(600.0,)))
    by_mail = {number: {ip for _, n, ip, _ in rows if n == number} for number in range(20)}
    assert len(rows) == 40
    assert all(len(ips) == 1 for ips in by_mail.values())
    assert set().union(*by_mail.values()) == {"ip1", "ip2"}
