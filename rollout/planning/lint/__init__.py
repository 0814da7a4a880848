"""Faults in a finished plan, found without trusting the planner. A plan with faults is not saved.

Decision: nothing here calls the code that packs waves or makes limits. What a limit is for is worked out again from the
inventory, and then asked of the plan: is there a limit that gives this? A fault in the packer is seen, not repeated.
"""

from __future__ import annotations

from rollout.domain.inventory import Inventory
from rollout.domain.plan import Plan
from rollout.planning.lint.capacity import capacity_faults
from rollout.planning.lint.document import document_faults
from rollout.planning.lint.evictions import eviction_faults
from rollout.planning.lint.keeps import keep_faults
from rollout.planning.lint.limits import limit_faults
from rollout.planning.lint.spread import spread_faults
from rollout.planning.lint.windows import window_faults

__all__ = ["lint"]


def lint(plan: Plan, inventory: Inventory | None = None) -> tuple[str, ...]:
    """One sentence per fault; empty for a sound plan. With its inventory, it is also held against the cluster."""
    faults = [
        *document_faults(plan),
        *limit_faults(plan),
        *window_faults(plan, inventory.cluster.taken_at if inventory else None),
    ]
    if inventory is not None:
        faults += eviction_faults(plan, inventory)
        faults += keep_faults(plan, inventory)
        faults += spread_faults(plan, inventory)
        faults += capacity_faults(plan, inventory)
    return tuple(faults)
