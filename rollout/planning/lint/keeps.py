"""Whether the plan's limits keep every set that shall stay in service: counted again, pod by pod."""

from __future__ import annotations

from collections.abc import Mapping

from rollout.domain.inventory import Inventory
from rollout.domain.node import Pod
from rollout.domain.plan import Limit, Plan
from rollout.domain.policy import KeepRule
from rollout.planning.lint.limits import around, fleet_most, limits_by_node, worst_missing
from rollout.planning.waves.known import ALL_BUT_ONE_NODE, QUORUM, set_name, set_of

Hosts = dict[str, int]
"""Members of a set on each node."""


def keep_faults(plan: Plan, inventory: Inventory) -> list[str]:
    """Sets of the policy, and recognised ones, that the limits do not keep."""
    by_node, planned = limits_by_node(plan), frozenset(node.name for node in plan.nodes)
    faults = []
    for rule in plan.policy.keep:
        hosts = _of_rule(inventory, rule)
        total = sum(hosts.values())
        short = _missing(plan, hosts, planned, by_node) - (total - _stay(rule.keep, total))
        if short > 0:
            faults.append(f"keep rule {rule.name}: {short} more of its {total} can be out than may be")
    if plan.policy.known_sets:
        for name, (keep, hosts) in sorted(_recognised(inventory).items()):
            if not _kept(plan, keep, hosts, planned, by_node):
                faults.append(f"{name} is a set to keep, and no limit keeps it")
    return faults


def _stay(text: str, total: int) -> int:
    if text == QUORUM:
        return total // 2 + 1
    return (total * int(text[:-1]) + 99) // 100 if text.endswith("%") else int(text)


def _of_rule(inventory: Inventory, rule: KeepRule) -> Hosts:
    if rule.nodes:
        return {n.name: 1 for n in inventory.cluster.nodes if rule.nodes.items() <= n.labels.items()}
    hosts: Hosts = {}
    for pod in inventory.cluster.pods:
        inside = rule.namespace in ("", pod.ref.namespace) and rule.pods.items() <= pod.labels.items()
        if inside and _lives(pod):
            hosts[pod.node] = hosts.get(pod.node, 0) + 1
    return hosts


def _lives(pod: Pod) -> bool:
    return pod.node != "" and pod.phase not in ("Succeeded", "Failed") and pod.owner_kind != "Job"


def _recognised(inventory: Inventory) -> dict[str, tuple[str, Hosts]]:
    found: dict[str, tuple[str, Hosts]] = {}
    for pod in inventory.cluster.pods:
        row = set_of(pod.labels) if _lives(pod) else None
        if row is not None:
            _, hosts = found.setdefault(set_name(row, pod.ref.namespace, pod.labels), (row.keep, {}))
            hosts[pod.node] = hosts.get(pod.node, 0) + 1
    return found


def _missing(plan: Plan, hosts: Hosts, planned: frozenset[str], by_node: Mapping[str, tuple[Limit, ...]]) -> int:
    members = {name: count for name, count in hosts.items() if name in planned}
    return worst_missing(members, fleet_most(plan), around(members, by_node))


def _kept(
    plan: Plan, keep: str, hosts: Hosts, planned: frozenset[str], by_node: Mapping[str, tuple[Limit, ...]]
) -> bool:
    """By members, or node by node where one node alone hosts more than the set can miss."""
    ones: Hosts = dict.fromkeys(hosts, 1)
    if keep == ALL_BUT_ONE_NODE:
        return _missing(plan, ones, planned, by_node) <= 1
    spare = sum(hosts.values()) - _stay(keep, sum(hosts.values()))
    if _missing(plan, hosts, planned, by_node) <= spare:
        return True
    return max(hosts.values()) > spare and _missing(plan, ones, planned, by_node) <= 1
