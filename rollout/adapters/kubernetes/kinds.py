"""Kinds that few rules look at: where they are served, and what is kept of an object. One row for each kind."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.kind_readers import (
    Reader,
    cilium_policy,
    egress_gateway,
    fields,
    ingress,
    network_policy,
    owner_of_cilium,
    plain,
    runtime_class,
    selecting,
    service,
    storage_class,
)
from rollout.domain.fleet import OtherObject


@dataclass(frozen=True, slots=True)
class OtherKind:
    """One kind: `name` as rules know it, where it is served (the first served version is read), and its reader."""

    name: str
    group: str
    versions: tuple[str, ...]
    plural: str
    read: Reader


def other_value(kind: OtherKind, doc: docs.OtherDoc) -> OtherObject | None:
    """The object as rules see it; None when no rule asks for it."""
    seen = kind.read(doc)
    if seen is None:
        return None
    meta = doc.metadata or docs.NO_META
    traits = {name: text for name, text in sorted(seen.traits.items()) if text}
    return OtherObject(
        kind=kind.name,
        namespace=meta.namespace or "",
        name=meta.name or "",
        labels=meta.labels or {},
        annotations=meta.annotations or {},
        selector=seen.selector,
        selects=seen.selects if seen.selector is not None else "",
        traits=traits,
    )


_Row = tuple[str, str, Reader]


def _of(group: str, versions: tuple[str, ...], *rows: _Row) -> tuple[OtherKind, ...]:
    return tuple(OtherKind(name, group, versions, plural, read) for name, plural, read in rows)


_node_selector = selecting("nodes", "nodeSelector")
_replicas = fields(cluster="clusterName", replicas="replicas")

OTHER_KINDS: tuple[OtherKind, ...] = (
    *_of(
        "cilium.io",
        ("v2", "v2alpha1", "v1alpha1"),
        ("CiliumNetworkPolicy", "ciliumnetworkpolicies", cilium_policy),
        ("CiliumClusterwideNetworkPolicy", "ciliumclusterwidenetworkpolicies", cilium_policy),
        ("CiliumBGPPeeringPolicy", "ciliumbgppeeringpolicies", _node_selector),
        ("CiliumBGPClusterConfig", "ciliumbgpclusterconfigs", _node_selector),
        ("CiliumEgressGatewayPolicy", "ciliumegressgatewaypolicies", egress_gateway),
        ("CiliumL2AnnouncementPolicy", "ciliuml2announcementpolicies", _node_selector),
        ("CiliumLoadBalancerIPPool", "ciliumloadbalancerippools", plain),
        ("CiliumLocalRedirectPolicy", "ciliumlocalredirectpolicies",
         selecting("pods", "redirectBackend.localEndpointSelector")),
        ("CiliumEnvoyConfig", "ciliumenvoyconfigs", plain),
        ("CiliumClusterwideEnvoyConfig", "ciliumclusterwideenvoyconfigs", plain),
        ("CiliumConfig", "ciliumconfigs", plain),
    ),
    *_of("", ("v1",), ("Service", "services", service)),
    *_of(
        "networking.k8s.io",
        ("v1",),
        ("NetworkPolicy", "networkpolicies", network_policy),
        ("Ingress", "ingresses", ingress),
        ("IngressClass", "ingressclasses", fields(controller="controller")),
    ),
    *_of(
        "gateway.networking.k8s.io",
        ("v1", "v1beta1"),
        ("Gateway", "gateways", fields(**{"class": "gatewayClassName"})),
        ("GatewayClass", "gatewayclasses", fields(controller="controllerName")),
    ),
    *_of("node.k8s.io", ("v1",), ("RuntimeClass", "runtimeclasses", runtime_class)),
    *_of("storage.k8s.io", ("v1",), ("StorageClass", "storageclasses", storage_class)),
    *_of("k8s.cni.cncf.io", ("v1",), ("NetworkAttachmentDefinition", "network-attachment-definitions", plain)),
    *_of(
        "kubevirt.io",
        ("v1",),
        ("VirtualMachineInstance", "virtualmachineinstances", fields("status", node="nodeName", phase="phase")),
    ),
    *_of(
        "cluster.x-k8s.io",
        ("v1beta2", "v1beta1"),
        ("MachineDeployment", "machinedeployments", _replicas),
        ("MachineSet", "machinesets", _replicas),
        ("MachinePool", "machinepools", _replicas),
        ("Machine", "machines", fields("status", node="nodeRef.name", phase="phase")),
        ("MachineHealthCheck", "machinehealthchecks", fields(cluster="clusterName")),
    ),
    *_of(
        "karpenter.sh",
        ("v1", "v1beta1"),
        ("NodePool", "nodepools", fields(consolidation="disruption.consolidationPolicy")),
        ("NodeClaim", "nodeclaims", fields("status", node="nodeName")),
    ),
    *_of(
        "ceph.rook.io",
        ("v1",),
        ("CephCluster", "cephclusters", fields("status", health="ceph.health", phase="phase")),
    ),
    *_of(
        "longhorn.io",
        ("v1beta2", "v1beta1"),
        ("LonghornVolume", "volumes",
         fields("status", robustness="robustness", state="state", node="currentNodeID")),
        ("LonghornNode", "nodes", plain),
    ),
    *_of(
        "argoproj.io",
        ("v1alpha1",),
        ("Application", "applications",
         owner_of_cilium(automated="syncPolicy.automated", heals="syncPolicy.automated.selfHeal")),
    ),
    *_of(
        "helm.toolkit.fluxcd.io",
        ("v2", "v2beta2", "v2beta1"),
        ("HelmRelease", "helmreleases", owner_of_cilium(chart="chart.spec.chart", suspended="suspend")),
    ),
    *_of(
        "kustomize.toolkit.fluxcd.io",
        ("v1", "v1beta2"),
        ("Kustomization", "kustomizations", owner_of_cilium(path="path", suspended="suspend")),
    ),
    *_of(
        "helm.cattle.io",
        ("v1",),
        ("HelmChart", "helmcharts", owner_of_cilium(chart="chart")),
        ("HelmChartConfig", "helmchartconfigs", owner_of_cilium()),
    ),
)  # fmt: skip
"""In the order in which a snapshot holds them. Longhorn's kinds have its name in front: it has a Node of its own."""
