"""Steer as a whole: it learns what a receiver does, keeps to the policy, and gives the same for the same."""

import math
from heapq import heapify, heappop, heappush
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.mail import Action, Outcome, Verdict
from omicard_relay.steering.state import State
from omicard_relay.steering.values import Seen, SourceIp
from tests.steered import ONE, POLICY, PROVIDER, TWO, ask, seen, steer

RETURN, RETRY = Action.RETURN, Action.RETRY
HOUR = 3600.0


def greylisted_mails(steering, mails, wait, start=0.0, apart=30.0, code=935, name="m"):
    """How many attempts each mail needed, and how long it took, at a receiver that passes after `wait` from the same IP.

    All in the order of time; a mail waits while its lane rests.
    """
    due = [(start + number * apart, number, "ip1", 1) for number in range(mails)]
    queued = {number: time for time, number, _, _ in due}
    heapify(due)
    first, told = {}, {}
    while due:
        time, number, ip, attempts = heappop(due)
        lane = next(lane for lane in steering.lanes(PROVIDER, time) if lane.ip == ip)
        if lane.rests_until is not None:
            heappush(due, (lane.rests_until, number, ip, attempts))
        elif time < first.setdefault((number, ip), time) + wait:
            plan = ask(steering, seen(time, f"{name}{number}", code, queued=queued[number], ip=ip))
            assert plan.action is RETRY
            heappush(due, (plan.at, number, plan.ip or ip, attempts + 1))
        else:
            steering.learn(seen(time, f"{name}{number}", queued=queued[number], ip=ip))
            told[number] = (attempts, time - queued[number])
    return [told[number] for number in range(mails)]


#: So many mails are told of it before it is known: those of the first half hour come before any answer.
@pytest.mark.parametrize("minutes", [1, 3, 5, 10, 15, 25, 30])
def test_the_wait_of_a_greylist_is_found_within_a_hundred_and_fifty_mails(minutes):
    told = greylisted_mails(steer(), 300, minutes * 60)
    late = told[150:]
    assert sum(attempts == 2 for attempts, _ in late) >= 0.8 * len(late)
    # And hardly later than it must be: some buckets of rest, and the spread.
    assert sorted(seconds for _, seconds in late)[len(late) // 2] <= minutes * 60 * 1.9 + 60


def test_a_greylist_that_waits_longer_from_noon_on_is_followed():
    steering = steer()
    greylisted_mails(steering, 200, 300)
    told = greylisted_mails(steering, 400, 1500, start=12 * HOUR, name="n")
    assert sum(attempts == 2 for attempts, _ in told[300:]) >= 0.8 * 100


def test_a_greylist_that_is_not_named_is_learned_too():
    told = greylisted_mails(steer(), 400, 900, code=928)
    assert sum(attempts == 2 for attempts, _ in told[300:]) >= 0.8 * 100


def test_a_greylisted_mail_goes_back_from_the_same_ip():
    plan = ask(steer(), seen(0.0, code=935, ip="ip2"))
    assert plan.ip == "ip2"
    assert {reason.key for reason in plan.reasons} >= {"same-ip"}


def test_without_knowledge_a_new_provider_gets_what_others_taught():
    steering = steer()
    greylisted_mails(steering, 100, 900)
    plans = [ask(steering, seen(9e4, f"n{n}", 935, provider="new.example")) for n in range(50)]
    rests = sorted(plan.at - 9e4 for plan in plans)
    assert rests[25] >= 900


def blocked(steering, time, ip="ip1", code=938):
    """A block that two mails in a row were told."""
    for number in range(2):
        ask(steering, seen(time + 6 * number, f"b{time}-{ip}-{number}", code, ip=ip))
    return time + 6


def test_a_blocked_lane_is_not_poked():
    steering = steer()
    now = blocked(steering, 0.0)
    one, two = steering.lanes(PROVIDER, now + 1)
    assert one.rests_until is not None
    assert one.rests_until >= now + 300
    assert one.share == 0
    assert (two.rests_until, two.share) == (None, 1.0)
    # Who was blocked goes elsewhere at once.
    assert steering.plan(seen(now + 2, "x", 938)).ip == "ip2"


def test_after_its_rest_a_lane_is_probed_by_a_trickle_and_opened_by_a_pass():
    steering = steer()
    now = blocked(steering, 0.0)
    end = steering.lanes(PROVIDER, now)[0].rests_until
    lane = steering.lanes(PROVIDER, end + 1)[0]
    assert lane.is_probing
    assert steering.pace(lane) < 0.02
    steering.learn(seen(end + 60, "p"))
    lane = steering.lanes(PROVIDER, end + 61)[0]
    assert not lane.is_probing
    assert lane.rests_until is None


def test_a_probe_that_fails_rests_again():
    steering = steer()
    now = blocked(steering, 0.0)
    end = steering.lanes(PROVIDER, now)[0].rests_until
    steering.learn(seen(end + 1, "p", 938))
    assert steering.lanes(PROVIDER, end + 2)[0].rests_until >= end + 300


def test_blocks_on_all_ips_rest_the_whole_provider_and_the_plan_waits_for_the_first():
    steering = steer()
    blocked(steering, 0.0, "ip1")
    now = blocked(steering, 20.0, "ip2")
    lanes = steering.lanes(PROVIDER, now)
    assert all(lane.rests_until for lane in lanes)
    plan = steering.plan(seen(now, "w", 938, ip="ip2"))
    assert plan.at >= min(lane.rests_until for lane in lanes)
    assert plan.ip == ""


def test_other_providers_do_not_mind_the_block():
    steering = steer()
    now = blocked(steering, 0.0)
    assert steering.is_ordinary("else.example", now)
    assert not steering.is_ordinary(PROVIDER, now)
    assert list(steering.providers(now)) == [PROVIDER]


def test_an_ip_that_is_blocked_for_good_leaves_its_mail_to_the_others():
    steering = steer()
    blocked(steering, 0.0, code=939)
    one, two = steering.lanes(PROVIDER, HOUR)
    assert one.rests_until is not None
    assert two.share == 1.0


def test_block_words_that_do_not_mean_one_are_found_out():
    """Four in ten mails are told of a block, from whatever IP; the others pass. Closing would be wrong."""
    steering, chance = steer(ips=ONE), Random(3)  # noqa: S311
    time = 0.0
    for number in range(400):
        lane = steering.lanes(PROVIDER, time)[0]
        time = max(time + 10, lane.rests_until or 0)
        steering.learn(seen(time, f"l{number}", 938 if chance.random() < 0.4 else None))
    closed = sum(bool(steering.lanes(PROVIDER, time + 1)[0].rests_until) for _ in range(1))
    assert time < 400 * 10 + 24 * HOUR
    assert not closed or steering.lanes(PROVIDER, time + 1)[0].rests_until < time + 60


def test_a_dead_host_rests_all_lanes_and_few_mails_poke_it():
    steering, pokes, time = steer(), 0, 0.0
    for number in range(500):
        time += 20
        if steering.lanes(PROVIDER, time)[0].rests_until is None:
            ask(steering, seen(time, f"d{number}", 910, reply=0, action=RETURN))
            pokes += 1
    assert pokes < 60


def test_a_final_cause_is_returned_at_once_but_for_the_few_that_explore():
    steering = steer()
    plans = [ask(steering, seen(float(n), f"u{n}", 902, reply=5, action=RETURN)) for n in range(1000)]
    assert sum(plan.action is RETRY for plan in plans) < 40
    assert plans[0].reasons[0].key == "verdict-final"


def test_a_4xx_that_says_user_unknown_is_returned_at_once():
    plan = ask(steer(), seen(0.0, code=902, reply=4, action=RETURN))
    assert plan.action is RETURN


def test_a_5xx_that_passes_is_learned():
    steering = steer()
    # What explored came back and passed, three times in four.
    for number in range(24):
        steering.learn(seen(number * 10.0, f"e{number}", 902, reply=5, action=RETURN))
        later = seen(number * 10.0 + HOUR, f"e{number}", 902 if number % 4 == 0 else None, reply=5, action=RETURN)
        steering.learn(later)
    plan = ask(steering, seen(9000.0, "new", 902, reply=5, action=RETURN))
    assert plan.action is RETRY
    verdict = Verdict(bounce_code=902, rule_id="r", confidence=1.0)
    assert steering.filter_action(PROVIDER, verdict, 5, RETURN, "550 no such user") is RETRY
    elsewhere = ask(steering, seen(9001.0, "else", 902, reply=5, action=RETURN, provider="else.example"))
    assert elsewhere.action is RETURN


def test_a_4xx_that_never_passes_is_given_up_before_the_deadline():
    steering = steer()
    gone = []
    for number in range(300):
        time = queued = number * 60.0
        attempts, ip = 0, "ip1"
        while True:
            plan = ask(steering, seen(time, f"g{number}", 901, queued=queued, ip=ip, action=RETURN))
            ip = plan.ip or ip
            attempts += 1
            if plan.action is RETURN:
                break
            time = plan.at
        gone.append(attempts)
    assert sum(gone[250:]) < 0.6 * sum(gone[:50])


@pytest.mark.parametrize("code", [910, 911, 915, 928])
def test_a_host_that_is_down_for_days_is_given_up_at_the_deadline_alone(code):
    steering = steer(ips=ONE)
    due = [(number * 60.0, number) for number in range(40)]
    heapify(due)
    ended = []
    while due:
        time, number = heappop(due)
        rests_until = steering.lanes(PROVIDER, time)[0].rests_until
        if rests_until is not None:
            heappush(due, (rests_until, number))
            continue
        plan = ask(steering, seen(time, f"d{number}", code, queued=number * 60.0, reply=0))
        if plan.action is RETRY:
            heappush(due, (plan.at, number))
        else:
            ended.append((plan.reasons[0].key, time - number * 60.0))
    assert {key for key, _ in ended} == {"policy-deadline"}
    assert min(age for _, age in ended) > 110 * HOUR


def test_a_4xx_whose_verdict_says_retry_is_kept_though_it_never_passed():
    steering = steer(ips=ONE)
    for number in range(60):
        for attempt in range(8):
            time = number * 60.0 + attempt * 12 * HOUR
            assert ask(steering, seen(time, f"k{number}", 913, queued=number * 60.0)).action is RETRY


@pytest.mark.parametrize("hours", [5, 26])
def test_a_wait_beyond_the_longest_rest_is_reached_in_steps(hours):
    told = greylisted_mails(steer(ips=ONE), 40, hours * HOUR, apart=900.0)
    assert len(told) == 40
    assert max(seconds for _, seconds in told) < 2 * hours * HOUR


def test_one_recipient_that_is_refused_everywhere_burns_three_ips_at_most():
    ips = tuple(SourceIp(name=f"ip{number}") for number in range(1, 21))
    steering = steer(ips=ips)
    ip, time, tried = "ip1", 0.0, []
    for _ in range(20):
        tried.append(ip)
        plan = ask(steering, seen(time, "odd", 917, queued=0.0, reply=5, action=RETURN, ip=ip))
        if plan.action is RETURN or plan.reasons[0].key != "other-ip":
            break
        ip, time = plan.ip, plan.at
    assert len(tried) == 3


def test_a_mail_refused_for_its_ip_alone_is_retried_from_a_named_other_one():
    steering = steer(ips=(*TWO, SourceIp(name="ip3")))
    plan = ask(steering, seen(0.0, "a", 916, reply=5, action=RETURN))
    assert plan.reasons[0].key == "other-ip"
    assert plan.ip in {"ip2", "ip3"}


def test_failures_of_other_codes_use_up_no_attempts_of_this_one():
    steering = steer(ips=ONE)
    few = POLICY.rule(913, PROVIDER).attempts
    for number in range(few + 2):
        ask(steering, seen(number * 600.0, "a", 915, queued=0.0))
    assert ask(steering, seen(9 * HOUR, "a", 913, queued=0.0)).action is RETRY


def test_codes_that_take_turns_cannot_go_on_for_ever():
    steering = steer(ips=ONE)
    most = max(rule.attempts for rule in POLICY.rules.values())
    for number in range(most):
        plan = ask(steering, seen(number * 400.0, "a", (915, 913)[number % 2], queued=0.0))
    assert (plan.action, plan.reasons[0].key) == (RETURN, "policy-attempts")


def test_a_sudden_surge_of_unknown_users_is_doubted():
    steering = steer()
    for number in range(400):
        steering.learn(seen(float(number), f"ok{number}"))
    plans = [ask(steering, seen(400.0 + n, f"s{n}", 902, reply=5, action=RETURN)) for n in range(60)]
    assert sum(plan.action is RETRY for plan in plans[-20:]) == 20
    assert plans[-1].reasons[0].key == "surge"
    assert any(alert.key == "final-replies-rise" for alert in steering.alerts(500.0))


def test_a_list_that_was_always_bad_is_no_surge():
    steering, chance = steer(), Random(1)  # noqa: S311
    plans = []
    for number in range(600):
        bad = chance.random() < 0.6
        attempt = seen(float(number), f"s{number}", 902 if bad else None, reply=5, action=RETURN)
        steering.learn(attempt)
        if bad and number > 100:
            plans.append(steering.plan(attempt))
    assert sum(plan.action is RETRY for plan in plans) < 0.05 * len(plans)


def test_the_policy_alone_hears_nothing_that_was_learned():
    policy = POLICY.without_model()
    taught, fresh = steer(policy), steer(policy)
    greylisted_mails(taught, 60, 1800)
    attempt = seen(9e5, "z", 935)
    assert ask(taught, attempt) == ask(fresh, attempt)
    assert fresh.plan(attempt).reasons[0].key == "policy-rest"


def test_a_deadline_ends_all_retries():
    steering = steer(POLICY.within(2 * HOUR))
    plan = ask(steering, seen(3 * HOUR, code=928, queued=0.0))
    assert (plan.action, plan.reasons[0].key) == (RETURN, "policy-deadline")


def test_attempts_of_the_policy_end_all_retries():
    steering = steer()
    for number in range(POLICY.rule(922, PROVIDER).attempts):
        plan = ask(steering, seen(number * 9000.0, "a", 922, queued=0.0))
    assert (plan.action, plan.reasons[0].key) == (RETURN, "policy-attempts")


def test_quiet_hours_put_a_retry_off():
    model = msgspec.structs.replace(POLICY.model, quiet_hours=("22:00", "07:00"), utc_offset_minutes=480)
    steering = steer(msgspec.structs.replace(POLICY, model=model))
    # 14:30 UTC is 22:30 in Taipei.
    plan = ask(steering, seen(14.5 * HOUR, code=935))
    assert plan.at == 23 * HOUR


def test_a_new_ip_gets_no_more_than_its_allowance_a_day():
    ips = (SourceIp(name="ip1"), SourceIp(name="ip2", age_days=0.0))
    steering = steer(ips=ips)
    for number in range(200):
        steering.learn(seen(float(number), f"w{number}", ip="ip2"))
    lane = steering.lanes(PROVIDER, 300.0)[1]
    assert lane.rests_until == 86_400.0
    assert lane.reasons[0].key == "lane-warms-up"
    assert steering.lanes(PROVIDER, 86_401.0)[1].rests_until is None


def test_a_line_of_yesterday_that_comes_late_resets_no_allowance():
    steering = steer(ips=(SourceIp(name="ip1"), SourceIp(name="ip2", age_days=0.0)))
    for number in range(200):
        steering.learn(seen(100_000.0 + number, f"w{number}", ip="ip2"))
    steering.learn(seen(86_000.0, "late", ip="ip2"))
    steering.learn(seen(100_201.0, "now", ip="ip2"))
    assert steering.lanes(PROVIDER, 100_300.0)[1].reasons[0].key == "lane-warms-up"


def test_a_reply_without_a_server_is_permanent_where_postfix_gave_up():
    steering = steer()
    bounced = seen(0.0, "a", 905, reply=0, action=RETURN, outcome=Outcome.BOUNCED)
    deferred = seen(0.0, "b", 905, reply=0, action=RETURN)
    assert ask(steering, bounced).action is RETURN
    assert ask(steering, deferred).action is RETRY


def test_planning_changes_nothing():
    steering = steer()
    attempt = seen(0.0, code=935)
    steering.learn(attempt)
    before = msgspec.msgpack.encode(steering.state)
    assert steering.plan(attempt) == steering.plan(attempt)
    assert msgspec.msgpack.encode(steering.state) == before


def test_the_same_attempt_told_twice_is_one_trial():
    steering = steer()
    attempt = seen(0.0, code=935)
    steering.learn(attempt)
    thread = steering.state.threads["t"]
    steering.learn(attempt)
    assert steering.state.threads["t"] == thread


def test_an_own_fault_is_told():
    steering = steer()
    steering.learn(seen(0.0, code=931, reply=0, action=Action.ALERT))
    assert [alert.key for alert in steering.alerts(1.0)] == ["own-resources"]


def test_an_ip_that_is_blocked_everywhere_is_told():
    steering = steer()
    for number in range(4):
        for again in range(2):
            steering.learn(seen(10.0 * again, f"{number}{again}", 938, provider=f"p{number}.example"))
    assert ("ip-blocked-everywhere", "ip1") in {(alert.key, alert.about) for alert in steering.alerts(20.0)}


# --- what holds for any attempts ----------------------------------------------------------------------------------------

_CODES = st.sampled_from([None, *range(900, 940)])
_ATTEMPTS = st.builds(
    lambda step, thread, code, ip, reply, action, provider, speed, complaint: (
        step, thread, code, ip, reply, action, provider, speed, complaint
    ),
    st.one_of(st.floats(0, 7200), st.floats(0, 3e6)),
    st.sampled_from(["a", "b", "c", "d", "e"]),
    _CODES,
    st.sampled_from(["ip1", "ip2", "ip3", ""]),
    st.sampled_from([0, 4, 5]),
    st.sampled_from(list(Action)),
    st.sampled_from(["p.example", "yahoo", "google"]),
    st.integers(0, 25),
    st.booleans(),
)  # fmt: skip


def run(rows, steering, number=0):
    """Folds the rows and gives the attempts and plans."""
    time, told = 0.0, []
    for step, thread, code, ip, reply, action, provider, speed, complaint in rows:
        time += step
        number += 1
        attempt = seen(
            time, thread, code, queued=max(0.0, time - 5e4), ip=ip, reply=reply, action=action,
            provider=provider, number=number, speed=speed, complaint=complaint and code is None,
        )  # fmt: skip
        steering.learn(attempt)
        if code is not None:
            told.append((attempt, steering.plan(attempt)))
    return told


@settings(max_examples=60, deadline=None)
@given(st.lists(_ATTEMPTS, max_size=40), st.integers(0, 40))
def test_a_state_that_was_stored_goes_on_bit_for_bit(rows, cut):
    whole = steer()
    run(rows[:cut], whole)
    stored = msgspec.msgpack.encode(whole.state)
    back = msgspec.msgpack.decode(stored, type=State)
    assert back == whole.state
    assert msgspec.msgpack.encode(back) == stored
    again, straight = steer(state=back), steer()
    run(rows[:cut], straight)
    assert run(rows[cut:], again, cut) == run(rows[cut:], straight, cut)
    assert again.state == straight.state


@settings(max_examples=60, deadline=None)
@given(st.lists(_ATTEMPTS, max_size=40))
def test_no_plan_leaves_the_bounds_of_the_policy(rows):
    for attempt, plan in run(rows, steer()):
        rule = POLICY.rule(attempt.code, attempt.provider)
        if plan.action is RETURN:
            assert plan.reasons
            continue
        rest, last = plan.at - attempt.time, attempt.queued + POLICY.deadline(rule)
        elsewhere = plan.reasons[0].key == "other-ip"
        assert (rest >= rule.least - 1e-6 and rest <= rule.most + 1e-6) or elsewhere
        assert plan.at <= last + 1e-6
        assert plan.ip in {"", "ip1", "ip2", attempt.ip}
        assert plan.attempts_left >= 1
        assert 0 <= plan.chance <= 1
        if rule.same_ip:
            assert plan.ip in {"", attempt.ip}


@settings(max_examples=60, deadline=None)
@given(st.lists(_ATTEMPTS, max_size=40), st.floats(0, 1e5))
def test_shares_of_open_lanes_sum_to_one_and_resting_ones_have_none(rows, later):
    steering = steer()
    run(rows, steering)
    now = steering.state.time + later
    for provider in ("p.example", "yahoo", "google", "never-seen"):
        lanes = steering.lanes(provider, now)
        assert [lane.ip for lane in lanes] == ["ip1", "ip2"]
        assert all(lane.share == 0 for lane in lanes if lane.rests_until is not None)
        assert all(lane.rests_until is None or lane.rests_until > now for lane in lanes)
        if any(lane.rests_until is None for lane in lanes):
            assert math.isclose(sum(lane.share for lane in lanes), 1.0)
        assert all(0 <= lane.speed <= POLICY.speeds.slowest for lane in lanes)


_HOSTILE = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([-1e300, 1e300, 0.0, 5e-324]))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.builds(
            Seen,
            id=st.integers(-(2**62), 2**62),
            time=_HOSTILE,
            queued=_HOSTILE,
            thread=st.text(max_size=5),
            domain=st.text(max_size=5),
            provider=st.text(max_size=5),
            ip=st.text(max_size=3),
            speed=st.integers(-5, 2**40),
            outcome=st.sampled_from(list(Outcome)),
            code=st.one_of(st.none(), st.integers(-5, 2000)),
            action=st.one_of(st.none(), st.sampled_from(list(Action))),
            reply_class=st.integers(-9, 99),
            is_complaint=st.booleans(),
        ),
        max_size=12,
    )
)
def test_no_attempt_however_made_is_too_much(attempts):
    steering = steer()
    for attempt in attempts:
        steering.learn(attempt)
        steering.plan(attempt)
        steering.lanes(attempt.provider, steering.state.time)
        steering.alerts(steering.state.time)
    tuple(steering.providers())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(steering.state), type=State) == steering.state
    assert steering.state.version == len(attempts)


def test_the_oldest_threads_and_providers_fall_out():
    model = msgspec.structs.replace(POLICY.model, most_threads=100, most_providers=10)
    steering = steer(msgspec.structs.replace(POLICY, model=model))
    for number in range(300):
        steering.learn(seen(float(number), f"t{number}", 928, provider=f"p{number}.example"))
    assert len(steering.state.threads) == 100
    assert "t299" in steering.state.threads
    assert len(steering.state.providers) == 10
    assert sum("." in level for level in steering.state.cells) <= 10


def test_what_was_learned_of_a_provider_that_fell_out_is_gone():
    model = msgspec.structs.replace(POLICY.model, most_providers=10)
    policy = msgspec.structs.replace(POLICY, model=model)
    straight = steer(policy, ips=ONE)

    def teach(one, start, passed, provider=PROVIDER):
        one.learn(seen(start, f"a{start}", 935, provider=provider))
        one.learn(seen(start + 600, f"a{start}", None if passed else 935, provider=provider))

    # So many that neither the next one nor the one after it is shown at the level of all.
    for number in range(6):
        teach(straight, -9000.0 + number, True, "else.example")
    teach(straight, 0.0, True)
    straight.plan(seen(5000.0, "b", 935))
    for number in range(12):
        straight.learn(seen(6000.0 + number, f"f{number}", provider=f"p{number}.example"))
    assert PROVIDER not in straight.state.providers
    # As many trials as before, and others: a machine that began with this state says the same.
    teach(straight, 7000.0, False)
    again = steer(policy, ips=ONE, state=msgspec.msgpack.decode(msgspec.msgpack.encode(straight.state), type=State))
    last = seen(9000.0, "c", 935)
    assert straight.plan(last) == again.plan(last)


def test_ips_that_share_evenly_are_ordinary():
    steering = steer()
    assert [lane.share for lane in steering.lanes("new.example", 0.0)] == [0.5, 0.5]
    assert steering.is_ordinary("new.example", 0.0)
    assert len(TWO) == 2
