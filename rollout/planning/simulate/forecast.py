"""Run the timeline and sum up what it says."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.limits import LimitIndex
from rollout.domain.plan import NodePlan
from rollout.domain.policy import Policy
from rollout.planning.simulate.counted import CountedDrains
from rollout.planning.simulate.durations import Durations
from rollout.planning.simulate.headroom import Headroom
from rollout.planning.simulate.pods import PodDrains
from rollout.planning.simulate.timeline import Drainer, Opening, Timeline, WaveRun
from rollout.planning.simulate.values import Simulation, WaveForecast
from rollout.planning.waves import Packing

STEPS_BIND = "the steps of one node after the other"
SOAK_BINDS = "the soak under load"


def _at_once(second: int) -> int:
    return second


def forecast(
    inventory: Inventory,
    policy: Policy,
    nodes: Sequence[NodePlan],
    packing: Packing,
    durations: Durations,
    opening: Opening = _at_once,
) -> Simulation:
    """The quick form: pods by number. Time grows with nodes, and with pods only to count them once."""
    drains = CountedDrains(inventory.cluster, policy, nodes, durations)
    timeline = _run(inventory, policy, nodes, packing, durations, drains, opening)
    return _sum_up(timeline, durations, policy, sum(len(node.evictions) for node in nodes))


def simulate(
    inventory: Inventory,
    policy: Policy,
    nodes: Sequence[NodePlan],
    packing: Packing,
    durations: Durations,
    opening: Opening = _at_once,
) -> Simulation:
    """The full form: each pod goes where a scheduler would put it, and on again if its turn is yet to come."""
    drains = PodDrains(inventory.cluster, policy, nodes, durations)
    timeline = _run(inventory, policy, nodes, packing, durations, drains, opening)
    return drains.tell(_sum_up(timeline, durations, policy, drains.moved))


def _run(
    inventory: Inventory,
    policy: Policy,
    nodes: Sequence[NodePlan],
    packing: Packing,
    durations: Durations,
    drainer: Drainer,
    opening: Opening,
) -> Timeline:
    cluster = inventory.cluster
    planned = {node.name: node for node in nodes}
    limits = LimitIndex(packing.limits, policy.max_unavailable, len(cluster.nodes))
    away = frozenset(
        n.name for n in cluster.nodes if n.name not in planned and (n.unschedulable or n.ready is not True)
    )
    if len(away) >= policy.most_unavailable(len(cluster.nodes)) or limits.broken(away):
        away = frozenset()  # they keep every node from starting until somebody brings them back: counted from then on
    timeline = Timeline(
        packing.waves, planned, limits, durations, drainer,
        soak_s=policy.soak_loaded_s, foreign=away, opening=opening, headroom=Headroom(cluster),
    )  # fmt: skip
    timeline.run()
    return timeline


def _sum_up(timeline: Timeline, durations: Durations, policy: Policy, pods: int) -> Simulation:
    waves = tuple(_wave(run, durations, policy) for run in timeline.runs)
    return Simulation(waves, pods, late=tuple(dict.fromkeys(timeline.late)), binding=_worst(waves))


def _wave(run: WaveRun, durations: Durations, policy: Policy) -> WaveForecast:
    wait = policy.soak_loaded_s + durations.gate_s
    slots_s = max(run.longest_s, -(-run.node_seconds // max(1, run.most_out)))
    queues = {
        f"budget {name}": (-(-pods // allowed) - 1) * durations.pod_ready_s + max(0, run.shortest_beside_s)
        for name, (pods, allowed) in run.queued.items()
    }
    ended = max(run.ended_s, run.began_s)
    return WaveForecast(
        wave=run.wave.number,
        name=run.wave.name,
        nodes=len(run.wave.nodes),
        began_s=run.began_s,
        ended_s=ended,
        bound_s=max([slots_s, *queues.values()]) + wait,
        evictions=run.evictions,
        moved_again=run.moved_again,
        refused=run.refused,
        refusals=run.refusals,
        most_out=run.most_out,
        headroom_cpu_percent=run.headroom[0],
        headroom_memory_percent=run.headroom[1],
        binding=_binding(run, queues, slots_s, ended - run.began_s - wait, wait),
    )


def _binding(run: WaveRun, queues: dict[str, int], slots_s: int, work_s: int, wait_s: int) -> str:
    """What a shorter wave would have to give: a budget whose pods alone take longer than the slots would, or that most
    of the nodes' time went to; a limit that kept nodes from starting; the soak; or simply the steps."""
    if queues and max(queues.values()) > slots_s:
        return _top(queues)
    late = sum(run.drained_late.values())
    if late * 2 > run.node_seconds + late:
        return _top(run.drained_late)
    if run.held:
        return _top(run.held)
    if wait_s > work_s:
        return SOAK_BINDS
    return STEPS_BIND


def _worst(waves: Sequence[WaveForecast]) -> str:
    """The limit that binds for the longest time of the whole."""
    spent: dict[str, int] = {}
    for wave in waves:
        spent[wave.binding] = spent.get(wave.binding, 0) + wave.seconds
    return _top(spent) if spent else ""


def _top(times: dict[str, int]) -> str:
    return min(times, key=lambda reason: (-times[reason], reason))
