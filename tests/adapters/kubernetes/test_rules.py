"""Hard scheduling rules, requests, claims and workloads: from an API's bytes to values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.decode import (
    claim_value,
    daemonset_value,
    decode,
    node_value,
    place_of,
    pod_value,
    workload_value,
)
from rollout.domain.errors import Unavailable
from rollout.domain.node import Node, Pod
from rollout.domain.scheduling import (
    ANYWHERE,
    HostPort,
    LabelRequirement,
    LabelSelector,
    NodeTerm,
    PodTerm,
    SpreadTerm,
)
from tests.adapters.kubernetes.test_decode import pods, recorded

ZONE = "topology.kubernetes.io/zone"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod(name: str = "p", meta: dict[str, Any] | None = None, **spec: Any) -> Pod:
    body = {"metadata": {"name": name, "namespace": "ns", **(meta or {})}, "spec": spec}
    return pod_value(decode(msgspec.json.encode(body), docs.PodDoc, "pod"))


def node(**status: Any) -> Node:
    return node_value(decode(msgspec.json.encode({"metadata": {"name": "n"}, "status": status}), docs.NodeDoc, "node"))


# -- recorded objects ------------------------------------------------------------------------------------------------


def test_recorded_nodes_say_what_they_offer() -> None:
    body = msgspec.json.encode(msgspec.json.decode(recorded("nodes"))["items"][0])
    found = node_value(decode(body, docs.NodeDoc, "node"))
    assert (found.cpu_millis, found.memory_bytes, found.pod_slots, found.extra) == (2000, 2483376 * 1024, 110, ())
    assert (found.runtime, found.architecture) == ("containerd://2.1.9+unknown", "amd64")
    assert found.created == datetime(2026, 11, 23, 0, 49, 32, tzinfo=UTC)


def test_recorded_pods_of_one_template_share_their_rules() -> None:
    web = [p for p in pods().values() if p.ref.name.startswith("web-")]
    # Their spread is ScheduleAnyway, which keeps no pod from a node.
    assert all(p.scheduling is ANYWHERE for p in web)
    assert all(p.labels is web[0].labels for p in web)
    assert all(p.tolerations is web[0].tolerations for p in web)
    assert (web[0].grace_s, web[0].containers, web[0].claims) == (1, ("c",), ())
    agent = next(p for p in pods().values() if p.ref.name.startswith("cilium-"))
    assert agent.scheduling.priority == 2_000_001_000
    assert agent.containers[-1] == "cilium-agent"
    assert len(agent.containers) > 1


def test_recorded_daemonset_has_its_template() -> None:
    found = daemonset_value(decode(recorded("daemonset-cilium"), docs.DaemonSetDoc, "daemonset"))
    assert found.labels["k8s-app"] == "cilium"
    assert found.images == ("localhost/node:rig",)
    assert "cilium-agent" in found.containers


# -- rules -----------------------------------------------------------------------------------------------------------


def test_node_rules() -> None:
    terms = [
        {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["a", "b"]}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
    ]
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}, PREFERRED: [{"weight": 1, "preference": {}}]}}
    found = pod(nodeSelector={"disk": "ssd", "a": "b"}, affinity=affinity).scheduling
    assert found.node_selector == (("a", "b"), ("disk", "ssd"))
    assert found.node_terms == (
        NodeTerm((LabelRequirement(ZONE, "In", ("a", "b")),)),
        NodeTerm(fields=(LabelRequirement("metadata.name", "In", ("n1",)),)),
    )


def test_pod_affinity_keeps_hard_terms_only() -> None:
    term = {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["version"]}
    anti = {"topologyKey": "kubernetes.io/hostname", "namespaces": ["b", "a"], "namespaceSelector": {}}
    soft = {PREFERRED: [{"weight": 1, "podAffinityTerm": term}]}
    found = pod(affinity={"podAffinity": {REQUIRED: [term], **soft}, "podAntiAffinity": {REQUIRED: [anti], **soft}})
    selector = LabelSelector((("app", "web"),))
    assert found.scheduling.affinity == (PodTerm(ZONE, selector, match_label_keys=("version",)),)
    assert found.scheduling.anti_affinity == (PodTerm("kubernetes.io/hostname", None, ("a", "b"), LabelSelector()),)
    assert pod(affinity={"podAffinity": soft}).scheduling is ANYWHERE


def test_spread_keeps_hard_constraints_only_with_the_apis_defaults() -> None:
    plain = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}
    full = plain | {
        "maxSkew": 3, "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}, "minDomains": 2,
        "nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Honor", "matchLabelKeys": ["pod-template-hash"],
    }  # fmt: skip
    found = pod(topologySpreadConstraints=[plain, full, plain | {"whenUnsatisfiable": "ScheduleAnyway"}])
    assert found.scheduling.spread == (
        SpreadTerm(1, ZONE, None),
        SpreadTerm(
            3, ZONE, LabelSelector(expressions=(LabelRequirement("app", "Exists"),)), 2, honor_affinity=False,
            honor_taints=True, match_label_keys=("pod-template-hash",),
        ),
    )  # fmt: skip


def test_host_ports_scheduler_and_priority() -> None:
    ports = [{"containerPort": 80}, {"containerPort": 80, "hostPort": 80}, {"hostPort": 53, "protocol": "UDP"}]
    found = pod(
        containers=[{"name": "a", "ports": ports}, {"name": "b", "ports": [{"hostPort": 80, "hostIP": "10.0.0.1"}]}],
        schedulerName="mine",
        priority=7,
    ).scheduling
    assert found.host_ports == (HostPort("TCP", 80), HostPort("UDP", 53), HostPort("TCP", 80, "10.0.0.1"))
    assert (found.scheduler, found.priority) == ("mine", 7)


def test_equal_rules_are_one_value_however_they_are_written() -> None:
    one = pod(nodeSelector={"a": "1", "b": "2"})
    other = pod(nodeSelector={"b": "2", "a": "1"}, affinity={}, topologySpreadConstraints=[])
    assert one.scheduling is other.scheduling


def test_odd_rules_lose_their_nulls_and_broken_ones_name_the_pod() -> None:
    found = pod(meta={"labels": {"a": None, "b": "1"}}, nodeSelector={"a": None}, affinity={"nodeAffinity": None})
    assert (dict(found.labels), found.scheduling) == ({"b": "1"}, ANYWHERE)
    broken: tuple[dict[str, Any], ...] = (
        {"nodeSelector": 5}, {"affinity": []}, {"topologySpreadConstraints": {}}, {"tolerations": "x"},
    )  # fmt: skip
    for spec in broken:
        with pytest.raises(Unavailable, match="cannot read pod ns/bad: "):
            pod("bad", **spec)
    with pytest.raises(Unavailable, match="ns/bad"):
        pod("bad", {"labels": ["x"]})


# -- what a pod takes ------------------------------------------------------------------------------------------------


def test_other_resources_are_counted_like_cpu() -> None:
    gpu, disk = {"nvidia.com/gpu": "1"}, {"ephemeral-storage": "1Gi"}
    found = pod(
        containers=[{"name": "a", "resources": {"requests": gpu}}, {"name": "b", "resources": {"requests": disk}}],
        initContainers=[{"name": "i", "resources": {"requests": {"nvidia.com/gpu": "4", "example.com/none": "0"}}}],
    )
    assert found.extra == (("ephemeral-storage", str(2**30)), ("nvidia.com/gpu", "4"))
    assert found.containers == ("i", "a", "b")
    offered = node(
        allocatable={"cpu": "3920m", "memory": "1Ki", "pods": "58", "nvidia.com/gpu": "8", "hugepages-2Mi": "0"}
    )
    assert (offered.cpu_millis, offered.memory_bytes, offered.pod_slots) == (3920, 1024, 58)
    assert offered.extra == (("nvidia.com/gpu", "8"),)


def test_volumes_and_the_rest() -> None:
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "b", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "c", "emptyDir": {}},
        {"name": "d", "configMap": {"name": "x"}},
        {"name": "e", "emptyDir": None},
    ]
    found = pod("web-0", {"finalizers": ["example.com/wait"]}, volumes=volumes, terminationGracePeriodSeconds=0)
    assert (found.claims, found.empty_dir, found.grace_s) == (("data", "web-0-b"), True, 0)
    assert found.finalizers == ("example.com/wait",)
    assert not pod(volumes=volumes[-2:]).empty_dir
    assert pod().grace_s == 30


# -- volumes' places -------------------------------------------------------------------------------------------------


def place(labels: dict[str, str] | None = None, **spec: Any) -> Any:
    body = {"metadata": {"name": "pv", "labels": labels}, "spec": spec}
    return place_of(decode(msgspec.json.encode(body), docs.PersistentVolumeDoc, "pv"))


def test_a_claim_is_where_its_volume_is() -> None:
    row = {"key": ZONE, "operator": "In", "values": ["a"]}
    name, zonal = place(nodeAffinity={"required": {"nodeSelectorTerms": [{"matchExpressions": [row]}]}})
    claim = {
        "metadata": {"namespace": "ns", "name": "data-0"},
        "spec": {"volumeName": "pv", "storageClassName": "fast", "accessModes": ["ReadWriteOnce"]},
        "status": {"phase": "Bound"},
    }
    found = claim_value(decode(msgspec.json.encode(claim), docs.ClaimDoc, "claim"), {name: zonal})
    assert (found.namespace, found.name, found.phase, found.volume) == ("ns", "data-0", "Bound", "pv")
    assert (found.storage_class, found.access_modes, found.local) == ("fast", ("ReadWriteOnce",), False)
    assert found.node_terms == (NodeTerm((LabelRequirement(ZONE, "In", ("a",)),)),)
    unbound = claim_value(decode(b'{"metadata":{"name":"x"}}', docs.ClaimDoc, "claim"), {name: zonal})
    assert (unbound.node_terms, unbound.phase) == ((), "")


def test_old_zone_labels_bind_too_and_local_disks_are_told() -> None:
    old = {"failure-domain.beta.kubernetes.io/zone": "a__b", ZONE: "a__b"}
    rows = (LabelRequirement(ZONE, "In", ("a", "b")),)
    assert place(old)[1].terms == (NodeTerm(rows),)
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}
    both = place(old, nodeAffinity={"required": {"nodeSelectorTerms": [here]}}, local={"path": "/mnt"})[1]
    assert both.local
    assert both.terms[0].matches("n1", {"kubernetes.io/hostname": "n1", ZONE: "b"})
    assert not both.terms[0].matches("n1", {"kubernetes.io/hostname": "n1", ZONE: "c"})
    assert place(hostPath={"path": "/data"})[1].local
    assert not place(nfs={}, local=None)[1].local


def test_workloads() -> None:
    owner = {"kind": "Deployment", "name": "web", "controller": True}
    body = {
        "metadata": {"namespace": "ns", "name": "web-1", "uid": "u", "ownerReferences": [owner]},
        "spec": {"replicas": 0, "parallelism": 3},
        "status": {"readyReplicas": 2, "ready": 1},
    }
    doc = decode(msgspec.json.encode(body), docs.WorkloadDoc, "workload")
    found = workload_value("ReplicaSet", doc)
    assert (found.replicas, found.ready, found.owner_kind, found.owner_name) == (0, 2, "Deployment", "web")
    assert (workload_value("Job", doc).replicas, workload_value("Job", doc).ready) == (3, 1)
    bare = workload_value("StatefulSet", decode(b"{}", docs.WorkloadDoc, "workload"))
    assert (bare.replicas, bare.ready) == (1, 0)
