"""All that steering has learned and decided, as one value: it is stored, read back, added up, and shared without people in it.

Bounded: at most `most_threads` threads and `most_providers` providers (policies/retry.toml), the longest unused fall out.
A thread is about 300 bytes, a provider about 2 kB with one IP. Counts of two states add up (`merge`), in either order.
Not here: how anything in it comes about (cells.py, lanes.py, trials.py).
"""

import msgspec

from omicard_relay.steering.cells import Cell
from omicard_relay.steering.trials import Thread

__all__ = ["EVERYONE", "Counts", "LaneState", "ProviderState", "State", "export_counts", "import_counts", "merge"]

#: The level of all providers; that of a family is its name behind it.
EVERYONE = "*"


class LaneState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A provider's mail from one IP. Times are Unix seconds, 0: never.

    Resting: until `until`; `is_closed`: afterwards only a trickle probes. `code`: what it was refused with, `strikes` in a row
    since `began`, the last at `struck`; `probes`: of them after a rest; `against`: passes soon after it closed. Speed: class
    `speed` since `changed`, `oks` mails since, after `falls` decreases in a row; `ceiling`: the fastest class that failed (0:
    none), not tried before `ceiling_until`; `hold` seconds the next time. `flow`, `steady`: mails accepted per second in about
    one minute and ten, at `flow_at`. `hits` of `tried`: fading counts of limits met. `is_deaf`: limits are met by `deaf_share`
    of the mails whatever the pace; `test`: (class before, mails, limits) of a test of that. `good` and `bad`: fading counts of
    what was accepted and refused. `day_count`: mails of the `day` (UTC).
    """

    code: int = 0
    strikes: int = 0
    probes: int = 0
    began: float = 0.0
    struck: float = 0.0
    against: int = 0
    until: float = 0.0
    is_closed: bool = False
    speed: int = 0
    changed: float = 0.0
    oks: int = 0
    falls: int = 0
    ceiling: int = 0
    ceiling_until: float = 0.0
    hold: float = 0.0
    flow: float = 0.0
    steady: float = 0.0
    flow_at: float = 0.0
    hits: float = 0.0
    tried: float = 0.0
    is_deaf: bool = False
    deaf_share: float = 0.0
    test: tuple[int, int, int] | None = None
    test_after: float = 0.0
    good: float = 0.0
    bad: float = 0.0
    complaints: float = 0.0
    day: int = 0
    day_count: int = 0


class ProviderState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One provider: its lanes by IP, `whole` for what all of them share, and how many of its recent and of its earlier
    replies were final (fading counts)."""

    lanes: dict[str, LaneState] = {}
    whole: LaneState = msgspec.field(default_factory=LaneState)
    seen: float = 0.0
    recent: tuple[float, float] = (0.0, 0.0)
    earlier: tuple[float, float] = (0.0, 0.0)
    codes: dict[int, float] = {}


class State(msgspec.Struct, kw_only=True):
    """`version` counts the folds, `time` is that of the youngest attempt; `cells`: level -> kind -> counts."""

    version: int = 0
    time: float = 0.0
    threads: dict[str, Thread] = {}
    providers: dict[str, ProviderState] = {}
    cells: dict[str, dict[int, Cell]] = {}
    #: IP -> (its age in days, when it had it).
    ages: dict[str, tuple[float, float]] = {}


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What may leave the house: counts alone. Level -> kind -> place -> (passes, failures, time of the last)."""

    format: int = 1
    cells: dict[str, dict[int, dict[int, tuple[float, float, float]]]]


def merge(one: State, other: State) -> State:
    """Both states as one, whatever their order: counts add up; of a thread or a lane that both know, the younger stands."""
    cells: dict[str, dict[int, Cell]] = {}
    for level in sorted({*one.cells, *other.cells}):
        kinds = one.cells.get(level, {}), other.cells.get(level, {})
        cells[level] = {kind: _added(kinds[0].get(kind), kinds[1].get(kind)) for kind in sorted({*kinds[0], *kinds[1]})}
    providers = {}
    for name in {*one.providers, *other.providers}:
        known = [state.providers[name] for state in (one, other) if name in state.providers]
        providers[name] = max(known, key=lambda found: (found.seen, msgspec.msgpack.encode(found)))
    threads = {}
    for name in {*one.threads, *other.threads}:
        attempts = [state.threads[name] for state in (one, other) if name in state.threads]
        threads[name] = max(attempts, key=msgspec.structs.astuple)
    return State(
        version=one.version + other.version,
        time=max(one.time, other.time),
        threads=dict(sorted(threads.items(), key=lambda item: (item[1].last, item[0]))),
        providers=dict(sorted(providers.items(), key=lambda item: (item[1].seen, item[0]))),
        cells=cells,
        ages={ip: max(s.ages[ip] for s in (one, other) if ip in s.ages) for ip in sorted({*one.ages, *other.ages})},
    )


def _added(one: Cell | None, other: Cell | None) -> Cell:
    cells = [cell for cell in (one, other) if cell is not None]
    counts: dict[int, list[float]] = {}
    shown: dict[int, tuple[float, float]] = {}
    for cell in cells:
        for place, (passes, failures, at) in cell.counts.items():
            before = counts.get(place, [0.0, 0.0, at])
            counts[place] = [before[0] + passes, before[1] + failures, max(before[2], at)]
        for place, (passes, failures) in cell.shown.items():
            a, b = shown.get(place, (0.0, 0.0))
            shown[place] = (a + passes, b + failures)
    # A stamp beyond each of them: tables that were made of one of the two are not taken for those of both.
    return Cell(
        counts=dict(sorted(counts.items())),
        shown=dict(sorted(shown.items())),
        trials=sum(cell.trials for cell in cells),
        stamp=sum(cell.stamp for cell in cells),
    )


def export_counts(state: State, least_weight: float) -> Counts:
    """The counts of the large: levels with less than `least_weight` trials are left out, and every provider that is a
    registered domain (its name has a dot), for that may be one person's."""
    cells: dict[str, dict[int, dict[int, tuple[float, float, float]]]] = {}
    for level, kinds in sorted(state.cells.items()):
        if "." in level or sum(cell.weight() for cell in kinds.values()) < least_weight:
            continue
        cells[level] = {
            kind: {place: (entry[0], entry[1], entry[2]) for place, entry in sorted(cell.counts.items())}
            for kind, cell in sorted(kinds.items())
        }
    return Counts(cells=cells)


def import_counts(state: State, counts: Counts) -> State:
    """The state with these counts added to its own."""
    cells = {
        level: {
            kind: Cell(
                counts={place: list(entry) for place, entry in places.items()},
                shown={place: (entry[0], entry[1]) for place, entry in places.items()},
                trials=max(1, round(sum(entry[0] + entry[1] for entry in places.values()))),
                stamp=max(1, round(sum(entry[0] + entry[1] for entry in places.values()))),
            )
            for kind, places in kinds.items()
        }
        for level, kinds in counts.cells.items()
    }
    added = merge(state, State(cells=cells))
    return msgspec.structs.replace(added, version=state.version, time=state.time)
