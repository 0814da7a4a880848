"""All of the blast radius, put together in one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.plan import BlastRadius, NodePlan
from rollout.domain.policy import Policy
from rollout.planning.blast.daemons import host_network_changes
from rollout.planning.blast.load import api_requests
from rollout.planning.blast.owners import config_owners
from rollout.planning.blast.pods import pod_changes, probe_pod_changes
from rollout.planning.blast.roles import role_changes
from rollout.planning.blast.scalers import scaler_changes
from rollout.planning.blast.selectors import config_changes, daemonset_changes, other_changes
from rollout.planning.blast.writes import relabelled

TEMPLATES = "templates of workloads without pods"


def blast_radius(inventory: Inventory, policy: Policy, nodes: Sequence[NodePlan]) -> BlastRadius:
    """Compare what every object of the snapshot selects before and after the plan; who owns the agent; the API's load.

    Same inventory, policy and nodes, same value. Costs one pass over pods, one over the objects, and for each object
    that names our label one over the nodes of the plan.
    """
    cluster = inventory.cluster
    written = relabelled(inventory, nodes)
    changes = [
        *config_changes(cluster, policy, nodes, written),
        *daemonset_changes(cluster.daemonsets, written),
        *host_network_changes(inventory, nodes),
        *other_changes(cluster.other, written),
        *role_changes(cluster, nodes),
        *pod_changes(cluster.pods, written),
        *probe_pod_changes(cluster, policy),
        *scaler_changes(cluster, nodes),
    ]
    return BlastRadius(
        changes=tuple(sorted(changes, key=lambda c: (c.kind, c.namespace, c.name, c.cause, c.consequence))),
        looked_at=_looked_at(inventory),
        unseen=_unseen(inventory),
        owners=config_owners(cluster),
        api_requests=api_requests(inventory, policy, nodes),
    )


def _looked_at(inventory: Inventory) -> dict[str, int]:
    cluster = inventory.cluster
    counted = {
        "CiliumNodeConfig": len(cluster.node_configs),
        "DaemonSet": len(cluster.daemonsets),
        "Pod": len(cluster.pods),
        "PodDisruptionBudget": len(cluster.budgets),
    }
    return dict(sorted((counted | Counter(one.kind for one in cluster.other)).items()))


def _unseen(inventory: Inventory) -> dict[str, str]:
    """Kinds that could not be listed, and what no list shows."""
    told = dict(inventory.cluster.unreadable)
    told[TEMPLATES] = "rules are read from pods: a workload scaled to zero or a CronJob between runs is not compared"
    return dict(sorted(told.items()))
