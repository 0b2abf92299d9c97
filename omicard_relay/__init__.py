"""OMICARD Relay: scrubbing, reply reading and steering around a Postfix that stays the MTA.

The floors and what may import what: docs/flow.md and tests/test_floors.py.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
