"""Wire structs to domain values. Pure.

The quick way decodes bytes straight into structs. An object that does not fit (a null where a text is due, a number as
text) is decoded again as plain values with the nulls taken out; what fits even then not is `Unavailable` and names the
object, since an object that was left out silently would be a wrong conclusion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, TypeVar, cast

import msgspec

from rollout.adapters.kubernetes import documents as docs
from rollout.domain.errors import Unavailable
from rollout.domain.inventory import NodeConfig
from rollout.domain.node import (
    DaemonSet,
    Node,
    Pod,
    PodDisruptionBudget,
    PodRef,
    Taint,
    Toleration,
)
from rollout.domain.scheduling import LabelRequirement

T = TypeVar("T")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_MIRROR = "kubernetes.io/config.mirror"
_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")


# -- bytes to structs ------------------------------------------------------------------------------------------------


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=False)


def decode(body: bytes | msgspec.Raw, kind: type[T], what: str) -> T:
    """Decode one object. Raises `Unavailable` when it is not what it should be."""
    try:
        return cast(T, _decoder(cast(Hashable, kind)).decode(body))
    except _UNREADABLE:
        return cast(T, _decode_odd(bytes(body), kind, what))


def _decode_odd(body: bytes, kind: Any, what: str) -> Any:
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(body)), kind, strict=False)
    except _UNREADABLE as error:
        named = _name_of(body) or what
        raise Unavailable(
            "unreadable",
            f"cannot read {named}: the API's answer does not have the expected form ({error})",
        ) from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def _name_of(body: bytes) -> str:
    try:
        meta = msgspec.json.decode(body)["metadata"]
        return f"{meta.get('namespace', '')}/{meta['name']}".lstrip("/")
    except (*_UNREADABLE, KeyError, TypeError, AttributeError):
        return ""


def decode_page(body: bytes, kind: type[T], what: str) -> tuple[list[T], str, str]:
    """One page of a list: its objects, the list's resourceVersion, and the token of the next page."""
    try:
        page: docs.Page[T] = _decoder(docs.Page[kind]).decode(body)  # type: ignore[valid-type]
        items = page.items or []
    except _UNREADABLE:
        raw = decode(body, docs.Page[msgspec.Raw], what)
        page = cast("docs.Page[T]", raw)
        items = [decode(item, kind, what) for item in raw.items or () if bytes(item) != b"null"]
    meta = page.metadata or docs.ListMetaDoc()
    return items, meta.resourceVersion or "", meta.continue_ or ""


# -- structs to values -----------------------------------------------------------------------------------------------


def node_value(doc: docs.NodeDoc) -> Node:
    """A Node."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or docs.NodeSpecDoc()
    status = doc.status or docs.NodeStatusDoc()
    info = status.nodeInfo or docs.NodeInfoDoc()
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
    )


def _tri_state(conditions: list[docs.ConditionDoc] | None, kind: str) -> bool | None:
    for condition in conditions or ():
        if condition.type == kind:
            return {"True": True, "False": False}.get(condition.status or "")
    return None


@lru_cache(maxsize=4096)
def _toleration(key: str | None, operator: str | None, value: str | None, effect: str | None) -> Toleration:
    return Toleration(key or "", operator or "Equal", value or "", effect or "")


def tolerations(rows: Iterable[docs.TolerationDoc] | None) -> tuple[Toleration, ...]:
    """Tolerations; equal ones share one value, since nearly all pods carry the same two."""
    return tuple([_toleration(t.key, t.operator, t.value, t.effect) for t in rows or ()])


def pod_value(doc: docs.PodDoc) -> Pod:
    """A Pod."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or _NO_POD_SPEC
    status = doc.status or _NO_POD_STATUS
    owner = _controller(meta.ownerReferences)
    annotations = meta.annotations or {}
    cpu, memory = _requests(spec)
    ready = False
    for condition in status.conditions or ():
        if condition.type == "Ready":
            ready = condition.status == "True"
    restarts, waiting = _container_troubles(status)
    return Pod(
        ref=PodRef(meta.namespace or "", meta.name or "", meta.uid or ""),
        node=spec.nodeName or "",
        phase=status.phase or "Unknown",
        ready=ready,
        terminating=meta.deletionTimestamp is not None,
        host_network=bool(spec.hostNetwork),
        owner_kind=owner.kind or "",
        owner_name=owner.name or "",
        owner_uid=owner.uid or "",
        mirror=_MIRROR in annotations,
        labels=meta.labels or {},
        tolerations=tolerations(spec.tolerations),
        empty_dir=any(v.emptyDir is not None for v in spec.volumes or ()),
        runtime_class=spec.runtimeClassName or "",
        restarts=restarts,
        waiting=waiting,
        deletion_at=meta.deletionTimestamp,
        annotations=annotations,
        ip=status.podIP or "",
        cpu_millis=cpu,
        memory_bytes=memory,
    )


_NO_POD_SPEC = docs.PodSpecDoc()
_NO_POD_STATUS = docs.PodStatusDoc()
_NO_OWNER = docs.OwnerDoc()


def _controller(owners: list[docs.OwnerDoc] | None) -> docs.OwnerDoc:
    """The owner that would replace the pod; a mere owner (garbage collection) would not."""
    for owner in owners or ():
        if owner.controller:
            return owner
    return _NO_OWNER


def _container_troubles(status: docs.PodStatusDoc) -> tuple[int, str]:
    """Restarts of the main containers, and why the first waiting one waits.

    Init containers come first: while one crashes, the main ones only say PodInitializing.
    """
    restarts, waiting = 0, ""
    for container in status.initContainerStatuses or ():
        if container.state and container.state.waiting and not waiting:
            waiting = container.state.waiting.reason or ""
    for container in status.containerStatuses or ():
        restarts += container.restartCount or 0
        if container.state and container.state.waiting and not waiting:
            waiting = container.state.waiting.reason or ""
    return restarts, waiting


def _requests(spec: docs.PodSpecDoc) -> tuple[int, int]:
    """What the scheduler counts: containers plus sidecars, or the largest init container, plus overhead."""
    whole = (spec.resources.requests if spec.resources else None) or {}
    cpu, memory = _sum_requests(spec.containers)
    if spec.initContainers:
        cpu, memory = _with_init(spec.initContainers, cpu, memory)
    if "cpu" in whole:
        cpu = cpu_millis(str(whole["cpu"]))
    if "memory" in whole:
        memory = memory_bytes(str(whole["memory"]))
    if spec.overhead:
        cpu += cpu_millis(str(spec.overhead.get("cpu", "0")))
        memory += memory_bytes(str(spec.overhead.get("memory", "0")))
    return cpu, memory


def _sum_requests(containers: list[docs.ContainerDoc] | None) -> tuple[int, int]:
    cpu = memory = 0
    for container in containers or ():
        requests = container.resources.requests if container.resources else None
        if requests:
            cpu += cpu_millis(str(requests.get("cpu", "0")))
            memory += memory_bytes(str(requests.get("memory", "0")))
    return cpu, memory


def _with_init(containers: list[docs.ContainerDoc], cpu: int, memory: int) -> tuple[int, int]:
    """Sidecars start in order and stay; an init container runs beside the sidecars started before it."""
    side_cpu = side_memory = most_cpu = most_memory = 0
    for container in containers:
        own_cpu, own_memory = _sum_requests([container])
        if container.restartPolicy == "Always":
            side_cpu, side_memory = side_cpu + own_cpu, side_memory + own_memory
            own_cpu = own_memory = 0
        most_cpu, most_memory = max(most_cpu, side_cpu + own_cpu), max(most_memory, side_memory + own_memory)
    return max(most_cpu, cpu + side_cpu), max(most_memory, memory + side_memory)


_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+|[0-9]+\.)(?:(m|u|n|[kMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?")
_SCALE = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", start=1)
}


def _quantity(text: str) -> float:
    """A Kubernetes quantity; 0 for text that is none (the API admits no such object)."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return 0.0
    number = float(match[1])
    return number * (_SCALE[match[2]] if match[2] else 10.0 ** int(match[3] or 0))


@lru_cache(maxsize=4096)
def cpu_millis(text: str) -> int:
    """Thousandths of a core, rounded up."""
    return math.ceil(round(_quantity(text) * 1000, 6))


@lru_cache(maxsize=4096)
def memory_bytes(text: str) -> int:
    """Bytes, rounded up."""
    return math.ceil(_quantity(text))


def _selector(doc: docs.SelectorDoc | None) -> tuple[Mapping[str, str], tuple[LabelRequirement, ...]]:
    if doc is None:
        return {}, ()
    rows = (LabelRequirement(r.key or "", r.operator or "", tuple(r.values or ())) for r in doc.matchExpressions or ())
    return doc.matchLabels or {}, tuple(rows)


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
    )


def daemonset_value(doc: docs.DaemonSetDoc) -> DaemonSet:
    """A DaemonSet."""
    meta = doc.metadata or docs.NO_META
    template = ((doc.spec.template if doc.spec else None) or docs.TemplateDoc()).spec or docs.TemplateSpecDoc()
    status = doc.status or docs.DaemonSetStatusDoc()
    return DaemonSet(
        namespace=meta.namespace or "",
        name=meta.name or "",
        uid=meta.uid or "",
        pod_network=not template.hostNetwork,
        desired=status.desiredNumberScheduled or 0,
        ready=status.numberReady or 0,
        tolerations=tolerations(template.tolerations),
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
