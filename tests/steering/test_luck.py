"""Draws of steering: even, the same for the same, and independent of what else is drawn for the same mail."""

from hashlib import blake2b

from omicard_relay.steering.luck import draw, seed_of

NAMES = [blake2b(str(number).encode(), digest_size=12).hexdigest() for number in range(12_000)]


def test_draws_are_even_and_below_one():
    draws = [draw(1, name, 1, 10) for name in NAMES]
    assert all(0 <= one < 1 for one in draws)
    assert all(1050 < sum(k / 10 <= one < (k + 1) / 10 for one in draws) < 1350 for k in range(10))


def test_a_rare_draw_for_one_purpose_says_nothing_of_another():
    for first, second in ((10, 14), (12, 13), (10, 11)):
        others = [draw(1, name, 1, second) for name in NAMES if draw(1, name, 1, first) < 0.04]
        assert len(others) > 350
        quarters = [sum(k / 4 <= one < (k + 1) / 4 for one in others) / len(others) for k in range(4)]
        assert all(0.17 < share < 0.33 for share in quarters), (first, second)


def test_draws_never_change():
    assert seed_of(1, "a", 2, 3) == 0xAEE980CDBC54B7BE
    assert draw(1, "\udcff", -1, 3) == draw(1, "\udcff", -1, 3)
