"""Simulate a plan on the cluster as it is now. Nothing is written, neither to the cluster nor to the state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from rollout.app.history import history
from rollout.app.world import World
from rollout.domain.errors import Refused
from rollout.domain.inventory import Inventory
from rollout.domain.plan import NodePlan, Plan
from rollout.domain.policy import Policy
from rollout.planning.simulate import Durations, Quantile, Simulation, simulate
from rollout.planning.simulate.durations import basis
from rollout.planning.simulate.openings import openings
from rollout.planning.simulate.what_if import Alternative, more_at_once, packed
from rollout.planning.waves import Packing

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Run:
    """One policy, at both ends of the range."""

    name: str
    low: Simulation
    high: Simulation


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a plan would do now, and what another policy would."""

    plan: Plan
    basis: str
    moved: tuple[str, ...]
    """What is not as it was when the plan was made."""
    planned: Run
    other: Run | None
    """With the policy that was asked for."""
    more: tuple[Alternative, ...]
    """The plan, then more nodes at once, counted quickly at the median."""


def simulate_plan(world: World, plan: Plan, other: Policy | None = None, start: datetime | None = None) -> Simulated:
    """Read the cluster and run the plan in thought, from `start` (now, when windows or freezes matter).

    Raises `Refused` for a plan of another cluster, or when none of its nodes is left; what packing raises for `other`.
    """
    inventory = Inventory(world.cluster.collect(), {})
    if inventory.cluster.identity.uid != plan.cluster.uid:
        raise Refused(
            "other-cluster",
            f"cannot simulate the plan here: it is of cluster {plan.cluster.uid}, "
            f"this is {inventory.cluster.identity.uid}",
            hint="choose the context it was planned with: --context",
        )
    begin = start or world.clock.now()
    times = history(world.store, plan.cluster.uid)
    left = tuple(node for node in plan.nodes if node.name in inventory.cluster.nodes_by_name)
    if not left:
        raise Refused(
            "no-node-left", "cannot simulate the plan: none of its nodes exists any more", hint="rollout plan"
        )
    durations = {q: Durations(plan.policy, times, q) for q in Quantile}
    rerun = None
    if other is not None:
        with_other = {q: Durations(other, times, q) for q in Quantile}
        rerun = _run("as asked", inventory, other, left, packed(inventory, other, left), with_other, begin)
    opens = openings(plan.policy, begin)
    return Simulated(
        plan=plan,
        basis=basis(times),
        moved=_moved(inventory, plan),
        planned=_run("as planned", inventory, plan.policy, left, _packing(plan, left), durations, begin),
        other=rerun,
        more=more_at_once(inventory, plan, durations[Quantile.P50], opens) if len(left) == len(plan.nodes) else (),
    )


def _packing(plan: Plan, left: tuple[NodePlan, ...]) -> Packing:
    names = {node.name for node in left}
    waves = (replace(wave, nodes=tuple(n for n in wave.nodes if n in names)) for wave in plan.waves)
    return Packing(tuple(wave for wave in waves if wave.nodes), plan.limits)


def _run(
    name: str,
    inventory: Inventory,
    policy: Policy,
    nodes: tuple[NodePlan, ...],
    packing: Packing,
    durations: dict[Quantile, Durations],
    begin: datetime,
) -> Run:
    opens = openings(policy, begin)
    low, high = (simulate(inventory, policy, nodes, packing, durations[q], opens) for q in Quantile)
    return Run(name, low, high)


def _moved(inventory: Inventory, plan: Plan) -> tuple[str, ...]:
    """In words: nodes that are gone or renewed, and pods that are elsewhere."""
    known = inventory.cluster.nodes_by_name
    gone = [n.name for n in plan.nodes if n.name not in known]
    renewed = [n.name for n in plan.nodes if n.name in known and known[n.name].uid != n.facts.uid]
    now = {pod.ref.uid for node in plan.nodes for pod in inventory.pods_on(node.name)}
    planned = {pod.ref.uid for node in plan.nodes for pod in node.evictions}
    words = []
    for what, names in (("gone", gone), ("renewed under their name", renewed)):
        if names:
            words.append(f"{len(names)} node(s) are {what}: {', '.join(names[:_NAMED])}")
    if planned - now:
        words.append(f"{len(planned - now)} of {len(planned)} pods that were to be evicted are not there any more")
    if len(inventory.cluster.nodes) != plan.cluster.fleet:
        words.append(f"the fleet has {len(inventory.cluster.nodes)} nodes, {plan.cluster.fleet} when planned")
    return tuple(words)
