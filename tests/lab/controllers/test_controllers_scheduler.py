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


def test_tenths_of_a_core_add_up_exactly(cluster: Cluster) -> None:
    cluster.add_nodes("n1", cpu="300m")
    for number in range(3):
        cluster.add_pod(f"p{number}", **_requests(cpu="100m"))
    cluster.until(lambda: cluster.places() == ["n1"] * 3)
    cluster.add_pod("p3", **_requests(cpu="1m"))
    assert "Insufficient cpu" in _waiting_reason(cluster, "p3")


def test_other_resources(cluster: Cluster) -> None:
    cluster.add_nodes("n1")
    gpu: dict[str, Any] = {"example.com/gpu": "1"}
    cluster.add_nodes("n2", **gpu)
    cluster.add_pod("first", **_requests(**{"example.com/gpu": "1"}))
    assert cluster.until(lambda: cluster.find("pods", "first")["spec"].get("nodeName")) == "n2"
    cluster.add_pod("second", **_requests(**{"example.com/gpu": "1"}))
    assert "2 Insufficient example.com/gpu" in _waiting_reason(cluster, "second")


def test_equal_nodes_are_taken_in_name_order(cluster: Cluster) -> None:
    cluster.add_nodes("n2", "n1", "n3")
    cluster.add_pod("p")
    assert cluster.until(lambda: cluster.find("pods", "p")["spec"].get("nodeName")) == "n1"


@pytest.mark.parametrize(("mine", "theirs", "clash"), [("", "10.0.0.1", True), ("10.0.0.2", "10.0.0.1", False)])
def test_host_ports_of_addresses(cluster: Cluster, mine: str, theirs: str, clash: bool) -> None:
    def port(address: str) -> list[dict[str, Any]]:
        held = {"containerPort": 1, "hostPort": 9000, **({"hostIP": address} if address else {})}
        return [{**CONTAINERS[0], "ports": [held]}]

    cluster.add_nodes("n1")
    cluster.add_pod("a", containers=port(theirs))
    cluster.until(lambda: cluster.places() == ["n1"])
    cluster.add_pod("b", containers=port(mine))
    if clash:
        assert "didn't have free ports" in _waiting_reason(cluster, "b")
    else:
        cluster.until(lambda: cluster.places() == ["n1", "n1"])


def test_anti_affinity_of_running_pods_and_of_other_namespaces(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2")
    for name, team in (("near", "a"), ("far", "b")):
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}})
    term = {
        "topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": "w"}},
        "namespaceSelector": {"matchLabels": {"team": "a"}},
    }  # fmt: skip
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    cluster.add_pod("hermit", affinity=affinity, nodeSelector={HOSTNAME: "n1"})
    cluster.until(lambda: cluster.find("pods", "hermit")["spec"].get("nodeName"))
    for namespace in ("near", "far"):
        metadata = {"name": "w", "namespace": namespace, "labels": {"app": "w"}}
        spec = {"containers": CONTAINERS, "nodeSelector": {HOSTNAME: "n1"}}
        cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    cluster.until(lambda: cluster.find("pods", "w", "far")["spec"].get("nodeName") == "n1")
    cluster.let_settle()
    assert not cluster.find("pods", "w", "near")["spec"].get("nodeName")


def test_company_must_be_meant_by_all_terms_together(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2")
    terms = [{"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {key: "x"}}} for key in ("one", "two")]
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    cluster.add_pod("half", {"one": "x"}, nodeSelector={HOSTNAME: "n1"})
    cluster.add_pod("other-half", {"two": "x"}, nodeSelector={HOSTNAME: "n1"})
    cluster.until(lambda: cluster.places() == ["n1", "n1"])
    cluster.add_pod("p", affinity=affinity)
    assert "pod affinity rules" in _waiting_reason(cluster, "p")
    cluster.add_pod("both", {"one": "x", "two": "x"}, nodeSelector={HOSTNAME: "n2"})
    assert cluster.until(lambda: cluster.find("pods", "p")["spec"].get("nodeName")) == "n2"


def _spread(**more: Any) -> dict[str, Any]:
    constraint = {
        "maxSkew": 1, "topologyKey": HOSTNAME, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "w"}}, **more,
    }  # fmt: skip
    return {"topologySpreadConstraints": [constraint]}


def test_spread_counts_a_cordoned_node_unless_it_honours_taints(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2")
    cluster.add_pod("w1", {"app": "w"}, nodeSelector={HOSTNAME: "n1"})
    cluster.until(lambda: cluster.places() == ["n1"])
    cluster.change_node("n2", unschedulable=True)
    cluster.add_pod("w2", {"app": "w"}, **_spread())
    assert "topology spread constraints" in _waiting_reason(cluster, "w2")
    cluster.add_pod("w3", {"app": "w"}, **_spread(nodeTaintsPolicy="Honor"))
    assert cluster.until(lambda: cluster.find("pods", "w3")["spec"].get("nodeName")) == "n1"


def test_spread_over_fewer_domains_than_wanted_and_by_version(cluster: Cluster) -> None:
    cluster.add_nodes("n1")
    cluster.add_pod("w1", {"app": "w", "version": "1"}, **_spread(minDomains=2))
    cluster.until(lambda: cluster.places() == ["n1"])
    cluster.add_pod("w2", {"app": "w", "version": "1"}, **_spread(minDomains=2))
    assert "topology spread constraints" in _waiting_reason(cluster, "w2")
    cluster.add_pod("w3", {"app": "w", "version": "2"}, **_spread(minDomains=2, matchLabelKeys=["version"]))
    assert cluster.until(lambda: cluster.find("pods", "w3")["spec"].get("nodeName")) == "n1"


def test_volumes_are_reached_from_their_place_only(cluster: Cluster) -> None:
    cluster.add_nodes("n1", "n2", "n3", zones=("a", "b", "a"))
    row = {"key": ZONE, "operator": "In", "values": ["b"]}
    asked = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    volume = {
        **asked, "capacity": {"storage": "1Gi"}, "nfs": {"server": "nfs.invalid", "path": "/"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [row]}]}},
    }  # fmt: skip
    claim = {**asked, "volumeName": "pv", "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": volume})
    metadata = {"name": "data", "namespace": "default"}
    cluster.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})

    def mounts(name: str) -> list[dict[str, Any]]:
        return [{"name": "d", "persistentVolumeClaim": {"claimName": name}}]

    cluster.add_pod("p", volumes=mounts("data"))
    assert cluster.until(lambda: cluster.find("pods", "p")["spec"].get("nodeName")) == "n2"
    cluster.add_pod("lost", volumes=mounts("no-such-claim"))
    assert "persistentvolumeclaim not found" in _waiting_reason(cluster, "lost")
    cluster.change_node("n2", unschedulable=True)
    cluster.add_pod("other", volumes=mounts("data"))
    assert "2 node(s) had volume node affinity conflict" in _waiting_reason(cluster, "other")
