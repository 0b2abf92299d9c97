"""What the counts say of a provider and a kind of reply: the look-ahead tables, made when the counts behind them change.

A provider without trials of its own shares the table of its family, or of all. The tables are no part of the state: they
follow from its shown counts and the policy alone.
"""

from omicard_relay.steering.cells import HEARD, Cell, Chances, guesses, refined
from omicard_relay.steering.state import EVERYONE, State
from omicard_relay.steering.trials import Trial
from omicard_relay.steering.value import Grid, Table, grid_of, look_ahead
from omicard_relay.tables.retry import RetryPolicy, RetryRule

__all__ = ["LANE", "LANE_DELAY_WEIGHT", "Knowledge"]

#: The kind of a code's trials that a lane makes: does the provider take mail from that IP again?
LANE = 3
#: What waits behind a closed lane is a provider's whole mail: delay weighs twice as much as for one recipient.
LANE_DELAY_WEIGHT = 0.7
_LANE_DEADLINE = 7 * 86_400.0
_MOST_TABLES = 20_000
#: A provider's counts are shown anew after so many trials at the latest, those of all after so many.
_SHOWN_EACH, _SHOWN_EACH_ABOVE = 150, 2_000


class Knowledge:
    """Counts trials into a state and gives the tables of it."""

    def __init__(self, policy: RetryPolicy, state: State, several_ips: bool) -> None:
        self._policy, self._state, self._several = policy, state, several_ips
        self._tables: dict[tuple[str, int, str], tuple[tuple[int, ...], Table]] = {}
        self._parents: dict[tuple[str, int, str], tuple[tuple[int, ...], Chances]] = {}
        self._guesses: dict[tuple[int, str], Table] = {}
        self._grids: dict[tuple[int, bool, str], Grid] = {}

    def count(self, provider: str, trial: Trial, now: float) -> None:
        """Adds a trial to its provider, the provider's family, and all."""
        family = self._policy.family(provider)
        for level in (provider, EVERYONE + family, EVERYONE) if family else (provider, EVERYONE):
            kinds = self._state.cells.get(level)
            if kinds is None:
                kinds = self._state.cells[level] = {}
            cell = kinds.get(trial.kind)
            if cell is None:
                cell = kinds[trial.kind] = Cell()
            model = self._policy.model
            each = _SHOWN_EACH if level == provider else _SHOWN_EACH_ABOVE
            if cell.add(trial.tries, trial.other_ip, trial.bucket, trial.passed, now, model, each):
                cell.show(now, model)

    def trials(self, level: str, kind: int) -> Cell | None:
        """The counts of one level."""
        kinds = self._state.cells.get(level)
        return kinds.get(kind) if kinds is not None else None

    def drop(self, provider: str) -> None:
        """Forgets a provider: its counts, and the tables that were made of them."""
        for kind in self._state.cells.pop(provider, ()):
            self._tables.pop((provider, kind, ""), None)
            self._tables.pop((provider, kind, provider), None)

    def table(self, provider: str, rule: RetryRule, kind: int) -> Table:
        """The table for this kind of reply at the provider."""
        family = EVERYONE + self._policy.family(provider)
        own, kin, all_ = self.trials(provider, kind), self.trials(family, kind), self.trials(EVERYONE, kind)
        if family == EVERYONE:
            kin = None
        level = provider if own is not None and own.stamp else family if kin is not None and kin.stamp else EVERYONE
        special = provider if (provider, rule.code) in self._policy.overrides else ""
        key = (level, kind, special)
        stamps = (own.stamp if own and level == provider else 0, kin.stamp if kin else 0, all_.stamp if all_ else 0)
        kept = self._tables.get(key)
        if kept is not None and kept[0] == stamps:
            return kept[1]
        base = self._base(rule, kind, (family, kind, special), kin, all_)
        strength, memory = self._policy.model.shrinkage, self._policy.model.memory
        from_first = rule.counted_from == "first"
        means = base
        if own is not None and level == provider:
            means = refined(base, own.shown, strength, memory, from_first=from_first)
        grid = self._grid(rule, kind % 4 == LANE, special)
        table = look_ahead(grid, means, may_change=self._may_change(rule, kind))
        if len(self._tables) >= _MOST_TABLES:
            self._tables.pop(next(iter(self._tables)))
        self._tables[key] = (stamps, table)
        return table

    def _may_change(self, rule: RetryRule, kind: int) -> bool:
        """Whether another IP may be chosen for this kind."""
        return kind % 4 != LANE and self._several and rule.may_change_ip and not rule.same_ip

    def guess(self, rule: RetryRule, provider: str, kind: int) -> Table:
        """The table by the policy's guess alone."""
        special = provider if (provider, rule.code) in self._policy.overrides else ""
        table = self._guesses.get((kind, special))
        if table is None:
            means = guesses(rule, (1.0, rule.permanent, rule.returned, 1.0)[kind % 4])
            table = look_ahead(
                self._grid(rule, kind % 4 == LANE, special), means, may_change=self._may_change(rule, kind)
            )
            self._guesses[kind, special] = table
        return table

    def _base(
        self, rule: RetryRule, kind: int, key: tuple[str, int, str], kin: Cell | None, all_: Cell | None
    ) -> Chances:
        """What the policy, all providers and the family believe."""
        stamps = (kin.stamp if kin else 0, all_.stamp if all_ else 0)
        kept = self._parents.get(key)
        if kept is not None and kept[0] == stamps:
            return kept[1]
        what, model = kind % 4, self._policy.model
        base = guesses(rule, (1.0, rule.permanent, rule.returned, 1.0)[what])
        heard, from_first = min(HEARD, model.memory), rule.counted_from == "first"
        if all_ is not None:
            base = refined(base, all_.shown, rule.weight, heard, from_first=from_first)
        if kin is not None:
            base = refined(base, kin.shown, model.shrinkage, heard, from_first=from_first)
        self._parents[key] = (stamps, base)
        return base

    def _grid(self, rule: RetryRule, is_lane: bool, special: str) -> Grid:
        key = (rule.code, is_lane, special)
        grid = self._grids.get(key)
        if grid is None:
            deadline = _LANE_DEADLINE if is_lane else self._policy.deadline(rule)
            model = self._policy.model
            grid = grid_of(rule, deadline, model, LANE_DELAY_WEIGHT if is_lane else model.delay_weight)
            self._grids[key] = grid
        return grid
