"""Read a cluster and plan it once, in a process of its own: `python -m benchmarks.plan_once`.

`read URL`: list and decode from a server, then plan. `made NODES PODS_PER_NODE`: plan a cluster that is made here.
Prints one JSON document: CPU and wall seconds of each part, and this process's largest memory in MiB.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.fleet_server import BUDGETS_PER_NODE
from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.domain.inventory import ClusterSnapshot, Inventory
from rollout.domain.node import DatapathMode
from rollout.domain.policy import Policy
from rollout.lab.pki import write_kubeconfig
from rollout.planning.planner import PlanRequest, make_plan
from tests.support.fleet import make_fleet
from tests.support.fleet.build import observations

POLICY = Policy(DatapathMode.NETKIT, max_unavailable="2%")
T = TypeVar("T")
figures: dict[str, float] = {}


def timed(name: str, work: Callable[[], T]) -> T:
    """Do it; note CPU and wall seconds under `name`."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    figures[f"{name}_cpu_s"] = time.process_time() - cpu
    figures[f"{name}_wall_s"] = time.perf_counter() - wall
    return result


def read(url: str) -> ClusterSnapshot:
    """Everything planning needs, over HTTP."""
    with tempfile.TemporaryDirectory() as directory:
        path = write_kubeconfig(Path(directory) / "config", url, "")
        cluster = KubernetesCluster.connect(ClusterSettings(path, qps=1000.0, burst=1000))
        try:
            return timed("read", cluster.collect)
        finally:
            cluster.close()


def made(nodes: int, per_node: int) -> ClusterSnapshot:
    """A cluster without a server."""
    part, whole = BUDGETS_PER_NODE
    return make_fleet(nodes, nodes * per_node, nodes * part // whole).snapshot()


def main() -> None:
    """Run as the module says."""
    snapshot = read(sys.argv[2]) if sys.argv[1] == "read" else made(int(sys.argv[2]), int(sys.argv[3]))
    inventory = Inventory(snapshot, observations(snapshot.nodes))
    plan = timed("plan", lambda: make_plan(inventory, POLICY, PlanRequest(serial=1, program="bench")))
    figures["encode_bytes"] = len(timed("encode", plan.encode))
    figures.update(
        {
            "nodes": len(snapshot.nodes),
            "pods": len(snapshot.pods),
            "budgets": len(snapshot.budgets),
            "planned": len(plan.nodes),
            "waves": len(plan.waves),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
