"""What binds pods to nodes: tolerations, affinity, spread, volumes, requests."""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

import msgspec

from rollout.adapters.kubernetes.documents.base import ABSENT, RequirementDoc, SelectorDoc, _Doc


class TolerationDoc(_Doc):
    """A pod toleration."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None


class NodeTermDoc(_Doc):
    """One term of a node selector."""

    matchExpressions: list[RequirementDoc] | None = None
    matchFields: list[RequirementDoc] | None = None


class NodeSelectorDoc(_Doc):
    """A node selector: required node affinity of pods and of volumes."""

    nodeSelectorTerms: list[NodeTermDoc] | None = None


class NodeAffinityDoc(_Doc):
    """The hard half of a pod's node affinity."""

    required: NodeSelectorDoc | None = msgspec.field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class PodTermDoc(_Doc):
    """One required term of pod affinity or anti-affinity."""

    topologyKey: str | None = None
    labelSelector: SelectorDoc | None = None
    namespaces: list[str] | None = None
    namespaceSelector: SelectorDoc | None = None
    matchLabelKeys: list[str] | None = None


class PodAffinityDoc(_Doc):
    """The hard half of pod affinity or anti-affinity."""

    required: list[PodTermDoc] | None = msgspec.field(
        default=None, name="requiredDuringSchedulingIgnoredDuringExecution"
    )


class AffinityDoc(_Doc):
    """PodSpec.affinity."""

    nodeAffinity: NodeAffinityDoc | None = None
    podAffinity: PodAffinityDoc | None = None
    podAntiAffinity: PodAffinityDoc | None = None


class SpreadDoc(_Doc):
    """One topologySpreadConstraint."""

    maxSkew: int | None = None
    topologyKey: str | None = None
    whenUnsatisfiable: str | None = None
    labelSelector: SelectorDoc | None = None
    minDomains: int | None = None
    nodeAffinityPolicy: str | None = None
    nodeTaintsPolicy: str | None = None
    matchLabelKeys: list[str] | None = None


class PortDoc(_Doc):
    """A container's port."""

    containerPort: int | None = None
    hostPort: int | None = None
    protocol: str | None = None
    hostIP: str | None = None


class ResourcesDoc(_Doc):
    """Resource requests, undecoded: they are the same for all pods of a template."""

    requests: msgspec.Raw = ABSENT


class ClaimSourceDoc(_Doc):
    """A volume's claim."""

    claimName: str | None = None


class VolumeDoc(_Doc):
    """A volume: whether it is scratch data, and the claim that it mounts."""

    name: str | None = None
    emptyDir: msgspec.Raw = ABSENT
    ephemeral: msgspec.Raw = ABSENT
    persistentVolumeClaim: ClaimSourceDoc | None = None
