"""Pack eligible nodes into a canary and growing waves. Same input, same order."""

from __future__ import annotations

from collections.abc import Mapping

from rollout.domain.plan import Wave
from rollout.domain.policy import Policy


def pack_waves(nodes: tuple[str, ...], movable_pods: Mapping[str, int], policy: Policy) -> tuple[Wave, ...]:
    """Canary first, then waves that grow by `policy.growth`, emptiest nodes first, names breaking ties.

    Emptier nodes first and slow growth keep moves low: what evicted pods can land on are nodes already done
    (figures from a real scheduler: real-cluster.md).
    """
    order = sorted(nodes, key=lambda name: (movable_pods.get(name, 0), name))
    waves: list[Wave] = []
    size, start = max(1, policy.canary), 0
    while start < len(order):
        number = len(waves)
        title = "canary" if number == 0 and len(order) > size else f"wave {number}"
        waves.append(Wave(number, title, tuple(order[start : start + size])))
        start += size
        size *= max(1, policy.growth)
    return tuple(waves)
