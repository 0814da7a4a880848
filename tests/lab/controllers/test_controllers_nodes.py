"""Node life and disruption budgets."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from rollout.lab.apiserver.errors import ApiError
from rollout.lab.apiserver.eviction import evict
from rollout.lab.controllers import ControllerSettings
from tests.lab.controllers.cluster_rig import Cluster

_FAST = ControllerSettings(node_grace_seconds=0.4, disrupted_pod_seconds=0.5, orphaned_pod_seconds=0.2)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(_FAST) as running:
        running.add_nodes("n1", "n2", "n3")
        yield running


def _taints(cluster: Cluster, name: str) -> set[tuple[str, str]]:
    spec = cluster.find("nodes", name, "")["spec"]
    return {(taint["key"], taint["effect"]) for taint in spec.get("taints") or ()}


def _renew(cluster: Cluster, name: str) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": name}}
    body = {**lease, "metadata": {"name": name, "namespace": "kube-node-lease"}}
    if cluster.find("leases.coordination.k8s.io", name, "kube-node-lease") is None:
        cluster.create(body)
    else:
        stamp = str(time.monotonic())
        cluster.call(
            cluster.store.mutate,
            "leases.coordination.k8s.io",
            name,
            lambda o: o["spec"].update(renewTime=stamp),
            "kube-node-lease",
        )


def _set_ready(cluster: Cluster, name: str, status: str) -> None:
    conditions = {"conditions": [{"type": "Ready", "status": status}]}
    cluster.call(cluster.store.set_status, "nodes", name, "", conditions)


def test_cordon_brings_the_unschedulable_taint_and_uncordon_takes_it(cluster: Cluster) -> None:
    foreign = {"key": "mine", "effect": "NoSchedule"}
    cluster.change_node("n1", unschedulable=True, taints=[foreign])
    unschedulable = ("node.kubernetes.io/unschedulable", "NoSchedule")
    cluster.until(lambda: _taints(cluster, "n1") == {("mine", "NoSchedule"), unschedulable})
    cluster.change_node("n1", unschedulable=False)
    cluster.until(lambda: _taints(cluster, "n1") == {("mine", "NoSchedule")})


def test_condition_taints(cluster: Cluster) -> None:
    _set_ready(cluster, "n1", "False")
    key = "node.kubernetes.io/not-ready"
    cluster.until(lambda: _taints(cluster, "n1") == {(key, "NoSchedule"), (key, "NoExecute")})
    _set_ready(cluster, "n1", "True")
    cluster.until(lambda: not _taints(cluster, "n1"))


def test_silent_node_becomes_unreachable_and_recovers(cluster: Cluster) -> None:
    cluster.add_pod("p", nodeName="n1")
    cluster.until(lambda: cluster.find("pods", "p")["status"]["phase"] == "Running")
    for _ in range(6):
        _renew(cluster, "n1")
        time.sleep(0.1)
    assert not _taints(cluster, "n1")
    key = "node.kubernetes.io/unreachable"
    cluster.until(lambda: _taints(cluster, "n1") == {(key, "NoSchedule"), (key, "NoExecute")})
    (ready,) = [c for c in cluster.find("nodes", "n1", "")["status"]["conditions"] if c["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    conditions = cluster.find("pods", "p")["status"]["conditions"]
    assert [c["status"] for c in conditions if c["type"] == "Ready"] == ["False"]
    # The pod tolerates the outage for five minutes; nodes without a lease are left alone.
    assert "deletionTimestamp" not in cluster.find("pods", "p")["metadata"] and not _taints(cluster, "n2")
    _renew(cluster, "n1")
    _set_ready(cluster, "n1", "True")
    cluster.until(lambda: not _taints(cluster, "n1"))


def test_no_execute_taint_evicts_at_once_or_after_the_toleration(cluster: Cluster) -> None:
    toleration = {"key": "k", "operator": "Exists", "effect": "NoExecute"}
    cluster.add_pod("plain", nodeName="n1")
    cluster.add_pod("patient", nodeName="n1", tolerations=[{**toleration, "tolerationSeconds": 1}])
    cluster.add_pod("steady", nodeName="n1", tolerations=[toleration])
    start = time.monotonic()
    cluster.change_node("n1", taints=[{"key": "k", "effect": "NoExecute"}])
    cluster.until(lambda: cluster.find("pods", "plain") is None)
    assert cluster.find("pods", "patient") is not None
    cluster.until(lambda: cluster.find("pods", "patient") is None)
    assert time.monotonic() - start > 0.9
    assert cluster.find("pods", "steady") is not None


def test_pods_of_a_vanished_node_are_removed(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=3)
    cluster.until_ready("web", 3)
    cluster.call(cluster.store.delete, "nodes", "n1")
    cluster.until(lambda: len(cluster.pods("web")) == 3 and set(cluster.places("web")) == {"n2", "n3"})


# -- budgets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"maxUnavailable": 1}, 3, 1),
        ({"maxUnavailable": "50%"}, 2, 2),
        ({"maxUnavailable": "30%"}, 2, 2),
        ({"minAvailable": 4}, 4, 0),
        ({"minAvailable": "60%"}, 3, 1),
        ({}, 1, 3),
    ],
)
def test_budget_arithmetic(cluster: Cluster, spec: dict[str, Any], desired: int, allowed: int) -> None:
    cluster.add_workload("Deployment", "web", replicas=4)
    cluster.add_budget("web", "web", **spec)
    cluster.until_ready("web", 4)
    status = cluster.until(lambda: (s := cluster.budget("web"))["currentHealthy"] == 4 and s)
    assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (4, desired, allowed)
    (condition,) = status["conditions"]
    assert condition["reason"] == ("SufficientPods" if allowed else "InsufficientPods")
    assert status["observedGeneration"] == 1


def test_budget_of_a_daemon_set_fails_safe(cluster: Cluster) -> None:
    cluster.add_workload("DaemonSet", "logd")
    cluster.until_ready("logd", 3)
    cluster.add_budget("logd", "logd", maxUnavailable=1)
    status = cluster.until(lambda: (s := cluster.budget("logd")).get("conditions") and s)
    assert status["disruptionsAllowed"] == 0 and status["conditions"][0]["reason"] == "SyncFailed"
    assert "daemonsets.apps does not implement the scale subresource" in status["conditions"][0]["message"]


def test_eviction_spends_and_the_replacement_restores(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=3)
    cluster.add_budget("web", "web", maxUnavailable=1)
    cluster.until_ready("web", 3)
    cluster.until(lambda: cluster.budget("web")["disruptionsAllowed"] == 1)
    first, second = (pod["metadata"]["name"] for pod in cluster.pods("web")[:2])
    cluster.call(evict, cluster.store, "default", first, {}, dry_run=False)
    with pytest.raises(ApiError, match="violate the pod's disruption budget"):
        cluster.call(evict, cluster.store, "default", second, {}, dry_run=False)
    cluster.until(lambda: cluster.budget("web")["disruptionsAllowed"] == 1)
    assert "disruptedPods" not in cluster.budget("web")
    cluster.call(evict, cluster.store, "default", second, {}, dry_run=False)


def test_unconfirmed_disruption_expires(cluster: Cluster) -> None:
    cluster.add_workload("Deployment", "web", replicas=2)
    cluster.add_budget("web", "web", maxUnavailable=1)
    cluster.until_ready("web", 2)
    cluster.until(lambda: cluster.budget("web")["disruptionsAllowed"] == 1)
    name = cluster.pods("web")[0]["metadata"]["name"]
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    values = {"disruptionsAllowed": 0, "disruptedPods": {name: stamp}}
    cluster.call(cluster.store.set_status, "poddisruptionbudgets.policy", "web", "default", values)
    cluster.let_settle()
    assert cluster.budget("web")["disruptionsAllowed"] == 0 and cluster.budget("web")["currentHealthy"] == 1
    cluster.until(lambda: cluster.budget("web")["disruptionsAllowed"] == 1)
