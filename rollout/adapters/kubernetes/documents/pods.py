"""Pods. What all pods of a template have in common is left undecoded here: it is decoded once, and shared."""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

from datetime import datetime

import msgspec

from rollout.adapters.kubernetes.documents.base import ABSENT, ConditionDoc, _Doc
from rollout.adapters.kubernetes.documents.rules import ResourcesDoc, VolumeDoc


class PodMetaDoc(_Doc):
    """A pod's metadata."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: datetime | None = None
    finalizers: list[str] | None = None
    labels: msgspec.Raw = ABSENT
    annotations: msgspec.Raw = ABSENT
    ownerReferences: msgspec.Raw = ABSENT


NO_POD_META = PodMetaDoc()


class ContainerDoc(_Doc):
    """A container of a pod."""

    name: str | None = None
    resources: ResourcesDoc | None = None
    restartPolicy: str | None = None
    ports: msgspec.Raw = ABSENT


class PodSpecDoc(_Doc):
    """Pod.spec."""

    nodeName: str | None = None
    hostNetwork: bool | None = None
    runtimeClassName: str | None = None
    tolerations: msgspec.Raw = ABSENT
    volumes: list[VolumeDoc] | None = None
    containers: list[ContainerDoc] | None = None
    initContainers: list[ContainerDoc] | None = None
    resources: ResourcesDoc | None = None
    overhead: msgspec.Raw = ABSENT
    nodeSelector: msgspec.Raw = ABSENT
    affinity: msgspec.Raw = ABSENT
    topologySpreadConstraints: msgspec.Raw = ABSENT
    schedulerName: str | None = None
    priority: int | None = None
    terminationGracePeriodSeconds: int | None = None


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

    metadata: PodMetaDoc | None = None
    spec: PodSpecDoc | None = None
    status: PodStatusDoc | None = None
