"""Deciding: verdict, reply and tables -> what to do. Pure."""

from omicard_relay.steering.decide import decide

__all__ = ["decide"]
