"""What other limits would change: the plan's nodes packed anew under another policy, side by side with the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollout.domain.errors import RolloutError
from rollout.domain.inventory import Inventory
from rollout.domain.plan import NodePlan, Plan
from rollout.domain.policy import Policy
from rollout.planning.simulate.durations import Durations
from rollout.planning.simulate.forecast import forecast
from rollout.planning.simulate.timeline import Opening
from rollout.planning.simulate.values import Simulation
from rollout.planning.waves import Candidate, Packing, pack

MORE = (1, 3, 10)
"""So many more nodes at once are tried out."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to run the same nodes. `saves_s` is negative when it takes longer than the plan."""

    name: str
    waves: int
    seconds: int
    saves_s: int
    moves_per_thousand: int
    refusals: int
    binding: str
    refused: str = ""
    """Why it cannot be: the limits that fight; the figures are 0 then."""


def packed(inventory: Inventory, policy: Policy, nodes: Sequence[NodePlan]) -> Packing:
    """The plan's nodes in waves under another policy. Raises what packing raises."""
    by_name = inventory.cluster.nodes_by_name
    return pack(inventory, policy, [_candidate(inventory, one) for one in nodes if one.name in by_name])


def _candidate(inventory: Inventory, node: NodePlan) -> Candidate:
    uids = {pod.ref.uid for pod in node.evictions}
    pods = [pod for pod in inventory.pods_on(node.name) if pod.ref.uid in uids]
    return Candidate(
        inventory.cluster.nodes_by_name[node.name],
        node.cohort,
        len(pods),
        sum(pod.cpu_millis for pod in pods),
        sum(pod.memory_bytes for pod in pods),
    )


def more_at_once(inventory: Inventory, plan: Plan, durations: Durations, opening: Opening) -> tuple[Alternative, ...]:
    """The plan, then the same with a few more nodes out at once: what each saves, and what binds then."""
    fleet = len(inventory.cluster.nodes)
    now = plan.policy.most_unavailable(fleet)
    base = forecast(inventory, plan.policy, plan.nodes, Packing(plan.waves, plan.limits), durations, opening)
    rows = [_row("as planned", base, base)]
    for more in MORE:
        if now + more <= fleet:
            policy = replace(plan.policy, max_unavailable=str(now + more))
            name = f"max_unavailable {now + more}"
            rows.append(alternative(name, inventory, plan.nodes, policy, base, durations, opening))
    return tuple(rows)


def alternative(
    name: str,
    inventory: Inventory,
    nodes: Sequence[NodePlan],
    policy: Policy,
    base: Simulation,
    durations: Durations,
    opening: Opening,
) -> Alternative:
    """One other policy against `base`. A policy that can never be met is told, not raised."""
    try:
        packing = packed(inventory, policy, nodes)
    except RolloutError as error:
        return Alternative(name, 0, 0, 0, 0, 0, "", error.message)
    return _row(name, forecast(inventory, policy, nodes, packing, durations, opening), base)


def _row(name: str, found: Simulation, base: Simulation) -> Alternative:
    return Alternative(
        name=name,
        waves=len(found.waves),
        seconds=found.seconds,
        saves_s=base.seconds - found.seconds,
        moves_per_thousand=found.moves_per_thousand,
        refusals=found.refusals,
        binding=found.binding,
    )


def in_words(rows: Sequence[Alternative]) -> tuple[str, ...]:
    """What more at once saves and what binds next, a sentence for each that can be."""
    return tuple(f"{row.name} {_saving(row)}; then binds: {row.binding}" for row in rows[1:] if not row.refused)


def _saving(row: Alternative) -> str:
    if abs(row.saves_s) < 60:
        return "saves nothing worth naming"
    return f"{'saves' if row.saves_s > 0 else 'costs'} {abs(row.saves_s) // 60} min"
