"""A made-up world of receivers, and the strategies that are tried on it: `ours` is the very code of production.

Pure: chance is passed in, time is the world's own. Worlds are read in tables/worlds.py, replies are judged by a callable that
services/simulating.py passes in.
"""

from omicard_relay.steering.simulation.engine import Judging, Make, Watch, simulate
from omicard_relay.steering.simulation.measure import ProviderResult, Result
from omicard_relay.steering.simulation.strategy import Judged

__all__ = ["Judged", "Judging", "Make", "ProviderResult", "Result", "Watch", "simulate"]
