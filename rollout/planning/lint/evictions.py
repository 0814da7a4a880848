"""Whether the plan speaks of every pod that its nodes must lose."""

from __future__ import annotations

from rollout.domain.inventory import Inventory
from rollout.domain.plan import NodePlan, Plan
from rollout.planning.drain import Fate, fates


def eviction_faults(plan: Plan, inventory: Inventory) -> list[str]:
    """Planned nodes that the cluster does not have, and pods that are missing from the plan or too many in it."""
    known = inventory.cluster.nodes_by_name
    faults = []
    for node in plan.nodes:
        if node.name not in known:
            faults.append(f"node {node.name} is planned, and the cluster has no such node")
        elif known[node.name].uid != node.facts.uid:
            faults.append(f"node {node.name} is planned as another node of that name")
        else:
            faults += _of_node(plan, inventory, node)
    return faults


def _of_node(plan: Plan, inventory: Inventory, node: NodePlan) -> list[str]:
    found = fates(inventory.pods_on(node.name), plan.policy.drain)
    rows = (
        ("evicted", Fate.EVICT, node.evictions),
        ("sent away by the taint", Fate.LEAVES_BY_TAINT, node.daemon_pods),
        ("deleted while the agent is down", Fate.STRAGGLER, node.stragglers),
    )
    faults = []
    for word, fate, planned in rows:
        wanted = {each.pod.ref for each in found if each.fate is fate}
        said = {pod.ref for pod in planned}
        faults += [
            f"node {node.name}: pod {ref} must be {word}, and the plan is silent" for ref in sorted(wanted - said)
        ]
        faults += [f"node {node.name}: pod {ref} is no pod to be {word}" for ref in sorted(said - wanted)]
    return faults
