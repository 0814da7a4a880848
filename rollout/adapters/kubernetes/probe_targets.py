"""What probe pods reach besides each other, and which NetworkPolicies of the cluster can be tried on them."""

from __future__ import annotations

import ipaddress

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes import probe_documents as probe_docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import decode, decode_page
from rollout.adapters.kubernetes.request import DISCOVERY, NETWORKING, Request
from rollout.domain.errors import NotFound
from rollout.domain.node import LABEL_MANAGED_BY, MANAGER
from rollout.ports.probes import PolicyCopy, PolicySample, ServiceTarget, Targets

_DNS_SELECTOR = "k8s-app=kube-dns"
_SERVICE_NAME = "kubernetes.io/service-name"
_LOOKED_AT = 200
"""Most Services, slices and policies looked at: one of each is enough, and a large cluster has thousands."""
_LONGEST_SKIPPED = 20


def read_targets(connection: Connection) -> Targets:
    """The API's Service, the cluster's DNS, and one more Service that has endpoints."""
    api = _api(connection)
    dns = _services(connection, "kube-system", _DNS_SELECTOR)
    servers = tuple(address for one in dns[:1] for address in one.addresses)
    sample = _sample(connection)
    return Targets(services=(sample,) if sample else (), dns_servers=servers, api=api)


def _api(connection: Connection) -> ServiceTarget | None:
    try:
        body = connection.call(Request("get", "services", namespace="default", name="kubernetes"))
    except NotFound:
        return None
    return _service_value(decode(body, probe_docs.ServiceDoc, "service default/kubernetes"))


def _services(connection: Connection, namespace: str = "", labels: str = "") -> list[ServiceTarget]:
    request = Request("list", "services", namespace=namespace)
    query: dict[str, object] = {"limit": _LOOKED_AT} | ({"labelSelector": labels} if labels else {})
    rows, _, _ = decode_page(connection.call(request, query=query), probe_docs.ServiceDoc, str(request))
    found = (_service_value(row) for row in rows)
    return sorted((one for one in found if one is not None), key=lambda one: one.name)


def _service_value(doc: probe_docs.ServiceDoc) -> ServiceTarget | None:
    """A Service with an address of its own and a TCP port; None for any other."""
    meta, spec = doc.metadata or docs.NO_META, doc.spec or probe_docs.ServiceSpecDoc()
    addresses = tuple(a for a in spec.clusterIPs or [spec.clusterIP or ""] if _is_address(a))
    ports = [p.port for p in spec.ports or () if p.port and (p.protocol or "TCP") == "TCP"]
    if not addresses or not ports:
        return None
    return ServiceTarget(f"{meta.namespace}/{meta.name}", addresses, ports[0])


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _sample(connection: Connection) -> ServiceTarget | None:
    """The first Service by name, outside kube-system and besides the API's, that has a Ready endpoint."""
    request = Request("list", "endpointslices", DISCOVERY)
    body = connection.call(request, query={"limit": _LOOKED_AT})
    slices, _, _ = decode_page(body, probe_docs.SliceDoc, str(request))
    served = {_service_of(row) for row in slices if any(_is_ready(e) for e in row.endpoints or ())}
    for one in _services(connection):
        if one.name in served and one.name != "default/kubernetes" and not one.name.startswith("kube-system/"):
            return one
    return None


def _service_of(row: probe_docs.SliceDoc) -> str:
    meta = row.metadata or docs.NO_META
    return f"{meta.namespace}/{(meta.labels or {}).get(_SERVICE_NAME, '')}"


def _is_ready(endpoint: probe_docs.SliceEndpointDoc) -> bool:
    """A missing condition means ready (discovery/v1)."""
    return bool(endpoint.addresses) and (endpoint.conditions is None or endpoint.conditions.ready is not False)


# -- policies --------------------------------------------------------------------------------------------------------


def read_policies(connection: Connection, count: int) -> PolicySample:
    """The first `count` policies by name whose ingress can be said again about our pods."""
    if count <= 0:
        return PolicySample()
    request = Request("list", "networkpolicies", NETWORKING)
    body = connection.call(request, query={"limit": _LOOKED_AT})
    rows, _, _ = decode_page(body, probe_docs.PolicyDoc, str(request))
    copies: list[PolicyCopy] = []
    skipped: list[tuple[str, str]] = []
    for row in sorted((row for row in rows if not _is_ours(row)), key=_policy_name):
        name = _policy_name(row)
        if len(copies) == count:
            break
        ports, why = _copied_ports(row.spec or probe_docs.PolicySpecDoc())
        if why:
            skipped.append((name, why))
        else:
            copies.append(PolicyCopy(name, ports))
    return PolicySample(tuple(copies), tuple(skipped[:_LONGEST_SKIPPED]))


def _policy_name(doc: probe_docs.PolicyDoc) -> str:
    meta = doc.metadata or docs.NO_META
    return f"{meta.namespace}/{meta.name}"


def _is_ours(doc: probe_docs.PolicyDoc) -> bool:
    return ((doc.metadata or docs.NO_META).labels or {}).get(LABEL_MANAGED_BY) == MANAGER


def _copied_ports(spec: probe_docs.PolicySpecDoc) -> tuple[tuple[int, ...], str]:
    """TCP ports that the first rule lets pods of the namespace in on, or why it cannot be copied."""
    if not spec.ingress:
        return (), "it has no ingress rule"
    rule = spec.ingress[0]
    if not rule.from_ or any(peer.podSelector is None or peer.namespaceSelector or peer.ipBlock for peer in rule.from_):
        return (), "its first ingress rule is not from pods of its own namespace"
    if not any(peer.podSelector.matchLabels for peer in rule.from_ if peer.podSelector):
        return (), "its first ingress rule does not select pods by their labels"
    ports = tuple(
        p.port for p in rule.ports or () if isinstance(p.port, int) and not p.endPort and (p.protocol or "TCP") == "TCP"
    )
    return (ports, "") if ports else ((), "its first ingress rule names no TCP port by number")
