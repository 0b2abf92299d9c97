"""Fixed draws: even, independent of each other, and always the same."""

from omicard_relay.steering.simulation.luck import draw, key_of


def test_draws_are_even():
    draws = [draw(key_of(1, n), 3) for n in range(20_000)]
    tenths = [sum(k / 10 <= one < (k + 1) / 10 for one in draws) for k in range(10)]
    assert all(1850 < count < 2150 for count in tenths)


def test_draws_for_different_purposes_people_and_seeds_are_independent():
    for one, other in (
        ([draw(key_of(1, n), 1) for n in range(5000)], [draw(key_of(1, n), 2) for n in range(5000)]),
        ([draw(key_of(1, n), 1) for n in range(5000)], [draw(key_of(2, n), 1) for n in range(5000)]),
        ([draw(key_of(1, n), 1) for n in range(5000)], [draw(key_of(1, n + 1), 1) for n in range(5000)]),
    ):
        both = sum(a < 0.5 and b < 0.5 for a, b in zip(one, other, strict=True))
        assert 1130 < both < 1370


def test_draws_never_change():
    assert draw(key_of(1, 2), 3) == draw(key_of(1, 2), 3)
    assert 0 <= draw(key_of(-5, 1 << 70), 1) < 1
