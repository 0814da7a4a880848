"""When nothing can move: the one change that frees most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rollout.domain.inventory import Inventory
from rollout.domain.plan import Wave
from rollout.domain.policy import Policy
from rollout.planning.proof.prove import prove


def freeing_change(inventory: Inventory, policy: Policy, obstacles: Mapping[str, int]) -> str:
    """A sentence with the one change that by itself frees most of the nodes; empty when no single one frees any.

    `obstacles` counts by node what keeps it from being planned: a node that more keeps than its pods is not freed.
    """
    names = tuple(sorted(obstacles))
    proof = prove(inventory, policy, (Wave(0, "all", names),), ())
    frees: Counter[str] = Counter()
    for name in names:
        stuck = proof.never(name)
        remedies = {one.remedy for one in stuck}
        if len(stuck) == obstacles[name] and len(remedies) == 1:
            frees[remedies.pop()] += 1
    if not frees:
        return ""
    remedy, count = min(frees.items(), key=lambda row: (-row[1], row[0]))
    return f"this alone frees {count} of {len(names)} node(s): {remedy}"
