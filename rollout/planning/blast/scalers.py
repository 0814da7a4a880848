"""Pools whose owner may delete a node just because we emptied it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import Method
from rollout.domain.plan import NodePlan, SelectionChange
from rollout.planning.blast.writes import change
from rollout.planning.pools import Pool, pool_of

_KEEP = "; cluster-autoscaler.kubernetes.io/scale-down-disabled=true on the node keeps it"


def scaler_changes(cluster: ClusterSnapshot, nodes: Sequence[NodePlan]) -> Iterator[SelectionChange]:
    """By pool: nodes of the plan that look unneeded to its owner while they are cordoned and empty."""
    found: dict[tuple[str, str], tuple[Pool, list[str]]] = {}
    for plan in nodes:
        pool = pool_of(cluster.nodes_by_name[plan.name])
        if pool is not None and plan.method is not Method.REPLACE:
            found.setdefault((pool.kind, pool.name), (pool, []))[1].append(plan.name)
    for (kind, name), (pool, names) in sorted(found.items()):
        told = f"an empty node looks unneeded: {pool.empties}" + ("" if pool.about.empties else _KEEP)
        yield change(kind, "", name, cause="cordon and drain", consequence=told, loses=names)
