"""Receivers: each behaviour alone, by plain calls at told times."""

import pytest

from tests.worldly import asked, receiver

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
TWO_NETS = '[[ip]]\naddress = "192.0.2.1"\n[[ip]]\naddress = "192.0.2.2"\n[[ip]]\naddress = "203.0.113.3"'


def kinds(text: str, attempts: list[tuple[int, int, float]], head: str = "") -> list[str]:
    """The kinds that (person, ip, time) get, in order."""
    who = receiver(text, head=head)
    return [asked(who, *attempt) for attempt in attempts]


def test_nothing_special_accepts_everything():
    assert kinds("", [(n, n % 2, 0.0) for n in range(50)]) == ["250"] * 50


def test_greylisting_passes_after_its_wait_from_the_same_ip():
    assert kinds("greylist = true", [(1, 0, 0.0), (1, 0, 299.0), (1, 0, 300.0), (1, 0, 301.0)]) == [
        "greylist", "greylist", "250", "250",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("ip", ["greylist", "greylist", "greylist", "250"]),
        ("net", ["greylist", "250", "greylist", "250"]),
        ("all", ["greylist", "250", "250", "250"]),
    ],
)
def test_greylisting_counts_ip_net_or_any(scope, told):
    text = f'greylist = {{ wait = "5m", scope = "{scope}" }}'
    attempts = [(1, 0, 0.0), (1, 1, 10 * MINUTE), (1, 2, 11 * MINUTE), (1, 0, 12 * MINUTE)]
    assert kinds(text, attempts, TWO_NETS) == told


def test_a_greylisted_retry_that_comes_too_late_is_a_first_one_again():
    text = 'greylist = { wait = "5m", expiry = "1h" }'
    assert kinds(text, [(1, 0, 0.0), (1, 0, 2 * HOUR), (1, 0, 2 * HOUR + 300)]) == ["greylist", "greylist", "250"]


def test_a_pass_through_greylisting_is_remembered_for_so_long():
    text = 'greylist = { wait = "5m", memory = "1d" }'
    who = receiver(text, remembers=True)
    times = [0.0, 300.0, 300.0 + 23 * HOUR, 300.0 + 46 * HOUR, 300.0 + 46 * HOUR + 25 * HOUR]
    assert [asked(who, 1, 0, time) for time in times] == ["greylist", "250", "250", "250", "greylist"]


def test_an_ip_is_trusted_after_so_many_passes():
    who = receiver('greylist = { wait = "1m", trusts_after = 2 }')
    assert [asked(who, person, 0, 0.0) for person in (1, 2)] == ["greylist"] * 2
    assert [asked(who, person, 0, 60.0) for person in (1, 2, 3)] == ["250"] * 3
    assert asked(who, 4, 1, 60.0) == "greylist"


def test_only_a_share_is_greylisted():
    told = kinds("greylist = { share = 0.25 }", [(n, 0, 0.0) for n in range(2000)])
    assert 0.2 < told.count("greylist") / 2000 < 0.3


def test_a_bucket_gives_its_burst_and_fills_evenly():
    text = 'rate = { mails = 6, every = "1m", burst = 2 }'
    attempts = [(n, 0, time) for n, time in enumerate([0, 0, 0, 9, 10, 19, 20])]
    assert kinds(text, attempts) == ["250", "250", "rate", "rate", "250", "rate", "250"]


def test_mails_evenly_spaced_at_the_rate_all_pass():
    text = 'rate = { mails = 7, every = "1m", burst = 1 }'
    assert set(kinds(text, [(n, 0, n * 60 / 7) for n in range(1000)])) == {"250"}


def test_a_bucket_may_be_for_all_ips_together():
    each = [(1, 0, 0.0), (2, 1, 0.0)]
    assert kinds("rate = { mails = 1 }", each) == ["250", "250"]
    assert kinds('rate = { mails = 1, scope = "all" }', each) == ["250", "rate"]


def test_every_one_of_several_rates_holds():
    text = 'rate = [{ mails = 2, every = "1m" }, { mails = 3, every = "1h" }]'
    assert kinds(text, [(n, 0, n * MINUTE) for n in range(5)]) == ["250", "250", "250", "rate", "rate"]


BLOCK = 'rate = { mails = 1, every = "1h" }\nblock = { offences = 2, within = "10m", rest = "30m", lengthens = "1m" }'


def test_overuse_blocks_and_rest_unblocks():
    who = receiver(BLOCK)
    assert [asked(who, n, 0, 0.0) for n in range(4)] == ["250", "rate", "rate", "block"]
    # The poke of a moment ago added a minute.
    assert asked(who, 5, 0, 30 * MINUTE + 59) == "block"
    assert not who.is_blocked(0, 32 * MINUTE)
    assert who.blocked_hours(DAY) == pytest.approx(32 / 60)


def test_a_poke_never_makes_a_block_longer_than_its_most():
    who = receiver(
        'rate = { mails = 1, every = "1h" }\nblock = { offences = 1, rest = "30m", lengthens = "1h", at_most = "2h" }'
    )
    assert [asked(who, n, 0, 0.0) for n in range(20)][-1] == "block"
    assert who.is_blocked(0, 2 * HOUR - 1)
    assert not who.is_blocked(0, 2 * HOUR)


def test_offences_far_apart_do_not_block():
    assert "block" not in kinds(BLOCK, [(n, 0, n * 11 * MINUTE) for n in range(60)])


def test_a_second_block_is_longer():
    who = receiver(
        'rate = { mails = 1, every = "10h" }\n'
        'block = { offences = 1, rest = "30m", lengthens = 0, growth = 3, memory = "1h" }'
    )
    asked(who, 1, 0, 0.0)
    asked(who, 2, 0, 0.0)
    assert not who.is_blocked(0, 30 * MINUTE)
    asked(who, 3, 0, 40 * MINUTE)
    assert who.is_blocked(0, 129 * MINUTE)
    assert not who.is_blocked(0, 130 * MINUTE)
    # Long after the last one ended it begins anew.
    asked(who, 4, 0, 200 * MINUTE)
    assert not who.is_blocked(0, 230 * MINUTE)


def test_a_block_is_of_one_ip_or_of_its_net():
    for scope, other, hours in (("ip", "250", 0.5), ("net", "block", 1.0)):
        who = receiver(
            'rate = { mails = 1, every = "1h" }\n'
            f'block = {{ offences = 1, rest = "30m", lengthens = 0, scope = "{scope}" }}',
            head=TWO_NETS,
        )
        asked(who, 1, 0, 0.0)
        asked(who, 2, 0, 0.0)
        assert asked(who, 3, 1, 1.0) == other
        assert asked(who, 4, 2, 1.0) == "250"
        assert who.blocked_hours(DAY) == hours


def test_mails_alone_may_block_without_a_warning():
    text = 'block = { counts = ["mail"], offences = 5, within = "1m" }'
    assert kinds(text, [(n, 0, 0.0) for n in range(6)]) == ["250"] * 5 + ["block"]
    assert kinds(text, [(n, 0, n * 20.0) for n in range(50)]) == ["250"] * 50


def test_unknown_recipients_may_block():
    text = 'unknown = 1.0\nblock = { counts = ["unknown"], offences = 3 }'
    assert kinds(text, [(n, 0, 0.0) for n in range(4)]) == ["unknown"] * 3 + ["block"]


def test_complaints_may_block():
    who = receiver('complaints = 1.0\nblock = { counts = ["complaint"], offences = 2 }')
    assert who.complains(1)
    who.complain(0, 10.0)
    assert asked(who, 1, 0, 11.0) == "250"
    who.complain(0, 12.0)
    assert asked(who, 2, 0, 13.0) == "block"


def test_a_banned_ip_never_passes_and_others_do():
    text = 'banned = { ips = ["ip2"] }'
    assert kinds(text, [(1, 1, 0.0), (1, 1, 30 * DAY), (1, 0, 0.0)]) == ["banned", "banned", "250"]


def test_flaky_goes_up_and_down():
    text = 'flaky = { up = "50m", down = "10m", offset = "10m", how = "refused" }'
    times = [0, 39, 40, 49, 50, 99, 100]
    assert kinds(text, [(1, 0, time * MINUTE) for time in times]) == [
        "250", "250", "refused", "refused", "250", "250", "refused",
    ]  # fmt: skip


def test_flaky_by_chance():
    told = kinds('flaky = { up = "1d", down = 0, chance = 0.3, how = "lost" }', [(n, 0, 1.0) for n in range(2000)])
    assert 0.25 < told.count("lost") / 2000 < 0.35


def test_dead_from_until():
    text = 'dead = { from = "1h", until = "2h" }'
    assert kinds(text, [(1, 0, h * HOUR) for h in (0, 1, 1.9, 2)]) == ["250", "timeout", "timeout", "250"]


def test_a_timeout_takes_its_time():
    who = receiver("dead = true")
    assert who.attempt(1, 0, 0.0)[1] == 30.0


def test_sessions_at_once_are_limited_by_ip():
    who = receiver("connections = 2")
    assert [who.attempt(n, 0, 0.0)[0] for n in (1, 2)] == [None, None]
    third = who.attempt(3, 0, 0.0)[0]
    assert third is not None
    assert third.kind == "connections"
    assert who.attempt(4, 1, 0.0)[0] is None
    for _ in range(3):
        who.end(0)
    assert who.attempt(5, 0, 1.0)[0] is None


def test_a_young_ip_has_a_daily_allowance_that_grows():
    head = "[[ip]]\nage_days = 0\n[[ip]]"
    text = "warmup = { mails = 2, growth = 2.0, days = 3 }"
    per_day = [[(n, 0, day * DAY) for n in range(9)] for day in range(4)]
    told = kinds(text, [attempt for day in per_day for attempt in day], head)
    assert [told[9 * day : 9 * day + 9].count("250") for day in range(4)] == [2, 4, 8, 9]
    assert set(kinds(text, [(n, 1, 0.0) for n in range(50)], head)) == {"250"}


def test_full_mailboxes_empty_or_do_not():
    who = receiver('full = { share = 1.0, empties = "1h", never = 0.5 }')
    people = range(1000)
    first = sum(asked(who, person, 0, 0.0) == "full" for person in people)
    later = sum(asked(who, person, 0, 30 * DAY) == "full" for person in people)
    assert first == 1000
    assert 430 < later < 570


def test_5xx_that_means_4xx_passes_after_a_while():
    who = receiver('false_5xx = { share = 1.0, after = "20m" }')
    assert [asked(who, 1, 0, time * MINUTE) for time in (0, 19, 20, 21)] == ["false_5xx", "false_5xx", "250", "250"]


def test_4xx_that_means_5xx_never_passes():
    who = receiver("false_4xx = { share = 1.0 }")
    spoken, _ = who.attempt(1, 0, 0.0)
    assert spoken is not None
    assert (spoken.reply_class, spoken.is_final) == (4, True)
    assert asked(who, 1, 0, 30 * DAY) == "false_4xx"


def test_content_is_refused_after_all_else():
    who = receiver('greylist = true\nrefuse = { share = 1.0, looks = "content" }')
    assert [asked(who, 1, 0, 0.0), asked(who, 1, 0, 300.0)] == ["greylist", "refuse"]


def test_behaviour_changes_when_it_is_time_and_a_block_stays():
    who = receiver(
        BLOCK.replace('rest = "30m"', 'rest = "2h"')
        + '\n[[provider.change]]\nat = "1h"\nrate = false\n[[provider.change]]\nat = "5h"\ngreylist = true\n'
    )
    assert [asked(who, n, 0, 0.0) for n in range(4)][-1] == "block"
    assert asked(who, 5, 0, HOUR) == "block"
    assert [asked(who, n, 0, 3 * HOUR) for n in range(20, 40)] == ["250"] * 20
    assert asked(who, 6, 0, 5 * HOUR) == "greylist"


def test_what_is_hidden_about_a_person_is_the_same_for_all_who_ask_and_differs_by_seed():
    text = "unknown = 0.3\nfull = { share = 0.3 }\nfalse_4xx = { share = 0.2 }"
    people = range(300)
    one, other, third = receiver(text), receiver(text), receiver(text, seed=2)
    told = [asked(one, person, 0, 0.0) for person in people]
    assert told == list(reversed([asked(other, person, 1, 0.0) for person in reversed(people)]))
    assert told != [asked(third, person, 0, 0.0) for person in people]


@pytest.mark.parametrize(
    ("text", "now", "would"),
    [
        ("", 0.0, True),
        ("unknown = 1.0", 0.0, False),
        ("false_4xx = { share = 1.0 }", 0.0, False),
        ("refuse = { share = 1.0 }", 0.0, False),
        ("greylist = true", 0.0, True),
        ("full = { share = 1.0, never = 1.0 }", 0.0, False),
        ('full = { share = 1.0, empties = "1s", never = 0 }', 0.0, True),
        ("false_5xx = { share = 1.0 }", 0.0, True),
        ("false_5xx = { share = 1.0, chance = 0 }", 0.0, False),
        ("dead = true", 0.0, False),
        ('dead = { until = "30m" }', 0.0, True),
        ('dead = { until = "2h" }', 0.0, False),
        ('dead = { from = "30m" }', 0.0, True),
        ('dead = { from = "30m" }', 2000.0, False),
        ('banned = { ips = ["ip1"] }', 0.0, True),
        ('banned = { ips = ["ip1", "ip2"] }', 0.0, False),
        ('dead = true\n[[provider.change]]\nat = "30m"\ndead = false', 0.0, True),
        ('[[provider.change]]\nat = "30m"\ndead = true', 2000.0, False),
    ],
)
def test_whether_it_would_take_a_mail_within_an_hour(text, now, would):
    assert receiver(text).would_take(1, now, HOUR) is would


def test_own_words_are_spoken_with_ip_and_recipient():
    who = receiver('greylist = true\ntexts = { greylist = ["451 4.7.1 {ip} and <{recipient}> are new"] }')
    spoken, _ = who.attempt(1, 1, 0.0)
    assert spoken is not None
    assert "451 4.7.1 192.0.2.2 and <someone@a.example> are new (in reply to RCPT TO command)" in spoken.text


def test_what_is_known_of_a_person_is_dropped_at_the_end_unless_they_come_again():
    forgets, keeps = receiver("greylist = true"), receiver("greylist = true", remembers=True)
    for who in (forgets, keeps):
        asked(who, 1, 0, 0.0)
        asked(who, 1, 0, 300.0)
        who.forget(1)
    assert (asked(forgets, 1, 0, 400.0), asked(keeps, 1, 0, 400.0)) == ("greylist", "250")
