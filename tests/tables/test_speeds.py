"""policies/speeds.toml: classes that grow slower, a warm-up that rises."""

import math

import pytest

from omicard_relay.mail import TableError
from omicard_relay.tables.speeds import load_speeds

HEAD = 'source = "ours"\n[change]\nsource = "ours"\n{change}\n[warm_up]\nper_day = {days}\nsource = "ours"\n'


def text(paces=(2, 1), change="", days="[1, 2]"):
    return HEAD.format(change=change, days=days) + "".join(f"[[speed]]\nper_second = {pace}\n" for pace in paces)


@pytest.fixture
def load(tmp_path):
    def load(words):
        (tmp_path / "speeds.toml").write_text(words)
        return load_speeds(tmp_path)

    return load


def test_class_0_is_unlimited_and_each_class_is_slower():
    speeds = load_speeds()
    paces = [speeds.pace(number) for number in range(speeds.slowest + 1)]
    assert paces[0] == math.inf
    assert paces == sorted(paces, reverse=True)
    assert speeds.pace(speeds.slowest + 9) == paces[-1]
    assert speeds.pace(-1) == math.inf


def test_what_postfix_is_told_carries_the_pace():
    """Below one mail a second its delay is the pace; above, connections at half a second a mail or quicker."""
    for one in load_speeds().classes:
        if one.rate_delay_seconds:
            assert one.concurrency == 1
            exact = 1 / (one.rate_delay_seconds + 0.001)
            # Rounded down: what is counted with is never faster than what is told.
            assert exact - 1e-5 < one.per_second <= exact
        else:
            assert one.per_second / one.concurrency <= 2.5


@pytest.mark.parametrize("pace", [1000, 40, 3, 0.3, 0.01, 1e-9])
def test_the_class_for_a_pace_is_the_fastest_that_keeps_to_it(pace):
    speeds = load_speeds()
    found = speeds.at_most(pace)
    assert speeds.pace(found) <= pace or found == speeds.slowest
    assert found == 1 or speeds.pace(found - 1) > pace


def test_fewer_connections_are_found_as_classes():
    speeds = load_speeds()
    assert speeds.concurrency(speeds.narrower(7)) <= 7
    assert speeds.concurrency(speeds.narrower(0.3)) == 1


def test_a_new_ip_may_send_more_each_day_until_it_is_warm():
    speeds = load_speeds()
    assert (speeds.allowance(0.5), speeds.allowance(-3), speeds.allowance(1)) == (200, 200, 500)
    assert speeds.allowance(1000) == math.inf


BAD = {
    "a class that is no slower": (text(paces=(2, 2)), r"`speed\.1\.per_second`: 2 is no slower than 2"),
    "no class": (text(paces=()), "speed"),
    "a warm-up that falls": (text(days="[5, 2]"), "figures of the days must rise"),
    "bounds upside down": (text(change="pause_seconds = [9, 3]"), "9 and 3 are no bounds"),
    "an unknown key": (text(change="pauses = 3"), "has no key `pauses`"),
}


@pytest.mark.parametrize(("words", "says"), BAD.values(), ids=BAD)
def test_a_bad_file_stops_the_start_with_a_sentence(load, words, says):
    with pytest.raises(TableError, match=says):
        load(words)
