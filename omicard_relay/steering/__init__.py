"""Deciding: verdict, reply and tables -> what to do. Pure."""

from omicard_relay.steering.decide import action_of, decide
from omicard_relay.steering.expiry import expiry_verdict

__all__ = ["action_of", "decide", "expiry_verdict"]
