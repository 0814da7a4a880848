"""A pod's hard rules. Equal text gives the same value, not just an equal one: planning treats pods by such classes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol, TypeVar, cast

import msgspec

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.decode.wire import decode
from rollout.domain.node import Toleration
from rollout.domain.scheduling import (
    ANYWHERE,
    HostPort,
    LabelRequirement,
    LabelSelector,
    NodeTerm,
    PodTerm,
    Scheduling,
    SpreadTerm,
    as_labels,
)

T = TypeVar("T")
_CACHED = 8192
_DEFAULT_SCHEDULER = "default-scheduler"


class Template(Protocol):
    """The rules of a pod or of a pod template, undecoded."""

    nodeSelector: msgspec.Raw  # noqa: N815
    affinity: msgspec.Raw
    topologySpreadConstraints: msgspec.Raw  # noqa: N815
    schedulerName: str | None  # noqa: N815
    priority: int | None


def scheduling(spec: Template, ports: tuple[HostPort, ...]) -> Scheduling:
    """The hard rules of a pod or template, with the node's ports that it holds."""
    return _scheduling(
        bytes(spec.nodeSelector),
        bytes(spec.affinity),
        bytes(spec.topologySpreadConstraints),
        ports,
        spec.schedulerName or _DEFAULT_SCHEDULER,
        spec.priority or 0,
    )


@lru_cache(maxsize=_CACHED)
def _scheduling(
    selector: bytes, affinity: bytes, spread: bytes, ports: tuple[HostPort, ...], scheduler: str, priority: int
) -> Scheduling:
    nodes = _part(selector, dict[str, str], "nodeSelector")
    rules = _part(affinity, docs.AffinityDoc, "affinity") or docs.AffinityDoc()
    rows = _part(spread, list[docs.SpreadDoc], "topologySpreadConstraints") or []
    on_nodes = rules.nodeAffinity.required if rules.nodeAffinity else None
    return _shared(
        Scheduling(
            node_selector=as_labels(nodes or {}),
            node_terms=node_terms(on_nodes),
            affinity=_pod_terms(rules.podAffinity),
            anti_affinity=_pod_terms(rules.podAntiAffinity),
            spread=tuple(_spread(row) for row in rows if row.whenUnsatisfiable == "DoNotSchedule"),
            host_ports=ports,
            scheduler=scheduler,
            priority=priority,
        )
    )


@lru_cache(maxsize=_CACHED)
def _shared(value: Scheduling) -> Scheduling:
    return ANYWHERE if value == ANYWHERE else value


def _part(raw: bytes, kind: type[T], what: str) -> T | None:
    return decode(raw, cast("type[T | None]", kind | None), what) if raw else None


@lru_cache(maxsize=_CACHED)
def tolerations(raw: bytes) -> tuple[Toleration, ...]:
    """Tolerations."""
    rows = _part(raw, list[docs.TolerationDoc], "tolerations") or []
    return tuple(Toleration(t.key or "", t.operator or "Equal", t.value or "", t.effect or "") for t in rows)


@lru_cache(maxsize=_CACHED)
def host_ports(raws: tuple[bytes, ...]) -> tuple[HostPort, ...]:
    """The node's ports that containers hold, each once."""
    found: dict[HostPort, None] = {}
    for raw in raws:
        rows = _part(raw, list[docs.PortDoc], "ports") or []
        for row in rows:
            if row.hostPort:
                found[HostPort(row.protocol or "TCP", row.hostPort, row.hostIP or "")] = None
    return tuple(found)


def requirements(rows: Iterable[docs.RequirementDoc] | None) -> tuple[LabelRequirement, ...]:
    """matchExpressions."""
    return tuple(LabelRequirement(r.key or "", r.operator or "", tuple(r.values or ())) for r in rows or ())


def label_selector(doc: docs.SelectorDoc | None) -> LabelSelector | None:
    """A label selector; None when it is missing."""
    if doc is None:
        return None
    return LabelSelector(as_labels(doc.matchLabels or {}), requirements(doc.matchExpressions))


def node_terms(doc: docs.NodeSelectorDoc | None) -> tuple[NodeTerm, ...]:
    """The terms of a node selector, any of which must match."""
    terms = (doc.nodeSelectorTerms if doc else None) or ()
    return tuple(NodeTerm(requirements(t.matchExpressions), requirements(t.matchFields)) for t in terms)


def _pod_terms(doc: docs.PodAffinityDoc | None) -> tuple[PodTerm, ...]:
    return tuple(
        PodTerm(
            topology_key=term.topologyKey or "",
            selector=label_selector(term.labelSelector),
            namespaces=tuple(sorted(term.namespaces or ())),
            namespace_selector=label_selector(term.namespaceSelector),
            match_label_keys=tuple(term.matchLabelKeys or ()),
        )
        for term in (doc.required if doc else None) or ()
    )


def _spread(doc: docs.SpreadDoc) -> SpreadTerm:
    return SpreadTerm(
        max_skew=doc.maxSkew or 1,
        topology_key=doc.topologyKey or "",
        selector=label_selector(doc.labelSelector),
        min_domains=doc.minDomains or 1,
        honor_affinity=doc.nodeAffinityPolicy != "Ignore",
        honor_taints=doc.nodeTaintsPolicy == "Honor",
        match_label_keys=tuple(doc.matchLabelKeys or ()),
    )
