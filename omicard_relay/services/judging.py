"""A judge that starts at once: what Hyperscan compiled of the rules is read back from disk where it was kept.

Compiling thousands of rules takes seconds, reading the result back some hundredths of one. docs/decisions/0003 has the
figures, tables/cache.py the rules of the cache.
"""

import platform

import msgspec

from omicard_relay.classify import Judge
from omicard_relay.classify.index import FORM, MatchTables, build_tables, is_known, is_usable, know_tables
from omicard_relay.tables.cache import cached, digest_of
from omicard_relay.tables.policies import Policies

__all__ = ["judge_of", "prepare"]

#: Sets with fewer rules are compiled faster than they are looked up.
_FEW = 50


def judge_of(policies: Policies) -> Judge:
    """The judge of these tables."""
    prepare(policies)
    return Judge(policies)


def prepare(policies: Policies) -> None:
    """Have ready what a judge of these tables, or of nearly these, needs."""
    rules = policies.shipped or policies.rules
    if len(rules) < _FEW or is_known(rules):
        return
    digest = digest_of((FORM.encode(), platform.machine().encode(), msgspec.msgpack.encode(rules)))
    know_tables(rules, cached("tables", digest, MatchTables, lambda: build_tables(rules), fits=is_usable))
