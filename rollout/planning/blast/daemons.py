"""DaemonSets on the host network that our NoExecute taint sends away although nothing asks them to go.

They have no endpoint, so the switch does not need them gone; but a taint does not tell. What a node goes without while
it is evacuated is said per DaemonSet. Kubernetes gives DaemonSet pods tolerations for its own taints only (not-ready,
unreachable, pressure, unschedulable), never for ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rollout.domain.inventory import Inventory
from rollout.domain.node import TAINT_EVACUATE, DaemonSet, Pod, Toleration
from rollout.domain.plan import NodePlan, SelectionChange
from rollout.domain.step import StepKind
from rollout.planning.blast.writes import change
from rollout.planning.drain import evacuation_taint

OUR_TAINT = f"taint {TAINT_EVACUATE}:NoExecute"
_TAINT = evacuation_taint("any")


@dataclass(frozen=True, slots=True)
class Role:
    """What a DaemonSet is for, told by words in its name, images or container names."""

    words: tuple[str, ...]
    consequence: str


_AGENT = "it is the agent itself: without a toleration for our taint no node can be moved; add one (operator: Exists)"
_ROLES = (
    Role(("kube-proxy",), "Services are no longer kept up to date on the node while it is evacuated"),
    Role(
        ("csi", "node-driver-registrar", "longhorn", "openebs", "portworx", "rook-ceph"),
        "volumes cannot be mounted or unmounted on the node while it is evacuated: a pod that leaves late hangs",
    ),
    Role(("node-local-dns", "nodelocaldns"), "the node's local DNS cache is gone while it is evacuated"),
    Role(
        ("kube-vip", "metallb", "keepalived", "speaker", "frr"),
        "addresses that the node announces move to other nodes while it is evacuated",
    ),
    Role(
        ("ingress", "gateway", "traefik", "haproxy", "envoy", "nginx"),
        "the node takes no traffic from outside while it is evacuated: load balancers must see that",
    ),
    Role(
        ("node-exporter", "nodeexporter", "datadog", "telegraf", "otel", "opentelemetry", "alloy", "prometheus"),
        "the node is not monitored while it is evacuated: alerts on missing metrics fire",
    ),
    Role(
        ("fluent", "promtail", "vector", "filebeat", "logging", "logd"),
        "logs of the node are not shipped while it is evacuated",
    ),
    Role(
        ("falco", "tetragon", "tracee", "kubearmor", "sysdig", "crowdstrike", "wiz"),
        "the node runs without its security monitor while it is evacuated",
    ),
    Role(
        ("device-plugin", "nvidia", "gpu", "sriov"),
        "the node offers no such devices until the plugin is back: pods that need them wait",
    ),
    Role(("kured", "node-problem-detector", "node-termination-handler"), "nobody watches the node meanwhile"),
    Role(("cloud-node-manager", "cloud-controller"), "the cloud's facts about the node grow old meanwhile"),
)  # fmt: skip
_OTHER = "it is away while the node is evacuated"
_BACK = "; its controller brings it back when the taint goes"


def host_network_changes(inventory: Inventory, nodes: Sequence[NodePlan]) -> Iterator[SelectionChange]:
    """By DaemonSet: nodes of the plan that its host-network pods leave while the taint is there."""
    known = {(one.namespace, one.name): one for one in inventory.cluster.daemonsets}
    agent = inventory.cluster.agent
    tolerates: dict[tuple[Toleration, ...], bool] = {}
    leaving: dict[tuple[str, str], list[str]] = {}
    for plan in nodes:
        if not any(step.kind is StepKind.EVACUATE for step in plan.steps):
            continue
        for pod in inventory.pods_on(plan.name):
            if _on_the_host(pod) and not _stays(pod, tolerates):
                leaving.setdefault((pod.ref.namespace, pod.owner_name), []).append(plan.name)
    for (namespace, name), names in sorted(leaving.items()):
        is_agent = agent is not None and (namespace, name) == (agent.namespace, agent.daemonset)
        told = _AGENT if is_agent else consequence_of(name, known.get((namespace, name))) + _BACK
        yield change("DaemonSet", namespace, name, cause=OUR_TAINT, consequence=told, loses=sorted(set(names)))


def consequence_of(name: str, daemonset: DaemonSet | None) -> str:
    """What a node goes without while a DaemonSet's pod is away."""
    parts = (daemonset.images + daemonset.containers) if daemonset else ()
    text = " ".join((name, *parts)).lower()
    return next((role.consequence for role in _ROLES if any(word in text for word in role.words)), _OTHER)


def _on_the_host(pod: Pod) -> bool:
    return pod.host_network and pod.owner_kind == "DaemonSet" and not pod.finished and not pod.is_probe


def _stays(pod: Pod, known: dict[tuple[Toleration, ...], bool]) -> bool:
    if pod.tolerations not in known:
        known[pod.tolerations] = pod.tolerates(_TAINT)
    return known[pod.tolerations]
