"""The parts of objects around probe pods that we read. There are few of them, unlike those of `documents`."""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

from typing import Any

from rollout.adapters.kubernetes.documents import MetaDoc, RequirementDoc, _Doc


class IpDoc(_Doc):
    """One address."""

    ip: str | None = None


class WaitingWordsDoc(_Doc):
    """Why a container waits, in the kubelet's words."""

    reason: str | None = None
    message: str | None = None


class StateWordsDoc(_Doc):
    """A container's state."""

    waiting: WaitingWordsDoc | None = None
    terminated: WaitingWordsDoc | None = None


class ContainerWordsDoc(_Doc):
    """Status of one container."""

    state: StateWordsDoc | None = None


class ConditionWordsDoc(_Doc):
    """One condition."""

    type: str | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None


class ProbeStatusDoc(_Doc):
    """A probe pod's status."""

    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    podIP: str | None = None
    podIPs: list[IpDoc] | None = None
    conditions: list[ConditionWordsDoc] | None = None
    containerStatuses: list[ContainerWordsDoc] | None = None


class ProbeSpecDoc(_Doc):
    """A probe pod's spec."""

    nodeName: str | None = None


class ProbePodDoc(_Doc):
    """A probe pod."""

    metadata: MetaDoc | None = None
    spec: ProbeSpecDoc | None = None
    status: ProbeStatusDoc | None = None


class EventDoc(_Doc):
    """An event about a pod."""

    metadata: MetaDoc | None = None
    type: str | None = None
    reason: str | None = None
    message: str | None = None


class PortDoc(_Doc):
    """A Service's port."""

    port: int | None = None
    protocol: str | None = None


class ServiceSpecDoc(_Doc):
    """Service.spec."""

    type: str | None = None
    clusterIP: str | None = None
    clusterIPs: list[str] | None = None
    ports: list[PortDoc] | None = None


class ServiceDoc(_Doc):
    """A Service."""

    metadata: MetaDoc | None = None
    spec: ServiceSpecDoc | None = None


class ReadinessDoc(_Doc):
    """An endpoint's conditions."""

    ready: bool | None = None


class SliceEndpointDoc(_Doc):
    """One endpoint of a slice."""

    addresses: list[str] | None = None
    conditions: ReadinessDoc | None = None


class SliceDoc(_Doc):
    """An EndpointSlice."""

    metadata: MetaDoc | None = None
    endpoints: list[SliceEndpointDoc] | None = None


class PeerSelectorDoc(_Doc):
    """A label selector of a policy's peer."""

    matchLabels: dict[str, str] | None = None
    matchExpressions: list[RequirementDoc] | None = None


class PolicyPeerDoc(_Doc):
    """Who is let in."""

    podSelector: PeerSelectorDoc | None = None
    namespaceSelector: PeerSelectorDoc | None = None
    ipBlock: dict[str, Any] | None = None


class PolicyPortDoc(_Doc):
    """A port that is let in; a text is the name of a container's port."""

    protocol: str | None = None
    port: int | str | None = None
    endPort: int | None = None


class IngressDoc(_Doc, rename={"from_": "from"}):
    """One ingress rule."""

    from_: list[PolicyPeerDoc] | None = None
    ports: list[PolicyPortDoc] | None = None


class PolicySpecDoc(_Doc):
    """NetworkPolicy.spec."""

    podSelector: PeerSelectorDoc | None = None
    policyTypes: list[str] | None = None
    ingress: list[IngressDoc] | None = None


class PolicyDoc(_Doc):
    """A NetworkPolicy."""

    metadata: MetaDoc | None = None
    spec: PolicySpecDoc | None = None
