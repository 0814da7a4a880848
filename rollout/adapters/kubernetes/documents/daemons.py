"""DaemonSets, the agent's among them."""
# ruff: noqa: N815  (fields are named as on the wire)

from __future__ import annotations

from typing import Any

import msgspec

from rollout.adapters.kubernetes.documents.base import ABSENT, MetaDoc, SelectorDoc, _Doc


class EnvDoc(_Doc):
    """An environment variable."""

    name: str | None = None
    value: str | None = None
    valueFrom: dict[str, Any] | None = None


class AgentContainerDoc(_Doc):
    """A container of a DaemonSet, with all that can set options of the agent."""

    name: str | None = None
    image: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    env: list[EnvDoc] | None = None
    ports: msgspec.Raw = ABSENT


class TemplateSpecDoc(_Doc):
    """DaemonSet.spec.template.spec."""

    hostNetwork: bool | None = None
    tolerations: msgspec.Raw = ABSENT
    containers: list[AgentContainerDoc] | None = None
    initContainers: list[AgentContainerDoc] | None = None
    nodeSelector: msgspec.Raw = ABSENT
    affinity: msgspec.Raw = ABSENT
    topologySpreadConstraints: msgspec.Raw = ABSENT
    schedulerName: str | None = None
    priority: int | None = None


class TemplateDoc(_Doc):
    """DaemonSet.spec.template."""

    metadata: MetaDoc | None = None
    spec: TemplateSpecDoc | None = None


class RollingUpdateDoc(_Doc):
    """DaemonSet.spec.updateStrategy.rollingUpdate."""

    maxUnavailable: int | str | None = None


class UpdateStrategyDoc(_Doc):
    """DaemonSet.spec.updateStrategy."""

    type: str | None = None
    rollingUpdate: RollingUpdateDoc | None = None


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
