"""A judge that starts at once: what Hyperscan compiled of the rules is read back from disk where it was kept.

Compiling thousands of rules takes seconds, reading the result back some hundredths of one. docs/decisions/0003 has the
figures, tables/cache.py the rules of the cache.
"""

import platform
from collections.abc import Callable

import msgspec

from omicard_relay.classify import Judge
from omicard_relay.classify.index import FORM, MatchTables, build_tables, is_known, is_usable, know_tables
from omicard_relay.tables.cache import cached, digest_of
from omicard_relay.tables.policies import Policies

__all__ = ["judge_of", "prepare"]

#: Sets with fewer rules are compiled faster than they are looked up.
_FEW = 50


def judge_of(policies: Policies, *, on_build: Callable[[], None] | None = None) -> Judge:
    """The judge of these tables; `on_build` as for `prepare`."""
    prepare(policies, on_build=on_build)
    return Judge(policies)


def prepare(policies: Policies, *, on_build: Callable[[], None] | None = None) -> None:
    """Have ready what a judge of these tables, or of nearly these, needs; `on_build` is called before it takes seconds."""
    rules = policies.shipped or policies.rules
    if len(rules) < _FEW or is_known(rules):
        return

    def build() -> MatchTables:
        if on_build is not None:
            on_build()
        return build_tables(rules)

    digest = digest_of((FORM.encode(), platform.machine().encode(), msgspec.msgpack.encode(rules)))
    know_tables(rules, cached("tables", digest, MatchTables, build, fits=is_usable))
