"""The state: it adds up with another's, and leaves the house without people in it."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from omicard_relay.steering.state import EVERYONE, State, export_counts, import_counts, merge
from tests.steered import ask, seen, steer

_ROW = st.tuples(
    st.floats(0, 3000),
    st.sampled_from("abcdef"),
    st.sampled_from([None, 935, 928, 938, 902, 910]),
    st.sampled_from(["google", "one.example"]),
    st.sampled_from(["ip1", "ip2"]),
)


def taught(rows):
    steering, time = steer(), 0.0
    for step, thread, code, provider, ip in rows:
        time += step
        steering.learn(seen(time, thread, code, provider=provider, ip=ip))
    return steering.state


def counts_of(state):
    return {
        (level, kind, place): (round(entry[0], 6), round(entry[1], 6))
        for level, kinds in state.cells.items()
        for kind, cell in kinds.items()
        for place, entry in cell.counts.items()
    }


@settings(max_examples=40, deadline=None)
@given(st.lists(_ROW, max_size=30), st.lists(_ROW, max_size=30))
def test_merging_does_not_mind_the_order_and_adds_the_counts(left, right):
    one, other = taught(left), taught(right)
    both, swapped = merge(one, other), merge(other, one)
    assert both == swapped
    assert msgspec.msgpack.encode(both) == msgspec.msgpack.encode(swapped)
    total, parts = counts_of(both), (counts_of(one), counts_of(other))
    for place, entry in total.items():
        sums = [sum(part.get(place, (0, 0))[which] for part in parts) for which in (0, 1)]
        assert abs(entry[0] - sums[0]) < 1e-5
        assert abs(entry[1] - sums[1]) < 1e-5


def test_a_merged_state_goes_on():
    rows = [(60.0, "a", 935, "google", "ip1"), (600.0, "a", None, "google", "ip1")]
    steering = steer(state=merge(taught(rows), taught(rows)))
    assert ask(steering, seen(9e4, "z", 935, provider="google")).at > 9e4


def many(provider, name=""):
    return [
        row
        for number in range(60)
        for row in (
            (1.0, f"{name}{number}", 935, provider, "ip1"),
            (400.0, f"{name}{number}", None, provider, "ip1"),
        )
    ]


def test_nobody_s_domain_address_or_mail_leaves_the_house():
    state = taught([*many("google"), *many("one.example", "person@")])
    counts = export_counts(state, 10)
    assert set(counts.cells) == {EVERYONE, EVERYONE + "large", "google"}
    told = msgspec.json.encode(counts).decode()
    assert "example" not in told
    assert "person" not in told


def test_what_is_hardly_known_stays_at_home():
    state = taught(many("google")[:4])
    assert export_counts(state, 10).cells == {}


def test_imported_counts_teach_a_new_site():
    counts = export_counts(taught(many("google")), 10)
    counts = msgspec.json.decode(msgspec.json.encode(counts), type=type(counts))
    state = import_counts(State(), counts)
    assert counts_of(state) == counts_of(State(cells=import_counts(State(), counts).cells))
    fresh, told = steer(), steer(state=state)
    attempt = seen(9e4, "z", 935, provider="google")
    known, guess = ask(told, attempt), ask(fresh, attempt)
    assert known.chance > guess.chance


def test_importing_keeps_version_and_time():
    state = taught(many("google"))
    added = import_counts(state, export_counts(state, 1))
    assert (added.version, added.time) == (state.version, state.time)
