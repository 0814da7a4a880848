"""A rollout in thought: nodes start as the engine would start them, pods go as their budgets let them.

Decision: one timeline (waves, limits, windows) and two ways to empty a node on it. `counted` knows pods by number only
and is quick enough for every plan; `pods` follows each pod to where a scheduler would put it, and says how often it
moves. Instead of: two simulations, whose nodes would come to start at different times.
Everything counts in whole seconds and whole pods, so that equal input gives equal output.
"""

from rollout.planning.simulate.durations import Durations, Quantile
from rollout.planning.simulate.forecast import forecast, simulate
from rollout.planning.simulate.values import Simulation, WaveForecast

__all__ = ["Durations", "Quantile", "Simulation", "WaveForecast", "forecast", "simulate"]
