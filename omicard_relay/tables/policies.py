"""The policy tables as one value: the shipped ones, with a site's own folder laid over them.

A site's folder has the same shape (`codes.toml`, `rules/*.toml`, `formats/*.toml`), every part optional; packs of others that
it imported lie in `packs/<name>/` and come before its own tables. A rule with an id that stands in an earlier layer
replaces it; a new id adds a rule. Raises TableError at load, so that a bad table stops the start.
Not here: what the tables mean (classify/, steering/).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from omicard_relay.mail import TableError
from omicard_relay.tables.cache import cached, digest_of
from omicard_relay.tables.codes import BounceCode, read_codes
from omicard_relay.tables.formats import Form, load_formats
from omicard_relay.tables.responders import Responders, load_responders
from omicard_relay.tables.rules import Rule, read_rules
from omicard_relay.tables.toml import shipped

__all__ = ["Policies", "load_policies"]


@dataclass(frozen=True, kw_only=True)
class Policies:
    """`codes` by number, 900 to 939; `rules` in force, in file order, which never decides anything.

    `shipped` are the shipped rules as they were before a layer replaced any: most of `rules`, and known for good, so that
    what is compiled of them can be kept. Other rules outrank the shipped ones of their strength. `forms` are
    those of reports, in the order in which they are tried; `responders` what automatic replies say (None: the shipped).
    """

    codes: Mapping[int, BounceCode]
    rules: tuple[Rule, ...]
    shipped: tuple[Rule, ...] = ()
    forms: tuple[Form, ...] = ()
    responders: Responders | None = None

    @cached_property
    def rules_by_id(self) -> Mapping[str, Rule]:
        """The rules by id."""
        return {rule.id: rule for rule in self.rules}


def load_policies(site_dir: Path | None = None) -> Policies:
    """The shipped tables, a site's folder over them. Raises TableError: file, line where known, rule, key, found, allowed."""
    folder = shipped("policies")
    codes = read_codes(folder / "codes.toml")
    base = _shipped_rules(folder / "rules")
    rules = {rule.id: rule for rule in base}
    if site_dir is not None:
        if not site_dir.is_dir():
            raise TableError(f"{site_dir}: is no folder; `policies_dir` must name a folder with codes.toml or rules/.")
        packs = sorted(path.parent for path in (site_dir / "packs").glob("*/rules"))
        for folder in (*packs, site_dir):
            if (folder / "codes.toml").exists():
                codes = read_codes(folder / "codes.toml", base=codes)
        for pack in packs:
            rules |= {rule.id: rule for rule in read_rules(pack / "rules")}
        rules |= {rule.id: rule for rule in read_rules(site_dir / "rules")}
    return Policies(
        codes=codes,
        rules=tuple(rules.values()),
        shipped=base,
        forms=load_formats(site_dir),
        responders=load_responders(site_dir),
    )


def _shipped_rules(folder: Path) -> tuple[Rule, ...]:
    """The shipped rules; reading and checking thousands of them takes most of a second, so that the result is kept."""
    files = sorted(folder.glob("*.toml"))
    digest = digest_of(part for path in files for part in (path.name.encode(), path.read_bytes()))
    return cached("rules", digest, tuple[Rule, ...], lambda: read_rules(folder))
