"""Collecting: discovery, kinds that fail one by one, what a snapshot costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.domain.errors import NotPermitted, Unavailable
from tests.adapters.kubernetes.conftest import StandIn, node, pod
from tests.adapters.kubernetes.test_cluster import agent_objects

Connect = Callable[..., KubernetesCluster]


def definition(group: str, version: str, plural: str, kind: str) -> dict[str, Any]:
    """A custom resource definition that takes any spec and status."""
    part = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": part, "status": part}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


def named(api: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "default"}, **more}


def test_objects_of_served_kinds_are_read_in_the_version_that_is_served(
    standin: StandIn, cluster: KubernetesCluster
) -> None:
    standin.define(definition("karpenter.sh", "v1beta1", "nodeclaims", "NodeClaim"))
    standin.define(definition("ceph.rook.io", "v1", "cephclusters", "CephCluster"))
    standin.seed(
        named("karpenter.sh/v1beta1", "NodeClaim", "claim-1", status={"nodeName": "n1"}),
        named("ceph.rook.io/v1", "CephCluster", "rook", status={"ceph": {"health": "HEALTH_OK"}}),
        named("cilium.io/v2", "CiliumNetworkPolicy", "l7",
              spec={"endpointSelector": {}, "ingress": [{"toPorts": [{"rules": {"http": [{}]}}]}]}),
        named("networking.k8s.io/v1", "Ingress", "web", spec={"ingressClassName": "nginx"}),
        named("v1", "Service", "plain"),
    )  # fmt: skip
    snapshot = cluster.collect()
    found = {(o.kind, o.name): dict(o.traits) for o in snapshot.other}
    assert found == {
        ("NodeClaim", "claim-1"): {"node": "n1"},
        ("CephCluster", "rook"): {"health": "HEALTH_OK"},
        ("CiliumNetworkPolicy", "l7"): {"l7": "http"},
        ("Ingress", "web"): {"class": "nginx"},
    }
    assert {"karpenter.sh", "ceph.rook.io", "apps", "cilium.io"} <= snapshot.api_groups
    assert snapshot.unreadable == {}


def test_what_is_not_served_costs_no_request(cluster: KubernetesCluster) -> None:
    asked = cluster.collect().requests
    assert asked["list pods"] == asked["list nodes"] == asked["list networkpolicies"] == 1
    assert not {"list nodeclaims", "list cephclusters", "list machines"} & asked.keys()
    assert cluster.request_counts() == asked


def test_each_kind_fails_for_itself(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(node("n1"), pod("p", "n1"), *agent_objects())
    for plural, status in (("persistentvolumes", 403), ("replicasets", 500), ("networkpolicies", 403), ("jobs", 429)):
        standin.fault(method="GET", path=rf"/{plural}\?", status=status, times=None)
    snapshot = cluster.collect()
    assert sorted(snapshot.unreadable) == ["Job", "NetworkPolicy", "PersistentVolume", "ReplicaSet"]
    assert all(why.startswith("cannot list ") for why in snapshot.unreadable.values())
    assert [p.ref.name for p in snapshot.pods] == ["p"]
    assert snapshot.agent is not None


def test_a_group_whose_discovery_fails_is_not_taken_for_absent(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.fault(method="GET", path=r"/apis/networking.k8s.io/v1$", status=503, times=None)
    snapshot = cluster.collect()
    assert sorted(snapshot.unreadable) == ["Ingress", "IngressClass", "NetworkPolicy"]


def test_without_any_discovery_nothing_is_taken_for_absent(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.fault(method="GET", path=r"/apis$", status=403, times=None)
    snapshot = cluster.collect()
    assert snapshot.api_groups == frozenset()
    assert {"APIGroup", "CiliumNetworkPolicy", "CephCluster", "StorageClass"} <= snapshot.unreadable.keys()
    assert "Service" not in snapshot.unreadable


@pytest.mark.parametrize("plural", ["nodes", "pods", "daemonsets", "poddisruptionbudgets"])
def test_without_the_core_kinds_there_is_no_snapshot(standin: StandIn, cluster: KubernetesCluster, plural: str) -> None:
    standin.fault(method="GET", path=rf"/{plural}\?", status=403, times=None)
    with pytest.raises(NotPermitted, match=plural):
        cluster.collect()
    standin.running.call(standin.server.faults.clear)
    standin.fault(method="GET", path=rf"/{plural}\?", status=500, times=None)
    with pytest.raises(Unavailable):
        cluster.collect()


def test_the_agents_owner_and_operator(standin: StandIn, cluster: KubernetesCluster) -> None:
    daemonset, config = agent_objects()
    daemonset["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "Helm"
    daemonset["metadata"]["annotations"] = {"meta.helm.sh/release-name": "cilium"}
    daemonset["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    config["metadata"]["labels"] = {"argocd.argoproj.io/instance": "cni"}
    standin.seed(daemonset, config)
    assert (found := cluster.collect().agent) is not None
    assert found.labels["app.kubernetes.io/managed-by"] == "Helm"
    assert found.annotations["meta.helm.sh/release-name"] == "cilium"
    assert found.config_labels == {"argocd.argoproj.io/instance": "cni"}
    assert (found.max_unavailable, found.operator_ready) == ("2", None)
    labels = {"name": "cilium-operator"}
    operator = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "cilium-operator", "namespace": "kube-system"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "o", "image": "o"}]}},
        },
        "status": {"readyReplicas": 1},
    }
    standin.seed(operator)
    assert (again := cluster.collect().agent) is not None
    assert again.operator_ready == 1


def test_namespaces_and_workloads(standin: StandIn, cluster: KubernetesCluster) -> None:
    standin.seed(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "web", "labels": {"istio-injection": "enabled"}},
        },
        named("v1", "ReplicationController", "old", spec={"replicas": 3}, status={"readyReplicas": 3}),
        named("batch/v1", "Job", "once", spec={"parallelism": 2}, status={"ready": 1}),
    )
    snapshot = cluster.collect()
    assert snapshot.namespaces["web"]["istio-injection"] == "enabled"
    assert [(w.kind, w.name, w.replicas, w.ready) for w in snapshot.workloads] == [
        ("ReplicationController", "old", 3, 3),
        ("Job", "once", 2, 1),
    ]
