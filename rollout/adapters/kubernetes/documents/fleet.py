"""Workloads, volumes, and objects of kinds that few rules look at."""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

from typing import Any

import msgspec

from rollout.adapters.kubernetes.documents.base import ABSENT, MetaDoc, _Doc
from rollout.adapters.kubernetes.documents.rules import NodeSelectorDoc


class WorkloadSpecDoc(_Doc):
    """spec of a Deployment, ReplicaSet, StatefulSet, ReplicationController or Job."""

    replicas: int | None = None
    parallelism: int | None = None


class WorkloadStatusDoc(_Doc):
    """Its status. Jobs count their ready pods in `ready`."""

    readyReplicas: int | None = None
    ready: int | None = None


class WorkloadDoc(_Doc):
    """A workload."""

    metadata: MetaDoc | None = None
    spec: WorkloadSpecDoc | None = None
    status: WorkloadStatusDoc | None = None


class ClaimSpecDoc(_Doc):
    """PersistentVolumeClaim.spec."""

    volumeName: str | None = None
    storageClassName: str | None = None
    accessModes: list[str] | None = None


class ClaimStatusDoc(_Doc):
    """PersistentVolumeClaim.status."""

    phase: str | None = None


class ClaimDoc(_Doc):
    """A PersistentVolumeClaim."""

    metadata: MetaDoc | None = None
    spec: ClaimSpecDoc | None = None
    status: ClaimStatusDoc | None = None


class VolumeNodeAffinityDoc(_Doc):
    """PersistentVolume.spec.nodeAffinity."""

    required: NodeSelectorDoc | None = None


class PersistentVolumeSpecDoc(_Doc):
    """PersistentVolume.spec: where it can be reached from, and whether it is a node's own disk."""

    nodeAffinity: VolumeNodeAffinityDoc | None = None
    local: msgspec.Raw = ABSENT
    hostPath: msgspec.Raw = ABSENT


class PersistentVolumeDoc(_Doc):
    """A PersistentVolume."""

    metadata: MetaDoc | None = None
    spec: PersistentVolumeSpecDoc | None = None


class OtherDoc(_Doc):
    """An object of any other kind: few of them, or small ones, so spec and status stay as they are."""

    metadata: MetaDoc | None = None
    spec: dict[str, Any] | None = None
    specs: list[dict[str, Any]] | None = None
    """Of Cilium's network policies: several in one object."""
    status: dict[str, Any] | None = None
    handler: str | None = None
    scheduling: dict[str, Any] | None = None
    """Of RuntimeClass."""
    provisioner: str | None = None
    volumeBindingMode: str | None = None
    allowedTopologies: list[dict[str, Any]] | None = None
    """Of StorageClass."""
