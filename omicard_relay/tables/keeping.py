"""`[keep]` against suppress.toml: evidence must outlive every window in which failures are counted."""

from collections.abc import Mapping

from omicard_relay.mail import TableError
from omicard_relay.tables.settings import Settings
from omicard_relay.tables.suppress import SuppressRule

__all__ = ["check_evidence_days", "least_evidence_days"]


def least_evidence_days(settings: Settings, suppress: Mapping[int, SuppressRule]) -> int:
    """The smallest number of days for which evidence may be kept: one more than anything looks back."""
    return 1 + max([settings.return_path.max_age_days, *(rule.days for rule in suppress.values())])


def check_evidence_days(
    settings: Settings, suppress: Mapping[int, SuppressRule], *, days: int, name: str = "keep.evidence_days"
) -> None:
    """Raises TableError where so many days (0: for ever) are too few; `name` is what the message calls them."""
    least = least_evidence_days(settings, suppress)
    if not 0 < days < least:
        return
    codes = ", ".join(str(code) for code, rule in sorted(suppress.items()) if rule.days >= days)
    why = f"suppress.toml counts failures with {codes} for longer" if codes else "the return path proves for longer"
    for_ever = ", or 0 for ever" if name.startswith("keep.") else ""
    raise TableError(f"`{name}`: {days} days are too few, {why}; write {least} or more{for_ever}.")
