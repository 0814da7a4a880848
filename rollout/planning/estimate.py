"""How long a rollout takes, wave by wave, and which limit binds: the quick simulation, at both ends of the range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollout.domain.inventory import Inventory
from rollout.domain.plan import Estimate, NodePlan, WaveEstimate
from rollout.domain.policy import Policy
from rollout.domain.times import StepTime
from rollout.planning.simulate import Durations, Quantile, Simulation, WaveForecast, forecast
from rollout.planning.simulate.durations import basis
from rollout.planning.simulate.openings import openings
from rollout.planning.waves import Packing


def estimate(
    inventory: Inventory, policy: Policy, nodes: Sequence[NodePlan], packing: Packing, history: Sequence[StepTime]
) -> Estimate | None:
    """A range in seconds with the binding limit: low with median step times, high with their 90th percentile.

    None when there is nothing to estimate. Counted from the first node's start, with windows as they fall when the
    rollout begins at the start of one.
    """
    names = {node.name for node in nodes}
    waves = tuple(replace(wave, nodes=tuple(n for n in wave.nodes if n in names)) for wave in packing.waves)
    known = replace(packing, waves=tuple(wave for wave in waves if wave.nodes))
    if not known.waves:
        return None
    opens = openings(policy, None)
    low, high = (forecast(inventory, policy, nodes, known, Durations(policy, history, q), opens) for q in Quantile)
    return summed(low, high, basis(history))


def summed(low: Simulation, high: Simulation, told: str) -> Estimate:
    """Two runs of one plan as a range; counts are those of the first."""
    return Estimate(
        low_s=low.seconds,
        high_s=max(low.seconds, high.seconds),
        binding=high.binding,
        basis=told,
        waves=tuple(_wave(*each) for each in zip(low.waves, high.waves, strict=True)),
        evictions=low.evictions,
        pods=low.pods,
    )


def _wave(low: WaveForecast, high: WaveForecast) -> WaveEstimate:
    return WaveEstimate(
        wave=low.wave,
        low_s=low.seconds,
        high_s=max(low.seconds, high.seconds),
        evictions=low.evictions,
        moved_again=low.moved_again,
        refusals=max(low.refused, high.refused),
        most_out=max(low.most_out, high.most_out),
        headroom_cpu_percent=min(low.headroom_cpu_percent, high.headroom_cpu_percent),
        headroom_memory_percent=min(low.headroom_memory_percent, high.headroom_memory_percent),
        binding=high.binding,
    )
