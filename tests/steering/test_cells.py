"""Counts of trials: they fade, follow what changes, lend to what is beside them, and shrink to what is known above."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.steering.cells import TRIES, Cell, guesses, refined, try_class
from omicard_relay.steering.rests import COUNT, EDGES, TARGETS, bucket_of, guessed
from tests.steered import POLICY

MODEL, DAY = POLICY.model, 86_400.0
GREY, LATER = POLICY.rule(935, "x"), POLICY.rule(928, "x")


def cell_of(*trials, now=0.0):
    """A cell with these (tries, other IP, rest in seconds, passed)."""
    cell = Cell()
    for tries, other, rest, passed in trials:
        cell.add(tries, other, bucket_of(rest), passed, now, MODEL, 150)
    cell.show(now, MODEL)
    return cell


def chance(cell, rest, *, rule=LATER, tries=0, other=0):
    means = refined(guesses(rule, 1.0), cell.shown, 6.0, MODEL.memory, from_first=rule.counted_from == "first")
    return means.mean[tries][other][bucket_of(rest)]


def test_who_reads_beside_it_never_sees_new_counts_without_their_stamp_or_half_of_them():
    class Watched(dict):
        def items(self):
            for item in super().items():
                seen.append((cell.stamp, len(cell.shown)))
                yield item

    seen = []
    cell = cell_of((0, 0, 60.0, True), (0, 0, 600.0, True))
    before = cell.stamp, len(cell.shown)
    cell.add(0, 0, bucket_of(6000.0), True, 0.0, MODEL, 150)
    cell.counts = Watched(cell.counts)
    cell.show(0.0, MODEL)
    assert set(seen) == {before}
    assert (cell.stamp, len(cell.shown)) == (3, 3)


def test_without_trials_the_guess_stands():
    assert refined(guesses(GREY, 1.0), {}, 6.0, 40.0, from_first=True) == guesses(GREY, 1.0)
    assert guesses(GREY, 1.0).mean[0][0][bucket_of(300)] == pytest.approx(guessed(GREY.guess, 306), abs=0.02)


def test_trials_move_the_chance_from_the_guess_to_what_was_seen():
    before = chance(Cell(), 600)
    few = chance(cell_of(*[(0, False, 600, False)] * 3), 600)
    many = chance(cell_of(*[(0, False, 600, False)] * 40), 600)
    assert before > few > many
    assert many < 0.08
    assert chance(cell_of(*[(0, False, 600, True)] * 40), 600) > 0.9


def test_a_pass_speaks_for_longer_rests_and_a_failure_for_shorter_ones():
    passes = cell_of(*[(0, False, 600, True)] * 10)
    failures = cell_of(*[(0, False, 600, False)] * 10)
    assert chance(passes, 1000) - chance(Cell(), 1000) > abs(chance(passes, 350) - chance(Cell(), 350))
    assert chance(Cell(), 350) - chance(failures, 350) > chance(Cell(), 1000) - chance(failures, 1000)


def test_what_one_ip_saw_is_heard_a_little_for_the_others():
    failures = cell_of(*[(0, False, 600, False)] * 20)
    assert chance(failures, 600) < chance(failures, 600, other=1) < chance(Cell(), 600, other=1)


def test_no_count_outgrows_the_memory_so_that_a_change_is_followed():
    cell = cell_of(*[(0, False, 600, True)] * 1000)
    assert cell.weight() == pytest.approx(MODEL.memory, abs=1)
    for _ in range(150):
        cell.add(0, False, bucket_of(600), False, 0.0, MODEL, 150)
    cell.show(0.0, MODEL)
    assert chance(cell, 600) < 0.1


@given(st.lists(st.floats(0, 400 * DAY), min_size=2, max_size=6).map(sorted))
def test_forgetting_only_ever_forgets(moments):
    """What is known grows no more by waiting, and halves in a half-life."""
    weights = []
    for moment in moments:
        cell = cell_of(*[(0, False, 600, True)] * 30)
        cell.show(moment, MODEL)
        weights.append(cell.weight())
    assert weights == sorted(weights, reverse=True)
    assert all(0 <= weight <= 30.0001 for weight in weights)


def test_after_a_half_life_half_of_it_is_left():
    cell = cell_of(*[(0, False, 600, True)] * 20)
    cell.show(MODEL.half_life_days * DAY, MODEL)
    assert cell.weight() == pytest.approx(10)


def test_a_time_before_the_last_one_does_no_harm():
    cell = cell_of((0, False, 600, True), now=1e6)
    cell.add(0, False, bucket_of(600), True, 5.0, MODEL, 150)
    assert next(iter(cell.counts.values()))[2] == 1e6


_TRIAL = st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 1e6), st.booleans())


@given(st.lists(_TRIAL, max_size=60))
def test_chances_are_chances_and_cells_survive_the_store(trials):
    cell = cell_of(*trials)
    means = refined(guesses(LATER, 1.0), cell.shown, 6.0, MODEL.memory, from_first=False)
    assert len(means.mean) == TRIES
    for pair, weights in zip(means.mean, means.weight, strict=True):
        for mean, weight in zip(pair, weights, strict=True):
            assert len(mean) == COUNT
            assert all(0 <= one <= 1 for one in mean)
            assert all(one > 0 for one in weight)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(cell), type=Cell) == cell


@given(st.one_of(st.floats(allow_nan=True), st.floats(0, 1e7)))
def test_every_rest_has_a_bucket_whose_target_lies_in_it(rest):
    bucket = bucket_of(rest)
    assert 0 <= bucket < COUNT
    assert bucket_of(TARGETS[bucket]) == bucket
    if bucket:
        assert EDGES[bucket - 1] <= rest


@pytest.mark.parametrize(("failed", "wanted"), [(0, 0), (1, 1), (2, 2), (3, 3), (99, 3)])
def test_classes_of_retries(failed, wanted):
    assert try_class(failed) == wanted
