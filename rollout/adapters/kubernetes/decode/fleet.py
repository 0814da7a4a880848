"""Workloads, claims and volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.decode.rules import node_terms
from rollout.adapters.kubernetes.decode.wire import is_there
from rollout.domain.fleet import VolumeClaim, Workload
from rollout.domain.scheduling import LabelRequirement, NodeTerm

_ZONE = "topology.kubernetes.io/zone"
_REGION = "topology.kubernetes.io/region"
_PLACES = {
    _ZONE: _ZONE,
    "failure-domain.beta.kubernetes.io/zone": _ZONE,
    _REGION: _REGION,
    "failure-domain.beta.kubernetes.io/region": _REGION,
}
"""Labels of a volume that keep its pods in a zone or region, with the node label of today."""
_SEVERAL = "__"
"""Between the zones of one such label (kube-scheduler, volumezone)."""


def workload_value(kind: str, doc: docs.WorkloadDoc) -> Workload:
    """A Deployment, ReplicaSet, StatefulSet, ReplicationController or Job. Replicas default to 1, as in the API."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or docs.WorkloadSpecDoc()
    status = doc.status or docs.WorkloadStatusDoc()
    wanted = spec.parallelism if kind == "Job" else spec.replicas
    owner = next((o for o in meta.ownerReferences or () if o.controller), docs.OwnerDoc())
    return Workload(
        kind=kind,
        namespace=meta.namespace or "",
        name=meta.name or "",
        uid=meta.uid or "",
        replicas=1 if wanted is None else wanted,
        ready=(status.ready if kind == "Job" else status.readyReplicas) or 0,
        owner_kind=owner.kind or "",
        owner_name=owner.name or "",
    )


@dataclass(frozen=True, slots=True)
class VolumePlace:
    """Where a PersistentVolume can be reached from."""

    terms: tuple[NodeTerm, ...]
    local: bool


_EVERYWHERE = VolumePlace((), local=False)


def place_of(doc: docs.PersistentVolumeDoc) -> tuple[str, VolumePlace]:
    """A PersistentVolume's name and place. Its old zone labels bind as its node affinity does."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or docs.PersistentVolumeSpecDoc()
    terms = node_terms(spec.nodeAffinity.required if spec.nodeAffinity else None)
    by_label = _by_label(meta.labels or {})
    if by_label:
        terms = tuple(NodeTerm((*t.expressions, *by_label), t.fields) for t in terms) or (NodeTerm(by_label),)
    return meta.name or "", VolumePlace(terms, local=is_there(spec.local) or is_there(spec.hostPath))


def _by_label(labels: Mapping[str, str]) -> tuple[LabelRequirement, ...]:
    """A label of today and its old name mostly stand side by side with one value: they give one row."""
    found = {_PLACES[key]: value for key, value in sorted(labels.items()) if key in _PLACES}
    return tuple(LabelRequirement(key, "In", tuple(value.split(_SEVERAL))) for key, value in sorted(found.items()))


def claim_value(doc: docs.ClaimDoc, places: Mapping[str, VolumePlace]) -> VolumeClaim:
    """A PersistentVolumeClaim with the place of its volume, out of `places` by volume name."""
    meta = doc.metadata or docs.NO_META
    spec = doc.spec or docs.ClaimSpecDoc()
    place = places.get(spec.volumeName or "", _EVERYWHERE)
    return VolumeClaim(
        namespace=meta.namespace or "",
        name=meta.name or "",
        phase=(doc.status.phase if doc.status else None) or "",
        volume=spec.volumeName or "",
        storage_class=spec.storageClassName or "",
        access_modes=tuple(spec.accessModes or ()),
        node_terms=place.terms,
        local=place.local,
    )
