"""Deciding: verdict, reply and tables -> what to do. Pure."""

from omicard_relay.steering.decide import decide
from omicard_relay.steering.expiry import expiry_verdict

__all__ = ["decide", "expiry_verdict"]
