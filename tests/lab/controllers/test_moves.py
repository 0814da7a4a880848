"""How often pods move in a whole rollout: the lab's API, controllers and scheduler against the simulation of a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.domain.inventory import Inventory
from rollout.domain.node import OwnerMark
from rollout.ports.cluster import EvictionResult
from tests.lab.controllers.cluster_rig import Cluster
from tests.planning.simulate.trial import plans, ran

NODES, APPS, REPLICAS, ALLOWED = 12, 8, 12, 4
MARK = OwnerMark("rollout-1", "0123456789ab")
GROWING = (1, 1, 2, 4, 4)
PATIENCE_S = 90
RETRY_S = 0.2
NEAR = 90
"""Thousandths: one node's share of the pods is 83."""
CONTAINERS = [{"name": "c", "image": "x:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]


def connect(kubeconfig: Path) -> KubernetesCluster:
    return KubernetesCluster.connect(ClusterSettings(kubeconfig, None, agent_namespace="", qps=2000.0, burst=2000))


def filled(rig: Cluster) -> None:
    rig.add_nodes(*(f"n{i:02}" for i in range(NODES)))
    for app in range(APPS):
        rig.add_workload("Deployment", f"app{app}", {"containers": CONTAINERS}, replicas=REPLICAS)
        rig.add_budget(f"app{app}", f"app{app}", maxUnavailable=ALLOWED)
    for app in range(APPS):
        rig.until_ready(f"app{app}", REPLICAS)
    rig.until(lambda: all(rig.budget(f"app{app}").get("currentHealthy") == REPLICAS for app in range(APPS)))


def lead_over(api: KubernetesCluster, waves: Sequence[Sequence[str]], in_flight: int, *, soft: bool) -> int:
    """Drain every node once, wave by wave, uncordoning each when it is empty; evictions that were accepted."""
    deadline = time.monotonic() + PATIENCE_S
    if soft:
        for name in (name for wave in waves for name in wave):
            api.add_waiting(name, MARK)
    accepted = 0
    retry: dict[str, float] = {}
    for wave in waves:
        todo, flying = list(wave), list[str]()
        while todo or flying:
            assert time.monotonic() < deadline, f"never came through {wave}"
            while todo and len(flying) < in_flight:
                flying.append(todo.pop(0))
                api.cordon(flying[-1], MARK)
            for name in list(flying):
                pods = api.view(name).pods
                if not pods:
                    api.uncordon(name, MARK)
                    flying.remove(name)
                for pod in pods:
                    if pod.terminating or retry.get(pod.ref.uid, 0.0) > time.monotonic():
                        continue
                    retry[pod.ref.uid] = time.monotonic() + RETRY_S
                    accepted += api.evict(pod.ref).result is EvictionResult.ACCEPTED
            time.sleep(0.02)
    return accepted


@pytest.mark.parametrize(
    ("in_flight", "soft", "sizes"),
    [(1, True, (NODES,)), (4, False, (NODES,)), (4, True, (NODES,)), (4, True, GROWING), (4, False, GROWING)],
)
def test_the_simulation_foretells_what_the_labs_scheduler_does(
    tmp_path: Path, in_flight: int, soft: bool, sizes: Sequence[int], record_property: Callable[[str, object], None]
) -> None:
    with Cluster(tls_directory=tmp_path) as rig:
        filled(rig)
        api = connect(rig.kubeconfig)
        try:
            rig.until(lambda: all(api.view(f"n{i:02}").pods for i in range(NODES)), "the watch to see the pods")
            inventory = Inventory(api.collect(), {})
            order = [plan.name for plan in plans(inventory)]
            starts = [sum(sizes[:n]) for n in range(len(sizes))]
            waves = [order[start : start + size] for start, size in zip(starts, sizes, strict=True)]
            found = lead_over(api, waves, in_flight, soft=soft) * 1000 // (APPS * REPLICAS)
        finally:
            api.close()
    foretold = ran(inventory, in_flight, soft=soft, sizes=sizes).moves_per_thousand
    record_property("evictions per thousand pods", f"real {found}, simulated {foretold}")
    assert abs(found - foretold) <= NEAR
