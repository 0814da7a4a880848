"""Whether requests fit on the nodes that stay, and waves on the nodes that are done: added up again."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.node import Node, Pod
from rollout.domain.plan import Plan
from rollout.planning.lint.limits import fleet_most

_RESOURCES = ("CPU", "memory", "pods")


def capacity_faults(plan: Plan, inventory: Inventory) -> list[str]:
    """Resources that are short with as many nodes out as limits let, and waves that finished nodes cannot take."""
    nodes = inventory.cluster.nodes_by_name
    planned = [nodes[node.name] for node in plan.nodes if node.name in nodes]
    if any(not (node.cpu_millis or node.pod_slots) for node in inventory.cluster.nodes):
        return []
    return [*_headroom(plan, inventory, planned), *_growth(plan, inventory)]


def _headroom(plan: Plan, inventory: Inventory, planned: Sequence[Node]) -> list[str]:
    together = _most_together(plan, planned)
    serving = [n for n in inventory.cluster.nodes if n.ready is True and not n.unschedulable]
    faults = []
    for number, resource in enumerate(_RESOURCES):
        percent = 100 - plan.policy.headroom_percent if number < 2 else 100
        room = {n.name: _offer(n, number) * percent // 100 - _asked(inventory, n, number) for n in serving}
        costs = sorted((_cost(inventory, n, number, room) for n in planned), reverse=True)
        left = sum(room.values()) - sum(costs[:together])
        if left < 0:
            faults.append(f"with {together} nodes out the pods of all do not fit on the rest: {resource} is short")
    return faults


def _most_together(plan: Plan, planned: Sequence[Node]) -> int:
    names = {node.name for node in planned}
    whole = [limit.most_out for limit in plan.limits if names <= set(limit.nodes)]
    return min([fleet_most(plan), len(names), *whole])


def _cost(inventory: Inventory, node: Node, number: int, room: dict[str, int]) -> int:
    """Room that is gone when the node is out: its own, and what its pods then take elsewhere."""
    moving = sum(_need(pod, number) for pod in inventory.pods_on(node.name) if _moves(pod))
    return room.get(node.name, 0) + moving


def _growth(plan: Plan, inventory: Inventory) -> list[str]:
    if not plan.policy.capacity_growth:
        return []
    faults, free = [], [0, 0, 0]
    for wave in plan.waves:
        nodes = [inventory.cluster.nodes_by_name[n] for n in wave.nodes if n in inventory.cluster.nodes_by_name]
        for number, resource in enumerate(_RESOURCES):
            sent = sum(_need(p, number) for n in nodes for p in inventory.pods_on(n.name) if _moves(p))
            if wave.number and len(nodes) > 1 and sent > max(0, free[number]):
                faults.append(f"{wave.name} sends more pods away than finished nodes take: {resource} is short")
            free[number] += sum(max(0, _offer(n, number) - _stays(inventory, n, number)) for n in nodes)
            free[number] -= sent if wave.number else 0
    return faults


def _offer(node: Node, number: int) -> int:
    return (node.cpu_millis, node.memory_bytes, node.pod_slots)[number]


def _need(pod: Pod, number: int) -> int:
    return (pod.cpu_millis, pod.memory_bytes, 1)[number]


def _moves(pod: Pod) -> bool:
    return not (pod.finished or pod.mirror or pod.owner_kind == "DaemonSet")


def _asked(inventory: Inventory, node: Node, number: int) -> int:
    return sum(_need(pod, number) for pod in inventory.pods_on(node.name) if not pod.finished)


def _stays(inventory: Inventory, node: Node, number: int) -> int:
    return sum(_need(p, number) for p in inventory.pods_on(node.name) if not p.finished and not _moves(p))
