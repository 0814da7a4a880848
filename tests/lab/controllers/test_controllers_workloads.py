"""Deployments, ReplicaSets, DaemonSets, StatefulSets, and who clears up after them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.controllers.cluster_rig import Cluster

OURS = {"key": "netkit-rollout/evacuate", "value": "w1", "effect": "NoExecute"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        running.add_nodes("n1", "n2", "n3")
        yield running


def test_deployment_runs_and_reports(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=3)
    cluster.until_ready("web", 3)
    assert cluster.places("web") == ["n1", "n2", "n3"]
    status = cluster.until(
        lambda: (s := cluster.find("deployments.apps", "web")["status"]).get("readyReplicas") == 3 and s
    )
    assert status["observedGeneration"] == 1 and status["updatedReplicas"] == 3
    pod = cluster.pods("web")[0]
    (owner,) = pod["metadata"]["ownerReferences"]
    assert owner["kind"] == "ReplicaSet" and "pod-template-hash" in pod["metadata"]["labels"]


def test_a_replacement_starts_as_soon_as_a_pod_is_going(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=2)
    cluster.until_ready("web", 2)
    cluster.kubelet.paused = True
    name = cluster.pods("web")[0]["metadata"]["name"]
    cluster.call(cluster.store.delete, "pods", name, "default")
    cluster.until(lambda: len(cluster.pods("web")) == 3)
    cluster.let_settle()
    assert len(cluster.pods("web")) == 3 and cluster.find("pods", name)["metadata"]["deletionTimestamp"]


def test_rolling_update_replaces_every_pod(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=4)
    cluster.until_ready("web", 4)

    def new_image(obj: Any) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "x:2"

    cluster.call(cluster.store.mutate, "deployments.apps", "web", new_image, "default")
    cluster.until(
        lambda: (
            {p["spec"]["containers"][0]["image"] for p in cluster.pods("web")} == {"x:2"}
            and len(cluster.pods("web")) == 4
        )
    )
    sets = cluster.call(cluster.store.all, "replicasets.apps")
    assert sorted(rs["spec"]["replicas"] for rs in sets) == [0, 4]


def test_scale_down_and_cascade(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=3)
    cluster.until_ready("web", 3)
    cluster.call(cluster.store.mutate, "deployments.apps", "web", lambda o: o["spec"].update(replicas=1), "default")
    cluster.until_ready("web", 1)
    cluster.call(cluster.store.delete, "deployments.apps", "web", "default")
    cluster.until(lambda: not cluster.pods() and not cluster.call(cluster.store.all, "replicasets.apps"))


def test_foreground_deletion_waits_for_dependents(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=1)
    cluster.until_ready("web", 1)
    cluster.kubelet.paused = True
    cluster.call(cluster.store.delete, "deployments.apps", "web", "default", {"propagationPolicy": "Foreground"})
    cluster.until(lambda: cluster.pods("web")[0]["metadata"].get("deletionTimestamp"))
    assert cluster.find("deployments.apps", "web") is not None
    cluster.call(cluster.store.remove_now, "pods", cluster.pods("web")[0]["metadata"]["name"], "default")
    cluster.until(lambda: cluster.find("deployments.apps", "web") is None)


def test_orphans_stay(cluster: Cluster) -> None:
    cluster.add_workload("StatefulSet", "db", replicas=1, serviceName="db")
    cluster.until_ready("db", 1)
    cluster.call(cluster.store.delete, "statefulsets.apps", "db", "default", {"propagationPolicy": "Orphan"})
    cluster.let_settle()
    assert len(cluster.pods("db")) == 1 and not cluster.pods("db")[0]["metadata"]["ownerReferences"]


def test_cilium_endpoint_goes_with_its_pod(cluster: Cluster) -> None:
    pod = cluster.add_pod("p")
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]}
    metadata = {"name": "p", "namespace": "default", "ownerReferences": [owner]}
    cluster.create({"apiVersion": "cilium.io/v2", "kind": "CiliumEndpoint", "metadata": metadata, "status": {"id": 1}})
    cluster.call(cluster.store.remove_now, "pods", "p", "default")
    cluster.until(lambda: cluster.find("ciliumendpoints.cilium.io", "p") is None)


# -- DaemonSets --------------------------------------------------------------------------------------------------------


def test_daemon_set_covers_every_node_and_new_ones(cluster: Cluster) -> None:
    cluster.add_workload("DaemonSet", "logd")
    cluster.until_ready("logd", 3)
    cluster.add_nodes("n4")
    cluster.until_ready("logd", 4)
    assert cluster.places("logd") == ["n1", "n2", "n3", "n4"]
    status = cluster.until(lambda: (s := cluster.find("daemonsets.apps", "logd")["status"])["numberReady"] == 4 and s)
    assert (status["desiredNumberScheduled"], status["updatedNumberScheduled"], status["numberAvailable"]) == (4, 4, 4)
    tolerations = cluster.pods("logd")[0]["spec"]["tolerations"]
    assert [t["key"].rpartition("/")[2] for t in tolerations] == [
        "not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable",
    ]  # fmt: skip
    assert all("tolerationSeconds" not in toleration for toleration in tolerations)


def test_daemon_pods_come_back_on_a_cordoned_node(cluster: Cluster) -> None:
    cluster.add_workload("DaemonSet", "logd")
    cluster.until_ready("logd", 3)
    cluster.change_node("n1", unschedulable=True)
    (pod,) = [p for p in cluster.pods("logd") if p["spec"]["nodeName"] == "n1"]
    cluster.call(cluster.store.delete, "pods", pod["metadata"]["name"], "default")
    cluster.until(lambda: cluster.find("pods", pod["metadata"]["name"]) is None)
    cluster.until_ready("logd", 3)


def test_a_foreign_no_execute_taint_keeps_daemon_pods_away(cluster: Cluster) -> None:
    cluster.add_workload("DaemonSet", "logd")
    cluster.add_workload("DaemonSet", "agent", {"hostNetwork": True, "tolerations": [{"operator": "Exists"}]})
    cluster.until_ready("logd", 3)
    cluster.until_ready("agent", 3)
    cluster.change_node("n1", taints=[OURS])
    cluster.until(lambda: cluster.places("logd") == ["n2", "n3"])
    cluster.let_settle()
    assert cluster.places("logd") == ["n2", "n3"] and cluster.places("agent") == ["n1", "n2", "n3"]
    assert cluster.find("daemonsets.apps", "logd")["status"]["desiredNumberScheduled"] == 2
    cluster.change_node("n1", taints=[])
    cluster.until_ready("logd", 3)


def test_daemon_pod_deleted_on_a_tainted_node_is_replaced_if_it_tolerates(cluster: Cluster) -> None:
    cluster.add_workload("DaemonSet", "agent", {"tolerations": [{"operator": "Exists"}]})
    cluster.until_ready("agent", 3)
    cluster.change_node("n1", taints=[OURS], unschedulable=True)
    (pod,) = [p for p in cluster.pods("agent") if p["spec"]["nodeName"] == "n1"]
    cluster.call(cluster.store.delete, "pods", pod["metadata"]["name"], "default")
    cluster.until(lambda: cluster.find("pods", pod["metadata"]["name"]) is None)
    cluster.until_ready("agent", 3)


def test_daemon_set_rolls_one_at_a_time_unless_on_delete(cluster: Cluster) -> None:
    cluster.add_workload("DaemonSet", "logd")
    cluster.add_workload("DaemonSet", "agent", updateStrategy={"type": "OnDelete"})
    cluster.until_ready("logd", 3)
    cluster.until_ready("agent", 3)
    before = {pod["metadata"]["uid"] for pod in cluster.pods("agent")}

    def new_image(obj: Any) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "x:2"

    for name in ("logd", "agent"):
        cluster.call(cluster.store.mutate, "daemonsets.apps", name, new_image, "default")
    cluster.until(lambda: {p["spec"]["containers"][0]["image"] for p in cluster.pods("logd")} == {"x:2"})
    cluster.until_ready("logd", 3)
    assert {pod["metadata"]["uid"] for pod in cluster.pods("agent")} == before
    assert len(cluster.call(cluster.store.all, "controllerrevisions.apps")) == 4


# -- StatefulSets ------------------------------------------------------------------------------------------------------


def test_stateful_pods_start_in_order_and_wait_for_their_predecessor(cluster: Cluster) -> None:
    cluster.add_workload("StatefulSet", "db", replicas=2, serviceName="db")
    cluster.until_ready("db", 2)
    assert [pod["metadata"]["name"] for pod in cluster.pods("db")] == ["db-0", "db-1"]
    cluster.kubelet.paused = True
    old = cluster.find("pods", "db-1")["metadata"]["uid"]
    cluster.call(cluster.store.delete, "pods", "db-1", "default")
    cluster.let_settle()
    assert cluster.find("pods", "db-1")["metadata"]["uid"] == old and len(cluster.pods("db")) == 2
    cluster.kubelet.paused = False
    cluster.call(cluster.store.remove_now, "pods", "db-1", "default")
    cluster.until_ready("db", 2)
    assert cluster.find("pods", "db-1")["metadata"]["uid"] != old


# -- Services and namespaces -------------------------------------------------------------------------------------------


def test_endpoints_follow_pods(cluster: Cluster) -> None:
    metadata = {"name": "web", "namespace": "default"}
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    cluster.add_workload("Deployment", "web", replicas=2)
    cluster.until_ready("web", 2)

    def endpoints() -> list[Any]:
        found: list[Any] = cluster.find("endpointslices.discovery.k8s.io", "web-lab")["endpoints"]
        return found

    cluster.until(lambda: [e["conditions"]["ready"] for e in endpoints()] == [True, True])
    assert cluster.find("endpoints", "web")["subsets"][0]["ports"][0]["port"] == 8080
    cluster.kubelet.paused = True
    cluster.call(cluster.store.delete, "pods", cluster.pods("web")[0]["metadata"]["name"], "default")
    going = {"ready": False, "serving": True, "terminating": True}
    cluster.until(lambda: going in [e["conditions"] for e in endpoints()])


def test_namespace_is_emptied_before_it_goes(cluster: Cluster) -> None:
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "team"}})
    cluster.call(cluster.store.delete, "namespaces", "team")
    cluster.until(lambda: cluster.find("namespaces", "team", "") is None)
    assert cluster.find("configmaps", "c", "team") is None
