"""Deciding: what happened and tables -> what to do, how often, when, from which IP. Pure."""

from omicard_relay.steering.decide import action_of, decide
from omicard_relay.steering.expiry import expiry_verdict
from omicard_relay.steering.providers import provider_of
from omicard_relay.steering.state import State, export_counts, import_counts, merge
from omicard_relay.steering.steer import Steer

__all__ = [
    "State",
    "Steer",
    "action_of",
    "decide",
    "expiry_verdict",
    "export_counts",
    "import_counts",
    "merge",
    "provider_of",
]
