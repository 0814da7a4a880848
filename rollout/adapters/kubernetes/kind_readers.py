"""What rules ask of an object of another kind, read out of its plain values. Pure.

Field names are those of each project's API reference. What has another form than expected counts as missing: such an
object stays, without the trait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.decode.rules import label_selector
from rollout.domain.scheduling import LabelSelector

_CILIUM = re.compile("cilium", re.IGNORECASE)
_SERVICE = "service.cilium.io/"
"""Annotations by which a Service asks Cilium for something, L7 load balancing among it (Cilium: pkg/annotation)."""
_L7 = "/lb-l7"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of an object beside its name, labels and annotations."""

    traits: Mapping[str, str] = field(default_factory=dict)
    selector: LabelSelector | None = None
    selects: str = ""


Reader = Callable[[docs.OtherDoc], Seen | None]
"""None leaves the object out, since a fleet has thousands of Services of which no rule asks."""


def _selector(value: Any) -> LabelSelector | None:
    """A label selector out of plain values. One that cannot be read is none: the object stays, without it."""
    if not isinstance(value, dict):
        return None
    try:
        return label_selector(msgspec.convert(value, docs.SelectorDoc, strict=False))
    except msgspec.ValidationError:
        return None


def _at(value: Any, *path: str) -> Any:
    """What is at a path of plain values; None when anything on the way is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    """As text; a switch that is off is nothing, and a section that is there is on."""
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, (dict, list)):
        return "true"
    return "" if value is None else str(value)


def plain(_doc: docs.OtherDoc) -> Seen:
    """Nothing but the name, labels and annotations."""
    return Seen()


def fields(where: str = "spec", /, **paths: str) -> Reader:
    """A reader of single fields: trait name = dotted path within `where`."""

    def read(doc: docs.OtherDoc) -> Seen:
        part = getattr(doc, where)
        return Seen({trait: _text(_at(part, *path.split("."))) for trait, path in paths.items()})

    return read


def selecting(selects: str, path: str) -> Reader:
    """A reader of one selector at a dotted path of the spec."""

    def read(doc: docs.OtherDoc) -> Seen:
        return Seen(selector=_selector(_at(doc.spec, *path.split("."))), selects=selects)

    return read


def cilium_policy(doc: docs.OtherDoc) -> Seen:
    """L7 protocols in any rule; the selector of the first rule. `rules` counts them when there are several."""
    specs = [spec for spec in (doc.spec, *(doc.specs or ())) if spec]
    protocols = sorted({name for spec in specs for name in _l7(spec)})
    several = str(len(specs)) if len(specs) > 1 else ""
    on_nodes = next((s["nodeSelector"] for s in specs if s.get("nodeSelector") is not None), None)
    on_pods = next((s["endpointSelector"] for s in specs if s.get("endpointSelector") is not None), None)
    chosen, selects = (on_nodes, "nodes") if on_nodes is not None else (on_pods, "pods")
    return Seen({"l7": ",".join(protocols), "rules": several}, _cilium_selector(chosen), selects)


def _l7(spec: dict[str, Any]) -> Iterator[str]:
    """Keys of `toPorts[].rules`: http, dns, kafka, l7, l7proto."""
    for direction in ("ingress", "egress", "ingressDeny", "egressDeny"):
        for rule in spec.get(direction) or ():
            for ports in _at(rule, "toPorts") or ():
                yield from (key for key, value in (_at(ports, "rules") or {}).items() if value)


def _cilium_selector(value: Any) -> LabelSelector | None:
    """Cilium's selectors may carry the source of a label (`k8s:app`, `any:app`); pods and nodes have it without."""
    if not isinstance(value, dict):
        return None
    labels = {_bare(key): text for key, text in (value.get("matchLabels") or {}).items()}
    rows = [{**row, "key": _bare(str(row.get("key", "")))} for row in value.get("matchExpressions") or ()]
    return _selector({"matchLabels": labels, "matchExpressions": rows})


def _bare(key: str) -> str:
    source, colon, rest = key.partition(":")
    return rest if colon and source in ("k8s", "any", "node") else key


def network_policy(doc: docs.OtherDoc) -> Seen:
    """Its pods and directions."""
    directions = ",".join(sorted(_at(doc.spec, "policyTypes") or ()))
    return Seen({"directions": directions}, _selector(_at(doc.spec, "podSelector")), "pods")


def egress_gateway(doc: docs.OtherDoc) -> Seen:
    """One gateway, or a list of them: with a list, the first one's selector and their number."""
    spec = doc.spec or {}
    gateways = spec.get("egressGateways") or [spec.get("egressGateway") or {}]
    several = str(len(gateways)) if len(gateways) > 1 else ""
    addresses = ",".join(sorted({_text(_at(gateway, "egressIP")) for gateway in gateways} - {""}))
    return Seen({"egress-ip": addresses, "gateways": several}, _selector(_at(gateways[0], "nodeSelector")), "nodes")


def runtime_class(doc: docs.OtherDoc) -> Seen:
    """Its handler, and the nodes that have it."""
    labels = _at(doc.scheduling, "nodeSelector")
    selector = _selector({"matchLabels": labels}) if labels else None
    return Seen({"handler": doc.handler or ""}, selector, "nodes")


def storage_class(doc: docs.OtherDoc) -> Seen:
    """Who provisions, and when a volume is bound; Immediate is the API's default."""
    return Seen({"provisioner": doc.provisioner or "", "binding": doc.volumeBindingMode or "Immediate"})


def ingress(doc: docs.OtherDoc) -> Seen:
    """Its class, also as it was written before there was a field."""
    annotations = (doc.metadata or docs.NO_META).annotations or {}
    old = annotations.get("kubernetes.io/ingress.class", "")
    return Seen({"class": _text(_at(doc.spec, "ingressClassName")) or old})


def service(doc: docs.OtherDoc) -> Seen | None:
    """Services that ask Cilium for something by an annotation."""
    annotations = (doc.metadata or docs.NO_META).annotations or {}
    asked = [key for key in sorted(annotations) if key.startswith(_SERVICE) or key.endswith(_L7)]
    if not asked:
        return None
    l7 = next((annotations[key] for key in asked if key.endswith(_L7)), "")
    labels = _at(doc.spec, "selector")
    return Seen({"l7": l7}, _selector({"matchLabels": labels}) if labels else None, "pods")


def owner_of_cilium(**paths: str) -> Reader:
    """Objects of a deployment tool, if their name or what they deploy mentions Cilium."""
    own = fields(**paths)

    def read(doc: docs.OtherDoc) -> Seen | None:
        name = (doc.metadata or docs.NO_META).name or ""
        mentions = _CILIUM.search(name) or any(_CILIUM.search(text) for text in _texts(_sources(doc.spec)))
        return own(doc) if mentions else None

    return read


_SOURCES = ("chart", "source", "sources", "path", "targetNamespace", "releaseName", "sourceRef")


def _sources(spec: dict[str, Any] | None) -> list[Any]:
    return [value for key, value in (spec or {}).items() if key in _SOURCES]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
