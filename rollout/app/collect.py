"""Collect an inventory: the cluster's objects, and what the nodes themselves say."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.app.world import World
from rollout.domain.inventory import ClusterSnapshot, Inventory
from rollout.domain.node import Node
from rollout.domain.observed import PROBE_AGENT, PROBE_CAPABILITY, PROBE_HOST, PROBE_LINKS

PLANNED_ON = (PROBE_LINKS, PROBE_AGENT, PROBE_CAPABILITY, PROBE_HOST)
"""Probes whose documents a plan rests on: all of them only read, on any node."""


def collect(world: World, names: Sequence[str] = (), probes: Sequence[str] = PLANNED_ON) -> Inventory:
    """Read the cluster once, then observe the nodes called `names` (all when empty) in one batch.

    Names the cluster does not know are left to the planner, which says which is near.
    """
    snapshot = world.cluster.collect()
    return Inventory(
        snapshot,
        world.observer.observe(
            [world.host_of(node) for node in _chosen(snapshot, names)], probes, wall_s=world.observe_s
        ),
    )


def _chosen(snapshot: ClusterSnapshot, names: Sequence[str]) -> list[Node]:
    wanted = set(names)
    return [node for node in snapshot.nodes if not wanted or node.name in wanted]
