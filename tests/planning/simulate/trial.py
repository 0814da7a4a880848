"""A cluster of equal nodes with Deployments behind budgets, and plans for it: the experiment of real-cluster.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rollout.domain.inventory import Inventory
from rollout.domain.node import DatapathMode, Method
from rollout.domain.plan import Limit, NodeFacts, NodePlan, PlannedPod, PlannedStep, Wave
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind, forward_steps
from rollout.domain.times import StepTime
from rollout.planning.simulate import Durations, Quantile, Simulation, simulate
from rollout.planning.waves import Packing
from tests.builders import budget, inventory, node, pod

READY_S = 8
"""From a replacement's placing to its readiness, in the median run."""


def cluster(nodes: int, apps: int, replicas: int, allowed: int, **more: Any) -> Inventory:
    """`apps` Deployments, spread evenly; each has a budget that lets `allowed` of its pods go at once."""
    names = [f"n{i:03}" for i in range(nodes)]
    pods, budgets = [], []
    for app in range(apps):
        labels = {"app": f"app{app}"}
        for replica in range(replicas):
            pods.append(
                pod(
                    f"app{app:02}-{replica:02}",
                    names[(app * replicas + replica) % nodes],
                    owner_uid=f"rs-{app}",
                    owner_name=f"app{app}",
                    labels=labels,
                    cpu_millis=100,
                    memory_bytes=100 << 20,
                )
            )
        budgets.append(
            budget(
                f"app{app}",
                allowed=allowed,
                match_labels=labels,
                current_healthy=replicas,
                desired_healthy=replicas - allowed,
                expected_pods=replicas,
                max_unavailable=str(allowed),
            )
        )
    made = [node(name, cpu_millis=4000, memory_bytes=8 << 30, pod_slots=110) for name in names]
    return inventory(tuple(made), tuple(pods), budgets=tuple(budgets), **more)


def plans(inv: Inventory) -> tuple[NodePlan, ...]:
    """Every node, emptiest first."""
    steps = tuple(PlannedStep(kind, 10**6) for kind in forward_steps(Method.RESTART))
    made = [
        NodePlan(
            each.name,
            Method.RESTART,
            DatapathMode.VETH,
            DatapathMode.NETKIT,
            "netkit",
            "",
            NodeFacts("", "", "", "", False, ""),
            steps,
            (),
            (),
            evictions=tuple(PlannedPod(p.ref, "", (f"default/{p.labels['app']}",)) for p in inv.pods_on(each.name)),
        )
        for each in inv.cluster.nodes
    ]
    return tuple(sorted(made, key=lambda plan: (len(plan.evictions), plan.name)))


def waves(nodes: Sequence[NodePlan], sizes: Sequence[int]) -> tuple[Wave, ...]:
    """Nodes in order, in waves of these sizes."""
    names = [one.name for one in nodes]
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(Wave(i, f"wave {i}", tuple(names[s : s + sizes[i]])) for i, s in enumerate(starts))


def drained_only() -> tuple[StepTime, ...]:
    """The experiment's steps: a node is drained, and uncordoned when its pods run elsewhere."""
    none = [StepTime("", kind, 1, 0, 0) for kind in StepKind if kind not in (StepKind.DRAIN, StepKind.RELEASE)]
    return (*none, StepTime("", StepKind.RELEASE, 1, READY_S, READY_S))


def ran(
    inv: Inventory,
    in_flight: int,
    *,
    soft: bool,
    sizes: Sequence[int] = (),
    form: Callable[..., Simulation] = simulate,
    order: Sequence[NodePlan] = (),
    limits: tuple[Limit, ...] = (),
) -> Simulation:
    """The experiment: `in_flight` nodes at once, in one wave unless `sizes` are given."""
    policy = Policy(
        target=DatapathMode.NETKIT, max_unavailable=str(in_flight), soft_taint=soft, soak_fenced_s=0, soak_loaded_s=0
    )
    nodes = order or plans(inv)
    packing = Packing(waves(nodes, sizes or (len(nodes),)), limits)
    return form(inv, policy, nodes, packing, Durations(policy, drained_only(), Quantile.P50))
