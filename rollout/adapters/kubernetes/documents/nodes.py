"""Nodes, budgets, leases and what the agent keeps in the API."""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

from datetime import datetime

from rollout.adapters.kubernetes.documents.base import ConditionDoc, MetaDoc, SelectorDoc, Texts, _Doc


class TaintDoc(_Doc):
    """A node taint."""

    key: str | None = None
    value: str | None = None
    effect: str | None = None


class NodeSpecDoc(_Doc):
    """Node.spec."""

    providerID: str | None = None
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
    containerRuntimeVersion: str | None = None
    architecture: str | None = None


class NodeStatusDoc(_Doc):
    """Node.status."""

    conditions: list[ConditionDoc] | None = None
    addresses: list[AddressDoc] | None = None
    nodeInfo: NodeInfoDoc | None = None
    allocatable: dict[str, str | int | float] | None = None


class NodeDoc(_Doc):
    """A Node."""

    metadata: MetaDoc | None = None
    spec: NodeSpecDoc | None = None
    status: NodeStatusDoc | None = None


class BudgetSpecDoc(_Doc):
    """PodDisruptionBudget.spec."""

    selector: SelectorDoc | None = None
    minAvailable: int | str | None = None
    maxUnavailable: int | str | None = None
    unhealthyPodEvictionPolicy: str | None = None


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
