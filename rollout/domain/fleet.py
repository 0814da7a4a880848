"""Objects of a cluster that say what a plan may do, beside nodes, pods and the agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollout.domain.scheduling import LabelSelector, NodeTerm


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, ReplicaSet, StatefulSet, ReplicationController or Job: who replaces a pod."""

    kind: str
    namespace: str
    name: str
    uid: str
    replicas: int
    ready: int
    owner_kind: str = ""
    owner_name: str = ""
    """Its own controller, e.g. the Deployment of a ReplicaSet."""


@dataclass(frozen=True, slots=True)
class VolumeClaim:
    """A PersistentVolumeClaim with the place its volume binds it to."""

    namespace: str
    name: str
    phase: str
    volume: str = ""
    storage_class: str = ""
    access_modes: tuple[str, ...] = ()
    node_terms: tuple[NodeTerm, ...] = ()
    """The volume's required node affinity: zonal and local volumes. Empty: reachable from everywhere."""
    local: bool = False
    """The data is on one node's disk (local, hostPath)."""


@dataclass(frozen=True, slots=True)
class OtherObject:
    """An object of a kind that few rules look at, reduced to what they look at.

    Kinds: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, NetworkPolicy, CiliumBGPPeeringPolicy,
    CiliumBGPClusterConfig, CiliumEgressGatewayPolicy, CiliumL2AnnouncementPolicy, Ingress, IngressClass, Gateway,
    GatewayClass, RuntimeClass, NetworkAttachmentDefinition, VirtualMachineInstance, StorageClass, MachineDeployment,
    Machine, NodePool, NodeClaim, CephCluster and the like; the list is that of the cluster adapter.
    """

    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    selector: LabelSelector | None = None
    """The nodes or pods it speaks of; None when it has no such selector. `selects` says which."""
    selects: str = ""
    """`nodes`, `pods`, or empty."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What else rules ask, e.g. `l7`: `http,dns`; `class`: `cilium`; `handler`: `kata`; `health`: `HEALTH_OK`."""
