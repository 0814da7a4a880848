"""Which nodes can be adopted: newly joined ones whose agent runs in the old mode while no endpoint of it is there yet.

The documented way to netkit is newly joined nodes only (cilium-netkit.md 5a). A node that holds endpoints of the old
kind is no candidate: it is planned, so that its pods are evicted, proven and compared as in any rollout.
"""

from __future__ import annotations

from rollout.domain.inventory import Inventory
from rollout.domain.node import LINK_KIND_OF, Node
from rollout.domain.observed import PROBE_LINKS, LinkTable, parse_links
from rollout.domain.policy import Policy
from rollout.planning.drain import evictable


def not_adoptable(inventory: Inventory, policy: Policy, node: Node) -> tuple[str, ...]:
    """Why a node cannot be adopted; empty when it can. The kernel's link table decides, pods only add to it."""
    links = parse_links(inventory.observation(node.name, PROBE_LINKS))
    if links is None:
        return ("its links could not be looked at, so it is not known whether it holds endpoints",)
    remedy = f"plan it: rollout plan --node {node.name}"
    old = old_endpoints(links, policy)
    if old:
        return (f"it has {old} endpoint link(s) of another kind than {policy.target.value}: {remedy}",)
    pods = evictable(inventory.pods_on(node.name), policy.drain)
    if pods:
        return (f"{len(pods)} pod(s) run on it or come to it, such as {pods[0].ref}: {remedy}",)
    return ()


def old_endpoints(links: LinkTable, policy: Policy) -> int:
    """Endpoint links of another kind than the target's; the health endpoint's is the agent's own and does not count."""
    return sum(1 for link in links.other_than(LINK_KIND_OF[policy.target]) if not link.health)
