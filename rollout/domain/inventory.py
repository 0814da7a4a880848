"""One immutable snapshot of the cluster: what a plan is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from rollout.domain.budgets import BudgetIndex
from rollout.domain.fleet import OtherObject, VolumeClaim, Workload
from rollout.domain.node import DaemonSet, Node, Pod, PodDisruptionBudget
from rollout.domain.scheduling import LabelRequirement, selector_matches


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """Which cluster this is. The uid is that of the namespace kube-system: it outlives names and addresses."""

    uid: str
    context: str
    server: str
    version: str


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """A CiliumNodeConfig: settings for the nodes its selector matches. A missing selector matches none."""

    namespace: str
    name: str
    uid: str
    has_selector: bool
    match_labels: Mapping[str, str]
    match_expressions: tuple[LabelRequirement, ...]
    defaults: Mapping[str, str]

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a node with `labels` gets these settings (cilium-netkit.md 3)."""
        return self.has_selector and selector_matches(self.match_labels, self.match_expressions, labels)


@dataclass(frozen=True, slots=True)
class AgentInstall:
    """How the agent is installed: its DaemonSet, ConfigMap and the per-node settings machinery."""

    namespace: str
    daemonset: str
    daemonset_uid: str
    generation: int
    image: str
    update_strategy: str
    desired: int
    ready: int
    config: Mapping[str, str]
    merges_node_configs: bool
    """An init container runs `build-config`; without it CiliumNodeConfigs have no effect (kops 17269)."""
    allow_keys: tuple[str, ...] = ()
    deny_keys: tuple[str, ...] = ()
    config_args: tuple[str, ...] = ()
    """Command, arguments and environment that set options directly and beat every ConfigMap."""
    checksum_annotation: bool = False
    selector: Mapping[str, str] = field(default_factory=dict)
    config_resource_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the DaemonSet itself: they tell who owns it (Helm, Argo CD, Flux, an add-on manager)."""
    config_labels: Mapping[str, str] = field(default_factory=dict)
    config_annotations: Mapping[str, str] = field(default_factory=dict)
    """Of the agent's ConfigMap."""
    operator_ready: int | None = None
    """Ready pods of the operator's Deployment; None when it was not found."""
    max_unavailable: str = ""
    """Of the DaemonSet's rolling update."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a probe returned on one node, unjudged. `error` is set, and `document` empty, when it could not be read.

    `code` says what kind of error it was, e.g. `bpf-unavailable`; empty when the run itself failed.
    """

    node: str
    probe: str
    at: datetime
    document: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    code: str = ""

    @property
    def readable(self) -> bool:
        """Whether there is a document to judge."""
        return not self.error


@dataclass(frozen=True)  # no slots: indexes are kept, since planning asks for them for every node
class ClusterSnapshot:
    """What the Kubernetes API alone tells, read once."""

    identity: ClusterIdentity
    taken_at: datetime
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    daemonsets: tuple[DaemonSet, ...]
    budgets: tuple[PodDisruptionBudget, ...]
    agent: AgentInstall | None
    node_configs: tuple[NodeConfig, ...]
    node_config_version: str
    """Served version of CiliumNodeConfig: v2, v2alpha1, or empty when the kind is not served."""
    endpoint_owners: Mapping[str, int] = field(default_factory=dict)
    """CiliumEndpoints per node address (`status.networking.node`)."""
    workloads: tuple[Workload, ...] = ()
    claims: tuple[VolumeClaim, ...] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels by namespace."""
    other: tuple[OtherObject, ...] = ()
    api_groups: frozenset[str] = frozenset()
    """API groups that are served: which operators and meshes are installed."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """Kinds that could not be listed, with why. A kind that is not served is merely absent."""
    requests: Mapping[str, int] = field(default_factory=dict)
    """Requests it took to read this snapshot, by `VERB resource`."""

    @cached_property
    def pods_by_node(self) -> Mapping[str, tuple[Pod, ...]]:
        """Pods bound to each node, in name order."""
        found: dict[str, list[Pod]] = {}
        for pod in self.pods:
            if pod.node:
                found.setdefault(pod.node, []).append(pod)
        return {node: tuple(sorted(pods, key=lambda p: p.ref)) for node, pods in found.items()}

    @cached_property
    def nodes_by_name(self) -> Mapping[str, Node]:
        """Every node by its name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def workloads_by_uid(self) -> Mapping[str, Workload]:
        """Every workload by its UID, which a pod names as its owner's."""
        return {workload.uid: workload for workload in self.workloads}

    @cached_property
    def budget_index(self) -> BudgetIndex:
        """Which budgets bound evictions of a pod, without walking through all of them."""
        return BudgetIndex(self.budgets)

    def of_kind(self, *kinds: str) -> tuple[OtherObject, ...]:
        """Other objects of these kinds, in the order read."""
        return tuple(one for one in self.other if one.kind in kinds)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Cluster snapshot plus what was observed on the nodes themselves."""

    cluster: ClusterSnapshot
    observations: Mapping[str, Mapping[str, Observation]]
    """By node name, then probe name. A node that could not be read has observations with `error`."""

    def observation(self, node: str, probe: str) -> Observation | None:
        """The observation of one probe on one node, None when it was never tried."""
        return self.observations.get(node, {}).get(probe)

    def pods_on(self, node: str) -> tuple[Pod, ...]:
        """Pods bound to a node, in name order."""
        return self.cluster.pods_by_node.get(node, ())


def effective_config(
    agent: AgentInstall, node_configs: tuple[NodeConfig, ...], labels: Mapping[str, str]
) -> dict[str, str]:
    """Merge the ConfigMap and every CiliumNodeConfig that selects `labels`, in name order, the last one wins.

    Per-node settings win over the ConfigMap in the versions seen (real-cluster.md 1); keys outside the allow list or
    inside the deny list are dropped, the allow list first (cilium-netkit.md 3).
    """
    merged = dict(agent.config)
    if not agent.merges_node_configs:
        return merged
    for config in sorted(node_configs, key=lambda c: c.name):
        if config.namespace != agent.namespace or not config.selects(labels):
            continue
        merged.update({k: v for k, v in config.defaults.items() if overridable(agent, k)})
    return merged


def overridable(agent: AgentInstall, key: str) -> bool:
    """Whether a per-node setting may replace `key` on this install."""
    if agent.allow_keys:
        return key in agent.allow_keys
    return key not in agent.deny_keys
