"""Nodes, budgets, DaemonSets and CiliumNodeConfigs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.decode.quantities import cpu_millis, memory_bytes, others
from rollout.adapters.kubernetes.decode.rules import host_ports, requirements, scheduling, tolerations
from rollout.domain.inventory import NodeConfig
from rollout.domain.node import DaemonSet, Node, PodDisruptionBudget, Taint
from rollout.domain.scheduling import LabelRequirement

_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")


def node_value(doc: docs.NodeDoc) -> Node:
    """A Node."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or docs.NodeSpecDoc()
    status = doc.status or docs.NodeStatusDoc()
    info = status.nodeInfo or docs.NodeInfoDoc()
    room = status.allocatable or {}
    labels = meta.labels or {}
    addresses = (a.address for a in status.addresses or () if a.type == "InternalIP" and a.address)
    return Node(
        name=meta.name or "",
        uid=meta.uid or "",
        ready=_tri_state(status.conditions, "Ready"),
        unschedulable=bool(spec.unschedulable),
        kernel=info.kernelVersion or "",
        boot_id=info.bootID or "",
        internal_ip=next(addresses, ""),
        labels=labels,
        annotations=meta.annotations or {},
        taints=tuple(Taint(t.key or "", t.value or "", t.effect or "") for t in spec.taints or ()),
        resource_version=meta.resourceVersion or "",
        os_image=info.osImage or "",
        zone=next((labels[z] for z in _ZONES if z in labels), ""),
        cpu_millis=cpu_millis(str(room.get("cpu", "0"))),
        memory_bytes=memory_bytes(str(room.get("memory", "0"))),
        pod_slots=memory_bytes(str(room.get("pods", "0"))),
        extra=others(room),
        provider_id=spec.providerID or "",
        runtime=info.containerRuntimeVersion or "",
        architecture=info.architecture or "",
        created=_moment(meta.creationTimestamp),
    )


def _moment(text: str | None) -> datetime | None:
    """A time of the API's; None when there is none, or it is none."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def _tri_state(conditions: list[docs.ConditionDoc] | None, kind: str) -> bool | None:
    for condition in conditions or ():
        if condition.type == kind:
            return {"True": True, "False": False}.get(condition.status or "")
    return None


def _selector(doc: docs.SelectorDoc | None) -> tuple[Mapping[str, str], tuple[LabelRequirement, ...]]:
    if doc is None:
        return {}, ()
    return doc.matchLabels or {}, requirements(doc.matchExpressions)


def budget_value(doc: docs.BudgetDoc) -> PodDisruptionBudget:
    """A PodDisruptionBudget. Not observed: the disruption controller has not looked at this generation yet."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or docs.BudgetSpecDoc()
    status = doc.status or docs.BudgetStatusDoc()
    labels, expressions = _selector(spec.selector)
    return PodDisruptionBudget(
        namespace=meta.namespace or "",
        name=meta.name or "",
        uid=meta.uid or "",
        match_labels=labels,
        match_expressions=expressions,
        disruptions_allowed=status.disruptionsAllowed or 0,
        current_healthy=status.currentHealthy or 0,
        desired_healthy=status.desiredHealthy or 0,
        expected_pods=status.expectedPods or 0,
        min_available="" if spec.minAvailable is None else str(spec.minAvailable),
        max_unavailable="" if spec.maxUnavailable is None else str(spec.maxUnavailable),
        observed=(status.observedGeneration or 0) >= (meta.generation or 1),
        selects_all=spec.selector is not None and not labels and not expressions,
        evicts_unready=spec.unhealthyPodEvictionPolicy == "AlwaysAllow",
    )


def daemonset_value(doc: docs.DaemonSetDoc) -> DaemonSet:
    """A DaemonSet."""
    meta = doc.metadata or docs.NO_META
    template = ((doc.spec.template if doc.spec else None) or docs.TemplateDoc()).spec or docs.TemplateSpecDoc()
    status = doc.status or docs.DaemonSetStatusDoc()
    containers = [*(template.initContainers or ()), *(template.containers or ())]
    return DaemonSet(
        namespace=meta.namespace or "",
        name=meta.name or "",
        uid=meta.uid or "",
        pod_network=not template.hostNetwork,
        desired=status.desiredNumberScheduled or 0,
        ready=status.numberReady or 0,
        tolerations=tolerations(bytes(template.tolerations)),
        labels=meta.labels or {},
        annotations=meta.annotations or {},
        images=tuple(dict.fromkeys(c.image for c in containers if c.image)),
        containers=tuple(c.name or "" for c in containers),
        scheduling=scheduling(template, host_ports(tuple(bytes(c.ports) for c in containers if c.ports))),
    )


def node_config_value(doc: docs.NodeConfigDoc) -> NodeConfig:
    """A CiliumNodeConfig."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or docs.NodeConfigSpecDoc()
    labels, expressions = _selector(spec.nodeSelector)
    return NodeConfig(
        namespace=meta.namespace or "",
        name=meta.name or "",
        uid=meta.uid or "",
        has_selector=spec.nodeSelector is not None,
        match_labels=labels,
        match_expressions=expressions,
        defaults=spec.defaults or {},
    )
