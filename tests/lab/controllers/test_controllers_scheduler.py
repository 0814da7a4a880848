"""Where pods go, and why they wait."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.controllers.cluster_rig import CONTAINERS, HOSTNAME, ZONE, Cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


def _requests(**amounts: str) -> dict[str, Any]:
    return {"containers": [{**CONTAINERS[0], "resources": {"requests": amounts}}]}


def _waiting_reason(cluster: Cluster, name: str) -> str:
    def message() -> str:
        conditions = cluster.find("pods", name)["status"].get("conditions") or []
        found = [c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"]
        assert all(c["reason"] == "Unschedulable" for c in found)
        return str(found[0]["message"]) if found else ""

    return str(cluster.until(message))


def test_node_selector_and_affinity(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2", "n3", zones=("a", "b", "c"))
    cluster.add_pod("chosen", nodeSelector={ZONE: "b"})
    terms = [{"matchExpressions": [{"key": ZONE, "operator": "NotIn", "values": ["a", "b"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    cluster.add_pod("affine", affinity={"nodeAffinity": required})
    cluster.add_pod("nowhere", nodeSelector={ZONE: "z"})
    assert cluster.until(lambda: cluster.find("pods", "chosen")["spec"].get("nodeName")) == "n2"
    assert cluster.until(lambda: cluster.find("pods", "affine")["spec"].get("nodeName")) == "n3"
    assert (
        _waiting_reason(cluster, "nowhere")
        == "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    )


def test_taints_and_cordon(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2")
    cluster.change_node("n1", unschedulable=True)
    cluster.change_node("n2", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    cluster.add_pod("p")
    reason = _waiting_reason(cluster, "p")
    assert "1 node(s) were unschedulable" in reason and "1 node(s) had untolerated taint(s) {k: v}" in reason
    cluster.add_pod("tolerant", tolerations=[{"key": "k", "operator": "Exists"}])
    assert cluster.until(lambda: cluster.find("pods", "tolerant")["spec"].get("nodeName")) == "n2"
    cluster.change_node("n1", unschedulable=False)
    assert cluster.until(lambda: cluster.find("pods", "p")["spec"].get("nodeName")) == "n1"


def test_soft_taint_repels_but_does_not_refuse(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2", "n3")
    soft = [{"key": "todo", "effect": "PreferNoSchedule"}]
    for name in ("n1", "n2"):
        cluster.change_node(name, taints=soft)
    for number in range(4):
        cluster.add_pod(f"p{number}")
    cluster.until(lambda: cluster.places() == ["n3"] * 4)
    cluster.change_node("n3", unschedulable=True)
    cluster.add_pod("last")
    assert cluster.until(lambda: cluster.find("pods", "last")["spec"].get("nodeName")) in ("n1", "n2")


def test_requests_against_allocatable(cluster: Cluster) -> None:
    cluster.add_nodes("n1", cpu="1", memory="1Gi")
    cluster.add_pod("big", **_requests(cpu="800m", memory="100Mi"))
    cluster.until(lambda: cluster.find("pods", "big")["spec"].get("nodeName"))
    cluster.add_pod("second", **_requests(cpu="300m"))
    assert _waiting_reason(cluster, "second") == "0/1 nodes are available: 1 Insufficient cpu."
    cluster.call(cluster.store.delete, "pods", "big", "default")
    assert cluster.until(lambda: cluster.find("pods", "second")["spec"].get("nodeName")) == "n1"


def test_pods_per_node_and_host_ports(cluster: Cluster) -> None:
    cluster.add_nodes("n1", pods="2")
    port = [{**CONTAINERS[0], "ports": [{"containerPort": 1, "hostPort": 9000}]}]
    cluster.add_pod("a", containers=port)
    cluster.until(lambda: cluster.find("pods", "a")["spec"].get("nodeName"))
    cluster.add_pod("b", containers=port)
    assert "didn't have free ports" in _waiting_reason(cluster, "b")
    cluster.add_pod("c")
    cluster.until(lambda: cluster.find("pods", "c")["spec"].get("nodeName"))
    cluster.add_pod("d")
    assert "Too many pods" in _waiting_reason(cluster, "d")


@pytest.mark.parametrize(("key", "count"), [(HOSTNAME, 4), (ZONE, 2)])
def test_anti_affinity(cluster: Cluster, key: str, count: int) -> None:
    cluster.add_nodes("n1", "n2", "n3", "n4", zones=("a", "b"))
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "w"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    for number in range(5):
        cluster.add_pod(f"p{number}", {"app": "w"}, affinity=affinity)
    cluster.until(lambda: sum(1 for place in cluster.places() if place) == count)
    cluster.let_settle()
    assert len({place for place in cluster.places() if place}) == count
    assert "anti-affinity" in _waiting_reason(cluster, f"p{count}")


def test_pod_affinity(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2", "n3")
    term = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "w"}}}
    cluster.add_pod("near", affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    assert "pod affinity rules" in _waiting_reason(cluster, "near")
    cluster.add_pod("w", {"app": "w"}, nodeSelector={HOSTNAME: "n2"})
    assert cluster.until(lambda: cluster.find("pods", "near")["spec"].get("nodeName")) == "n2"


def test_hard_topology_spread(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2", "n3", zones=("a", "a", "b"))
    constraint = {
        "maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "w"}},
    }  # fmt: skip
    cluster.add_workload("Deployment", "w", {"topologySpreadConstraints": [constraint]}, replicas=4)
    cluster.until(lambda: all(cluster.places("w")) and len(cluster.places("w")) == 4)
    assert cluster.places("w").count("n3") == 2
    cluster.change_node("n3", unschedulable=True)
    cluster.call(cluster.store.mutate, "deployments.apps", "w", lambda o: o["spec"].update(replicas=6), "default")
    # One more fits zone a; the sixth would make the skew two.
    cluster.until(lambda: len(cluster.places("w")) == 6)
    cluster.let_settle()
    assert cluster.places("w").count("") == 1


def test_gated_and_foreign_pods_are_left_alone(cluster: Cluster) -> None:
    cluster.add_nodes("n1")
    cluster.add_pod("gated", schedulingGates=[{"name": "wait"}])
    cluster.add_pod("foreign", schedulerName="other")
    cluster.let_settle()
    assert cluster.places() == ["", ""]
