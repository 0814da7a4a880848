"""Literal values for tests: small, complete, with only what a test speaks of spelled out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rollout.domain.inventory import AgentInstall, ClusterIdentity, ClusterSnapshot, Inventory, NodeConfig, Observation
from rollout.domain.node import Node, Pod, PodDisruptionBudget, PodRef, Toleration
from rollout.domain.plan import Plan
from rollout.domain.policy import Policy
from rollout.planning.planner import PlanRequest, make_plan
from tests.fakes.observer import host_document

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AGENT_UID = "ds-cilium"


def at(seconds: float) -> datetime:
    """A moment after NOW."""
    return NOW + timedelta(seconds=seconds)


def node(name: str, **more: Any) -> Node:
    values: dict[str, Any] = {
        "uid": f"uid-{name}",
        "ready": True,
        "unschedulable": False,
        "kernel": "6.12.107-cloud-amd64",
        "boot_id": f"boot-{name}-1",
        "internal_ip": "192.168.77.11",
        "labels": {"kubernetes.io/hostname": name},
    }
    return Node(name=name, **(values | more))


def pod(name: str, on: str, **more: Any) -> Pod:
    values: dict[str, Any] = {
        "phase": "Running",
        "ready": True,
        "terminating": False,
        "host_network": False,
        "owner_kind": "ReplicaSet",
        "owner_name": "web-1",
        "owner_uid": "rs-web-1",
        "labels": {"app": "web"},
    }
    ref = PodRef(more.pop("namespace", "default"), name, more.pop("uid", f"uid-{name}"))
    return Pod(ref=ref, node=on, **(values | more))


def daemon_pod(name: str, on: str, **more: Any) -> Pod:
    return pod(
        name, on, **({"owner_kind": "DaemonSet", "owner_name": "logd", "owner_uid": "ds-logd", "labels": {}} | more)
    )


def agent_pod(on: str, uid: str = "") -> Pod:
    return pod(
        f"cilium-{on}",
        on,
        namespace="kube-system",
        uid=uid or f"agent-{on}-1",
        host_network=True,
        owner_kind="DaemonSet",
        owner_name="cilium",
        owner_uid=AGENT_UID,
        labels={"k8s-app": "cilium"},
        tolerations=(Toleration("", "Exists"),),
    )


def budget(name: str, allowed: int = 1, **more: Any) -> PodDisruptionBudget:
    values: dict[str, Any] = {
        "namespace": "default",
        "uid": f"pdb-{name}",
        "match_labels": {"app": "web"},
        "match_expressions": (),
        "disruptions_allowed": allowed,
        "current_healthy": 4,
        "desired_healthy": 3,
        "expected_pods": 4,
        "max_unavailable": "1",
    }
    return PodDisruptionBudget(name=name, **(values | more))


def agent_install(**more: Any) -> AgentInstall:
    values: dict[str, Any] = {
        "namespace": "kube-system",
        "daemonset": "cilium",
        "daemonset_uid": AGENT_UID,
        "generation": 1,
        "image": "quay.io/cilium/cilium:v1.21.0",
        "update_strategy": "RollingUpdate",
        "desired": 2,
        "ready": 2,
        "config": {"datapath-mode": "veth", "kube-proxy-replacement": "true", "enable-bpf-masquerade": "true"},
        "merges_node_configs": True,
    }
    return AgentInstall(**(values | more))


def links_document(kind: str = "veth", count: int = 2) -> dict[str, Any]:
    rows = [{"name": f"lxc{i:012x}", "ifindex": 10 + i, "kind": kind, "up": True} for i in range(count)]
    return {
        "schema": 1,
        "probe": "links",
        "links": [*rows, {"name": "lxc_health", "kind": kind, "up": True, "health": True}],
    }


def agent_document(mode: str = "veth", **more: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "probe": "agent",
        "agent": "up",
        "datapath-mode": mode,
        "configured-datapath-mode": mode,
        "attach-mode": "tcx",
        "intra-host-routing-mode": "BPF",
        "masquerading-mode": "BPF",
        "kube-proxy-replacement-mode": "True",
        "encryption-mode": "Disabled",
        "cni-chaining-mode": "none",
        "host-firewall-mode": "Disabled",
        "settings": {
            "DatapathMode": mode,
            "EnableBPFTProxy": False,
            "EnableEndpointRoutes": False,
            "BPFSocketLBHostnsOnly": False,
            "RoutingMode": "native",
            "IPAM": "kubernetes",
            "NodePortAcceleration": "disabled",
        },
        "controllers-failing": 0,
        "endpoints": [{"id": 1, "state": "ready", "interface-name": "lxc000000000000"}],
    } | more


def capability_document(modes: tuple[str, ...] = ("netkit", "netkit-l2"), *, scrub: bool = True) -> dict[str, Any]:
    return {"schema": 1, "probe": "capability", "modes": list(modes), "scrub": scrub, "error": ""}


def seen(name: str, mode: str = "veth", kind: str | None = None) -> dict[str, Observation]:
    """Observations of a sound node."""
    link_kind = kind or {"veth": "veth", "netkit": "netkit/l3", "netkit-l2": "netkit/l2"}[mode]
    documents = {
        "links": links_document(link_kind),
        "agent": agent_document(mode),
        "capability": capability_document(),
        "host": host_document(),
    }
    return {probe: Observation(name, probe, NOW, document) for probe, document in documents.items()}


def snapshot(nodes: tuple[Node, ...], pods: tuple[Pod, ...] = (), **more: Any) -> ClusterSnapshot:
    values: dict[str, Any] = {
        "identity": ClusterIdentity("cluster-1", "lab", "https://127.0.0.1:6443", "v1.36.2"),
        "taken_at": NOW,
        "daemonsets": (),
        "budgets": (),
        "agent": agent_install(desired=len(nodes), ready=len(nodes)),
        "node_configs": (),
        "node_config_version": "v2",
    }
    return ClusterSnapshot(nodes=nodes, pods=pods, **(values | more))


def inventory(
    nodes: tuple[Node, ...],
    pods: tuple[Pod, ...] = (),
    observations: Mapping[str, Mapping[str, Observation]] | None = None,
    **more: Any,
) -> Inventory:
    return Inventory(snapshot(nodes, pods, **more), observations or {n.name: seen(n.name) for n in nodes})


def node_config(name: str, defaults: Mapping[str, str], **more: Any) -> NodeConfig:
    values: dict[str, Any] = {
        "namespace": "kube-system",
        "uid": f"cnc-{name}",
        "has_selector": True,
        "match_labels": {},
        "match_expressions": (),
    }
    return NodeConfig(name=name, defaults=defaults, **(values | more))


def plan_of(names: tuple[str, ...], policy: Policy, **more: Any) -> Plan:
    """A sound plan over nodes without pods, except one agent each."""
    nodes = tuple(node(n) for n in names)
    pods = tuple(agent_pod(n) for n in names)
    return make_plan(inventory(nodes, pods), policy, PlanRequest(serial=1, program="test", **more))


def with_policy(plan: Plan, **more: Any) -> Plan:
    return replace(plan, policy=replace(plan.policy, **more))
