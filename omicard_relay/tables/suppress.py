"""policies/suppress.toml -> when an address that fails becomes a known bounce.

Only address codes may stand there (invariant 3): anything else stops the start. What the rules mean is in
docs/suppression.md, who follows them in services/suppression.py.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from omicard_relay.mail import TableError
from omicard_relay.tables.toml import convert, read_toml, shipped

__all__ = ["ADDRESS_CODES", "SuppressRule", "load_suppress"]

#: The codes that say that the address is bad; no other may ever suppress it.
ADDRESS_CODES = frozenset({901, 902, 903, 905, 908, 910, 912, 920, 927, 934})


#: A hundred years are for ever, and any date can be counted with them.
_Days = Annotated[int, Meta(ge=1, le=36_500)]


class SuppressRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`after` failures with `code` within `days` days put the address on the list for `for_days` days.

    A failure within `apart_hours` of one that counted does not count. `scope` says whose mail is held back, and whose
    failures count: all, that of the sender's domain, or that of the kind of campaign.
    """

    code: int
    after: Annotated[int, Meta(ge=1)]
    days: _Days
    for_days: _Days
    apart_hours: Annotated[int, Meta(ge=0, le=8_760)] = 0
    #: Each repeat holds twice as long as the one before, at most `at_most_days`; `for_days` itself is never cut.
    doubling: bool = True
    at_most_days: _Days = 730
    scope: Literal["all", "sender", "kind"] = "all"
    #: A later delivery takes the entry off again.
    lifted_by_delivery: bool = False
    source: str

    def counted(self, moments: Iterable[datetime]) -> int:
        """How many of these failures count: the first, and each that is far enough from the one that counted before."""
        apart, count, last = timedelta(hours=self.apart_hours), 0, None
        for moment in sorted(moments):
            if last is None or moment - last >= apart:
                count, last = count + 1, moment
        return count

    def is_fulfilled(self, moments: Iterable[datetime], happened: datetime) -> bool:
        """Whether enough of these failures lie within `days` of each other, among them the one that `happened` then.

        It may be told late, with younger ones before it; a failure that a delivery has cancelled is not in `moments`.
        """
        span, times = timedelta(days=self.days), sorted(moments)
        if not times or times[0] > happened or self.counted(times) < self.after:
            return False
        ends = (end for end in times if happened <= end <= happened + span)
        return any(
            self.counted(moment for moment in times if end - span <= moment <= end) >= self.after for end in ends
        )

    def holds_days(self, repeats: int) -> int:
        """How long an entry holds after so many that ran out."""
        if not self.doubling or not repeats:
            return self.for_days
        # Beyond 16 doublings of one day every bound is reached.
        return max(self.for_days, min(self.for_days << min(repeats, 16), self.at_most_days))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    suppress: tuple[SuppressRule, ...] = ()


def load_suppress(site_dir: Path | None = None) -> Mapping[int, SuppressRule]:
    """The rules by code; a site's own suppress.toml replaces them code by code. Raises TableError."""
    rules: dict[int, SuppressRule] = {}
    paths = [shipped("policies", "suppress.toml")]
    if site_dir is not None and (site_dir / "suppress.toml").exists():
        paths.append(site_dir / "suppress.toml")
    for path in paths:
        seen: set[int] = set()
        for number, rule in enumerate(convert(read_toml(path), _File, path).suppress):
            if rule.code not in ADDRESS_CODES:
                allowed = ", ".join(map(str, sorted(ADDRESS_CODES)))
                raise TableError(
                    f"{path}: `suppress.{number}.code`: {rule.code} does not speak of the address; allowed are {allowed}."
                )
            if rule.apart_hours * (rule.after - 1) > rule.days * 24:
                raise TableError(
                    f"{path}: `suppress.{number}.apart_hours`: {rule.after} failures that are {rule.apart_hours} hours apart "
                    f"need more than {rule.days} days; make one of them smaller, or `days` larger."
                )
            if rule.code in seen:
                raise TableError(f"{path}: `suppress.{number}.code`: {rule.code} stands twice; keep one of them.")
            seen.add(rule.code)
            rules[rule.code] = rule
    return rules
