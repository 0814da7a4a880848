"""Which nodes are alike: a canary speaks for its cohort only."""

from __future__ import annotations

from rollout.domain.inventory import Inventory
from rollout.domain.node import Node
from rollout.domain.policy import Policy


def cohort_of(inventory: Inventory, policy: Policy, node: Node) -> str:
    """The node's cohort as text, in the order of the policy's keys; equal text means alike."""
    del inventory
    told = {"kernel": node.kernel, "zone": node.zone, "os-image": node.os_image}
    return " / ".join(told[key] for key in policy.cohorts if told.get(key))
