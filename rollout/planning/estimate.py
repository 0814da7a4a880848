"""How long a rollout takes, wave by wave, and which limit binds."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.plan import Estimate, NodePlan
from rollout.domain.policy import Policy
from rollout.domain.times import StepTime
from rollout.planning.waves import Packing


def estimate(
    inventory: Inventory, policy: Policy, nodes: Sequence[NodePlan], packing: Packing, history: Sequence[StepTime]
) -> Estimate | None:
    """A range in seconds with the binding limit. None when nothing can be said."""
    del inventory, policy, nodes, packing, history
    return None
