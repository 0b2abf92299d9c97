"""Policy tables: TOML data -> validated immutable values. The only floor that reads TOML."""

from omicard_relay.tables.codes import BounceCode
from omicard_relay.tables.policies import Policies, load_policies
from omicard_relay.tables.rules import Rule, Strength

__all__ = ["BounceCode", "Policies", "Rule", "Strength", "load_policies"]
