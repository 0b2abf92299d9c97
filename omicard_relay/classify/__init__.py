"""The judge: evidence -> verdict, by the tables alone. Pure; the same reply gets the same verdict by every road."""

from omicard_relay.classify.judge import Judge

__all__ = ["Judge"]
