"""How many octets of mails may be in memory at once, over all connections (`relay.memory_limit`)."""

__all__ = ["Lease", "MemoryBudget"]


class MemoryBudget:
    """A sum with a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def lease(self) -> "Lease":
        """A share that grows as a mail comes in."""
        return Lease(self)


class Lease:
    """What one mail holds; `release` gives it back, once."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.octets = 0

    def reserve(self, octets: int) -> bool:
        """Take more; False when the budget has no room for it."""
        if self._budget.used + octets > self._budget.limit:
            return False
        self._budget.used += octets
        self.octets += octets
        return True

    def release(self) -> None:
        """Give all of it back."""
        self._budget.used -= self.octets
        self.octets = 0
