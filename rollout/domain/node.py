"""Nodes, pods, links: what a cluster is made of, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from rollout.domain.scheduling import ANYWHERE, LabelRequirement, Labels, Scheduling, selector_matches

LABEL_MODE = "netkit-rollout.io/datapath-mode"
"""Our node label; the value is the datapath mode, and our CiliumNodeConfig selects on it."""

TAINT_EVACUATE = "netkit-rollout.io/evacuate"
"""Key of our NoExecute taint. Its value is the rollout's id."""

TAINT_WAITING = "netkit-rollout.io/waiting"
"""Key of our PreferNoSchedule taint on nodes still to do, so that evicted pods land on finished ones. Its value is the
rollout's id."""

ANNOTATION_ROLLOUT = "netkit-rollout.io/rollout"
ANNOTATION_PLAN = "netkit-rollout.io/plan"
ANNOTATION_PRIOR = "netkit-rollout.io/prior"
"""What we found before we touched the node, as JSON: enough to rebuild a lost state file."""

LABEL_PROBE = "netkit-rollout.io/probe"
"""Label of our probe pods; the value is the pod's role."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "netkit-rollout"
"""What our own objects carry under `LABEL_MANAGED_BY`."""

NODE_CONFIG_NAME = "zz-netkit-rollout"
"""Name of our CiliumNodeConfig. Objects are merged in name order and the last wins (cilium-netkit.md 3)."""

_DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def is_object_name(name: str) -> bool:
    """Whether `name` is a valid Kubernetes object name (DNS subdomain, at most 253 characters)."""
    return _DNS_NAME.fullmatch(name) is not None


class DatapathMode(Enum):
    """Cilium's spelling. `auto` occurs as a configured mode only; it settles on veth or netkit."""

    VETH = "veth"
    NETKIT = "netkit"
    NETKIT_L2 = "netkit-l2"
    AUTO = "auto"


class LinkKind(Enum):
    """Kernel type of an endpoint's host link; netkit is told apart by its L2 or L3 mode."""

    VETH = "veth"
    NETKIT_L3 = "netkit/l3"
    NETKIT_L2 = "netkit/l2"
    OTHER = "other"


LINK_KIND_OF: Mapping[DatapathMode, LinkKind] = {
    DatapathMode.VETH: LinkKind.VETH,
    DatapathMode.NETKIT: LinkKind.NETKIT_L3,
    DatapathMode.NETKIT_L2: LinkKind.NETKIT_L2,
}


class Method(Enum):
    """How a node's agent is brought up in the new mode."""

    RESTART = "restart"
    REBOOT = "reboot"
    REPLACE = "replace"
    """Not at all: the node is emptied and its pool puts another in its place, which starts in the new mode."""


@dataclass(frozen=True, slots=True)
class Taint:
    """A node taint."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Toleration:
    """A pod toleration; an empty key with operator Exists tolerates everything."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        """Kubernetes' rule: effect matches or is empty, then key and operator."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.operator == "Exists":
            return not self.key or self.key == taint.key
        return self.key == taint.key and self.value == taint.value


@dataclass(frozen=True, slots=True)
class Node:
    """A Kubernetes Node, reduced to what decisions need. `ready` None: the kubelet's state is unknown."""

    name: str
    uid: str
    ready: bool | None
    unschedulable: bool
    kernel: str
    boot_id: str
    internal_ip: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    resource_version: str = ""
    os_image: str = ""
    zone: str = ""
    cpu_millis: int = 0
    """Allocatable, in thousandths of a core; 0 with `pod_slots` 0: not told."""
    memory_bytes: int = 0
    pod_slots: int = 0
    extra: Labels = ()
    """Other allocatable resources (GPUs, huge pages, ephemeral storage), as plain whole numbers in text."""
    provider_id: str = ""
    runtime: str = ""
    """Container runtime and version, e.g. containerd://2.1.4."""
    architecture: str = ""
    created: datetime | None = None


@dataclass(frozen=True, slots=True, order=True)
class PodRef:
    """One incarnation of a pod: names are reused, UIDs are not."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, reduced to what decisions need."""

    ref: PodRef
    node: str
    phase: str
    ready: bool
    terminating: bool
    host_network: bool
    owner_kind: str = ""
    owner_name: str = ""
    owner_uid: str = ""
    mirror: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    empty_dir: bool = False
    """Has an emptyDir volume: its data ends with the pod."""
    runtime_class: str = ""
    restarts: int = 0
    waiting: str = ""
    """Reason of the first waiting container, e.g. CrashLoopBackOff; empty when none waits."""
    deletion_at: datetime | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    ip: str = ""
    cpu_millis: int = 0
    memory_bytes: int = 0
    extra: Labels = ()
    """Requests of other resources, as `Node.extra`."""
    scheduling: Scheduling = ANYWHERE
    claims: tuple[str, ...] = ()
    """PersistentVolumeClaims of its own namespace that it mounts."""
    grace_s: int = 30
    finalizers: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    """Names of its init and main containers, in order."""

    @property
    def finished(self) -> bool:
        """Succeeded or Failed: its sandbox is usually gone and it needs no eviction."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def is_probe(self) -> bool:
        """One of our own probe pods, left over or at work."""
        return LABEL_PROBE in self.labels and self.labels.get(LABEL_MANAGED_BY) == MANAGER

    @property
    def on_pod_network(self) -> bool:
        """Has an endpoint of its own, hence a host link of the node's datapath mode."""
        return not self.host_network and not self.finished

    def tolerates(self, taint: Taint) -> bool:
        """Whether the pod may stay in spite of `taint`."""
        return any(t.tolerates(taint) for t in self.tolerations)


@dataclass(frozen=True, slots=True)
class PodDisruptionBudget:
    """A PDB with the status the disruption controller gave it."""

    namespace: str
    name: str
    uid: str
    match_labels: Mapping[str, str]
    match_expressions: tuple[LabelRequirement, ...]
    disruptions_allowed: int
    current_healthy: int
    desired_healthy: int
    expected_pods: int
    min_available: str = ""
    max_unavailable: str = ""
    observed: bool = True
    selects_all: bool = False
    """An empty selector `{}` (policy/v1: every pod of the namespace); a missing one selects none."""
    evicts_unready: bool = False
    """unhealthyPodEvictionPolicy AlwaysAllow: pods that are not Ready may go whatever is left of the budget."""

    def matches(self, pod: Pod) -> bool:
        """Whether this budget bounds evictions of `pod`."""
        if pod.ref.namespace != self.namespace:
            return False
        if not self.match_labels and not self.match_expressions:
            return self.selects_all
        return selector_matches(self.match_labels, self.match_expressions, pod.labels)


@dataclass(frozen=True, slots=True)
class DaemonSet:
    """A DaemonSet; `pod_network` when its pods have endpoints of their own."""

    namespace: str
    name: str
    uid: str
    pod_network: bool
    desired: int
    ready: int
    tolerations: tuple[Toleration, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    scheduling: Scheduling = ANYWHERE
    """Of its pod template."""


@dataclass(frozen=True, slots=True)
class OwnerMark:
    """What we write beside every change of ours on a node, so that only ours is taken back."""

    rollout: str
    plan: str
    """First 12 characters of the plan's digest."""
    prior_unschedulable: bool = False
    supersedes: str = ""
    """Another rollout whose mark on a node may be replaced by ours: the one a rollback takes back."""
