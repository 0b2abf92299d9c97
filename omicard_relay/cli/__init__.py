"""The command line's door: `main` is what `omicard-relay` and `python -m omicard_relay` start."""

from omicard_relay.cli.root import main

__all__ = ["main"]
