"""The parts of Kubernetes objects that we read, as msgspec structs: fields not named here are never built.

Every field may be missing or null, whatever the API promises: one odd object must not hide five thousand others.
The structs are outside the cyclic garbage collector (`gc=False`); they hold no cycles.
"""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

Texts = dict[str, str]
T = TypeVar("T")


class _Doc(msgspec.Struct, gc=False):
    """Base: partial, never changed after decoding."""


class OwnerDoc(_Doc):
    """One owner reference."""

    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None


class MetaDoc(_Doc):
    """Object metadata. managedFields are left out on purpose: they are half of a large list."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None
    generation: int | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: datetime | None = None
    labels: Texts | None = None
    annotations: Texts | None = None
    ownerReferences: list[OwnerDoc] | None = None


NO_META = MetaDoc()


class ConditionDoc(_Doc):
    """One status condition."""

    type: str | None = None
    status: str | None = None


class TaintDoc(_Doc):
    """A node taint."""

    key: str | None = None
    value: str | None = None
    effect: str | None = None


class NodeSpecDoc(_Doc):
    """Node.spec."""

    unschedulable: bool | None = None
    taints: list[TaintDoc] | None = None


class AddressDoc(_Doc):
    """A node address."""

    type: str | None = None
    address: str | None = None


class NodeInfoDoc(_Doc):
    """Node.status.nodeInfo."""

    kernelVersion: str | None = None
    bootID: str | None = None
    osImage: str | None = None


class NodeStatusDoc(_Doc):
    """Node.status."""

    conditions: list[ConditionDoc] | None = None
    addresses: list[AddressDoc] | None = None
    nodeInfo: NodeInfoDoc | None = None


class NodeDoc(_Doc):
    """A Node."""

    metadata: MetaDoc | None = None
    spec: NodeSpecDoc | None = None
    status: NodeStatusDoc | None = None


class TolerationDoc(_Doc):
    """A pod toleration."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None


class ResourcesDoc(_Doc):
    """Resource requests; quantities are strings, older writers left numbers."""

    requests: dict[str, str | int | float] | None = None


class EnvDoc(_Doc):
    """An environment variable."""

    name: str | None = None
    value: str | None = None
    valueFrom: dict[str, Any] | None = None


class ContainerDoc(_Doc):
    """A container of a pod."""

    name: str | None = None
    resources: ResourcesDoc | None = None
    restartPolicy: str | None = None


class VolumeDoc(_Doc):
    """A volume; only whether it is an emptyDir matters."""

    emptyDir: dict[str, Any] | None = None


class PodSpecDoc(_Doc):
    """Pod.spec."""

    nodeName: str | None = None
    hostNetwork: bool | None = None
    runtimeClassName: str | None = None
    tolerations: list[TolerationDoc] | None = None
    volumes: list[VolumeDoc] | None = None
    containers: list[ContainerDoc] | None = None
    initContainers: list[ContainerDoc] | None = None
    resources: ResourcesDoc | None = None
    overhead: dict[str, str | int | float] | None = None


class WaitingDoc(_Doc):
    """Why a container waits."""

    reason: str | None = None


class StateDoc(_Doc):
    """A container's state."""

    waiting: WaitingDoc | None = None


class ContainerStatusDoc(_Doc):
    """Status of one container."""

    restartCount: int | None = None
    state: StateDoc | None = None


class PodStatusDoc(_Doc):
    """Pod.status."""

    phase: str | None = None
    podIP: str | None = None
    conditions: list[ConditionDoc] | None = None
    containerStatuses: list[ContainerStatusDoc] | None = None
    initContainerStatuses: list[ContainerStatusDoc] | None = None


class PodDoc(_Doc):
    """A Pod."""

    metadata: MetaDoc | None = None
    spec: PodSpecDoc | None = None
    status: PodStatusDoc | None = None


class RequirementDoc(_Doc):
    """One matchExpressions row."""

    key: str | None = None
    operator: str | None = None
    values: list[str] | None = None


class SelectorDoc(_Doc):
    """A label selector."""

    matchLabels: Texts | None = None
    matchExpressions: list[RequirementDoc] | None = None


class BudgetSpecDoc(_Doc):
    """PodDisruptionBudget.spec."""

    selector: SelectorDoc | None = None
    minAvailable: int | str | None = None
    maxUnavailable: int | str | None = None


class BudgetStatusDoc(_Doc):
    """PodDisruptionBudget.status."""

    disruptionsAllowed: int | None = None
    currentHealthy: int | None = None
    desiredHealthy: int | None = None
    expectedPods: int | None = None
    observedGeneration: int | None = None


class BudgetDoc(_Doc):
    """A PodDisruptionBudget."""

    metadata: MetaDoc | None = None
    spec: BudgetSpecDoc | None = None
    status: BudgetStatusDoc | None = None


class AgentContainerDoc(_Doc):
    """A container of the agent's DaemonSet, with all that can set options."""

    name: str | None = None
    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvDoc] | None = None


class TemplateSpecDoc(_Doc):
    """DaemonSet.spec.template.spec."""

    hostNetwork: bool | None = None
    tolerations: list[TolerationDoc] | None = None
    containers: list[AgentContainerDoc] | None = None
    initContainers: list[AgentContainerDoc] | None = None


class TemplateDoc(_Doc):
    """DaemonSet.spec.template."""

    metadata: MetaDoc | None = None
    spec: TemplateSpecDoc | None = None


class UpdateStrategyDoc(_Doc):
    """DaemonSet.spec.updateStrategy."""

    type: str | None = None


class DaemonSetSpecDoc(_Doc):
    """DaemonSet.spec."""

    selector: SelectorDoc | None = None
    template: TemplateDoc | None = None
    updateStrategy: UpdateStrategyDoc | None = None


class DaemonSetStatusDoc(_Doc):
    """DaemonSet.status."""

    desiredNumberScheduled: int | None = None
    numberReady: int | None = None


class DaemonSetDoc(_Doc):
    """A DaemonSet."""

    metadata: MetaDoc | None = None
    spec: DaemonSetSpecDoc | None = None
    status: DaemonSetStatusDoc | None = None


class NodeConfigSpecDoc(_Doc):
    """CiliumNodeConfig.spec. A missing selector selects nothing, an empty one every node."""

    nodeSelector: SelectorDoc | None = None
    defaults: Texts | None = None


class NodeConfigDoc(_Doc):
    """A CiliumNodeConfig."""

    metadata: MetaDoc | None = None
    spec: NodeConfigSpecDoc | None = None


class NetworkingDoc(_Doc):
    """CiliumEndpoint.status.networking."""

    node: str | None = None


class EndpointStatusDoc(_Doc):
    """CiliumEndpoint.status."""

    networking: NetworkingDoc | None = None


class EndpointDoc(_Doc):
    """A CiliumEndpoint."""

    status: EndpointStatusDoc | None = None


class ConfigMapDoc(_Doc):
    """A ConfigMap."""

    metadata: MetaDoc | None = None
    data: Texts | None = None


class LeaseSpecDoc(_Doc):
    """Lease.spec."""

    holderIdentity: str | None = None
    leaseDurationSeconds: int | None = None
    renewTime: datetime | None = None
    acquireTime: datetime | None = None
    leaseTransitions: int | None = None


class LeaseDoc(_Doc):
    """A Lease."""

    metadata: MetaDoc | None = None
    spec: LeaseSpecDoc | None = None


class MetaOnlyDoc(_Doc):
    """Any object, its metadata only."""

    metadata: MetaDoc | None = None


class VersionDoc(_Doc):
    """The answer of /version."""

    gitVersion: str | None = None


class GroupVersionDoc(_Doc):
    """One served version of an API group."""

    version: str | None = None


class GroupDoc(_Doc):
    """An API group."""

    versions: list[GroupVersionDoc] | None = None


class ResourceDoc(_Doc):
    """A served resource."""

    name: str | None = None


class ResourceListDoc(_Doc):
    """The resources of one group and version."""

    resources: list[ResourceDoc] | None = None


class ListMetaDoc(_Doc):
    """List metadata."""

    resourceVersion: str | None = None
    continue_: str | None = msgspec.field(default=None, name="continue")


class Page(msgspec.Struct, Generic[T], gc=False):
    """One page of a list."""

    metadata: ListMetaDoc | None = None
    items: list[T] | None = None


class WatchLine(_Doc):
    """One line of a watch. The object is decoded when its kind is known."""

    type: str | None = None
    object: msgspec.Raw = msgspec.Raw(b"null")
